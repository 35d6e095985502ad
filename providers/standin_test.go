package providers_test

// This file puts oidctest's provider in the place of a real one: every request to another
// host than the app's reaches it, so that a preset is tested with the addresses that it has.

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// A standIn is a provider and what it does beyond oidctest's.
type standIn struct {
	*oidctest.Provider
	token   string         // the path of the token endpoint
	idToken map[string]any // claims that replace those of the ID Token
	alg     string         // of the ID Token; if empty, RS256
	redeem  func(url.Values)
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != s.token {
		s.Provider.ServeHTTP(w, r)
		return
	}
	if s.redeem != nil {
		r.ParseForm()
		s.redeem(r.PostForm)
		body := r.PostForm.Encode()
		r = r.Clone(r.Context())
		r.PostForm, r.Form = nil, nil
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	answer := httptest.NewRecorder()
	s.Provider.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	if s.idToken != nil && answer.Code == http.StatusOK {
		body = s.resign(body)
	}
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	w.Write(body)
}

// resign puts the claims into the ID Token of a token response.
func (s *standIn) resign(body []byte) []byte {
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		panic(err)
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(members["id_token"].(string), ".")[1])
	if err != nil {
		panic(err)
	}
	var claims map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil {
		panic(err)
	}
	maps.Copy(claims, s.idToken)
	alg := s.alg
	if alg == "" {
		alg = "RS256"
	}
	members["id_token"] = s.SignClaims(alg, claims, nil)
	body, _ = json.Marshal(members)
	return body
}

// A rerouted transport leads every request to address, except those to the app.
type rerouted struct {
	address, app string
	next         http.RoundTripper
}

func (t *rerouted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == t.app {
		return t.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Scheme, r.URL.Host = "http", t.address
	return t.next.RoundTrip(r)
}

// A logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// An app is a program with a preset, and the stand-in of its provider.
type app struct {
	URL      string
	client   *oidcrp.Client
	provider *standIn
	reroute  rerouted
	log      *logBuffer
}

// startProvider starts a stand-in. If the config has no issuer, it is that of cfg.
func startProvider(t *testing.T, issuer string, config oidctest.Config) (*standIn, string) {
	t.Helper()
	if config.Issuer == "" {
		config.Issuer = issuer
	}
	if len(config.Clients) == 0 {
		config.Clients = []oidctest.Client{{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}}
	}
	provider, err := oidctest.New(config)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := url.Parse(provider.Endpoint(oidctest.EndpointToken))
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{Provider: provider, token: endpoint.Path}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, strings.TrimPrefix(server.URL, "http://")
}

// startApp starts an app with cfg at a provider. If cfg has neither a secret nor a key, it
// gets oidctest's.
func startApp(t *testing.T, cfg oidcrp.Config, config oidctest.Config) *app {
	t.Helper()
	a := &app{log: new(logBuffer)}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	a.URL = server.URL
	provider, address := startProvider(t, cfg.Issuer, config)
	a.provider = provider
	a.reroute = rerouted{address: address, app: strings.TrimPrefix(a.URL, "http://"), next: http.DefaultTransport}

	r := cfg.Registration
	if cfg.ClientSecret == "" && cfg.ClientSecretFunc == nil && len(r.ClientKeys) == 0 && r.TokenEndpointAuthMethod != "none" {
		cfg.ClientSecret = oidctest.ClientSecret
	}
	cfg.ClientID, cfg.BaseURL, cfg.CookieKeys = oidctest.ClientID, a.URL, oidcrp.Keys(randomKey())
	cfg.Logger = slog.New(slog.NewTextHandler(a.log, nil))
	cfg.Provider.Transport = &a.reroute
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.client = client
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", writeClaims)
	mux.Handle("/me", client.RequireLogin(http.HandlerFunc(writeClaims)))
	handler = client.Middleware(mux)
	return a
}

// writeClaims answers with the claims of the session, and with {} without one.
func writeClaims(w http.ResponseWriter, r *http.Request) {
	claims := map[string]any{}
	if s, ok := oidcrp.SessionFromContext(r.Context()); ok {
		if err := s.Claims(&claims); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		claims["iss"], claims["acr"] = s.Issuer(), s.ACR()
	}
	json.NewEncoder(w).Encode(claims)
}

// browser returns a browser that reaches the provider under the names of the real one.
func (a *app) browser() *http.Client {
	browser := a.provider.Browser()
	through := a.reroute
	through.next = browser.Transport
	browser.Transport = &through
	return browser
}

// visit opens /me as persona, and returns the browser and the claims of the session.
func (a *app) visit(t *testing.T, persona string) (*http.Client, map[string]any) {
	t.Helper()
	browser := a.browser()
	res, err := a.provider.Visit(browser, a.URL+"/me", persona)
	if err == nil { // otherwise the login did not even reach the provider's page
		res.Body.Close()
	}
	return browser, a.session(t, browser)
}

// session returns the claims of the browser's session.
func (a *app) session(t *testing.T, browser *http.Client) map[string]any {
	t.Helper()
	res, err := browser.Get(a.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var claims map[string]any
	if err := json.NewDecoder(res.Body).Decode(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// signsIn checks that alice can sign in, and returns her browser and claims.
func (a *app) signsIn(t *testing.T) (*http.Client, map[string]any) {
	t.Helper()
	browser, claims := a.visit(t, "alice")
	if claims["sub"] != "alice" {
		t.Fatalf("%v is signed in, want alice\n%s", claims["sub"], a.log)
	}
	return browser, claims
}

// refuses checks that persona cannot sign in, and that the log says why.
func (a *app) refuses(t *testing.T, persona, why string) {
	t.Helper()
	if _, claims := a.visit(t, persona); claims["sub"] != nil {
		t.Errorf("%v is signed in", claims["sub"])
	}
	if !strings.Contains(a.log.String(), why) {
		t.Errorf("the log does not say %q:\n%s", why, a.log)
	}
}

// signsOut logs out, and checks that this ends at the page of the app and ends the
// provider's session. It returns the parameters of the provider's logout.
func (a *app) signsOut(t *testing.T, browser *http.Client) url.Values {
	t.Helper()
	res, err := browser.PostForm(a.URL+a.client.LogoutURL("/?bye=1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Request.URL.String() != a.URL+"/?bye=1" {
		t.Fatalf("the logout ends with %s at %s\n%s", res.Status, res.Request.URL, body)
	}
	if sub := a.session(t, browser)["sub"]; sub != nil {
		t.Errorf("%v is still signed in", sub)
	}
	requests := a.provider.RequestsTo(oidctest.EndpointEndSession)
	if len(requests) != 1 {
		t.Fatalf("%d logouts at the provider, want 1", len(requests))
	}
	return requests[0].Form
}

// asked returns the parameters of the last authentication request.
func (a *app) asked(t *testing.T) url.Values {
	t.Helper()
	requests := a.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(requests) == 0 {
		t.Fatalf("no authentication request\n%s", a.log)
	}
	return requests[len(requests)-1].Form
}
