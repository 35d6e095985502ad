package oidcrp

// This file starts an app in front of oidctest's provider, for the tests of
// whole flows.

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/oidcrp/oidcrp/oidctest"
)

// A testApp is a small app with sign-in, its provider, their common clock and
// the app's log.
type testApp struct {
	URL      string
	client   *Client
	provider *oidctest.Provider
	clock    *testClock
	log      *testLog
}

// A setup says in what a testApp differs from the usual one.
type setup struct {
	provider oidctest.Config
	config   func(*Config)                 // changes the client's configuration
	routes   func(*Client, *http.ServeMux) // adds routes
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
	mux.Handle("/admin", app.client.Require(ACR("eidas2"))(http.HandlerFunc(sayWho)))
	if s.routes != nil {
		s.routes(app.client, mux)
	}
	handler = app.client.Middleware(mux)
	return app
}

func newTestClient(t testing.TB, app *testApp, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Issuer:       app.provider.Issuer(),
		ClientID:     oidctest.ClientID,
		ClientSecret: oidctest.ClientSecret,
		BaseURL:      app.URL,
		CookieKeys:   Keys(testKey(1)),
		Provider: Provider{
			Timeout:   20 * time.Second,
			Transport: app.provider.HTTPClient().Transport,
		},
		Logger: slog.New(slog.NewJSONHandler(app.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    app.clock.Now,
	}
	if change != nil {
		change(&cfg)
	}
	client, err := New(cfg)
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
	if s, ok := SessionFromContext(r.Context()); ok {
		answer.Sub, answer.ACR = s.Subject(), s.ACR()
	}
	json.NewEncoder(w).Encode(answer)
}

// signIn returns a browser that is signed in as alice.
func (a *testApp) signIn(t testing.TB) *http.Client {
	t.Helper()
	return a.provider.SignIn(t, a.URL+"/me", "alice")
}

// who asks a page of the app who is signed in.
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

// noRedirects returns a browser with the same cookies that shows redirects
// instead of following them.
func noRedirects(browser *http.Client) *http.Client {
	still := *browser
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &still
}

// encryptedSetup is an app whose ID Tokens and UserInfo answers are encrypted
// with alg, and the latter signed as well if signed is not empty.
func encryptedSetup(alg, enc, userInfoEnc, signed string) setup {
	return setup{
		provider: oidctest.Config{Clients: []oidctest.Client{{
			ID: oidctest.ClientID, Secret: oidctest.ClientSecret, JWKS: publicOf(encryptionKeys()),
			IDTokenEncryptedResponseAlg: alg, IDTokenEncryptedResponseEnc: enc,
			UserInfoEncryptedResponseAlg: alg, UserInfoEncryptedResponseEnc: userInfoEnc,
			UserInfoSignedResponseAlg: signed,
		}}},
		config: func(c *Config) {
			c.Registration.ClientKeys = encryptionKeys()
			c.Registration.IDTokenEncryptedResponseAlg, c.Registration.IDTokenEncryptedResponseEnc = alg, enc
			c.Registration.UserInfoEncryptedResponseAlg, c.Registration.UserInfoEncryptedResponseEnc = alg, userInfoEnc
			c.Registration.UserInfoSignedResponseAlg = signed
		},
		routes: func(c *Client, mux *http.ServeMux) {
			mux.Handle("/session", c.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := SessionFromContext(r.Context())
				json.NewEncoder(w).Encode(map[string]any{"id_token": s.IDToken(), "email": s.claim("email")})
			})))
		},
	}
}

// encryptionKeys are a client's keys of which one fits each algorithm.
func encryptionKeys() []jose.JSONWebKey {
	return []jose.JSONWebKey{
		{Key: testKeys().RSA2, KeyID: "signs", Use: "sig"},
		{Key: testKeys().P384, KeyID: "signs too", Use: "sig"},
		{Key: testKeys().RSA, KeyID: "rsa", Use: "enc"},
		{Key: testKeys().P256, KeyID: "ec", Use: "enc"},
	}
}

func publicOf(keys []jose.JSONWebKey) (set jose.JSONWebKeySet) {
	for _, key := range keys {
		set.Keys = append(set.Keys, key.Public())
	}
	return set
}

// fuzzClient is a client that cannot reach anybody.
func fuzzClient(t testing.TB, change func(*Config)) *Client {
	return mustNew(t, func(c *Config) {
		c.Provider.Metadata = soundMetadata(nil)
		c.Provider.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no network here")
		})
		c.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
		if change != nil {
			change(c)
		}
	})
}

var everyKeyManagement = []string{
	"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW",
	"A128KW", "A192KW", "A256KW", "A128GCMKW", "A192GCMKW", "A256GCMKW", "dir",
}

// autoLogin is a provider that signs in alice without a page.
var autoLogin = oidctest.Config{AutoLogin: "alice"}

// comeBack starts a login at the page path and goes as far as the provider's
// answer: the callback's URL, which has not been visited yet.
func comeBack(t testing.TB, app *testApp, browser *http.Client, path string) *url.URL {
	t.Helper()
	return follow(t, browser, follow(t, browser, app.URL+path).String())
}

// follow returns where a page redirects to.
func follow(t testing.TB, browser *http.Client, page string) *url.URL {
	t.Helper()
	res, body := get(t, noRedirects(browser), page)
	location, err := res.Location()
	if err != nil {
		t.Fatalf("%s answered %s and leads nowhere:\n%s", page, res.Status, body)
	}
	return location
}

// transactionCookies returns the names of the cookies of logins under way.
func transactionCookies(app *testApp, browser *http.Client) []string {
	var names []string
	u, _ := url.Parse(app.URL)
	for _, cookie := range browser.Jar.Cookies(u) {
		if strings.HasPrefix(cookie.Name, app.client.cookies.transaction) {
			names = append(names, cookie.Name)
		}
	}
	return names
}

// codeOfIncident returns the code that the log has for an incident.
func codeOfIncident(t *testing.T, log *testLog, incident string) Code {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var entry struct {
			Code     Code
			Incident string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("the log is not in JSON: %v\n%s", err, line)
		}
		if entry.Incident == incident {
			return entry.Code
		}
	}
	return ""
}

var incidentOf = regexp.MustCompile(`<code>([A-Za-z0-9_-]{12})</code>`)
