package oidcrp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// askers are the senders of a request for /tab/1?q=1 without a session, and what
// they get: a redirect to the provider, a page that offers to sign in, or a refusal
// in JSON whose login_url leads back to the page that asked.
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
	{"htmx, boosted", "GET", []string{acceptHTML, "HX-Request: true", "HX-Boosted: true", "HX-Current-URL: APP/tab/3"}, "401 json htmx /tab/1?q=1"},
	{"htmx, a boosted form", "POST", []string{acceptHTML, "HX-Request: true", "HX-Boosted: true", "HX-Current-URL: APP/tab/3"}, "401 json htmx /tab/3"},
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

func TestRequireLogin_TheAnswerSuitsWhoAsks(t *testing.T) {
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

func TestLogin_StartsWithAPageLoad(t *testing.T) {
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

func wantUncached(t *testing.T, res *http.Response) {
	t.Helper()
	if got := res.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		t.Errorf("Cache-Control is %q", got)
	}
	if !slices.Contains(res.Header.Values("Vary"), "Cookie") {
		t.Errorf("Vary is %q", res.Header.Values("Vary"))
	}
}

func TestRequireLogin_SignedInEverybodyGetsThePage(t *testing.T) {
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

func TestRequireLogin_ThePageMayAllowCaching(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	w := httptest.NewRecorder()
	client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=60")
		w.Header().Add("Vary", "Accept")
	})).ServeHTTP(w, signedInRequest(t, client))
	if got := w.Header().Get("Cache-Control"); got != "private, max-age=60" {
		t.Errorf("Cache-Control is %q", got)
	}
	if got := w.Header().Values("Vary"); !slices.Equal(got, []string{"Cookie", "Accept"}) {
		t.Errorf("Vary is %q", got)
	}
}

func TestRequireLogin_NeedsNoMiddleware(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	w := httptest.NewRecorder()
	client.RequireLogin(http.HandlerFunc(sayWho)).ServeHTTP(w, signedInRequest(t, client))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "alice") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Everything that wraps a handler has the shape that routers and middleware
// chains take.
func TestMiddleware_WrapsAsRoutersExpect(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	var chain []func(http.Handler) http.Handler
	chain = append(chain, client.Middleware, client.RequireLogin, client.Require(), client.Require(oidcrp.ACR("eidas1"), oidcrp.HasClaim("sub")))
	handler := http.Handler(http.HandlerFunc(sayWho))
	for _, wrap := range slices.Backward(chain) {
		handler = wrap(handler)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, signedInRequest(t, client))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "alice") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Two kinds of people, each with a sign-in of their own, in one app.
func TestMiddleware_SeveralClientsLiveInOneApp(t *testing.T) {
	t.Parallel()
	citizens := mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix = "/citizens/" })
	agents := mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix, cfg.ClientID = "/agents/", "agents" })
	mux := http.NewServeMux()
	mux.HandleFunc("/", sayWho)
	mux.Handle("/c", citizens.RequireLogin(http.HandlerFunc(sayWho)))
	mux.Handle("/a", agents.RequireLogin(http.HandlerFunc(sayWho)))
	mux.HandleFunc("/ask", func(w http.ResponseWriter, r *http.Request) {
		c, _ := citizens.Session(r)
		a, _ := agents.Session(r)
		json.NewEncoder(w).Encode(whoAnswer{Sub: c.Subject() + "," + a.Subject()})
	})
	app := citizens.Middleware(agents.Middleware(mux))

	ask := func(path string, cookies []*http.Cookie) string {
		w := httptest.NewRecorder()
		r := oidcrp.RequestWith(cookies...)
		r.URL.Path, r.RequestURI = path, path
		app.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			return fmt.Sprint(w.Code)
		}
		var who whoAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &who); err != nil {
			t.Fatal(err)
		}
		return who.Sub
	}
	citizen, agent := signedInRequest(t, citizens).Cookies(), signedInRequest(t, agents).Cookies()
	for _, test := range []struct {
		what                 string
		cookies              []*http.Cookie
		public, c, a, asking string
	}{
		{"nobody", nil, "", "401", "401", ","},
		// The public page is inside the agents' middleware: a citizen is nobody
		// there, rather than taken for an agent.
		{"a citizen", citizen, "", "alice", "401", "alice,"},
		{"an agent", agent, "alice", "401", "alice", ",alice"},
		{"both", slices.Concat(citizen, agent), "alice", "alice", "alice", "alice,alice"},
	} {
		got := []string{ask("/", test.cookies), ask("/c", test.cookies), ask("/a", test.cookies), ask("/ask", test.cookies)}
		if want := []string{test.public, test.c, test.a, test.asking}; !slices.Equal(got, want) {
			t.Errorf("signed in as %s: the pages say %q, want %q", test.what, got, want)
		}
	}
}

