package oidcrp_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func TestReturnTo_ALoginNeverLeadsOffTheApp(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}})
	browser := app.provider.Browser()
	browser.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if via[len(via)-1].URL.Path == "/auth/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	for _, test := range oidcrp.ReturnTos {
		res, _ := get(t, browser, app.URL+"/auth/login?"+url.Values{"return_to": {test.Asked}}.Encode())
		location := cmp.Or(res.Header.Get("Location"), res.Request.URL.String())
		if got, ok := strings.CutPrefix(location, app.URL); !ok || got != test.Want {
			t.Errorf("return_to %.60q led to %.100q, want %.60q", test.Asked, location, test.Want)
		}
		if host := oidcrp.BrowserHost(t, app.URL+"/auth/callback", location); app.URL != "http://"+host {
			t.Errorf("return_to %.60q led to the host %q", test.Asked, host)
		}
	}
}

func TestReturnTo_LoginAndLogoutURLsCarryLocalPathsOnly(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	for _, test := range []struct{ returnTo, login, logout string }{
		{"", "/auth/login", "/auth/logout"},
		{"/", "/auth/login", "/auth/logout?return_to=%2F"},
		{"/a?b=c&d", "/auth/login?return_to=%2Fa%3Fb%3Dc%26d", "/auth/logout?return_to=%2Fa%3Fb%3Dc%26d"},
		{"https://evil.example", "/auth/login", "/auth/logout"},
		{"//evil.example", "/auth/login", "/auth/logout"},
		{"/\\evil.example", "/auth/login", "/auth/logout"},
	} {
		if login, logout := c.LoginURL(test.returnTo), c.LogoutURL(test.returnTo); login != test.login || logout != test.logout {
			t.Errorf("for %q: %s and %s", test.returnTo, login, logout)
		}
	}
}

func TestReturnTo_ALoginLeadsBackToThePage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.provider.Browser()
	res, err := app.provider.Visit(browser, app.URL+"/tab/1?q=a%20b", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if got, want := res.Request.URL.RequestURI(), "/tab/1?q=a%20b"; got != want {
		t.Errorf("the login ended at %s, want %s", got, want)
	}
	if got := app.who(t, browser, "/tab/2"); got.Sub != "alice" {
		t.Errorf("signed in as %q, want alice", got.Sub)
	}
}

// noise returns n characters that hardly compress.
func noise(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[rand.IntN(len(alphabet))]
	}
	return string(b)
}

// search returns n characters as the filters of a page write them.
func search(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "&filter[%d][field]=created_at&filter[%d][op]=gte&filter[%d][value]=%08x", i, i, i, rand.Uint32())
	}
	return b.String()[:n]
}

// A headerTap measures what a browser and an app send each other.
type headerTap struct {
	next   http.RoundTripper
	host   string // of the app
	answer int    // bytes of the longest header of a response
	cookie int    // bytes of the longest Cookie header
}

// tapped returns a browser, and what measures it.
func (a *testApp) tapped() (*http.Client, *headerTap) {
	browser := a.provider.Browser()
	tap := &headerTap{next: browser.Transport, host: strings.TrimPrefix(a.URL, "http://")}
	browser.Transport = tap
	return browser, tap
}

func (tap *headerTap) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := tap.next.RoundTrip(r)
	if err != nil || r.URL.Host != tap.host {
		return res, err
	}
	h := res.Header.Clone()
	if res.StatusCode == http.StatusSeeOther && r.Method == http.MethodGet {
		h.Del("Location") // oidctest made a redirect of a page
	}
	var b strings.Builder
	b.WriteString("HTTP/1.1 302 Found\r\nConnection: close\r\n\r\n")
	if err := h.Write(&b); err != nil {
		return nil, err
	}
	tap.answer, tap.cookie = max(tap.answer, b.Len()), max(tap.cookie, len(r.Header.Get("Cookie")))
	return res, nil
}

// wantWithinNginx fails the test if a header was longer than nginx accepts by default.
func (tap *headerTap) wantWithinNginx(t *testing.T, what string) {
	t.Helper()
	if tap.answer > 4<<10 || tap.cookie > 8<<10 {
		t.Errorf("%s: %d bytes in a response's header and %d in a request's cookies", what, tap.answer, tap.cookie)
	}
}

func TestReturnTo_LongPathsAreCarriedOrLogged(t *testing.T) {
	t.Parallel()
	const tooLong, doesNotFit = "it has more than 4000 bytes", "it does not fit into the cookies of one answer"
	type want struct {
		bytes         int
		search, noise string // why it is dropped
	}
	wants := []want{{0, "", ""}, {1500, "", ""}, {1501, "", ""}, {2000, "", ""},
		{4000, "", doesNotFit}, {4001, tooLong, tooLong}, {8000, tooLong, tooLong}}
	for name, store := range map[string]oidcrp.Store{"cookies": nil, "a Store": oidcrp.NewMemoryStore(0)} {
		for _, test := range wants {
			t.Run(fmt.Sprint(test.bytes, " with ", name), func(t *testing.T) {
				t.Parallel()
				if test.bytes == 0 {
					leadsTo(t, store, "", "")
					return
				}
				const start = "/tab/?q="
				leadsTo(t, store, start+search(test.bytes-len(start)), test.search)
				leadsTo(t, store, start+noise(test.bytes-len(start)), test.noise)
			})
		}
	}
}

