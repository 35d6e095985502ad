package oidcrp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// asks sends a request with headers, written "Name: value", that follows no
// redirect.
func (a *testApp) asks(t testing.TB, browser *http.Client, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "*/*") // which keeps oidctest's browser from asking for HTML
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, strings.ReplaceAll(value, "APP", a.URL))
	}
	res, err := noRedirects(browser).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return res, readBody(t, res)
}

const (
	acceptHTML = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
	navigate   = "Sec-Fetch-Mode: navigate"
)

// Who asks, and what they get on /tab/1?q=1 without being signed in: a redirect
// to the provider, a page that offers to sign in, or a refusal in JSON whose
// login_url leads back to the page that asked.
var askers = []struct {
	what, method string
	headers      []string
	want         string
}{
	{"a page load", "GET", []string{acceptHTML, navigate, "Sec-Fetch-Dest: document"}, "302"},
	{"a page load from another site", "GET", []string{acceptHTML, navigate, "Sec-Fetch-Site: cross-site"}, "302"},
	{"a page load by a browser without Fetch Metadata", "GET", []string{acceptHTML}, "302"},
	{"a page load that says it accepts anything", "GET", []string{navigate}, "302"},

	{"fetch", "GET", []string{"Sec-Fetch-Mode: cors"}, "401 json"},
	{"fetch that accepts HTML", "GET", []string{"Sec-Fetch-Mode: cors", acceptHTML}, "401 json"},
	{"fetch from a page", "GET", []string{"Sec-Fetch-Mode: same-origin", "Referer: APP/tab/2?x=y"}, "401 json /tab/2?x=y"},
	{"fetch from a page of another site", "GET", []string{"Sec-Fetch-Mode: cors", "Referer: https://evil.example/tab/2"}, "401 json"},
	{"fetch from an odd page", "GET", []string{"Sec-Fetch-Mode: cors", "Referer: APP//evil.example"}, "401 json"},
	{"fetch by POST", "POST", []string{"Sec-Fetch-Mode: cors"}, "401 json"},
	{"XMLHttpRequest of old", "GET", []string{acceptHTML, "X-Requested-With: XMLHttpRequest"}, "401 json"},
	{"a client without a browser", "GET", nil, "401 json"},
	{"a client that wants JSON", "GET", []string{"Accept: application/json"}, "401 json"},

	{"htmx", "GET", []string{"Sec-Fetch-Mode: cors", "HX-Request: true", "HX-Current-URL: APP/tab/3"}, "401 json htmx /tab/3"},
	{"htmx by POST", "POST", []string{"HX-Request: true", "HX-Current-URL: APP/tab/3?a=b#c"}, "401 json htmx /tab/3?a=b"},
	{"htmx, boosted", "GET", []string{acceptHTML, "HX-Request: true", "HX-Boosted: true", "HX-Current-URL: APP/tab/3"}, "401 json htmx /tab/3"},
	{"htmx on another site", "GET", []string{"HX-Request: true", "HX-Current-URL: https://evil.example/tab/3"}, "401 json htmx"},
	{"htmx on no page", "GET", []string{"HX-Request: true", "HX-Current-URL: :", "Referer: APP/tab/3"}, "401 json htmx"},

	{"a WebSocket", "GET", []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-Fetch-Mode: websocket"}, "401 json"},
	{"a WebSocket of old", "GET", []string{acceptHTML, "Connection: Upgrade", "Upgrade: websocket"}, "401 json"},
	{"an event stream", "GET", []string{"Accept: text/event-stream", "Sec-Fetch-Mode: cors"}, "401 json"},
	{"an event stream of old", "GET", []string{"Accept: text/event-stream"}, "401 json"},
	{"an image", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Accept: image/avif,image/webp,*/*;q=0.8"}, "401 json"},
	{"a script that says it accepts HTML", "GET", []string{"Sec-Fetch-Mode: no-cors", acceptHTML}, "401 json"},

	{"a frame in a page of the app", "GET", []string{acceptHTML, navigate, "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: same-origin"}, "302"},
	{"a frame in a page of another site", "GET", []string{acceptHTML, navigate, "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: cross-site"}, "401 json"},
	{"an object in a page of another site", "GET", []string{acceptHTML, navigate, "Sec-Fetch-Dest: object", "Sec-Fetch-Site: cross-site"}, "401 json"},

	{"a form", "POST", []string{acceptHTML, navigate, "Referer: APP/tab/4"}, "401 page /tab/4"},
	{"a form without Fetch Metadata", "POST", []string{acceptHTML}, "401 page"},
	{"a form of another site", "POST", []string{acceptHTML, navigate, "Referer: https://evil.example/"}, "401 page"},
	{"HEAD", "HEAD", []string{acceptHTML, navigate}, "401 json"},
	{"a prefetch", "GET", []string{acceptHTML, navigate, "Sec-Purpose: prefetch"}, "401 json"},
	{"a prerendered page", "GET", []string{acceptHTML, navigate, "Sec-Purpose: prefetch;prerender"}, "401 json"},
	{"a prefetch of old", "GET", []string{acceptHTML, "Purpose: prefetch"}, "401 json"},
	{"a prefetch of older", "GET", []string{acceptHTML, "X-Moz: prefetch"}, "401 json"},
}

func TestTheAnswerWithoutASessionSuitsWhoAsks(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	for _, test := range askers {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			res, body := app.asks(t, app.provider.Browser(), test.method, "/tab/1?q=1", test.headers...)
			if got := describe(t, app, res, body); got != test.want {
				t.Errorf("answered %q, want %q\n%s", got, test.want, body)
			}
			if started := test.want == "302"; started != (len(res.Cookies()) == 1) {
				t.Errorf("it set the cookies %v", res.Cookies())
			}
			wantUncached(t, res)
		})
	}
}

func TestALoginStartsWithAPageLoad(t *testing.T) {
	t.Parallel()
	const crossSite = "Sec-Fetch-Site: cross-site"
	app := newTestApp(t, setup{})
	for _, test := range []struct {
		what, method string
		headers      []string
		starts       bool
	}{
		{"a link", "GET", []string{acceptHTML, navigate, "Sec-Fetch-Dest: document"}, true},
		{"a link on another site", "GET", []string{acceptHTML, navigate, crossSite, "Sec-Fetch-Dest: document"}, true},
		{"a form", "POST", []string{acceptHTML, navigate, "Sec-Fetch-Dest: document"}, true},
		{"a client without a browser", "GET", nil, true},
		{"an image on another site", "GET", []string{"Sec-Fetch-Mode: no-cors", crossSite, "Sec-Fetch-Dest: image"}, false},
		{"an image in a page of the app", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, false},
		{"a frame in a page of another site", "GET", []string{acceptHTML, navigate, crossSite, "Sec-Fetch-Dest: iframe"}, false},
		{"a form into a frame of another site", "POST", []string{acceptHTML, navigate, crossSite, "Sec-Fetch-Dest: iframe"}, false},
		{"fetch", "GET", []string{acceptHTML, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"}, false},
		{"htmx", "GET", []string{"HX-Request: true"}, false},
	} {
		for _, path := range []string{
			"/auth/login?return_to=/tab/9", "/auth/initiate?iss=" + url.QueryEscape(app.provider.Issuer()),
		} {
			res, body := app.asks(t, app.provider.Browser(), test.method, path, test.headers...)
			if started := len(res.Cookies()) == 1 && res.StatusCode/100 == 3; started != test.starts {
				t.Errorf("%s at %s: %s, cookies %v", test.what, path, res.Status, res.Cookies())
			}
			if !test.starts && (res.StatusCode != 401 || len(res.Cookies()) > 0 || jsonMember(t, body, "code") != "no_session") {
				t.Errorf("%s at %s: %s, cookies %v\n%s", test.what, path, res.Status, res.Cookies(), body)
			}
		}
	}
	res, _ := app.asks(t, app.provider.Browser(), "GET", "/auth/login?return_to=/tab/9", "HX-Request: true")
	if got := res.Header.Get("HX-Redirect"); got != "/auth/login?return_to=%2Ftab%2F9" {
		t.Errorf("htmx is sent to %q", got)
	}
}

// describe says what an answer is in the words of askers.
func describe(t *testing.T, app *testApp, res *http.Response, body string) string {
	t.Helper()
	words := fmt.Sprint(res.StatusCode)
	loginURL := ""
	switch contentType := res.Header.Get("Content-Type"); {
	case res.StatusCode == http.StatusFound:
		if location := res.Header.Get("Location"); !strings.HasPrefix(location, app.provider.Endpoint(oidctest.EndpointAuthorization)+"?") {
			t.Errorf("Location is %q", location)
		}
		return words
	case contentType == "application/problem+json":
		words += " json"
		var problem struct{ LoginURL string }
		if res.Request.Method != http.MethodHead {
			problem.LoginURL = jsonMember(t, body, "login_url")
		}
		loginURL = problem.LoginURL
	case strings.HasPrefix(contentType, "text/html"):
		words += " page"
		_, loginURL, _ = strings.Cut(body, `class="button" href="`)
		loginURL, _, _ = strings.Cut(loginURL, `"`)
		loginURL = strings.ReplaceAll(loginURL, "&amp;", "&")
	}
	if redirect := res.Header.Get("HX-Redirect"); redirect != "" {
		words += " htmx"
		if redirect != loginURL {
			t.Errorf("HX-Redirect is %q, login_url %q", redirect, loginURL)
		}
	}
	u, err := url.Parse(loginURL)
	if err != nil || u.Path != "/auth/login" && res.Request.Method != http.MethodHead {
		t.Errorf("login_url is %q", loginURL)
	}
	if challenge := res.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, `Cookie realm="127.0.0.1:`) {
		t.Errorf("WWW-Authenticate is %q", challenge)
	}
	if returnTo := u.Query().Get("return_to"); returnTo != "" {
		words += " " + returnTo
	}
	return words
}

func jsonMember(t *testing.T, body, name string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	value, _ := members[name].(string)
	return value
}

func wantUncached(t *testing.T, res *http.Response) {
	t.Helper()
	if got := res.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		t.Errorf("Cache-Control is %q", got)
	}
	if !slices.Contains(res.Header.Values("Vary"), "Cookie") {
		t.Errorf("Vary is %q", res.Header.Values("Vary"))
	}
}

func TestSignedInEverybodyGetsThePage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	for _, test := range askers {
		res, body := app.asks(t, browser, test.method, "/tab/1?q=1", test.headers...)
		if res.StatusCode != 200 || test.method != "HEAD" && !strings.Contains(body, `"Sub":"alice"`) {
			t.Errorf("%s: %s %s", test.what, res.Status, body)
		}
		if len(res.Cookies()) > 0 {
			t.Errorf("%s: cookies %v", test.what, res.Cookies())
		}
		wantUncached(t, res)
	}
}

func TestThePageMayAllowCaching(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	w := httptest.NewRecorder()
	c.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=60")
		w.Header().Add("Vary", "Accept")
	})).ServeHTTP(w, requestWith(c.start(t)...))
	if got := w.Header().Get("Cache-Control"); got != "private, max-age=60" {
		t.Errorf("Cache-Control is %q", got)
	}
	if got := w.Header().Values("Vary"); !slices.Equal(got, []string{"Cookie", "Accept"}) {
		t.Errorf("Vary is %q", got)
	}
}

func TestAProtectedPageNeedsNoMiddleware(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	w := httptest.NewRecorder()
	c.RequireLogin(http.HandlerFunc(sayWho)).ServeHTTP(w, requestWith(c.start(t)...))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "alice") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestTheSessionIsLookedUpOnceForARequest(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = PlainStore(store) })
	cookies := c.start(t)
	route := c.Require(Claim("sub", "alice"))(c.Require(Claim("sub"))(http.HandlerFunc(sayWho)))
	// The session and the three marks that would end it; a moment later the
	// session alone.
	for _, want := range []int{4, 1} {
		store.Took()
		w := httptest.NewRecorder()
		c.Middleware(c.Middleware(route)).ServeHTTP(w, requestWith(cookies...))
		if n := store.Took(OpGet); w.Code != 200 || n != want {
			t.Errorf("status %d, %d lookups, want %d", w.Code, n, want)
		}
	}
}

func TestOwnPathsAreAnsweredCarefully(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	for _, test := range []struct {
		method, path string
		headers      []string
		status       int
	}{
		{"HEAD", "/auth/login", []string{acceptHTML}, 405},
		{"PUT", "/auth/login", nil, 405},
		{"DELETE", "/auth/logout", nil, 405},
		{"HEAD", "/auth/callback?code=x&state=y", nil, 405},
		{"POST", "/auth/logout/callback", nil, 405},
		{"GET", "/auth/login", []string{acceptHTML, "Sec-Purpose: prefetch"}, 204},
		{"GET", "/auth/logout", []string{"Sec-Fetch-Site: same-origin", "Sec-Purpose: prefetch"}, 204},
		{"GET", "/auth/callback?code=x&state=y", []string{"Purpose: prefetch"}, 204},
		{"GET", "/auth/login", []string{acceptHTML}, 302},
		{"POST", "/auth/login", []string{acceptHTML}, 303},
		{"GET", "/auth/", []string{acceptHTML}, 404},
		{"GET", "/auth/login/", []string{acceptHTML}, 404},
	} {
		res, _ := app.asks(t, app.provider.Browser(), test.method, test.path, test.headers...)
		if res.StatusCode != test.status {
			t.Errorf("%s %s: %s, want %d", test.method, test.path, res.Status, test.status)
		}
		if started := test.status/100 == 3; started != (len(res.Cookies()) > 0) {
			t.Errorf("%s %s: cookies %v", test.method, test.path, res.Cookies())
		}
		if test.status == 405 && res.Header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", test.method, test.path)
		}
		if test.status != 404 && (res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Referrer-Policy") != "no-referrer") {
			t.Errorf("%s %s: headers %v", test.method, test.path, res.Header)
		}
	}
}

func TestRequirementsAreMetOrNot(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	now := c.clock.Now()
	s := madeSession(c.Client, fmt.Sprintf(`{"sub":"alice","acr":"eidas2","auth_time":%d}`, now.Add(-time.Minute).Unix()),
		`{"sub":"alice","acr":"eidas3","auth_time":9999999999,"email":"a@example.org","siret":"13002526500013",
		"email_verified":true,"count":3,"empty":"","nothing":null,"none":[],"no":false,"hollow":{},"nos":[false],"roles":["agent","admin"],"address":{"a":"b"}}`)
	for _, test := range []struct {
		requirement Requirement
		met         bool
	}{
		{ACR("eidas2"), true},
		{ACR("eidas1", "eidas2"), true},
		{ACR("eidas3"), false}, // UserInfo says so, which counts for nothing
		{ACR("EIDAS2"), false},
		{ACR(), false},
		{MaxAge(time.Minute), true},
		{MaxAge(time.Hour), true},
		{MaxAge(59 * time.Second), false},
		{Claim("email"), true},
		{Claim("email", "a@example.org", "b@example.org"), true},
		{Claim("email", "b@example.org"), false},
		{Claim("EMAIL"), false},
		{Claim("missing"), false},
		{Claim("empty"), false},
		{Claim("nothing"), false},
		{Claim("none"), false},
		{Claim("no"), false},
		{Claim("no", "false"), true},
		{Claim("nos"), false},
		{Claim("hollow"), false},
		{Claim("address", "map[a:b]"), false},
		{Claim("email_verified"), true},
		{Claim("email_verified", "true"), true},
		{Claim("email_verified", "false"), false},
		{Claim("count", "3"), true},
		{Claim("roles"), true},
		{Claim("roles", "admin"), true},
		{Claim("roles", "agent admin"), false},
		{Claim("address"), true},
		{Claim("acr", "eidas2"), true},
		{Claim("acr", "eidas3"), false},
	} {
		if met := test.requirement.Met(s, now); met != test.met {
			t.Errorf("%s: met is %t, want %t", test.requirement.Name, met, test.met)
		}
	}
	if MaxAge(time.Hour).Met(madeSession(c.Client, `{"sub":"alice"}`, ""), now) {
		t.Error("max_age is met without auth_time")
	}
	ahead := fmt.Sprintf(`{"sub":"alice","auth_time":%d}`, now.Add(time.Hour).Unix())
	if MaxAge(time.Hour).Met(madeSession(c.Client, ahead, ""), now) {
		t.Error("max_age is met by an auth_time that is yet to come")
	}
}

func TestARequirementWithoutMetIsAMistake(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "oddity") {
			t.Errorf("panic: %v", p)
		}
	}()
	newOfflineClient(t, nil).Require(Requirement{Name: "oddity"})
}

// requests returns how many authentication requests the provider has got, and
// the last one.
func (a *testApp) requests() (n int, last url.Values) {
	all := a.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(all) == 0 {
		return 0, url.Values{}
	}
	return len(all), all[len(all)-1].Form
}

func TestAnUnmetACRLeadsToOneStepUp(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	res, err := app.provider.Visit(browser, app.URL+"/admin?x=1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != 200 || body != `{"Path":"/admin?x=1","Sub":"alice","ACR":"eidas2"}`+"\n" {
		t.Errorf("the step-up ended with %s %s", res.Status, body)
	}
	n, last := app.requests()
	if asked := last.Get("acr_values") + last.Get("claims"); n != 2 || !strings.Contains(asked, "eidas2") {
		t.Errorf("%d requests, the last asked for %q", n, asked)
	}
	if got := app.who(t, browser, "/me"); got.ACR != "eidas2" {
		t.Errorf("afterwards: %+v", got)
	}
}

// However a provider fails to give the acr, the person meets a page that says
// so, and stays signed in as before.
func TestAStepUpThatFailsEndsWithAPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what     string
		persona  string
		provider oidctest.Config
		faults   []fault.Fault
	}{
		{"the person cannot", "chloe", oidctest.Config{}, nil},
		{"the provider refuses", "alice", oidctest.Config{}, []fault.Fault{fault.AuthorizationAccessDenied}},
		{"the provider ignores it", "alice", oidctest.Config{}, []fault.Fault{fault.IDTokenLowerACR}},
		{"the provider says none", "alice", oidctest.Config{}, []fault.Fault{fault.IDTokenMissingACR}},
		{"the provider knows no claims parameter", "chloe",
			oidctest.Config{Metadata: map[string]any{"claims_parameter_supported": false}}, nil},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: test.provider})
			browser := app.provider.SignIn(t, app.URL+"/me", test.persona)
			app.provider.Misbehave(test.faults...)
			for i := range 2 {
				before, _ := app.requests()
				res, err := app.provider.Visit(browser, app.URL+"/admin", test.persona)
				if err != nil {
					t.Fatal(err)
				}
				body := readBody(t, res)
				if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "<code>") {
					t.Errorf("visit %d ended with %s\n%s", i, res.Status, body)
				}
				if after, _ := app.requests(); after-before != 1 {
					t.Errorf("visit %d took %d authentication requests", i, after-before)
				}
			}
			if got := app.who(t, browser, "/me"); got.Sub != test.persona || got.ACR != "eidas1" {
				t.Errorf("the session is now %+v", got)
			}
		})
	}
}

func TestAnACRThatTheProviderDoesNotOfferIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *Client, mux *http.ServeMux) {
		mux.Handle("/vault", c.Require(ACR("eidas9"))(http.HandlerFunc(sayWho)))
	}})
	browser := app.signIn(t)
	before, _ := app.requests()
	res, _ := app.asks(t, browser, "GET", "/vault", acceptHTML)
	if after, _ := app.requests(); res.StatusCode != 500 || after != before || len(res.Cookies()) > 0 {
		t.Errorf("%s after %d requests, cookies %v", res.Status, after-before, res.Cookies())
	}
}

// A claim cannot be had by signing in again as the same person, so the second
// look is the last.
func TestAnUnmetClaimIsExplained(t *testing.T) {
	t.Parallel()
	explained := Claim("roles", "admin")
	explained.Explain = func(language string) string {
		return map[string]string{"fr": "Réservé <aux> admins", "en": "For <admins>"}[language]
	}
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}, routes: func(c *Client, mux *http.ServeMux) {
		mux.Handle("/plain", c.Require(Claim("roles", "admin"))(http.HandlerFunc(sayWho)))
		mux.Handle("/explained", c.Require(explained)(http.HandlerFunc(sayWho)))
	}})
	browser := app.provider.SignIn(t, app.URL+"/me", "")
	for _, test := range []struct{ path, language, want string }{
		{"/plain", "en", "does not meet what this page requires"},
		{"/plain", "fr", "ne répond pas aux exigences"},
		{"/explained", "en", "<p>For &lt;admins&gt;</p>"},
		{"/explained", "fr-FR", "<p>Réservé &lt;aux&gt; admins</p>"},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, app.URL+test.path, nil)
		r.Header.Set("Accept-Language", test.language)
		res, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if body := readBody(t, res); res.StatusCode != http.StatusForbidden || !strings.Contains(body, test.want) {
			t.Errorf("%s in %s: %s, without %q\n%s", test.path, test.language, res.Status, test.want, body)
		}
	}
	// Two routes, one demand: one more login in all.
	if n, _ := app.requests(); n != 2 {
		t.Errorf("%d authentication requests, want 2", n)
	}
	res, body := app.asks(t, browser, "GET", "/explained", "Sec-Fetch-Mode: cors")
	if res.StatusCode != http.StatusForbidden || jsonMember(t, body, "detail") != "For <admins>" ||
		jsonMember(t, body, "code") != "requirement_unmet" {
		t.Errorf("a script got %s %s", res.Status, body)
	}
	if !strings.Contains(app.log.String(), `claim roles [\"admin\"]`) {
		t.Errorf("the log does not name the requirement:\n%s", app.log)
	}
}

func TestMaxAgeStepsUpAgainWhenItHasPassed(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *Client, mux *http.ServeMux) {
		mux.Handle("/sign", c.Require(MaxAge(10*time.Minute))(http.HandlerFunc(sayWho)))
	}})
	browser := app.signIn(t)
	for i, step := range []struct {
		wait     time.Duration
		requests int
	}{{0, 0}, {10 * time.Minute, 0}, {time.Second, 1}, {5 * time.Minute, 0}, {6 * time.Minute, 1}, {30 * time.Minute, 1}} {
		app.clock.Advance(step.wait)
		before, _ := app.requests()
		res, err := app.provider.Visit(browser, app.URL+"/sign", "alice")
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		after, last := app.requests()
		if res.StatusCode != 200 || after-before != step.requests {
			t.Errorf("step %d: %s after %d logins, want %d", i, res.Status, after-before, step.requests)
		}
		if step.requests > 0 && last.Get("max_age") != "600" {
			t.Errorf("step %d: max_age is %q", i, last.Get("max_age"))
		}
	}
}

// A login cannot be eidas1 and eidas2 at once. Whoever meets such routes ends
// on a page, at the latest when each has been tried.
func TestContradictingRequirementsDoNotLoop(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}, routes: func(c *Client, mux *http.ServeMux) {
		low, high := ACR("eidas1"), ACR("eidas2")
		mux.Handle("/nested", c.Require(high)(c.Require(low)(http.HandlerFunc(sayWho))))
		mux.Handle("/both", c.Require(low, high)(http.HandlerFunc(sayWho)))
		bounce := func(to string) http.Handler { return http.RedirectHandler(to, http.StatusFound) }
		mux.Handle("/low", c.Require(low)(bounce("/high")))
		mux.Handle("/high", c.Require(high)(bounce("/low")))
	}})
	for _, path := range []string{"/nested", "/both", "/low", "/high"} {
		browser := app.provider.Browser()
		browser.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
			if len(via) > 40 {
				return fmt.Errorf("%d redirects", len(via))
			}
			return nil
		}
		res, body := get(t, browser, app.URL+path)
		if res.StatusCode != http.StatusForbidden && path != "/both" {
			t.Errorf("%s ended with %s\n%s", path, res.Status, body)
		}
		if path == "/both" && res.StatusCode < 400 {
			t.Errorf("%s ended with %s", path, res.Status)
		}
	}
}

func TestNestedRequirementsAreBothMet(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *Client, mux *http.ServeMux) {
		inner := c.Require(ACR("eidas2"))(http.HandlerFunc(sayWho))
		mux.Handle("/nested", c.Require(MaxAge(time.Hour))(inner))
	}})
	browser := app.signIn(t)
	app.clock.Advance(59 * time.Minute)
	if _, err := app.provider.Visit(browser, app.URL+"/me", "alice"); err != nil {
		t.Fatal(err)
	}
	res, err := app.provider.Visit(browser, app.URL+"/nested", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != 200 || !strings.Contains(body, "eidas2") {
		t.Errorf("%s %s", res.Status, body)
	}
}

// A script cannot go to the provider itself: login_url takes a person there,
// asks for what the route needs, and comes back.
func TestAScriptStepsUpByLoginURL(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	res, body := app.asks(t, browser, "GET", "/admin", "Sec-Fetch-Mode: cors", "Referer: APP/tab/5")
	if res.StatusCode != 401 || jsonMember(t, body, "code") != "requirement_unmet" {
		t.Fatalf("%s %s", res.Status, body)
	}
	loginURL := jsonMember(t, body, "login_url")
	if u, _ := url.Parse(loginURL); u.Query().Get("step_up") == "" || u.Query().Get("return_to") != "/tab/5" {
		t.Fatalf("login_url is %q", loginURL)
	}
	ended, err := app.provider.Visit(browser, app.URL+loginURL, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, ended); !strings.Contains(body, `"Path":"/tab/5"`) || !strings.Contains(body, "eidas2") {
		t.Errorf("ended at %s %s", ended.Request.URL, body)
	}
	if res, body := app.asks(t, browser, "GET", "/admin", "Sec-Fetch-Mode: cors"); res.StatusCode != 200 {
		t.Errorf("afterwards the script gets %s %s", res.Status, body)
	}

	res, _ = app.asks(t, browser, "GET", "/auth/login?step_up=unknown", acceptHTML)
	if location := res.Header.Get("Location"); res.StatusCode != 302 || strings.Contains(location, "eidas2") {
		t.Errorf("an unknown demand is not an ordinary login: %s to %s", res.Status, location)
	}
}

// A program in a page that follows login_url by itself must not go in circles
// either.
func TestAScriptDoesNotLoopOverContradictingRequirements(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}, routes: func(c *Client, mux *http.ServeMux) {
		mux.Handle("/api", c.Require(ACR("eidas2"))(c.Require(ACR("eidas1"))(http.HandlerFunc(sayWho))))
	}})
	browser := app.provider.SignIn(t, app.URL+"/me", "")
	for range 5 {
		res, body := app.asks(t, browser, "GET", "/api", "Sec-Fetch-Mode: cors")
		if res.StatusCode == http.StatusForbidden {
			return
		}
		get(t, browser, app.URL+jsonMember(t, body, "login_url"))
	}
	t.Error("five step-ups later the script is still told to step up")
}

func TestAFormThatNeedsAStepUpGetsAPage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	res, body := app.asks(t, browser, "POST", "/admin", acceptHTML, navigate, "Referer: APP/tab/6")
	if res.StatusCode != 401 || !strings.Contains(body, "return_to=%2Ftab%2F6") || !strings.Contains(body, "step_up=") {
		t.Errorf("%s\n%s", res.Status, body)
	}
}

func TestAProviderThatIsDownDoesNotStopWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	app.provider.SetDown(true)
	app.clock.Advance(50 * time.Minute)
	if got := app.who(t, browser, "/me"); got.Sub != "alice" {
		t.Errorf("signed in as %+v", got)
	}
}