func TestMiddleware_AnswersOwnPathsCarefully(t *testing.T) {
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

// requests returns how many authentication requests the provider has got, and
// the last one.
func (a *testApp) requests() (n int, last url.Values) {
	all := a.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(all) == 0 {
		return 0, url.Values{}
	}
	return len(all), all[len(all)-1].Form
}

func TestRequire_AnUnmetACRLeadsToOneStepUp(t *testing.T) {
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
func TestRequire_AStepUpThatFailsEndsWithAPage(t *testing.T) {
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

func TestRequire_AnACRThatTheProviderDoesNotOfferIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/vault", c.Require(oidcrp.ACR("eidas9"))(http.HandlerFunc(sayWho)))
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
func TestRequire_AnUnmetClaimIsExplained(t *testing.T) {
	t.Parallel()
	explained := oidcrp.Claim("roles", "admin")
	explained.Explain = func(language string) string {
		return map[string]string{"fr": "Réservé <aux> admins", "en": "For <admins>"}[language]
	}
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/plain", c.Require(oidcrp.Claim("roles", "admin"))(http.HandlerFunc(sayWho)))
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

func TestRequire_MaxAgeStepsUpAgainWhenItHasPassed(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/sign", c.Require(oidcrp.MaxAge(10*time.Minute))(http.HandlerFunc(sayWho)))
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

// A login cannot be eidas1 and eidas2 at once. A person who meets such routes
// ends on a page, at the latest when each has been tried.
func TestRequire_ContradictingRoutesDoNotLoop(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		low, high := oidcrp.ACR("eidas1"), oidcrp.ACR("eidas2")
		mux.Handle("/nested", c.Require(high)(c.Require(low)(http.HandlerFunc(sayWho))))
		bounce := func(to string) http.Handler { return http.RedirectHandler(to, http.StatusFound) }
		mux.Handle("/low", c.Require(low)(bounce("/high")))
		mux.Handle("/high", c.Require(high)(bounce("/low")))
	}})
	for _, path := range []string{"/nested", "/low", "/high"} {
		browser := app.provider.Browser()
		browser.CheckRedirect = func(_ *http.Request, via []*http.Request) error {
			if len(via) > 40 {
				return fmt.Errorf("%d redirects", len(via))
			}
			return nil
		}
		res, body := get(t, browser, app.URL+path)
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s ended with %s\n%s", path, res.Status, body)
		}
	}
}

func TestRequire_NestedRequirementsAreBothMet(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		inner := c.Require(oidcrp.ACR("eidas2"))(http.HandlerFunc(sayWho))
		mux.Handle("/nested", c.Require(oidcrp.MaxAge(time.Hour))(inner))
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
func TestRequire_AScriptStepsUpByLoginURL(t *testing.T) {
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
func TestRequire_AScriptDoesNotLoop(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/api", c.Require(oidcrp.ACR("eidas2"))(c.Require(oidcrp.ACR("eidas1"))(http.HandlerFunc(sayWho))))
	}})
	browser := app.provider.SignIn(t, app.URL+"/me", "")
	for range 5 {
		res, body := app.asks(t, browser, "GET", "/api", "Sec-Fetch-Mode: cors")
		if res.StatusCode == http.StatusForbidden {
			return
		}
		get(t, browser, app.URL+jsonMember(t, body, "login_url"))
	}
	t.Error("five step-ups later the script is still asked to step up")
}

