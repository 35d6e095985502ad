package oidcrp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

const pageAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// document are the headers of a page load.
var document = map[string]string{"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Accept": pageAccept}

// newSilentApp starts an app with the public page "/news", which signs in silently.
func newSilentApp(t *testing.T, provider oidctest.Config, changes ...func(*oidcrp.Config)) *testApp {
	t.Helper()
	// The cookies of the provider, on 127.0.0.1, are then apart.
	local := func(url string) string { return strings.Replace(url, "127.0.0.1", "localhost", 1) }
	app := newTestApp(t, setup{provider: provider,
		config: func(c *oidcrp.Config) {
			c.BaseURL = local(c.BaseURL)
			for _, change := range changes {
				change(c)
			}
		},
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.Handle("/news", c.SignInSilently(http.HandlerFunc(sayWho)))
		}})
	app.URL = local(app.URL)
	return app
}

// load opens a page with these headers, which must end there, and returns who is signed
// in.
func (a *testApp) load(t *testing.T, browser *http.Client, path string, headers map[string]string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	res, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body := readBody(t, res)
	if got := res.Request.URL.RequestURI(); res.StatusCode != 200 || got != path {
		t.Fatalf("%s ended at %s with %s:\n%s", path, got, res.Status, body)
	}
	var answer whoAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return answer.Sub
}

// wantTries checks how many authentication requests the provider got.
func (a *testApp) wantTries(t *testing.T, what string, want int) {
	t.Helper()
	if got := a.provider.Count(oidctest.EndpointAuthorization); got != want {
		t.Errorf("%s: %d authentication requests, want %d", what, got, want)
	}
}

// visits lets browser sign in as alice, wherever that ends.
func (a *testApp) visits(t *testing.T, browser *http.Client) {
	t.Helper()
	res, err := a.provider.Visit(browser, a.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// knownToTheProvider returns a browser that has the provider's cookies only.
func (a *testApp) knownToTheProvider(t *testing.T) *http.Client {
	t.Helper()
	provider, err := url.Parse(a.provider.Endpoint(oidctest.EndpointAuthorization))
	if err != nil {
		t.Fatal(err)
	}
	visitor, fresh := a.provider.Browser(), a.provider.Browser()
	a.visits(t, visitor)
	fresh.Jar.SetCookies(provider, visitor.Jar.Cookies(provider))
	a.provider.ResetRequests()
	return fresh
}

func TestSignInSilently_FindsTheSessionAtTheProvider(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"query", "form_post"} {
		app := newSilentApp(t, oidctest.Config{}, func(c *oidcrp.Config) { c.ResponseMode, c.Login.Prompt = mode, "login" })
		browser := app.knownToTheProvider(t)
		for i, want := range []string{"", "alice", "alice"} {
			if got := app.load(t, browser, "/news?page=2", document); got != want {
				t.Errorf("%s: page %d is shown to %q, want %q", mode, i+1, got, want)
			}
		}
		app.wantTries(t, mode, 1)
		if query := app.provider.RequestsTo(oidctest.EndpointAuthorization)[0].URL.Query(); query.Get("prompt") != "none" {
			t.Errorf("%s: the request is %v", mode, query)
		}
	}
}

func TestSignInSilently_WithoutASessionTriesOnce(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"query", "form_post"} {
		app := newSilentApp(t, oidctest.Config{}, func(c *oidcrp.Config) { c.ResponseMode = mode })
		browser := app.provider.Browser()
		for range 4 {
			if got := app.load(t, browser, "/news?page=2", document); got != "" {
				t.Errorf("%s: the page is shown to %q", mode, got)
			}
		}
		app.wantTries(t, mode, 1)
		if strings.Contains(app.log.String(), `"level":"WARN"`) {
			t.Errorf("%s: the log warns of it:\n%s", mode, app.log)
		}
	}
}

