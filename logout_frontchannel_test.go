package oidcrp_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// frame loads the front-channel page in browser, as an iframe does, and checks
// that it may be framed.
func (a *logoutApp) frame(t *testing.T, browser *http.Client, query string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.URL+"/auth/frontchannel-logout"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Dest", "iframe")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body := readBody(t, res)
	policy := res.Header.Get("Content-Security-Policy")
	if res.StatusCode != 200 || res.Header.Get("X-Frame-Options") != "" || strings.Contains(policy, "frame-ancestors") {
		t.Errorf("%q: %s cannot be framed: %v", query, res.Status, res.Header)
	}
	if policy != "default-src 'none'" || res.Header.Get("Cache-Control") != "no-store" ||
		res.Header.Get("Content-Type") != "text/html; charset=utf-8" || strings.ContainsAny(body, "?&'\"") {
		t.Errorf("%q: %v\n%s", query, res.Header, body)
	}
	return res
}

func TestFrontchannel_EndsTheSessionOfIssAndSID(t *testing.T) {
	t.Parallel()
	for _, store := range []oidcrp.Store{nil, oidcrp.NewMemoryStore(0), oidcrp.PlainStore(oidcrp.NewMemoryStore(0))} {
		a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) { c.Store = store }})
		browser, elsewhere := a.signIn(t), a.signIn(t)
		stolen := "Cookie: " + oidcrp.RequestWith(a.cookiesOf(t, browser)...).Header.Get("Cookie")
		iss, sid := a.provider.Issuer(), a.sid(t, browser)
		res := a.frame(t, browser, "?"+url.Values{"iss": {iss}, "sid": {sid}}.Encode())
		if len(res.Cookies()) == 0 || a.signedIn(t, browser) {
			t.Errorf("%T: signed in afterwards: %t", store, a.signedIn(t, browser))
		}
		if !a.signedIn(t, elsewhere) {
			t.Errorf("%T: another session was ended too", store)
		}
		// A copy of the cookie stops working too.
		if res, body := a.asks(t, http.DefaultClient, "GET", "/me", stolen); res.StatusCode != 401 {
			t.Errorf("%T: the old cookie is answered with %s\n%s", store, res.Status, body)
		}
		a.clock.Advance(time.Second)
		if browser = a.signIn(t); !a.signedIn(t, browser) {
			t.Errorf("%T: a new login does not last", store)
		}
	}
}

// It ends the session of the browser even if the provider has ended too many.
func TestFrontchannel_BeyondTheCapEndsOneSession(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	oidcrp.SetMarkLimit(a.client, 1)
	for i := range 3 {
		browser := a.signIn(t)
		stolen := "Cookie: " + oidcrp.RequestWith(a.cookiesOf(t, browser)...).Header.Get("Cookie")
		a.frame(t, browser, "?"+url.Values{"iss": {a.provider.Issuer()}, "sid": {a.sid(t, browser)}}.Encode())
		if res, body := a.asks(t, http.DefaultClient, "GET", "/me", stolen); res.StatusCode != 401 {
			t.Errorf("session %d: %s\n%s", i, res.Status, body)
		}
	}
	if n := strings.Count(a.log.String(), "the provider ends more sessions than are accepted"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
}

// Who signs in again in the same session of the provider has two of this app, which
// end together, copies included.
func TestFrontchannel_EndsEverySessionOfTheSID(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}})
	browser := a.signIn(t)
	first, sid := a.cookiesOf(t, browser), a.sid(t, browser)
	a.clock.Advance(time.Second)
	get(t, browser, a.URL+"/auth/login")
	if again := a.sid(t, browser); again != sid {
		t.Fatalf("the sids are %q and %q", sid, again)
	}
	a.frame(t, browser, "?"+url.Values{"iss": {a.provider.Issuer()}, "sid": {sid}}.Encode())
	if a.signedIn(t, browser) {
		t.Error("the second session goes on")
	}
	if s, err := a.client.Session(oidcrp.RequestWith(first...)); !errors.Is(err, oidcrp.CodeNoSession) {
		t.Errorf("a copy of the first session: %v, %v", s, err)
	}
}