func TestRequire_AFormThatNeedsAStepUpGetsAPage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	res, body := app.asks(t, browser, "POST", "/admin", acceptHTML, navigate, "Referer: APP/tab/6")
	if res.StatusCode != 401 || !strings.Contains(body, "return_to=%2Ftab%2F6") || !strings.Contains(body, "step_up=") {
		t.Errorf("%s\n%s", res.Status, body)
	}
}

func TestRequireLogin_AProviderThatIsDownStopsNobodyWhoIsSignedIn(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.signIn(t)
	app.provider.SetDown(true)
	app.clock.Advance(50 * time.Minute)
	if got := app.who(t, browser, "/me"); got.Sub != "alice" {
		t.Errorf("signed in as %+v", got)
	}
}

// A checkCase is a request, and what Check and Require decide about it.
type checkCase struct {
	what    string
	request func(t *testing.T, client *oidcrp.Client, store *oidcrp.HookStore) *http.Request
	want    oidcrp.Code // "" if it may pass
	session bool        // Check returns one
	status  int         // of Require, for a script
}

var checkCases = []checkCase{
	{"nobody", func(*testing.T, *oidcrp.Client, *oidcrp.HookStore) *http.Request { return oidcrp.RequestWith() },
		oidcrp.CodeNoSession, false, http.StatusUnauthorized},
	{"alice", func(t *testing.T, client *oidcrp.Client, _ *oidcrp.HookStore) *http.Request {
		return signedInRequest(t, client)
	}, oidcrp.CodeRequirementUnmet, true, http.StatusForbidden},
	{"an admin", func(*testing.T, *oidcrp.Client, *oidcrp.HookStore) *http.Request {
		s := oidcrp.NewSession(map[string]any{"sub": "alice", "roles": []string{"admin"}})
		return oidcrp.RequestWith().WithContext(oidcrp.ContextWithSession(context.Background(), s))
	}, "", true, http.StatusOK},
	{"alice while the store fails", func(t *testing.T, client *oidcrp.Client, store *oidcrp.HookStore) *http.Request {
		r := signedInRequest(t, client)
		store.Fail(errors.New("connection refused"))
		return r
	}, oidcrp.CodeStoreUnavailable, false, http.StatusServiceUnavailable},
	{"alice, who has gone while the store hangs", func(t *testing.T, client *oidcrp.Client, store *oidcrp.HookStore) *http.Request {
		r := signedInRequest(t, client)
		store.Hang()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return r.WithContext(ctx)
	}, oidcrp.CodeCanceled, false, 499},
}

// Check decides as Require does, behind Middleware and without it.
func TestCheck_DecidesAsRequireDoes(t *testing.T) {
	t.Parallel()
	admin := oidcrp.Claim("roles", "admin")
	for _, test := range checkCases {
		for _, middleware := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, with Middleware %t", test.what, middleware), func(t *testing.T) {
				t.Parallel()
				store := oidcrp.NewHookStore(nil)
				client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Store = store })
				r := test.request(t, client, store)
				served := false
				var check, require http.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					served = true
					s, err := client.Check(r, admin)
					if test.want != "" {
						wantCode(t, err, test.want)
					} else if err != nil {
						t.Errorf("Check returned %v", err)
					}
					if (s != nil) != test.session || s != nil && s.Subject() != "alice" {
						t.Errorf("Check returned the session %v", s)
					}
				}), client.Require(admin)(http.HandlerFunc(sayWho))
				if middleware {
					check, require = client.Middleware(check), client.Middleware(require)
				}
				check.ServeHTTP(httptest.NewRecorder(), r)
				if !served {
					t.Error("the handler was not called")
				}
				w := httptest.NewRecorder()
				if require.ServeHTTP(w, r); w.Code != test.status {
					t.Errorf("Require answers %d, want %d: %s", w.Code, test.status, w.Body)
				}
			})
		}
	}
}

