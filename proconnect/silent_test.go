package proconnect_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
	"github.com/oidcrp/oidcrp/proconnect"
)

// newSilentService starts a service with the public page "/news", which has a silent
// sign-in and shows who is signed in, and the protected "/page".
func newSilentService(t *testing.T, changes ...func(*oidcrp.Config)) *service {
	t.Helper()
	return newService(t, agent(), func(cfg *oidcrp.Config) {
		for _, change := range changes {
			change(cfg)
		}
		// The cookies of the provider, on 127.0.0.1, are then apart.
		cfg.BaseURL = strings.Replace(cfg.BaseURL, "127.0.0.1", "localhost", 1)
	}, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/page", c.RequireLogin(page))
		mux.Handle("/news", proconnect.SignInSilently(c)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who := "nobody"
			if session, ok := oidcrp.SessionFromContext(r.Context()); ok {
				who = session.Subject()
			}
			io.WriteString(w, who)
		})))
	})
}

// load opens a page as a browser that says what it loads, unless dest is empty.
func (s *service) load(t *testing.T, browser *http.Client, path, dest string) string {
	t.Helper()
	if dest == "" {
		return s.loadAs(t, browser, path, nil)
	}
	return s.loadAs(t, browser, path, map[string]string{"Sec-Fetch-Dest": dest, "Sec-Fetch-Mode": "navigate"})
}

// loadAs opens a page as a browser that sends these headers.
func (s *service) loadAs(t *testing.T, browser *http.Client, path string, headers map[string]string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
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
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Request.URL.RequestURI(); res.StatusCode != http.StatusOK || got != path {
		t.Fatalf("%s ended at %s with status %d:\n%s", path, got, res.StatusCode, body)
	}
	return string(body)
}

// forgotten returns a browser that has the cookies of the provider, and none of the
// service: the session there is over, or the person comes for the first time.
func (s *service) forgotten(t *testing.T, browser *http.Client) *http.Client {
	t.Helper()
	provider, err := url.Parse(s.provider.Issuer() + "/authorize")
	if err != nil {
		t.Fatal(err)
	}
	fresh := s.provider.Browser()
	fresh.Jar.SetCookies(provider, browser.Jar.Cookies(provider))
	return fresh
}

func TestSignInSilently_FindsTheSessionAtProConnect(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	browser := s.provider.Browser()
	if status, body := s.visit(t, browser, "/page", agent().Subject); status != http.StatusOK {
		t.Fatalf("status %d:\n%s", status, body)
	}
	fresh := s.forgotten(t, browser)
	for i, want := range []string{"nobody", agent().Subject} {
		if got := s.load(t, fresh, "/news?page=2", "document"); got != want {
			t.Errorf("page %d is shown to %q, want %q", i+1, got, want)
		}
	}
	requests := s.provider.RequestsTo(oidctest.EndpointAuthorization)
	query := requests[len(requests)-1].URL.Query()
	if query.Get("prompt") != "none" || query.Has("acr_values") || query.Has("login_hint") || query.Has("idp_hint") {
		t.Errorf("the request is %v", query)
	}
}

func TestSignInSilently_WithoutASessionTriesOnce(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	browser := s.provider.Browser()
	for range 4 {
		if got := s.load(t, browser, "/news?page=2", "document"); got != "nobody" {
			t.Errorf("the page is shown to %q", got)
		}
	}
	if got := s.provider.Count(oidctest.EndpointAuthorization); got != 1 {
		t.Errorf("%d authentication requests, want 1", got)
	}
}

