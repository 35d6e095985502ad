// Package apptest tests that an app of this module signs people in, whatever
// framework serves it.
package apptest

import (
	"bufio"
	"context"
	"crypto/rand"
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

// Run tests the app that newHandler makes, with an app and a provider for each
// subtest.
func Run(t *testing.T, newHandler func(*oidcrp.Client) http.Handler) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *app)
	}{
		{"PublicPageIsForEverybody", publicPage},
		{"ProtectedPageComesBackAfterLogin", protectedPage},
		{"ScriptGetsLoginURL", script},
		{"DossierIsForItsOrganisation", perObject},
		{"StepUpAsksForTwoFactors", stepUp},
		{"StepUpRefusesOneFactor", stepUpRefused},
		{"ScriptGetsStepUpURL", scriptStepUp},
		{"StreamArrivesBeforeItEnds", stream},
		{"LogoutByPost", logout},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, start(t, newHandler))
		})
	}
}

// An app is a running app and its provider.
type app struct {
	url      string
	provider *oidctest.Provider
}

func start(t *testing.T, newHandler func(*oidcrp.Client) http.Handler) *app {
	provider := oidctest.NewServer(t, oidctest.Config{})
	key := make([]byte, 32)
	rand.Read(key)
	server := httptest.NewUnstartedServer(nil) // has its address already, for BaseURL
	client, err := oidcrp.New(oidcrp.Config{
		Issuer:       provider.Issuer(),
		ClientID:     oidctest.ClientID,
		ClientSecret: oidctest.ClientSecret,
		BaseURL:      "http://" + server.Listener.Addr().String(),
		CookieKeys:   oidcrp.Keys(key),
		Scopes:       []string{"openid", "email", "siret"},
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = newHandler(client)
	server.Start()
	t.Cleanup(server.Close)
	return &app{url: server.URL, provider: provider}
}

func publicPage(t *testing.T, a *app) {
	wantPage(t, a.get(t, a.provider.Browser(), "/"), http.StatusOK, "Signed in: false")
	alice := a.signIn(t, "alice")
	wantPage(t, a.get(t, alice, "/"), http.StatusOK, "Signed in: true")
}

func protectedPage(t *testing.T, a *app) {
	const page = "/dossiers/12?tab=2"
	browser := a.provider.Browser()
	res := a.get(t, withoutRedirects(browser), page)
	wantPage(t, res, http.StatusFound, "")
	if to := res.Header.Get("Location"); !strings.HasPrefix(to, a.provider.Issuer()+"/") {
		t.Errorf("the protected page redirects to %q, want the provider", to)
	}
	res = a.visit(t, browser, page, "alice")
	wantPage(t, res, http.StatusOK, "Dossier 12")
	if got := res.Request.URL.String(); got != a.url+page {
		t.Errorf("the login ended at %s, want %s", got, a.url+page)
	}
	wantPage(t, a.get(t, browser, "/dossiers/"), http.StatusOK, "Dossiers of alice@example.org")
}

func script(t *testing.T, a *app) {
	for _, request := range []struct{ method, path string }{
		{http.MethodGet, "/dossiers/"},
		{http.MethodPost, "/sign"},
	} {
		p := a.problem(t, a.provider.Browser(), request.method, request.path)
		if p.Code != string(oidcrp.CodeNoSession) || !strings.HasPrefix(p.LoginURL, "/auth/login") {
			t.Errorf("%s %s answered %+v, want %s and a login_url",
				request.method, request.path, p, oidcrp.CodeNoSession)
		}
	}
	bruno := a.signIn(t, "bruno") // with two factors
	wantPage(t, a.get(t, bruno, "/sign"), http.StatusOK, "Signatures: 0")
	wantPage(t, a.do(t, bruno, a.fetch(t, http.MethodPost, "/sign")), http.StatusOK, "Signatures: 1")
}

func perObject(t *testing.T, a *app) {
	alice := a.signIn(t, "alice")
	wantPage(t, a.get(t, alice, "/dossiers/12"), http.StatusOK, "Dossier 12")
	wantPage(t, a.get(t, alice, "/dossiers/13"), http.StatusNotFound, "")
	wantPage(t, a.get(t, alice, "/dossiers/14"), http.StatusNotFound, "")
	bruno := a.signIn(t, "bruno")
	wantPage(t, a.get(t, bruno, "/dossiers/13"), http.StatusOK, "Dossier 13")
}

func stepUp(t *testing.T, a *app) {
	alice := a.signIn(t, "alice")
	res := a.get(t, withoutRedirects(alice), "/sign")
	wantPage(t, res, http.StatusFound, "")
	if to := res.Header.Get("Location"); !strings.HasPrefix(to, a.provider.Issuer()+"/") {
		t.Errorf("the step-up redirects to %q, want the provider", to)
	}
	wantPage(t, a.visit(t, alice, "/sign", "alice"), http.StatusOK, "Signatures: 0")
}

func stepUpRefused(t *testing.T, a *app) {
	chloe := a.signIn(t, "chloe")
	wantPage(t, a.visit(t, chloe, "/sign", "chloe"), http.StatusForbidden, "")
	wantPage(t, a.get(t, chloe, "/dossiers/"), http.StatusOK, "chloe@example.org")
}

func scriptStepUp(t *testing.T, a *app) {
	alice := a.signIn(t, "alice")
	p := a.problem(t, alice, http.MethodPost, "/sign")
	if p.Code != string(oidcrp.CodeRequirementUnmet) || !strings.Contains(p.LoginURL, "step_up=") {
		t.Fatalf("POST /sign answered %+v, want %s and a login_url with step_up", p, oidcrp.CodeRequirementUnmet)
	}
	a.visit(t, alice, p.LoginURL, "alice")
	wantPage(t, a.get(t, alice, "/sign"), http.StatusOK, "Signatures: 0")
}

// stream reads an event while its handler waits for the browser to leave.
func stream(t *testing.T, a *app) {
	alice := a.signIn(t, "alice")
	req := a.fetch(t, http.MethodGet, "/dossiers/events")
	req.Header.Set("Accept", "text/event-stream")
	// The limit only ends a test that would wait forever.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := alice.Do(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(line); got != "data: for alice@example.org" {
		t.Errorf("the stream answered %s and begins with %q", res.Status, got)
	}
}

func logout(t *testing.T, a *app) {
	alice := a.signIn(t, "alice")
	res, err := alice.PostForm(a.url+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantPage(t, readPage(t, res), http.StatusOK, "")
	if got := res.Request.URL.Path; got != "/auth/logout/callback" {
		t.Errorf("the logout ended at %s", got)
	}
	if a.provider.Count(oidctest.EndpointEndSession) != 1 {
		t.Error("the logout did not reach the provider")
	}
	wantPage(t, a.get(t, alice, "/"), http.StatusOK, "Signed in: false")
	wantPage(t, a.get(t, withoutRedirects(alice), "/dossiers/"), http.StatusFound, "")
}

// A page is an answer and its body.
type page struct {
	*http.Response
	body string
}

func readPage(t *testing.T, res *http.Response) page {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{res, string(body)}
}

func wantPage(t *testing.T, got page, status int, text string) {
	t.Helper()
	if got.StatusCode != status || !strings.Contains(got.body, text) {
		t.Errorf("%s %s answered %s, want %d and %q; the body:\n%s",
			got.Request.Method, got.Request.URL.Path, got.Status, status, text, got.body)
	}
}

// signIn returns a browser that is signed in as the persona.
func (a *app) signIn(t *testing.T, persona string) *http.Client {
	t.Helper()
	return a.provider.SignIn(t, a.url+"/dossiers/", persona)
}

// visit opens a page, and signs in as the persona if that leads to the provider.
func (a *app) visit(t *testing.T, browser *http.Client, path, persona string) page {
	t.Helper()
	res, err := a.provider.Visit(browser, a.url+path, persona)
	if err != nil {
		t.Fatal(err)
	}
	return readPage(t, res)
}

func (a *app) get(t *testing.T, browser *http.Client, path string) page {
	t.Helper()
	res, err := browser.Get(a.url + path)
	if err != nil {
		t.Fatal(err)
	}
	return readPage(t, res)
}

func (a *app) do(t *testing.T, browser *http.Client, req *http.Request) page {
	t.Helper()
	res, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return readPage(t, res)
}

// fetch returns the request that a page's script makes.
func (a *app) fetch(t *testing.T, method, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Sec-Fetch-Mode", "cors")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return req
}

// A problem is what a script learns about a refusal.
type problem struct {
	Code     string `json:"code"`
	LoginURL string `json:"login_url"`
}

// problem makes a script's request that must be refused with 401. The body must
// be the problem and nothing else: a handler that runs after the refusal adds to
// it.
func (a *app) problem(t *testing.T, browser *http.Client, method, path string) problem {
	t.Helper()
	got := a.do(t, browser, a.fetch(t, method, path))
	wantPage(t, got, http.StatusUnauthorized, "")
	if kind := got.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/problem+json") {
		t.Errorf("%s %s answered with Content-Type %q", method, path, kind)
	}
	var p problem
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Fatalf("%s %s: %v; the body:\n%s", method, path, err, got.body)
	}
	return p
}

// withoutRedirects returns the browser, but it shows redirects instead of
// following them.
func withoutRedirects(browser *http.Client) *http.Client {
	still := *browser
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &still
}