// What Check refuses, ServeError answers as Require does, for every kind of sender.
func TestServeError_AnswersARefusalOfCheckAsRequireDoes(t *testing.T) {
	t.Parallel()
	admin := oidcrp.Claim("roles", "admin")
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/require", c.Require(admin)(http.HandlerFunc(sayWho)))
		mux.HandleFunc("/check", func(w http.ResponseWriter, r *http.Request) {
			if _, err := c.Check(r, admin); err != nil {
				c.ServeError(w, r, err)
				return
			}
			sayWho(w, r)
		})
	}})
	// What differs between two answers to the same question: states, nonces and
	// incidents.
	random := regexp.MustCompile(`(state|nonce|code_challenge)=[\w-]+|<code>[\w-]+</code>|"incident":"[\w-]+"|oidcrp_[\w-]+=[^;]*`)
	describe := func(cookies, path, method string, headers []string) string {
		// No jar: a login that is under way would change the next answer.
		res, body := app.asks(t, &http.Client{}, method, path, append(headers, "Cookie: "+cookies)...)
		text := fmt.Sprintln(res.StatusCode, res.Header["Location"], res.Header["Hx-Redirect"], res.Header["Cache-Control"],
			res.Header["Vary"], len(res.Cookies()), body)
		return random.ReplaceAllString(strings.ReplaceAll(strings.ReplaceAll(text, "%2Fcheck", "%2Frequire"), "/check", "/require"), "$1")
	}
	alice := oidcrp.RequestWith(app.cookiesOf(t, app.signIn(t))...).Header.Get("Cookie")
	for what, cookies := range map[string]string{"nobody": "", "alice": alice} {
		for _, test := range askers {
			check := describe(cookies, "/check", test.method, test.headers)
			require := describe(cookies, "/require", test.method, test.headers)
			if check != require {
				t.Errorf("%s by %s: Check and ServeError answer\n%s\nRequire\n%s", what, test.what, check, require)
			}
		}
	}
}

// The login_url of an answer to Check leads to a login that asks for what was
// required.
func TestServeError_AScriptStepsUpByLoginURL(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/check", func(w http.ResponseWriter, r *http.Request) {
			if _, err := c.Check(r, oidcrp.ACR("eidas2", "eidas3")); err != nil {
				c.ServeError(w, r, err)
				return
			}
			sayWho(w, r)
		})
	}})
	browser := app.signIn(t)
	res, body := app.asks(t, browser, "GET", "/check", "Sec-Fetch-Mode: cors", "Referer: APP/tab/5")
	if res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%s %s", res.Status, body)
	}
	ended, err := app.provider.Visit(browser, app.URL+jsonMember(t, body, "login_url"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, ended); !strings.Contains(body, `"Path":"/tab/5"`) || !strings.Contains(body, "eidas2") {
		t.Errorf("ended at %s %s", ended.Request.URL, body)
	}
}

// unmetDocument is a demand about one object that no login meets, although it asks for
// something.
func unmetDocument(id int) oidcrp.Requirement {
	demand := oidcrp.Claim("documents", strconv.Itoa(id))
	demand.Ask = func(o *oidcrp.AuthOptions) { o.UILocales = []string{"fr"} }
	return demand
}

