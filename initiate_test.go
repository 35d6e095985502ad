package oidcrp_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// initiates asks the app to start a login, by GET or POST, and returns the
// answer without following it.
func (a *testApp) initiates(t testing.TB, browser *http.Client, method string, params url.Values) (*http.Response, string) {
	t.Helper()
	target, body := a.URL+"/auth/initiate", strings.NewReader("")
	if method == "POST" {
		body = strings.NewReader(params.Encode())
	} else {
		target += "?" + params.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Origin", "https://portal.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := noRedirects(browser).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res, readBody(t, res)
}

func TestInitiate_AnotherPartyStartsALogin(t *testing.T) {
	t.Parallel()
	for method, status := range map[string]int{"GET": http.StatusFound, "POST": http.StatusSeeOther} {
		app := newTestApp(t, setup{})
		browser := app.provider.Browser()
		res, _ := app.initiates(t, browser, method, url.Values{
			"iss": {app.provider.Issuer()}, "login_hint": {"alice@example.org"},
			"target_link_uri": {app.URL + "/tab/1?a=b&c=d%2Fe"},
		})
		location := res.Header.Get("Location")
		if res.StatusCode != status || !strings.HasPrefix(location, app.provider.Endpoint(oidctest.EndpointAuthorization)+"?") {
			t.Fatalf("%s answered %s, %s", method, res.Status, location)
		}
		back, err := app.provider.Visit(browser, location, "alice")
		if err != nil {
			t.Fatal(err)
		}
		if page := readBody(t, back); back.Request.URL.RequestURI() != "/tab/1?a=b&c=d%2Fe" || !strings.Contains(page, "alice") {
			t.Errorf("%s ended at %s\n%s", method, back.Request.URL, page)
		}
		asked := app.provider.RequestsTo(oidctest.EndpointAuthorization)
		if got := asked[0].Form.Get("login_hint"); got != "alice@example.org" {
			t.Errorf("%s: login_hint is %q", method, got)
		}
	}
}

func TestInitiate_PassesOnTheLoginHintAlone(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	plain := requestOf(t, app.client, nil)
	for _, tt := range []struct {
		what string
		hint string
		want string
	}{
		{"no login_hint", "", ""},
		{"a login_hint", "alice", "alice"},
		{"a login_hint that looks like parameters", "a&prompt=none&x=", "a&prompt=none&x="},
		{"a login_hint of 255 bytes", strings.Repeat("h", 255), strings.Repeat("h", 255)},
		{"a longer login_hint", strings.Repeat("h", 256), ""},
	} {
		res, _ := app.initiates(t, http.DefaultClient, "GET", url.Values{
			"iss": {app.provider.Issuer()}, "login_hint": {tt.hint},
			"prompt": {"none"}, "max_age": {"0"}, "acr_values": {"eidas1"}, "claims": {"{}"}, "scope": {"openid admin"},
			"redirect_uri": {"https://evil.example"}, "state": {"fixed"}, "nonce": {"fixed"}, "client_id": {"other"},
			"id_token_hint": {"x"}, "request_uri": {"https://evil.example"}, "response_mode": {"form_post"},
			"return_to": {"/admin"}, "step_up": {"x"}, "lti_message_hint": {"x"}, "ui_locales": {"fr"},
		})
		location, err := res.Location()
		if err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		want := withoutRandom(maps.Clone(plain))
		if tt.want != "" {
			want.Set("login_hint", tt.want)
		}
		if got := withoutRandom(location.Query()); got.Encode() != want.Encode() {
			t.Errorf("%s asks for\n%v, want\n%v", tt.what, got, want)
		}
	}
}

func TestInitiate_Refuses(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	issuer := app.provider.Issuer()
	slashed := newTestApp(t, setup{provider: oidctest.Config{Issuer: "/realm/"}})
	for _, tt := range []struct {
		what   string
		app    *testApp
		params url.Values
		code   oidcrp.Code
	}{
		{"no iss", app, url.Values{"login_hint": {"alice"}}, oidcrp.CodeIssuerMismatch},
		{"an empty iss", app, url.Values{"iss": {""}}, oidcrp.CodeIssuerMismatch},
		{"another iss", app, url.Values{"iss": {"https://evil.example"}}, oidcrp.CodeIssuerMismatch},
		{"an iss with a slash", app, url.Values{"iss": {issuer + "/"}}, oidcrp.CodeIssuerMismatch},
		{"an iss without its slash", slashed, url.Values{"iss": {strings.TrimSuffix(slashed.provider.Issuer(), "/")}}, oidcrp.CodeIssuerMismatch},
		{"an iss in upper case", app, url.Values{"iss": {strings.ToUpper(issuer)}}, oidcrp.CodeIssuerMismatch},
		{"an iss with white space", app, url.Values{"iss": {issuer + " "}}, oidcrp.CodeIssuerMismatch},
		{"ISS for iss", app, url.Values{"ISS": {issuer}}, oidcrp.CodeIssuerMismatch},
		{"an iss with markup", app, url.Values{"iss": {`"><script>alert(1)</script>`}}, oidcrp.CodeIssuerMismatch},
		{"iss twice", app, url.Values{"iss": {issuer, issuer}}, oidcrp.CodeInvalidRequest},
		{"two iss", app, url.Values{"iss": {issuer, "https://evil.example"}}, oidcrp.CodeInvalidRequest},
		{"login_hint twice", app, url.Values{"iss": {issuer}, "login_hint": {"a", "b"}}, oidcrp.CodeInvalidRequest},
		{"target_link_uri twice", app, url.Values{"iss": {issuer}, "target_link_uri": {app.URL, app.URL}}, oidcrp.CodeInvalidRequest},
	} {
		for _, method := range []string{"GET", "POST"} {
			res, page := tt.app.initiates(t, http.DefaultClient, method, tt.params)
			if res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" || len(res.Cookies()) > 0 {
				t.Errorf("%s by %s answered %s, %v", tt.what, method, res.Status, res.Header)
			}
			if !strings.Contains(tt.app.log.String(), string(tt.code)) {
				t.Errorf("%s by %s: the log has no %s", tt.what, method, tt.code)
			}
			if strings.Contains(page, "<script") || strings.Contains(page, "evil.example") {
				t.Errorf("%s by %s shows what was sent:\n%s", tt.what, method, page)
			}
		}
	}
	res, _ := app.initiates(t, http.DefaultClient, "GET", nil)
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Error("a refusal may be stored")
	}
	// One in the query and one in the body are two.
	r, err := http.NewRequestWithContext(t.Context(), "POST", app.URL+"/auth/initiate?iss="+url.QueryEscape(issuer),
		strings.NewReader(url.Values{"iss": {issuer}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	both, err := noRedirects(http.DefaultClient).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if readBody(t, both); both.StatusCode != http.StatusBadRequest {
		t.Errorf("iss in the query and in the body: %s", both.Status)
	}
}

func TestInitiate_ByOtherMethods(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	path := "/auth/initiate?iss=" + url.QueryEscape(app.provider.Issuer())
	for _, tt := range []struct {
		what, method string
		headers      []string
		status       int
	}{
		{"HEAD", "HEAD", nil, 405},
		{"PUT", "PUT", nil, 405},
		{"a prefetch", "GET", []string{"Sec-Purpose: prefetch"}, 204},
		{"a page load", "GET", []string{acceptHTML}, 302},
	} {
		res, _ := app.asks(t, http.DefaultClient, tt.method, path, tt.headers...)
		if res.StatusCode != tt.status || (len(res.Cookies()) > 0) != (tt.status == 302) {
			t.Errorf("%s answered %s with %v", tt.what, res.Status, res.Cookies())
		}
	}
}

func TestInitiate_WhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	app.provider.SetDown(true)
	res, page := app.initiates(t, http.DefaultClient, "GET", url.Values{
		"iss": {app.provider.Issuer()}, "login_hint": {"alice"}, "target_link_uri": {app.URL + "/me"},
	})
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" ||
		strings.Contains(page, "/auth/initiate") {
		t.Errorf("%s\n%s", res.Status, page)
	}
}

// A login that another party started leaves the session of the person who is
// signed in until it is finished.
func TestInitiate_LeavesTheSessionAlone(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	app.initiates(t, browser, "GET", url.Values{"iss": {app.provider.Issuer()}, "login_hint": {"bruno"}})
	if who := app.who(t, browser, "/me"); who.Sub != "alice" {
		t.Errorf("%q is signed in after another party started a login", who.Sub)
	}
}

// A login that asks for nothing is no step-up: the session must not say that one was
// tried, or the next page answers 403 without asking for what it needs.
func TestLogin_AnOrdinaryOneIsNoStepUp(t *testing.T) {
	t.Parallel()
	asks := 0
	level := oidcrp.Requirement{
		Name: "level", Met: func(*oidcrp.Session, time.Time) bool { return false },
		Ask: func(*oidcrp.AuthOptions) { asks++ },
	}
	app := newTestApp(t, setup{provider: autoLogin, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/level", c.Require(level)(http.HandlerFunc(sayWho)))
	}})
	browser := app.signIn(t)
	get(t, browser, app.URL+"/level") // one step-up, then 403
	get(t, browser, app.URL+"/auth/login?return_to=/tab/1")
	asks = 0
	if res, _ := get(t, browser, app.URL+"/level"); res.StatusCode != http.StatusForbidden || asks == 0 {
		t.Errorf("%s after an ordinary login, with %d step-ups, want one and then 403", res.Status, asks)
	}
}

