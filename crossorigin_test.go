package oidcrp_test

import (
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
)

// crossOriginRows are requests by alice's browser to a protected page of
// https://app.example, which trusts https://www.example, with their answers.
var crossOriginRows = []struct {
	what, method string
	headers      []string // "Name: value"
	want         int
}{
	{"a form of the app", "POST", []string{"Sec-Fetch-Site: same-origin", "Origin: https://app.example"}, 200},
	{"a form of the app in an old browser", "POST", []string{"Origin: https://app.example"}, 200},
	{"a form of the app behind a proxy that changes Host", "POST", []string{"Host: backend:8080", "Origin: https://app.example"}, 200},
	{"no browser", "POST", nil, 200},
	{"a trusted origin", "POST", []string{"Sec-Fetch-Site: same-site", "Origin: https://www.example"}, 200},
	{"a trusted origin in an old browser", "DELETE", []string{"Origin: https://www.example"}, 200},
	{"another host of the site", "POST", []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.app.example"}, 403},
	{"another host of the site in an old browser", "POST", []string{"Origin: https://blog.app.example"}, 403},
	{"another port", "POST", []string{"Sec-Fetch-Site: same-site", "Origin: https://app.example:8443"}, 403},
	{"another site", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 403},
	{"a sandboxed frame", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: null"}, 403},
	{"an origin that a trusted one begins", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: https://www.example.evil.example"}, 403},
	{"a trusted host over http", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: http://www.example"}, 403},
	{"PUT", "PUT", []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.app.example"}, 403},
	{"DELETE", "DELETE", []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.app.example"}, 403},
	{"PATCH", "PATCH", []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.app.example"}, 403},
	{"a WebSocket by HTTP/2", "CONNECT", []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.app.example"}, 403},
	{"a link on another site", "GET", []string{"Sec-Fetch-Site: cross-site"}, 200},
	{"a WebSocket of the app", "GET", []string{"Upgrade: websocket", "Connection: Upgrade", "Sec-Fetch-Site: same-origin", "Origin: https://app.example"}, 200},
	{"a WebSocket of the app in an old browser", "GET", []string{"Upgrade: websocket", "Connection: Upgrade", "Origin: https://app.example"}, 200},
	{"a WebSocket of a trusted origin", "GET", []string{"Upgrade: websocket", "Connection: Upgrade", "Origin: https://www.example"}, 200},
	{"a WebSocket of no browser", "GET", []string{"Upgrade: websocket", "Connection: Upgrade"}, 200},
	{"a WebSocket of another host of the site", "GET", []string{"Upgrade: websocket", "Connection: Upgrade", "Origin: https://blog.app.example"}, 403},
	{"a WebSocket in capitals", "GET", []string{"Upgrade: WebSocket", "Connection: keep-alive, Upgrade", "Sec-Fetch-Site: same-site", "Origin: https://blog.app.example"}, 403},
	{"a WebSocket among others", "GET", []string{"Upgrade: h2c, websocket", "Connection: Upgrade", "Origin: https://blog.app.example"}, 403},
	{"a WebSocket among others, close together", "GET", []string{"Upgrade: h2c,WEBSOCKET ,x", "Connection: Upgrade", "Origin: https://blog.app.example"}, 403},
	{"a link on another site, behind a proxy that asks for HTTP/2", "GET", []string{"Upgrade: h2c", "Connection: Upgrade", "Sec-Fetch-Site: cross-site"}, 200},
	{"a link, behind a proxy that asks for two protocols", "GET", []string{"Upgrade: h2c, TLS/1.0", "Upgrade: websocket2", "Sec-Fetch-Site: same-site"}, 200},
	{"a form on another site, behind such a proxy", "POST", []string{"Upgrade: h2c", "Connection: Upgrade", "Sec-Fetch-Site: cross-site"}, 403},
	{"a WebSocket in a second header", "GET", []string{"Upgrade: h2c", "Upgrade: websocket", "Connection: Upgrade", "Origin: https://blog.app.example"}, 403},
}

// originRequest returns a request to a page of https://app.example.
func originRequest(method, path string, cookies []*http.Cookie, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.Host = "app.example"
	r.URL.Path, r.RequestURI = path, path
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

// signedIn returns the cookies of a session of client.
func signedIn(t testing.TB, client *oidcrp.Client) []*http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	session := oidcrp.NewSession(map[string]any{"iss": "https://op.example", "sub": "alice"})
	if err := client.StartSession(w, httptest.NewRequest("GET", "/", nil), session); err != nil {
		t.Fatal(err)
	}
	return w.Result().Cookies()
}

func TestRequire_RefusesOtherOrigins(t *testing.T) {
	t.Parallel()
	log := new(testLog)
	client := mustNew(t, func(c *oidcrp.Config) {
		c.TrustedOrigins = []string{"https://www.example"}
		c.Logger = slog.New(slog.NewJSONHandler(log, nil))
	})
	cookies := signedIn(t, client)
	ran := false
	page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })
	mux := http.NewServeMux()
	mux.Handle("/protected", client.RequireLogin(page))
	mux.Handle("/public", page)
	for name, handler := range map[string]http.Handler{"behind Middleware": client.Middleware(mux), "without": mux} {
		for _, row := range crossOriginRows {
			t.Run(name+"/"+row.what, func(t *testing.T) {
				ran = false
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, originRequest(row.method, "/protected", cookies, row.headers...))
				if w.Code != row.want || ran != (row.want == 200) {
					t.Errorf("the answer is %d and the page ran: %t, want %d\n%s", w.Code, ran, row.want, w.Body)
				}
				// A public page is the app's own affair.
				ran = false
				handler.ServeHTTP(httptest.NewRecorder(), originRequest(row.method, "/public", cookies, row.headers...))
				if !ran {
					t.Error("a public page was refused")
				}
			})
		}
	}
	if !strings.Contains(log.String(), "TrustedOrigins") || !strings.Contains(log.String(), "https://blog.app.example") {
		t.Errorf("the log does not say what to do:\n%s", log)
	}
}

func TestRequire_SaysWhyAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	handler := client.Middleware(client.RequireLogin(http.NotFoundHandler()))
	another := []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.app.example"}

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, originRequest("POST", "/", signedIn(t, client), append(another, acceptHTML, navigate, "Accept-Language: en")...))
	page := w.Body.String()
	if w.Code != http.StatusForbidden || !strings.Contains(page, "another site") || strings.Contains(page, "/auth/login") {
		t.Errorf("the page is %d\n%s", w.Code, page)
	}
	if cached := w.Header().Get("Cache-Control"); cached != "no-store" {
		t.Errorf("Cache-Control is %q", cached)
	}

	w = httptest.NewRecorder()
	handler.ServeHTTP(w, originRequest("POST", "/", nil, append(another, "Sec-Fetch-Mode: cors")...))
	if w.Code != http.StatusForbidden || jsonMember(t, w.Body.String(), "code") != string(oidcrp.CodeCrossOrigin) ||
		jsonMember(t, w.Body.String(), "login_url") != "" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("a script got %d %v\n%s", w.Code, w.Header(), w.Body)
	}
}

// The app decides what Check is for, and may check the origin itself.
func TestCheck_LooksAtNoOrigin(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	r := originRequest("POST", "/", signedIn(t, client), "Sec-Fetch-Site: cross-site", "Origin: https://evil.example")
	if s, err := client.Check(r); err != nil || s.Subject() != "alice" {
		t.Errorf("Check returned %v, %v", s, err)
	}
}

func TestNew_ChecksTrustedOrigins(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{
		"", "null", "*", "www.example.fr", "https://", "https://www.example.fr/", "https://www.example.fr/path",
		"https://www.example.fr?", "https://www.example.fr#", "https://user:s3cr3t@www.example.fr", "https://*.example.fr",
		"https://WWW.example.fr", "HTTPS://www.example.fr", "https://www.example.fr:443", "https://www.example.fr:",
		"https://préfecture.example.fr", "http://www.example.fr", "ftp://www.example.fr", "https://www.example.fr https://other.example",
	} {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) { c.TrustedOrigins = []string{"https://good.example", origin} }))
		var e *oidcrp.Error
		if !errors.As(err, &e) || e.Code != oidcrp.CodeConfigInvalid || !strings.Contains(err.Error(), "TrustedOrigins") ||
			strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: New returned %v", origin, err)
		}
	}
	_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) {
		c.TrustedOrigins = []string{"https://www.example.fr", "https://www.example.fr:8443", "http://localhost:3000", "https://xn--prfecture-b4a.example", "https://[2001:db8::1]"}
	}))
	if err != nil {
		t.Error(err)
	}
}