// wantOneStepUp fails the test unless a script at path is told to step up, and after
// the one login that this leads to, that it is refused.
func (a *testApp) wantOneStepUp(t *testing.T, browser *http.Client, path string, meanwhile func()) {
	t.Helper()
	res, body := a.asks(t, browser, "GET", path, "Sec-Fetch-Mode: cors")
	loginURL := jsonMember(t, body, "login_url")
	if res.StatusCode != http.StatusUnauthorized || !strings.Contains(loginURL, "step_up=") {
		t.Fatalf("the script gets %s %s", res.Status, body)
	}
	meanwhile()
	ended, err := a.provider.Visit(browser, a.URL+loginURL, "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, ended)
	res, body = a.asks(t, browser, "GET", path, "Sec-Fetch-Mode: cors")
	if res.StatusCode != http.StatusForbidden || jsonMember(t, body, "code") != "requirement_unmet" {
		t.Errorf("after its login the script gets %s %s", res.Status, body)
	}
}

// A login may start on another replica than the one that asked for it, or after so
// many others that this one is forgotten. The script must not try without end.
func TestServeError_AScriptStepsUpOnceForADemandThatIsUnknown(t *testing.T) {
	t.Parallel()
	for _, inCookies := range []bool{false, true} {
		t.Run(fmt.Sprintf("in cookies %t", inCookies), func(t *testing.T) {
			t.Parallel()
			store := oidcrp.NewMemoryStore(0)
			config := func(cfg *oidcrp.Config) { cfg.Store, cfg.Sessions.InCookies = store, inCookies }
			var other *oidcrp.Client
			check := func(c *oidcrp.Client, w http.ResponseWriter, r *http.Request, id int) {
				_, err := c.Check(r, unmetDocument(id))
				c.ServeError(w, r, err)
			}
			app := newTestApp(t, setup{config: config, routes: func(c *oidcrp.Client, mux *http.ServeMux) {
				mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { check(c, w, r, -1) })
				mux.HandleFunc("/there", func(w http.ResponseWriter, r *http.Request) { check(other, w, r, -2) })
			}})
			other = newTestClient(t, app, config)
			app.wantOneStepUp(t, app.signIn(t), "/there", func() {})

			browser := app.signIn(t)
			cookies := app.cookiesOf(t, browser)
			flood := func() {
				for id := range 1100 {
					check(app.client, httptest.NewRecorder(), oidcrp.RequestWith(cookies...), id)
				}
			}
			app.wantOneStepUp(t, browser, "/here", flood)

			// A route's demand is still known then.
			res, body := app.asks(t, app.signIn(t), "GET", "/admin", "Sec-Fetch-Mode: cors")
			location := follow(t, app.provider.Browser(), app.URL+jsonMember(t, body, "login_url"))
			if claims := location.Query().Get("claims"); !strings.Contains(claims, "eidas2") {
				t.Errorf("after %s, the login of a route asks for %q", res.Status, claims)
			}
		})
	}
}

// No acr value meets both, so no login can: that is for Check to say, since its
// requirements may depend on the object.
func TestCheck_ContradictingACRsAreUnmet(t *testing.T) {
	t.Parallel()
	eidas1, eidas2 := oidcrp.ACR("eidas1"), oidcrp.ACR("eidas2")
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/check", func(w http.ResponseWriter, r *http.Request) {
			s, err := c.Check(r, eidas1, eidas2)
			if wantCode(t, err, oidcrp.CodeRequirementUnmet); s.Subject() != "alice" {
				t.Errorf("Check returned the session %v", s)
			}
			c.ServeError(w, r, err)
		})
	}})
	_, err := app.client.Check(oidcrp.RequestWith(), eidas1, eidas2)
	wantCode(t, err, oidcrp.CodeNoSession)
	res, body := app.asks(t, app.signIn(t), "GET", "/check", "Sec-Fetch-Mode: cors")
	if res.StatusCode != http.StatusUnauthorized || jsonMember(t, body, "requirement") != eidas2.Name {
		t.Errorf("the script gets %s %s", res.Status, body)
	}
	if message := panicOf(func() { app.client.Require(eidas1, eidas2) }); !strings.Contains(message, "no acr value meets") {
		t.Errorf("Require panics with %q", message)
	}
}