// A person who is signed in at another member of a Group stays so.
func TestSignInSilently_NotForAPersonOfAnotherProvider(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	other, err := oidcrp.New(oidcrp.Config{
		Issuer: "https://citizens.example", ClientID: "a", ClientSecret: "s", BaseURL: s.URL, PathPrefix: "/citizens/",
		CookieKeys: oidcrp.Keys(cookieKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	started := httptest.NewRecorder()
	start := httptest.NewRequest(http.MethodGet, s.URL, nil)
	if err := other.StartSession(started, start, oidcrp.NewSession(map[string]any{"iss": "https://citizens.example", "sub": "bruno"})); err != nil {
		t.Fatal(err)
	}
	for signedIn, status := range map[bool]int{false: http.StatusFound, true: http.StatusOK} {
		r := httptest.NewRequest(http.MethodGet, s.URL+"/news", nil)
		r.AddCookie(&http.Cookie{Name: "proconnect_silent", Value: "0"})
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		if signedIn {
			for _, cookie := range started.Result().Cookies() {
				r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
			}
		}
		w := httptest.NewRecorder()
		other.Middleware(proconnect.SignInSilently(s.client)(page)).ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("signed in elsewhere %t: %d to %s", signedIn, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestSignInSilently_OnPageLoadsOnly(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	const accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, headers := range []map[string]string{
		nil,
		{"Accept": accept, "Upgrade-Insecure-Requests": "1"},
		{"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Mode": "navigate"},
		{"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "navigate"},
		{"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Accept": accept, "Upgrade-Insecure-Requests": "1"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "same-origin", "Accept": "*/*"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "same-origin", "Accept": "text/html"},
		{"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "same-origin", "Accept": accept, "X-Requested-With": "XMLHttpRequest"},
	} {
		browser := s.provider.Browser()
		for range 3 {
			if got := s.loadAs(t, browser, "/news", headers); got != "nobody" {
				t.Errorf("%v: the page is shown to %q", headers, got)
			}
		}
	}
	if got := s.provider.Count(oidctest.EndpointAuthorization); got != 0 {
		t.Errorf("%d authentication requests, want 0", got)
	}
}

// Behind a service worker that passes requests through, browsers send page loads in
// these ways: see request_test.go of package oidcrp.
func TestSignInSilently_BehindAServiceWorker(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	const accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for what, headers := range map[string]map[string]string{
		"Firefox":           {"Sec-Fetch-Mode": "same-origin", "Upgrade-Insecure-Requests": "1"},
		"Chromium":          {"Sec-Fetch-Mode": "navigate", "Upgrade-Insecure-Requests": "1"},
		"WebKit":            {"Sec-Fetch-Mode": "navigate"},
		"WebKit, a changed": {"Sec-Fetch-Mode": "same-origin"},
	} {
		headers["Accept"], headers["Sec-Fetch-Dest"], headers["Sec-Fetch-Site"] = accept, "empty", "same-origin"
		before := s.provider.Count(oidctest.EndpointAuthorization)
		browser := s.provider.Browser()
		for range 3 {
			s.loadAs(t, browser, "/news", headers)
		}
		if got := s.provider.Count(oidctest.EndpointAuthorization) - before; got != 1 {
			t.Errorf("%s: %d authentication requests, want 1", what, got)
		}
	}
}

func TestSignInSilently_NotAfterALogout(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	browser := s.provider.Browser()
	if status, body := s.visit(t, browser, "/page", agent().Subject); status != http.StatusOK {
		t.Fatalf("status %d:\n%s", status, body)
	}
	s.load(t, browser, "/news", "document")
	app, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range browser.Jar.Cookies(app) {
		if cookie.Name != "proconnect_silent" {
			browser.Jar.SetCookies(app, []*http.Cookie{{Name: cookie.Name, Path: "/", MaxAge: -1}})
		}
	}
	if got := s.load(t, browser, "/news", "document"); got != "nobody" {
		t.Errorf("the page is shown to %q", got)
	}
	if got := s.provider.Count(oidctest.EndpointAuthorization); got != 1 {
		t.Errorf("%d authentication requests, want 1", got)
	}
}

func TestSignInSilently_WithoutCookiesServesThePage(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	browser := s.provider.Browser()
	browser.Jar = nil
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/news", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	for range 3 {
		res, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || string(body) != "nobody" {
			t.Errorf("the public page is %s, %v\n%s", res.Status, err, body)
		}
	}
	if got := s.provider.Count(oidctest.EndpointAuthorization); got != 0 {
		t.Errorf("%d authentication requests, want none", got)
	}
}

func TestSignInSilently_ServesThePageWhenNoLoginCanStart(t *testing.T) {
	t.Parallel()
	s := newSilentService(t)
	s.provider.Misbehave(fault.DiscoveryNoTokenURL)
	browser := s.provider.Browser()
	for range 3 {
		if got := s.load(t, browser, "/news", "document"); got != "nobody" {
			t.Errorf("the page is shown to %q", got)
		}
	}
}

// A session that cannot be read is not a reason to sign in: the callback could not keep
// the new one, and would end on an error page.
func TestSignInSilently_ServesThePageWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	store := &brokenStore{Store: oidcrp.NewMemoryStore(0)}
	s := newSilentService(t, func(cfg *oidcrp.Config) { cfg.Store = store })
	browser := s.provider.Browser()
	s.load(t, browser, "/news", "document") // from now on, it would be tried
	if status, body := s.visit(t, browser, "/page", agent().Subject); status != http.StatusOK {
		t.Fatalf("status %d:\n%s", status, body)
	}
	store.down.Store(true)
	if got := s.load(t, browser, "/news", "document"); got != "nobody" {
		t.Errorf("the page is shown to %q", got)
	}
	if got := s.provider.Count(oidctest.EndpointAuthorization); got != 1 {
		t.Errorf("%d authentication requests, want 1", got)
	}
	store.down.Store(false)
	if got := s.load(t, browser, "/news", "document"); got != agent().Subject {
		t.Errorf("after the outage, the page is shown to %q", got)
	}
}

// A brokenStore fails while it is down.
type brokenStore struct {
	oidcrp.Store
	down atomic.Bool
}

func (s *brokenStore) Get(ctx context.Context, key string) ([]byte, error) {
	if s.down.Load() {
		return nil, errors.New("down")
	}
	return s.Store.Get(ctx, key)
}

// ProConnect would show its pages to a person who has not asked to sign in.
func TestSignInSilently_NotWithHintsOrLevels(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*oidcrp.AuthOptions){
		"an address":           func(o *oidcrp.AuthOptions) { proconnect.SetLoginHint(o, "a@example.org") },
		"an identity provider": func(o *oidcrp.AuthOptions) { proconnect.SetIDPHint(o, "a") },
		"an establishment": func(o *oidcrp.AuthOptions) {
			if err := proconnect.SetSIRETHint(o, "13002526500013"); err != nil {
				t.Error(err)
			}
		},
		"preferred levels": func(o *oidcrp.AuthOptions) { o.ACRValues = []string{"eidas1"} },
		"required levels":  func(o *oidcrp.AuthOptions) { o.RequireACR = []string{"eidas1"} },
		"a level as a claim": func(o *oidcrp.AuthOptions) {
			o.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Value: "eidas2"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSilentService(t, func(cfg *oidcrp.Config) { change(&cfg.Login) })
			browser := s.provider.Browser()
			for range 3 {
				if got := s.load(t, browser, "/news", "document"); got != "nobody" {
					t.Errorf("the page is shown to %q", got)
				}
			}
			if got := s.provider.Count(oidctest.EndpointAuthorization); got != 0 {
				t.Errorf("%d authentication requests, want none", got)
			}
		})
	}
}

func TestPageHandler_ReturnsOnlyAfterASilentSignIn(t *testing.T) {
	t.Parallel()
	refused := func(endpoint, loginURL string) *oidcrp.Page {
		return &oidcrp.Page{
			Name: "error", Status: http.StatusUnauthorized, Code: oidcrp.CodeLoginRequired, LoginURL: loginURL, HomeURL: "/home",
			Err: refusal(endpoint, 0, "login_required", ""),
		}
	}
	tests := []struct {
		name   string
		page   *oidcrp.Page
		cookie bool
		want   string // the Location; "" for a page
	}{
		{"to the page", refused("authorization", "/auth/login?return_to=%2Fnews%3Fpage%3D2"), true, "/news?page=2"},
		{"to the start page", refused("authorization", "/auth/login"), true, "/home"},
		{"not when it would be tried again", refused("authorization", "/auth/login"), false, ""},
		{"not after a refresh", refused("token", "/auth/login"), true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/auth/callback", nil)
			r.Header.Set("Accept", "text/html")
			if test.cookie {
				r.AddCookie(&http.Cookie{Name: "proconnect_silent", Value: "1"})
			}
			w := httptest.NewRecorder()
			proconnect.PageHandler(w, r, test.page)
			if got := w.Header().Get("Location"); got != test.want || (w.Code == http.StatusFound) != (test.want != "") {
				t.Errorf("status %d, Location %q, want %q", w.Code, got, test.want)
			}
		})
	}
}
