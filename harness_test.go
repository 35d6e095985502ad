package oidcrp_test

// This file starts an app in front of oidctest's provider, for the tests of
// whole flows.

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// A testApp is a small app with sign-in, its provider, their common clock and
// the app's log.
type testApp struct {
	URL      string
	client   *oidcrp.Client
	provider *oidctest.Provider
	clock    *testClock
	log      *testLog
}

// A setup says in what a testApp differs from the usual one.
type setup struct {
	provider oidctest.Config
	config   func(*oidcrp.Config)                 // changes the client's configuration
	routes   func(*oidcrp.Client, *http.ServeMux) // adds routes
}

// newTestApp starts an app with these routes: "/" is public and says who is
// signed in, "/me" and everything below "/tab/" are protected and say so as
// JSON with the path, "/admin" requires acr eidas2.
func newTestApp(t testing.TB, s setup) *testApp {
	t.Helper()
	app := &testApp{clock: newTestClock(), log: new(testLog)}
	if s.provider.Now == nil {
		s.provider.Now = app.clock.Now
	}
	app.provider = oidctest.NewServer(t, s.provider)

	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	app.URL = server.URL

	app.client = newTestClient(t, app, s.config)
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", sayWho)
	mux.Handle("/me", app.client.RequireLogin(http.HandlerFunc(sayWho)))
	mux.Handle("/tab/", app.client.RequireLogin(http.HandlerFunc(sayWho)))
	mux.Handle("/admin", app.client.Require(oidcrp.ACR("eidas2"))(http.HandlerFunc(sayWho)))
	if s.routes != nil {
		s.routes(app.client, mux)
	}
	handler = app.client.Middleware(mux)
	return app
}

func newTestClient(t testing.TB, app *testApp, change func(*oidcrp.Config)) *oidcrp.Client {
	t.Helper()
	cfg := oidcrp.Config{
		Issuer:       app.provider.Issuer(),
		ClientID:     oidctest.ClientID,
		ClientSecret: oidctest.ClientSecret,
		BaseURL:      app.URL,
		CookieKeys:   oidcrp.Keys(testKey(1)),
		Provider: oidcrp.Provider{
			Timeout:   20 * time.Second,
			Transport: app.provider.HTTPClient().Transport,
		},
		Logger: slog.New(slog.NewJSONHandler(app.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    app.clock.Now,

		Sessions: oidcrp.Sessions{CacheBytes: oidcrp.TestCacheBytes},
	}
	if change != nil {
		change(&cfg)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// whoAnswer is what the app's pages say.
type whoAnswer struct {
	Path, Sub, ACR string
}

func sayWho(w http.ResponseWriter, r *http.Request) {
	answer := whoAnswer{Path: r.URL.RequestURI()}
	if s, ok := oidcrp.SessionFromContext(r.Context()); ok {
		answer.Sub, answer.ACR = s.Subject(), s.ACR()
	}
	json.NewEncoder(w).Encode(answer)
}

// signIn returns a browser that is signed in as alice.
func (a *testApp) signIn(t testing.TB) *http.Client {
	t.Helper()
	return a.provider.SignIn(t, a.URL+"/me", "alice")
}

// who returns who is signed in, as a page of the app reports it.
func (a *testApp) who(t testing.TB, browser *http.Client, path string) whoAnswer {
	t.Helper()
	res, body := get(t, browser, a.URL+path)
	var answer whoAnswer
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s answered %s, not in JSON:\n%s", path, res.Status, body)
	}
	return answer
}

// get returns the answer, closed, and its body.
func get(t testing.TB, browser *http.Client, url string) (*http.Response, string) {
	t.Helper()
	res, err := browser.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return res, readBody(t, res)
}

func readBody(t testing.TB, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// asks sends a request with headers, written "Name: value", and follows no
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

// logsOut posts to the logout path as a form of the app's own does.
func (a *testApp) logsOut(t testing.TB, browser *http.Client, path string) (*http.Response, string) {
	t.Helper()
	return a.asks(t, browser, "POST", path, acceptHTML, navigate, "Sec-Fetch-Site: same-origin", "Origin: APP")
}

// jsonMember returns a member of an object that is text, "" if there is none.
func jsonMember(t testing.TB, body, name string) string {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	value, _ := members[name].(string)
	return value
}

// noRedirects returns a browser with the same cookies that shows redirects
// instead of following them.
func noRedirects(browser *http.Client) *http.Client {
	still := *browser
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &still
}

// What the tests of both packages share.
type (
	testClock    = oidcrp.TestClock
	testLog      = oidcrp.TestLog
	roundTripper = oidcrp.RoundTripper
)

var (
	testKey       = oidcrp.TestKey
	newTestClock  = oidcrp.NewTestClock
	respond       = oidcrp.Respond
	wantCode      = oidcrp.WantCode
	mustNew       = oidcrp.MustNew
	soundConfig   = oidcrp.SoundConfig
	soundMetadata = oidcrp.SoundMetadata
	testKeys      = oidcrp.TestKeys
	setEnv        = oidcrp.SetEnv
)

func collect[E any](list *[]E) func(context.Context, E) { return oidcrp.Collect(list) }