// A page of the app may have a plain link to the login path.
func TestLogin_APlainLinkReturnsToItsPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ what, path, referer, want string }{
		{"on a page of the app", "/auth/login", "APP/tab/3?a=b", "/tab/3?a=b"},
		{"with a return_to", "/auth/login?return_to=/tab/9", "APP/tab/3", "/tab/9"},
		{"on another site", "/auth/login", "https://evil.example/tab/3", "/"},
		{"without a Referer", "/auth/login", "", "/"},
		{"with the origin alone", "/auth/login", "APP/", "/"},
		{"on a page of the client's own", "/auth/login", "APP/auth/logout/callback", "/"},
		{"by htmx", "/auth/login", "", "/tab/4"},
	} {
		app := newTestApp(t, setup{provider: autoLogin})
		browser := app.provider.Browser()
		headers := []string{acceptHTML, navigate}
		if test.referer != "" {
			headers = append(headers, "Referer: "+strings.Replace(test.referer, "APP", app.URL, 1))
		}
		if test.what == "by htmx" {
			headers = []string{"HX-Request: true", "HX-Boosted: true", "HX-Current-URL: " + app.URL + "/tab/4"}
		}
		res, _ := app.asks(t, browser, "GET", test.path, headers...)
		if to := res.Header.Get("HX-Redirect"); to != "" {
			res, _ = get(t, noRedirects(browser), app.URL+to)
		}
		back := follow(t, browser, res.Header.Get("Location"))
		if res, _ = get(t, noRedirects(browser), back.String()); res.Header.Get("Location") != app.URL+test.want {
			t.Errorf("a link %s leads to %q, want %q", test.what, res.Header.Get("Location"), test.want)
		}
	}
}