func TestFrontchannel_NeedsIssAndSID(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	browser := a.signIn(t)
	iss, sid := url.QueryEscape(a.provider.Issuer()), url.QueryEscape(a.sid(t, browser))
	for _, query := range []string{
		"", "?", "?iss=" + iss, "?sid=" + sid, "?iss=&sid=", "?iss=" + iss + "&sid=", "?iss=&sid=" + sid,
		"?iss=" + iss + "&sid=other", "?iss=https://evil.example&sid=" + sid, "?iss=" + iss + "%2F&sid=" + sid,
		"?iss=" + iss + "&sid=" + sid + "x", "?iss=" + iss + "&sid=" + sid[:len(sid)-1],
		"?iss=" + iss + "&sid=" + sid + "&sid=" + sid, "?iss=" + iss + "&iss=" + iss + "&sid=" + sid,
		"?iss=" + iss + "&sid=other&sid=" + sid, "?ISS=" + iss + "&SID=" + sid,
		"?iss=" + iss + "&sid=%zz", "?iss=" + iss + ";sid=" + sid, "?sub=alice&iss=" + iss, "?logout_token=x",
		"?iss=" + iss + "&sid=<script>alert(1)</script>",
	} {
		if res := a.frame(t, browser, query); len(res.Cookies()) > 0 || !a.signedIn(t, browser) {
			t.Fatalf("%q ended the session: %v", query, res.Header)
		}
	}
	a.frame(t, browser, "?iss="+iss+"&sid="+sid)
	if a.signedIn(t, browser) {
		t.Error("iss and sid, and the session goes on")
	}
}

func TestFrontchannel_WithoutACookie(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	browser := a.signIn(t)
	query := "?" + url.Values{"iss": {a.provider.Issuer()}, "sid": {a.sid(t, browser)}}.Encode()
	if res := a.frame(t, http.DefaultClient, query); len(res.Cookies()) > 0 || !a.signedIn(t, browser) {
		t.Errorf("a browser without the session ended it: %v", res.Header)
	}
}

// The characters that a sid may have, sent as they should be and as some
// providers do.
func TestFrontchannel_AnOddSID(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	a.provider.Misbehave(fault.IDTokenOddSid)
	browser := a.signIn(t)
	sid := a.sid(t, browser)
	if !strings.ContainsAny(sid, " \"'&#%<\\") {
		t.Fatalf("%q is not odd", sid)
	}
	iss := "?iss=" + url.QueryEscape(a.provider.Issuer()) + "&sid="
	raw := strings.NewReplacer(" ", "%20", "\"", "%22", "<", "%3C", "#", "").Replace(sid)
	if a.frame(t, browser, iss+raw); !a.signedIn(t, browser) {
		t.Errorf("%q ended the session of %q", raw, sid)
	}
	if a.frame(t, browser, iss+url.QueryEscape(sid)); a.signedIn(t, browser) {
		t.Errorf("%q, escaped, did not end the session", sid)
	}
}

func TestFrontchannel_OtherMethods(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{})
	browser := a.signIn(t)
	path := "/auth/frontchannel-logout?" + url.Values{"iss": {a.provider.Issuer()}, "sid": {a.sid(t, browser)}}.Encode()
	for _, tt := range []struct {
		what, method string
		headers      []string
		status       int
	}{
		{"HEAD", "HEAD", nil, 405}, {"POST", "POST", nil, 405}, {"a prefetch", "GET", []string{"Sec-Purpose: prefetch"}, 204},
	} {
		if res, _ := a.asks(t, browser, tt.method, path, tt.headers...); res.StatusCode != tt.status || !a.signedIn(t, browser) {
			t.Errorf("%s: %s; signed in: %t", tt.what, res.Status, a.signedIn(t, browser))
		}
	}
}

func TestFrontchannel_WhileTheStoreFails(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) { c.Store = oidcrp.PlainStore(store) }})
	browser := a.signIn(t)
	query := "?" + url.Values{"iss": {a.provider.Issuer()}, "sid": {a.sid(t, browser)}}.Encode()
	store.Fail(errOp)
	a.frame(t, browser, query)
	store.Before(nil)
	if a.frame(t, browser, query); a.signedIn(t, browser) {
		t.Error("the session goes on")
	}
}