// leadsTo fails the test unless a login leads to path, or to the start page and a line of
// the log, if there is a reason. It starts with return_to, and at the page itself.
func leadsTo(t *testing.T, store oidcrp.Store, path, dropped string) {
	t.Helper()
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) { c.Store = store }})
	for _, from := range []string{"/auth/login?" + url.Values{"return_to": {path}}.Encode(), cmp.Or(path, "/auth/login")} {
		browser, tap := app.tapped()
		lines := strings.Count(app.log.String(), "a page to return to was dropped")
		res, body := get(t, browser, app.URL+from)
		want := path
		if path == "" || dropped != "" {
			want = "/"
		}
		if got := res.Request.URL.RequestURI(); res.StatusCode != http.StatusOK || got != want {
			t.Errorf("%.30s led to %.60s with %s, want %.60s\n%.300s", from, got, res.Status, want, body)
		}
		if who := app.who(t, browser, "/"); who.Sub != "alice" {
			t.Errorf("%.30s: signed in as %q", from, who.Sub)
		}
		log := app.log.String()
		if n := strings.Count(log, "a page to return to was dropped") - lines; (n == 1) != (dropped != "") ||
			!strings.Contains(log, `"reason":"`+dropped) && dropped != "" {
			t.Errorf("%.30s: %d lines in the log, want one for %q", from, n, dropped)
		}
		if strings.Contains(log, path[min(len(path), 300):]) && len(path) > 300 {
			t.Errorf("%.30s: the log has the path in full", from)
		}
		tap.wantWithinNginx(t, from[:8])
	}
}

func TestReturnTo_IsNotInTheStateWhereItIsLong(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	for _, path := range []string{"/tab/?" + search(3900), "/tab/?" + noise(2000)} {
		state := follow(t, app.provider.Browser(), app.URL+path).Query().Get("state")
		if len(state) > 300 {
			t.Errorf("the state has %d bytes", len(state))
		}
	}
}

// Restored tabs start their logins together, each without the cookies of the others.
func TestLogins_ManyAtOnceLockNobodyOut(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/tab/1", "/tab/?" + search(500)} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser, tap := app.tapped()
		var cookies []*http.Cookie
		for tab := range 25 {
			other := app.provider.Browser()
			follow(t, other, fmt.Sprint(app.URL, path, tab))
			cookies = append(cookies, app.cookiesOf(t, other)...)
		}
		app.keepsCookies(t, browser, cookies)
		for range 10 {
			follow(t, browser, app.URL+path)
		}
		if left := transactionCookies(app, browser); len(left) > oidcrp.MaxTransactions {
			t.Errorf("%d logins are pending", len(left))
		}
		if res, _ := get(t, browser, app.URL+path); res.StatusCode != http.StatusOK {
			t.Errorf("a login ended with %s", res.Status)
		}
		if tap.answer > 4<<10 {
			t.Errorf("an answer's header has %d bytes", tap.answer)
		}
	}
}

func TestReturnTo_ALongPageOfHtmxIsNotInAHeader(t *testing.T) {
	t.Parallel()
	for bytes, kept := range map[int]bool{1000: true, 3900: false} {
		app := newTestApp(t, setup{provider: autoLogin})
		page := "/tab/?" + strings.ReplaceAll(search(bytes), "&", "?")
		res, _ := app.asks(t, app.provider.Browser(), "GET", "/me", "HX-Request: true", "HX-Current-URL: APP"+page)
		location := res.Header.Get("HX-Redirect")
		if res.StatusCode != http.StatusUnauthorized || strings.Contains(location, "return_to=") != kept || len(location) > 3000 {
			t.Errorf("%d bytes: %s and HX-Redirect of %d bytes %.60s", bytes, res.Status, len(location), location)
		}
		if logged := strings.Contains(app.log.String(), "the header HX-Redirect"); logged == kept {
			t.Errorf("%d bytes: logged %v", bytes, logged)
		}
	}
}

func TestLoginURL_IsShortEnoughForARequest(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	for _, path := range []string{"/" + strings.Repeat("?", 3999), "/tab/" + search(3900), "/tab/" + strings.Repeat("&", 2000)} {
		if got := c.LoginURL(path); len(got) > 7<<10 || !strings.HasPrefix(got, "/auth/login") {
			t.Errorf("%.20s gives %d bytes", path, len(got))
		}
	}
	if got := c.LoginURL("/tab/" + search(3900)); !strings.Contains(got, "return_to=") {
		t.Errorf("%.20s… has no return_to", got)
	}
}

func TestLogout_ALongReturnToIsDroppedAndLogged(t *testing.T) {
	t.Parallel()
	for bytes, kept := range map[int]bool{1500: true, 1501: false, 8000: false} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.signIn(t)
		path := "/tab/?" + search(bytes-len("/tab/?"))
		res, _ := app.logsOut(t, browser, "/auth/logout?"+url.Values{"return_to": {path}}.Encode())
		location, err := res.Location()
		if err != nil {
			t.Fatal(err)
		}
		res, _ = get(t, noRedirects(browser), follow(t, browser, location.String()).String())
		if got := res.Header.Get("Location"); (got == app.URL+path) != kept {
			t.Errorf("%d bytes: the logout led to %.80q", bytes, got)
		}
		if logged := strings.Contains(app.log.String(), "a page to return to was dropped"); logged == kept {
			t.Errorf("%d bytes: logged %v", bytes, logged)
		}
	}
}