func TestServeError_AnswersAnyError(t *testing.T) {
	t.Parallel()
	log := new(testLog)
	client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	for _, test := range []struct {
		err    error
		status int
		code   oidcrp.Code
	}{
		{&oidcrp.Error{Op: "x", Code: oidcrp.CodeStoreUnavailable}, http.StatusServiceUnavailable, oidcrp.CodeStoreUnavailable},
		{fmt.Errorf("wrapped: %w", &oidcrp.Error{Op: "x", Code: oidcrp.CodeInvalidRequest}), http.StatusBadRequest, oidcrp.CodeInvalidRequest},
		{errors.New("the app's own"), http.StatusInternalServerError, oidcrp.CodeInternal},
		{nil, http.StatusInternalServerError, oidcrp.CodeInternal},
	} {
		w := httptest.NewRecorder()
		client.ServeError(w, oidcrp.RequestWith(), test.err)
		if w.Code != test.status || jsonMember(t, w.Body.String(), "code") != string(test.code) {
			t.Errorf("%v is answered with %d %s", test.err, w.Code, w.Body)
		}
	}
	if !strings.Contains(log.String(), "ServeError was called without an error") {
		t.Errorf("the log says\n%s", log)
	}
}

// Login.RequireACR is required wherever a login is, and so is an essential acr
// claim.
func TestRequireACR_HoldsOnEveryProtectedRoute(t *testing.T) {
	t.Parallel()
	requireACR := func(cfg *oidcrp.Config) { cfg.Login.RequireACR = []string{"eidas2", "eidas3"} }
	essential := func(cfg *oidcrp.Config) {
		acr := &oidcrp.ClaimRequest{Essential: true, Values: []any{"eidas2", "eidas3"}}
		cfg.Login.Claims = &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": acr}}
	}
	for what, configure := range map[string]func(*oidcrp.Config){"RequireACR": requireACR, "an essential acr": essential} {
		t.Run(what, func(t *testing.T) { wantACROnEveryRoute(t, mustNew(t, configure)) })
	}
}

// wantACROnEveryRoute checks that client lets in eidas2 and eidas3 only.
func wantACROnEveryRoute(t *testing.T, client *oidcrp.Client) {
	t.Helper()
	for acr, met := range map[string]bool{"eidas1": false, "eidas2": true, "eidas3": true, "": false} {
		s := oidcrp.NewSession(map[string]string{"sub": "alice", "acr": acr})
		r := oidcrp.RequestWith().WithContext(oidcrp.ContextWithSession(t.Context(), s))
		for what, wrap := range map[string]func(http.Handler) http.Handler{
			"RequireLogin": client.RequireLogin, "Require": client.Require(oidcrp.HasClaim("sub")),
		} {
			w := httptest.NewRecorder()
			wrap(http.HandlerFunc(sayWho)).ServeHTTP(w, r)
			if passed := w.Code == http.StatusOK; passed != met {
				t.Errorf("acr %q: %s answers %d", acr, what, w.Code)
			}
		}
		if _, err := client.Check(r); (err == nil) != met || err != nil && !errors.Is(err, oidcrp.CodeRequirementUnmet) {
			t.Errorf("acr %q: Check returned %v", acr, err)
		}
	}
}