// comesBackWith opens the page twice, and brings the browser back from the provider with
// these parameters in place of its answer. It returns the response.
func (a *testApp) comesBackWith(t *testing.T, browser *http.Client, path string, params url.Values) (*http.Response, string) {
	t.Helper()
	a.load(t, browser, path, document)
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range document {
		r.Header.Set(name, value)
	}
	res, err := noRedirects(browser).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	asked := mustQuery(t, res.Header.Get("Location"))
	params.Set("state", asked.Get("state"))
	params.Set("iss", a.provider.Issuer())
	return get(t, noRedirects(browser), asked.Get("redirect_uri")+"?"+params.Encode())
}

func TestSignInSilently_AnErrorOfTheProviderComesBackToThePage(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	long := "/news?page=" + strings.Repeat("a", 400) // longer than a state carries
	for _, code := range []string{
		"login_required", "interaction_required", "consent_required", "account_selection_required",
		"access_denied", "temporarily_unavailable", "invalid_scope", "made_up",
	} {
		browser := app.provider.Browser()
		res, body := app.comesBackWith(t, browser, long, url.Values{"error": {code}, "error_description": {"authentication_expired"}})
		if got := res.Header.Get("Location"); res.StatusCode != 302 || got != app.URL+long {
			t.Errorf("%s: %s to %q\n%s", code, res.Status, got, body)
		}
		if got := app.load(t, browser, long, document); got != "" {
			t.Errorf("%s: the page is shown to %q", code, got)
		}
	}
	app.wantTries(t, "without following", 0)
}

// Whatever fails after the code arrived, nobody had asked to sign in.
func TestSignInSilently_ALoginThatFailsServesThePage(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*oidcrp.Config){
		"a login that the app refuses": func(c *oidcrp.Config) {
			c.OnLogin = func(context.Context, *http.Request, *oidcrp.Session) error { return oidcrp.Refuse("no account", nil) }
		},
		"a session that cannot be kept":   func(c *oidcrp.Config) { c.Store = oidcrp.PlainStore(failingSet()) },
		"an ID Token of another audience": func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = "ES256" },
	} {
		app := newSilentApp(t, oidctest.Config{}, change)
		browser := app.knownToTheProvider(t)
		for range 3 {
			if got := app.load(t, browser, "/news", document); got != "" {
				t.Errorf("%s: the page is shown to %q", what, got)
			}
		}
		app.wantTries(t, what, 1)
		if !strings.Contains(app.log.String(), "a silent sign-in failed") {
			t.Errorf("%s: the log does not say so:\n%s", what, app.log)
		}
	}
}

// failingSet returns a store that keeps nothing.
func failingSet() oidcrp.Store {
	store := oidcrp.NewHookStore(nil)
	store.Fail(errOp, oidcrp.OpSet)
	return store
}

// A login that was lost does not start again, since that would show the login page.
func TestSignInSilently_ALostLoginComesBackToThePage(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	browser := app.provider.Browser()
	browser.Jar = forgetful{browser.Jar, "_t_", ""}
	res, body := app.comesBackWith(t, browser, "/news?page=2", url.Values{"code": {"x"}})
	if got := res.Header.Get("Location"); res.StatusCode != 302 || got != app.URL+"/news?page=2" {
		t.Errorf("%s to %q\n%s", res.Status, got, body)
	}
}

// A browser that lost the note that it was tried gets a page, and no loop.
func TestSignInSilently_AnErrorIsShownWhereThePageWouldTryAgain(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	browser := app.provider.Browser()
	browser.Jar = forgetful{browser.Jar, "_n", "1"}
	res, body := app.comesBackWith(t, browser, "/news", url.Values{"error": {"login_required"}})
	if res.StatusCode != 401 || res.Header.Get("Location") != "" {
		t.Errorf("%s to %q\n%s", res.Status, res.Header.Get("Location"), body)
	}
}

// A forgetful jar drops cookies whose name has this in it, of this value unless it is
// empty.
type forgetful struct {
	http.CookieJar
	name, value string
}

func (j forgetful) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.CookieJar.SetCookies(u, slices.DeleteFunc(slices.Clone(cookies), func(c *http.Cookie) bool {
		return strings.Contains(c.Name, j.name) && (j.value == "" || c.Value == j.value)
	}))
}