// postedResponse is the provider's response to a login of client, as its page posts it.
func postedResponse(t *testing.T, app *testApp, handler http.Handler, base string) *http.Request {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", base+"/auth/login?return_to=/tab/1", nil))
	plain := &http.Client{Transport: app.provider.HTTPClient().Transport}
	_, page := get(t, plain, w.Header().Get("Location"))
	form := make(url.Values)
	for _, input := range hiddenInput.FindAllStringSubmatch(page, -1) {
		form.Set(input[1], html.UnescapeString(input[2]))
	}
	r := httptest.NewRequest("POST", base+"/auth/callback", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", app.provider.Issuer())
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	return r
}

func TestFormPost_BesideTheAppsOwnCrossOriginProtection(t *testing.T) {
	t.Parallel()
	const base = "https://127.0.0.1:1" // which the provider redirects to
	app := newTestApp(t, formPost)
	client := newTestClient(t, app, func(c *oidcrp.Config) { c.BaseURL, c.ResponseMode = base, "form_post" })
	page := client.RequireLogin(http.HandlerFunc(sayWho))
	var inside, around, exempt http.CrossOriginProtection
	exempt.AddInsecureBypassPattern("POST /auth/callback")
	exempt.AddInsecureBypassPattern("POST /auth/initiate")
	for _, row := range []struct {
		what    string
		handler http.Handler
		want    int
	}{
		{"none", client.Middleware(page), http.StatusSeeOther},
		{"inside Middleware", client.Middleware(inside.Handler(page)), http.StatusSeeOther},
		{"around Middleware", around.Handler(client.Middleware(page)), http.StatusForbidden},
		{"around Middleware, with the exemptions", exempt.Handler(client.Middleware(page)), http.StatusSeeOther},
		{"RequireLogin around all of it", client.Middleware(client.RequireLogin(page)), http.StatusSeeOther},
	} {
		r := postedResponse(t, app, row.handler, base)
		w := httptest.NewRecorder()
		row.handler.ServeHTTP(w, r)
		if location := w.Header().Get("Location"); w.Code != row.want || (row.want == http.StatusSeeOther && location != base+"/tab/1") {
			t.Errorf("%s: the answer is %d to %q, want %d\n%s", row.what, w.Code, location, row.want, w.Body)
			continue
		}
		if row.want != http.StatusSeeOther {
			continue
		}
		signedIn := httptest.NewRequest("GET", base+"/tab/1", nil)
		for _, cookie := range w.Result().Cookies() {
			signedIn.AddCookie(cookie)
		}
		w = httptest.NewRecorder()
		row.handler.ServeHTTP(w, signedIn)
		if jsonMember(t, w.Body.String(), "Sub") != "alice" {
			t.Errorf("%s: the page says %s", row.what, w.Body)
		}
	}
}

// A provider reaches the client's own paths from its own origin, or from no browser.
func TestOwnPaths_AreOpenToOtherOrigins(t *testing.T) {
	t.Parallel()
	client := mustNew(t, func(c *oidcrp.Config) { c.Provider.Metadata = soundMetadata(nil) })
	handler := client.Middleware(client.RequireLogin(http.NotFoundHandler()))
	for _, own := range []struct{ method, path string }{
		{"POST", "/auth/callback"}, {"POST", "/auth/initiate"}, {"GET", "/auth/initiate"}, {"POST", "/auth/backchannel-logout"},
		{"GET", "/auth/frontchannel-logout"}, {"GET", "/auth/logout/callback"}, {"GET", "/auth/login"}, {"POST", "/auth/logout"},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, originRequest(own.method, own.path, nil, "Sec-Fetch-Site: cross-site", "Origin: https://op.example"))
		if w.Code == http.StatusForbidden || strings.Contains(w.Body.String(), "cross_origin") {
			t.Errorf("%s %s answered %d\n%s", own.method, own.path, w.Code, w.Body)
		}
	}
}

func TestLogout_BehindAProxyThatChangesHost(t *testing.T) {
	t.Parallel()
	client := mustNew(t, func(c *oidcrp.Config) { c.Provider.Metadata = soundMetadata(nil) })
	handler := client.Middleware(http.NotFoundHandler())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, originRequest("POST", "/auth/logout", signedIn(t, client), "Host: backend:8080", "Origin: https://app.example", acceptHTML))
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) == 0 {
		t.Errorf("the answer is %d with the cookies %v\n%s", w.Code, w.Result().Cookies(), w.Body)
	}
}