func TestRequire_PanicsOnWhatCannotWork(t *testing.T) {
	t.Parallel()
	met := func(*oidcrp.Session, time.Time) bool { return true }
	client := mustNew(t, func(cfg *oidcrp.Config) {
		cfg.Validate = func(_ oidcrp.Config, requirements ...oidcrp.Requirement) error {
			if len(requirements) > 0 && requirements[0].Name == "forbidden here" {
				return errors.New("no such thing here")
			}
			return nil
		}
	})
	for _, test := range []struct {
		what         string
		requirements []oidcrp.Requirement
		panics       string // "" if it does not
		check        bool   // Check panics, too
	}{
		{"nothing", nil, "", false},
		{"a requirement", []oidcrp.Requirement{{Name: "x", Met: met}}, "", false},
		{"no Name", []oidcrp.Requirement{{Name: "x", Met: met}, {Met: met}}, "requirement 2 has no Name", true},
		{"two without Name", []oidcrp.Requirement{{Met: met}, {Met: met}}, "requirement 1 has no Name", true},
		{"no Met", []oidcrp.Requirement{{Name: "oddity"}}, "the requirement oddity has no Met", true},
		{"acr values that contradict", []oidcrp.Requirement{oidcrp.ACR("eidas1"), oidcrp.ACR("eidas2")}, "no acr value meets", false},
		{"acr values that overlap", []oidcrp.Requirement{oidcrp.ACR("eidas1", "eidas2"), oidcrp.ACR("eidas2")}, "", false},
		{"no acr value", []oidcrp.Requirement{oidcrp.ACR()}, "no acr value meets", false},
		{"what Validate refuses", []oidcrp.Requirement{{Name: "forbidden here", Met: met}}, "oidcrp: Require: no such thing here", false},
	} {
		for what, call := range map[string]func(){
			"Require": func() { client.Require(test.requirements...) },
			"Check":   func() { _, _ = client.Check(oidcrp.RequestWith(), test.requirements...) },
		} {
			want := test.panics
			if what == "Check" && !test.check {
				want = ""
			}
			if got := panicOf(call); (got == "") != (want == "") || !strings.Contains(got, want) || got != "" && !strings.HasPrefix(got, "oidcrp: ") {
				t.Errorf("%s of %s: the panic is %q, want %q", what, test.what, got, want)
			}
		}
	}
}