func TestSignInSilently_OnPageLoadsOnly(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	for _, headers := range []map[string]string{
		nil,
		{"Accept": pageAccept, "Upgrade-Insecure-Requests": "1"},
		{"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate"},
		{"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "navigate"},
		{"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch"},
		{"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Purpose": "prefetch"},
		{"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "HX-Request": "true"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Accept": pageAccept, "Upgrade-Insecure-Requests": "1"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "same-origin", "Accept": "*/*"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "same-origin", "Accept": "text/html"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "same-origin", "Accept": pageAccept, "X-Requested-With": "XMLHttpRequest"},
	} {
		browser := app.provider.Browser()
		for range 3 {
			if got := app.load(t, browser, "/news", headers); got != "" {
				t.Errorf("%v: the page is shown to %q", headers, got)
			}
		}
	}
	browser := app.provider.Browser()
	for _, method := range []string{"GET", "POST", "HEAD", "PUT"} { // the first one shows that cookies are kept
		for range 2 {
			res, _ := app.asks(t, browser, method, "/news", acceptHTML, navigate, "Sec-Fetch-Dest: document", "Sec-Fetch-Site: same-origin")
			if method == "GET" {
				break
			}
			if res.StatusCode != 200 {
				t.Errorf("%s: %s", method, res.Status)
			}
		}
	}
	app.wantTries(t, "requests that are no page loads", 0)
}

// Behind a service worker that passes requests through, browsers send page loads in
// these ways: see request_test.go.
func TestSignInSilently_BehindAServiceWorker(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	for what, headers := range map[string]map[string]string{
		"Firefox":           {"Sec-Fetch-Mode": "same-origin", "Upgrade-Insecure-Requests": "1"},
		"Chromium":          {"Sec-Fetch-Mode": "navigate", "Upgrade-Insecure-Requests": "1"},
		"WebKit":            {"Sec-Fetch-Mode": "navigate"},
		"WebKit, a changed": {"Sec-Fetch-Mode": "same-origin"},
	} {
		headers["Accept"], headers["Sec-Fetch-Dest"], headers["Sec-Fetch-Site"] = pageAccept, "empty", "same-origin"
		app.provider.ResetRequests()
		browser := app.provider.Browser()
		for range 3 {
			app.load(t, browser, "/news", headers)
		}
		app.wantTries(t, what, 1)
	}
}

// The provider's session goes on after the logout here, and would sign the person in.
func TestSignInSilently_NotAfterALogout(t *testing.T) {
	t.Parallel()
	for _, visited := range []bool{true, false} {
		app := newSilentApp(t, oidctest.Config{NoEndSession: true})
		browser := app.provider.Browser()
		app.load(t, browser, "/news", document) // from now on, it would be tried
		app.visits(t, browser)
		if visited {
			app.load(t, browser, "/news", document)
		}
		app.provider.ResetRequests()
		app.logsOut(t, browser, "/auth/logout")
		for range 3 {
			if got := app.load(t, browser, "/news", document); got != "" {
				t.Errorf("the page is shown to %q", got)
			}
		}
		app.wantTries(t, "after a logout", 0)
	}
}

func TestSignInSilently_WithoutCookiesServesThePage(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	browser := app.provider.Browser()
	browser.Jar = nil
	for range 3 {
		if got := app.load(t, browser, "/news", document); got != "" {
			t.Errorf("the page is shown to %q", got)
		}
	}
	app.wantTries(t, "without cookies", 0)
}

func TestSignInSilently_ServesThePageWhenNoLoginCanStart(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	app.provider.Misbehave(fault.DiscoveryNoTokenURL)
	browser := app.provider.Browser()
	for range 3 {
		if got := app.load(t, browser, "/news", document); got != "" {
			t.Errorf("the page is shown to %q", got)
		}
	}
}

// A session that cannot be read is not a reason to sign in: the callback could not keep
// the new one.
func TestSignInSilently_ServesThePageWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newSilentApp(t, oidctest.Config{}, func(c *oidcrp.Config) { c.Store = oidcrp.PlainStore(store) })
	browser := app.provider.Browser()
	app.load(t, browser, "/news", document) // from now on, it would be tried
	app.visits(t, browser)
	app.provider.ResetRequests()
	store.Fail(errOp)
	if got := app.load(t, browser, "/news", document); got != "" {
		t.Errorf("the page is shown to %q", got)
	}
	app.wantTries(t, "while the store is down", 0)
	store.Before(nil)
	if got := app.load(t, browser, "/news", document); got != "alice" {
		t.Errorf("after the outage, the page is shown to %q", got)
	}
}