// People authenticate, return to a page that does not exist, and wonder.
func TestRequireLogin_NoticesThatNobodyCanReturn(t *testing.T) {
	t.Parallel()
	matchedOnly := func(app *testApp, protected http.Handler) http.Handler { // as gorilla/mux runs r.Use
		mux := http.NewServeMux()
		mux.Handle("/page", app.client.Middleware(protected))
		return mux
	}
	for _, test := range []struct {
		what   string
		mount  func(app *testApp, protected http.Handler) http.Handler
		visits int
		want   string
	}{
		{"without Middleware", func(_ *testApp, protected http.Handler) http.Handler { return protected }, 1, "Middleware is missing"},
		{"Middleware for matched paths", matchedOnly, 7, "do not seem to reach Client.Middleware"},
		{"Middleware for matched paths, few visits", matchedOnly, 4, ""},
		{"as it should be", func(app *testApp, protected http.Handler) http.Handler { return app.client.Middleware(protected) }, 4, ""},
	} {
		app := newTestApp(t, setup{})
		app.client = newTestClient(t, app, nil)
		handler := test.mount(app, app.client.RequireLogin(http.HandlerFunc(sayWho)))
		var cookies []*http.Cookie
		for range test.visits {
			r := httptest.NewRequest(http.MethodGet, app.URL+"/page", nil)
			r.Header.Set("Accept", "text/html")
			for _, cookie := range cookies {
				r.AddCookie(cookie)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			cookies = w.Result().Cookies()
		}
		log := app.log.String()
		if n := strings.Count(log, `"level":"ERROR"`); (test.want == "") != (n == 0) || n > 1 || !strings.Contains(log, test.want) {
			t.Errorf("%s: %d errors in the log, want one with %q\n%s", test.what, n, test.want, log)
		}
	}
}

// An app that is mounted below a prefix, which is stripped before Middleware.
func TestMiddleware_BehindStripPrefix(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	app.URL = server.URL
	for _, base := range []string{"", "/myapp"} {
		prefix := base
		if prefix == "" {
			prefix = "/auth" // somebody mounts it where its paths are
		}
		app.client = newTestClient(t, app, func(c *oidcrp.Config) { c.BaseURL = server.URL + base })
		mux := http.NewServeMux()
		mux.Handle(base+"/page", app.client.RequireLogin(http.HandlerFunc(sayWho)))
		mux.Handle(prefix+"/", http.StripPrefix(prefix, app.client.Middleware(http.NotFoundHandler())))
		handler = mux
		if who := app.who(t, app.provider.Browser(), base+"/page?a=b"); who.Sub != "alice" || who.Path != base+"/page?a=b" {
			t.Errorf("below %q: %+v", prefix, who)
		}
	}
}

// A single-page app can tell what a login may help with from what it cannot.
func TestRequire_AScriptLearnsWhetherALoginHelps(t *testing.T) {
	t.Parallel()
	role, level, age := oidcrp.Claim("roles", "admin"), oidcrp.ACR("eidas2"), oidcrp.MaxAge(time.Minute)
	pages := map[string][]oidcrp.Requirement{
		"/role": {role}, "/level": {level}, "/age": {age}, "/both": {level, role}, "/levels": {level, age},
	}
	app := newTestApp(t, setup{routes: func(c *oidcrp.Client, mux *http.ServeMux) {
		for path, requirements := range pages {
			mux.Handle(path, c.Require(requirements...)(http.HandlerFunc(sayWho)))
			mux.HandleFunc("/check"+path, func(w http.ResponseWriter, r *http.Request) {
				_, err := c.Check(r, requirements...)
				c.ServeError(w, r, err)
			})
		}
	}})
	browser := app.signIn(t)
	app.clock.Advance(10 * time.Minute)
	const fetch, swap, load = "Sec-Fetch-Mode: cors", "HX-Request: true", "Sec-Fetch-Mode: navigate"
	for _, test := range []struct {
		path, header string
		status       int
		names        string
		to           string // where htmx leads
	}{
		{"/role", fetch, 403, role.Name, ""},
		{"/role", swap, 403, role.Name, ""},
		{"/level", fetch, 401, level.Name, ""},
		{"/level", swap, 401, level.Name, "/auth/login?"},
		{"/age", fetch, 401, age.Name, ""},
		{"/both", fetch, 403, role.Name, ""},
		{"/levels", fetch, 401, level.Name, ""},
		// A person may have been given the role meanwhile.
		{"/role", load, 302, "", ""},
		{"/both", load, 302, "", ""},
	} {
		for _, prefix := range []string{"", "/check"} {
			res, body := app.asks(t, browser, "GET", prefix+test.path, test.header, acceptHTML)
			if res.StatusCode != test.status {
				t.Errorf("%s, %s: %s, want %d\n%s", prefix+test.path, test.header, res.Status, test.status, body)
				continue
			}
			if to := res.Header.Get("HX-Redirect"); (to != "") != (test.to != "") || !strings.HasPrefix(to, test.to) {
				t.Errorf("%s, %s: htmx goes to %q, want %q", prefix+test.path, test.header, to, test.to)
			}
			if test.status == 302 {
				continue
			}
			if got := jsonMember(t, body, "requirement"); got != test.names || jsonMember(t, body, "code") != "requirement_unmet" {
				t.Errorf("%s, %s: the answer names %q, want %q\n%s", prefix+test.path, test.header, got, test.names, body)
			}
		}
	}
	// By htmx in the browser's place, a page load remains one.
	res, _ := app.asks(t, browser, "GET", "/role", swap, "HX-Boosted: true")
	if to := res.Header.Get("HX-Redirect"); res.StatusCode != 401 || !strings.HasPrefix(to, "/auth/login?") {
		t.Errorf("a boosted link gets %s to %q", res.Status, to)
	}
}