// A shared cache must not store the page with a cookie of one person.
func TestSignInSilently_KeepsThePageOutOfSharedCaches(t *testing.T) {
	t.Parallel()
	app := newSilentApp(t, oidctest.Config{})
	res, _ := app.asks(t, app.provider.Browser(), "GET", "/news", acceptHTML, navigate, "Sec-Fetch-Dest: document")
	if len(res.Cookies()) != 1 || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Vary") != "Cookie" {
		t.Errorf("%v", res.Header)
	}
}

func TestSignInSilently_PanicsWhereValidateRefusesThePrompt(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) {
		c.Validate = func(cfg oidcrp.Config, _ ...oidcrp.Requirement) error {
			if cfg.Login.Prompt == "none" {
				return errors.New("Login.Prompt does not work here")
			}
			return nil
		}
	})
	defer func() {
		if problem := recover(); problem != "oidcrp: SignInSilently: Login.Prompt does not work here" {
			t.Errorf("it panics with %v", problem)
		}
	}()
	c.SignInSilently(http.NotFoundHandler())
	t.Error("it does not panic")
}

// A person who is signed in at another member of a Group stays so.
func TestSignInSilently_NotForAPersonOfAnotherProvider(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	other, err := oidcrp.New(oidcrp.Config{
		Issuer: "https://citizens.example", ClientID: "a", ClientSecret: "a-client-secret-that-is-32-bytes", BaseURL: app.URL,
		PathPrefix: "/citizens/", CookieKeys: oidcrp.Keys(testKey(1)), Now: app.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	started := httptest.NewRecorder()
	start := httptest.NewRequest(http.MethodGet, app.URL, nil)
	session := oidcrp.NewSession(map[string]any{"iss": "https://citizens.example", "sub": "bruno"})
	if err := other.StartSession(started, start, session); err != nil {
		t.Fatal(err)
	}
	silently := other.Middleware(app.client.SignInSilently(http.HandlerFunc(sayWho)))
	load := func(cookies []*http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, app.URL+"/news", nil)
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		for _, cookie := range cookies {
			r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
		}
		w := httptest.NewRecorder()
		silently.ServeHTTP(w, r)
		return w
	}
	first := load(nil).Result().Cookies() // which shows that the browser keeps cookies
	for signedIn, status := range map[bool]int{false: http.StatusFound, true: http.StatusOK} {
		cookies := first
		if signedIn {
			cookies = append(started.Result().Cookies(), first...)
		}
		if w := load(cookies); w.Code != status {
			t.Errorf("signed in elsewhere %t: %d to %s", signedIn, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestSignInSilently_InAGroupALogoutLasts(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newGroupApp(t, groupSetup{citizens: func(cfg *oidcrp.Config) { cfg.Store = store }, routes: func(app *groupApp, mux *http.ServeMux) {
		mux.Handle("/news", app.client.SignInSilently(http.HandlerFunc(sayWho)))
	}})
	loads := func(what string, browser *http.Client) {
		t.Helper()
		if res, _ := app.asks(t, browser, "GET", "/news", acceptHTML, navigate, "Sec-Fetch-Dest: document"); res.StatusCode != 200 {
			t.Errorf("%s: %s to %s", what, res.Status, res.Header.Get("Location"))
		}
	}
	browser := app.provider.Browser()
	loads("the first page", browser)
	app.signInAt(t, app.citizens, browser, "bruno")
	app.logsOut(t, browser, "/auth/citizens/logout")
	loads("after a logout at another member", browser)

	// A person whose session cannot be read may be signed in.
	browser = app.provider.Browser()
	loads("the first page", browser)
	app.signInAt(t, app.citizens, browser, "bruno")
	store.Fail(errors.New("down"))
	app.clock.Advance(2 * time.Second)
	loads("in an outage of another member", browser)
	store.Fail(nil)
	app.wantWhere(t, browser, brunoPerson)
}
