package franceconnect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	fc "github.com/oidcrp/oidcrp/franceconnect"
	"github.com/oidcrp/oidcrp/interop/providers/franceconnect"
	"github.com/oidcrp/oidcrp/oidctest"
)

// angela has an account of every level.
func angela() oidctest.Persona {
	return oidctest.Persona{Subject: "b2d3c6f0a1v1", Name: "Angela", ACR: "eidas1", AMR: []string{"fc", "pwd"},
		StepUpACRs: []string{"eidas2", "eidas3"},
		Claims: map[string]any{
			"given_name": "Angela Claire", "given_name_array": []string{"Angela", "Claire"}, "family_name": "DUBOIS",
			"birthdate": "1962-08-24", "gender": "female", "birthplace": "75107", "birthcountry": "99100",
			"email": "angela@example.org", "rnipp_birthplace": "75056", "rnipp_birthcountry": "99100",
		}}
}

// A logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A world is a service and its stand-in.
type world struct {
	*franceconnect.StandIn
	app     string
	browser *http.Client
	log     *logBuffer
}

// newWorld starts both. The page /user shows what the service knows of the person, and
// /high requires eidas3.
func newWorld(t *testing.T, o franceconnect.Options, change func(*oidcrp.Config)) *world {
	t.Helper()
	w := &world{StandIn: franceconnect.Start(t, o, angela()), log: new(logBuffer)}
	w.browser = w.Browser()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	w.app = server.URL
	e := fc.Integration
	if o.Plus {
		e = fc.PlusIntegration
	}
	cfg := e.Config()
	cfg.Issuer, cfg.ClientID, cfg.ClientSecret, cfg.BaseURL = w.Issuer(), franceconnect.ClientID, franceconnect.ClientSecret, server.URL
	cfg.CookieKeys, cfg.Now = oidcrp.Keys(make([]byte, 32)), o.Now
	cfg.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	if !o.Plus {
		cfg.Registration.IDTokenSignedResponseAlg, cfg.Registration.UserInfoSignedResponseAlg = "HS256", "HS256"
		if o.SigningAlg != "" {
			cfg.Registration.IDTokenSignedResponseAlg, cfg.Registration.UserInfoSignedResponseAlg = o.SigningAlg, o.SigningAlg
		}
	}
	if change != nil {
		change(&cfg)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/user", client.RequireLogin(http.HandlerFunc(showUser)))
	if o.Plus {
		mux.Handle("/high", client.Require(fc.EIDAS3())(http.HandlerFunc(showUser)))
	}
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "home") })
	handler = client.Middleware(mux)
	return w
}

func showUser(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	user, err := fc.UserFrom(session)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s: %s %s (%s), %s %s %s, %s %s, %s", session.ACR(), user.GivenName, user.FamilyName,
		strings.Join(user.GivenNameArray, "+"), user.Birthdate, user.Birthplace, user.Birthcountry, user.RNIPPBirthplace,
		user.Email, strings.Join(session.AMR(), "+"))
}

// visit opens a page of the service as Angela, and returns where that ended.
func (w *world) visit(t *testing.T, path string) (at *url.URL, status int, body string) {
	t.Helper()
	res, err := w.Visit(w.browser, w.app+path, angela().Subject)
	if err != nil {
		t.Fatal(err)
	}
	return ended(t, res)
}

func ended(t *testing.T, res *http.Response) (at *url.URL, status int, body string) {
	t.Helper()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.Request.URL, res.StatusCode, string(text)
}

// logout signs out at the service, as its own page does.
func (w *world) logout(t *testing.T) (at *url.URL, status int, body string) {
	t.Helper()
	req, err := http.NewRequest("POST", w.app+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", w.app)
	for name, value := range map[string]string{"Site": "same-origin", "Mode": "navigate", "Dest": "document"} {
		req.Header.Set("Sec-Fetch-"+name, value)
	}
	res, err := w.browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return ended(t, res)
}

// wantIn fails the test unless the person is on the page with this text.
func (w *world) wantIn(t *testing.T, path, want string) {
	t.Helper()
	if at, status, body := w.visit(t, path); at.Path != path || status != http.StatusOK || body != want {
		t.Fatalf("%d at %s:\n%s\nwant\n%s\nthe log says\n%s", status, at, body, want, w.log)
	}
}

// wantOut signs out, and fails the test unless that ends on the service's page and with
// the stand-in's session.
func (w *world) wantOut(t *testing.T) {
	t.Helper()
	if at, status, body := w.logout(t); at.Path != "/auth/logout/callback" || status != http.StatusOK {
		t.Fatalf("%d at %s:\n%s\nthe log says\n%s", status, at, body, w.log)
	}
	res, err := w.browser.Get(w.app + "/user")
	if err != nil {
		t.Fatal(err)
	}
	if at, _, body := ended(t, res); !strings.Contains(body, `data-oidctest="login"`) {
		t.Errorf("still signed in at the provider: %s\n%s", at, body)
	}
}

const identity = "Angela Claire DUBOIS (), 1962-08-24 75107 99100,  angela@example.org, "

func TestFranceConnect_SignsInAndOut(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"HS256", "RS256", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, franceconnect.Options{SigningAlg: alg}, nil)
			w.wantIn(t, "/user", "eidas1: "+identity)
			w.wantOut(t)
			if at, status, body := w.logout(t); at.Path != "/auth/logout/callback" || status != http.StatusOK {
				t.Errorf("a logout of nobody: %d at %s:\n%s", status, at, body)
			}
		})
	}
}

func TestFranceConnect_AliasesAreScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, franceconnect.Options{}, func(c *oidcrp.Config) { c.Scopes = []string{"openid", "identite_pivot"} })
	w.wantIn(t, "/user", "eidas1: Angela Claire DUBOIS (Angela+Claire), 1962-08-24 75107 99100,  , ")
}

func TestFranceConnectPlus_SignsInAndOutEncrypted(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for alg, key := range map[string]any{"": nil, "ECDH-ES": ec, "RSA-OAEP": rsaKey, "RSA-OAEP-256": rsaKey} {
		t.Run("encrypted by "+alg, func(t *testing.T) {
			t.Parallel()
			o := franceconnect.Options{Plus: true, EncryptionAlg: alg}
			private := jose.JSONWebKey{Key: key, KeyID: "pkcs11:service", Use: "enc"}
			if alg != "" {
				public := private.Public()
				o.EncryptionKey = &public
			}
			w := newWorld(t, o, func(c *oidcrp.Config) {
				if alg != "" {
					fc.Decrypt(c, alg, []jose.JSONWebKey{private})
				}
				c.Scopes = append(c.Scopes, "rnipp_birth")
			})
			const plus = "Angela Claire DUBOIS (), 1962-08-24 75107 99100, 75056 angela@example.org, "
			w.wantIn(t, "/user", "eidas2: "+plus)
			w.wantIn(t, "/high", "eidas3: "+plus)
			w.wantOut(t)
		})
	}
}

func TestFranceConnect_AllowedOptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, franceconnect.Options{AllowAMR: true, IdPHints: []string{"idp-a"}}, func(c *oidcrp.Config) {
		fc.RequestAMR(&c.Login)
		fc.SetIDPHint(&c.Login, "idp-a")
		c.Login.Prompt, c.Login.UILocales = "login consent", []string{"fr"}
	})
	w.wantIn(t, "/user", "eidas1: "+identity+"fc+pwd")
}

// One row for each setting of the preset, and for each that it refuses: with Validate off,
// FranceConnect refuses it really.
func TestFranceConnect_RefusesWithoutThePreset(t *testing.T) {
	t.Parallel()
	const page, callback = "/api/v2/authorize", "/auth/callback"
	for _, test := range []struct {
		name   string
		plus   bool
		change func(*oidcrp.Config)
		at     string // the path where it ends
		says   string // on the page, or in the log
	}{
		{"PKCE", false, func(c *oidcrp.Config) { c.Provider.NoPKCE = false }, page, "Y030007"},
		{"PKCE at FranceConnect+", true, func(c *oidcrp.Config) { c.Provider.NoPKCE = false }, page, "Y030007"},
		{"response_mode", false, func(c *oidcrp.Config) { c.ResponseMode = "query" }, page, "Y030007"},
		{"max_age", false, func(c *oidcrp.Config) { c.Login.MaxAge = new(time.Hour) }, page, "Y030007"},
		{"login_hint", false, func(c *oidcrp.Config) { c.Login.LoginHint = "a@example.org" }, page, "Y030007"},
		{"id_token_hint", false, func(c *oidcrp.Config) { c.Login.IDTokenHint = "a" }, page, "Y030007"},
		{"display", false, func(c *oidcrp.Config) { c.Login.Display = "page" }, page, "Y030007"},
		{"resource", false, func(c *oidcrp.Config) { c.Login.Resource = []string{"https://api.example"} }, page, "Y030007"},
		{"another parameter", false, func(c *oidcrp.Config) { c.Login.Extra = url.Values{"siret_hint": {"1"}} }, page, "Y030007"},
		{"prompt=none", false, func(c *oidcrp.Config) { c.Login.Prompt = "none" }, page, "Y030007"},
		{"prompt=select_account", false, func(c *oidcrp.Config) { c.Login.Prompt = "select_account" }, page, "Y030007"},
		{"no level", false, func(c *oidcrp.Config) { c.Login.ACRValues, c.Login.RequireACR = nil, nil }, page, "Y030007"},
		{"a level by claims", false, func(c *oidcrp.Config) { c.Provider.AdjustMetadata, c.Login.ACRValues = nil, nil }, page, "Y030007"},
		{"amr that is not allowed", false, func(c *oidcrp.Config) { fc.RequestAMR(&c.Login) }, page, "Y100009"},
		{"another client", false, func(c *oidcrp.Config) { c.ClientID = "other" }, page, "Y04EA6EF"},
		{"a level of FranceConnect+", false, func(c *oidcrp.Config) { c.Login.ACRValues = []string{"eidas2"} }, callback, "invalid_acr"},
		{"all levels", true, func(c *oidcrp.Config) { c.Login.ACRValues = []string{"eidas1", "eidas2", "eidas3"} }, callback, "invalid_acr"},
		{"an unknown identity provider", false, func(c *oidcrp.Config) { fc.SetIDPHint(&c.Login, "a") }, callback, "invalid_idp_hint"},
		{"UserInfo by POST", false, func(c *oidcrp.Config) { c.Provider.UserInfoTokenInBody = true }, callback, "userinfo"},
		{"the algorithm not named", false, func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = "" }, callback, "HS256"},
		{"UserInfo as JSON", true, func(c *oidcrp.Config) { c.Registration.UserInfoSignedResponseAlg = "RS256" }, callback, "userinfo"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, franceconnect.Options{Plus: test.plus}, func(c *oidcrp.Config) {
				c.Validate = nil
				test.change(c)
			})
			at, status, body := w.visit(t, "/user")
			if at.Path != test.at || status < 400 || !strings.Contains(body+w.log.String(), test.says) {
				t.Errorf("%d at %s:\n%s\nthe log says\n%s", status, at, body, w.log)
			}
		})
	}
}

func TestFranceConnect_RefusesALogoutWithoutHint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, franceconnect.Options{}, func(c *oidcrp.Config) {
		c.Validate = nil
		c.Provider.LogoutHintRequired = false
	})
	w.wantIn(t, "/user", "eidas1: "+identity)
	w.wantOut(t) // the session has one
	if at, status, body := w.logout(t); at.Path != "/api/v2/session/end" || status != http.StatusBadRequest {
		t.Errorf("a logout of nobody: %d at %s:\n%s", status, at, body)
	}
}

func TestFranceConnect_RefusesARevocationWithHint(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*oidcrp.Config)
		status int
	}{
		{"the preset", func(*oidcrp.Config) {}, http.StatusOK},
		{"token_type_hint", func(c *oidcrp.Config) { c.Provider.RevocationWithoutHint = false }, http.StatusBadRequest},
		{"Basic", func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_basic" }, http.StatusBadRequest},
	} {
		w := newWorld(t, franceconnect.Options{}, func(c *oidcrp.Config) {
			c.Validate = nil
			c.Tokens.Keep, c.Tokens.RevokeAtLogout = true, true
			test.change(c)
		})
		w.wantIn(t, "/user", "eidas1: "+identity)
		w.wantOut(t)
		if refused := strings.Contains(w.log.String(), "could not revoke"); refused == (test.status == http.StatusOK) {
			t.Errorf("%s: the log says\n%s", test.name, w.log)
		}
	}
}

// What a login of oidcrp never sends: the rest of the closed list.
func TestStandIn_RefusesOtherRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, franceconnect.Options{}, nil)
	sound := func() url.Values {
		return url.Values{
			"client_id": {franceconnect.ClientID}, "response_type": {"code"}, "redirect_uri": {w.app + "/auth/callback"}, "scope": {"openid"},
			"state": {"s"}, "nonce": {strings.Repeat("n", 22)}, "acr_values": {"eidas1"},
		}
	}
	for _, test := range []struct {
		name   string
		change func(url.Values)
		says   string // "" for the login page
	}{
		{"a sound request", func(url.Values) {}, ""},
		{"an unknown level beside a known one", func(v url.Values) { v.Set("acr_values", "x eidas1") }, ""},
		{"an unknown level", func(v url.Values) { v.Set("acr_values", "x") }, ""},
		{"a short nonce", func(v url.Values) { v.Set("nonce", strings.Repeat("n", 21)) }, "Y030007"},
		{"no nonce", func(v url.Values) { v.Del("nonce") }, "Y030007"},
		{"no state", func(v url.Values) { v.Del("state") }, "Y030007"},
		{"an empty acr_values", func(v url.Values) { v.Set("acr_values", "") }, "Y030007"},
		{"an empty prompt", func(v url.Values) { v.Set("prompt", "") }, "Y030007"},
		{"a parameter twice", func(v url.Values) { v.Add("scope", "email") }, "Y030007"},
		{"request_uri", func(v url.Values) { v.Set("request_uri", "urn:x") }, "Y030007"},
		{"no openid", func(v url.Values) { v.Set("scope", "email") }, "invalid_request"},
	} {
		query := sound()
		test.change(query)
		res, err := http.DefaultTransport.RoundTrip(httptest.NewRequestWithContext(t.Context(), "GET", w.Issuer()+"/authorize?"+query.Encode(), nil))
		if err != nil {
			t.Fatal(err)
		}
		_, status, body := ended(t, res)
		body += res.Header.Get("Location")
		if login := status == http.StatusOK && strings.Contains(body, `data-oidctest="login"`); login != (test.says == "") || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d\n%s", test.name, status, body)
		}
	}
}

// The token response, the ID Token and their lifetimes are FranceConnect's.
func TestStandIn_AnswersLikeFranceConnect(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, franceconnect.Options{Plus: true, Now: func() time.Time { return now }}, nil)
	w.wantIn(t, "/user", "eidas2: "+identity)
	requests := w.RequestsTo(oidctest.EndpointToken)
	if len(requests) != 1 || requests[0].Form.Get("client_secret") != franceconnect.ClientSecret || requests[0].Form.Has("code_verifier") {
		t.Fatalf("%+v", requests)
	}
	claims := hintOf(t, w)
	var names []string
	for name := range claims {
		names = append(names, name)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "acr aud auth_time exp iat iss nonce sub" {
		t.Errorf("the ID Token has %s", got)
	}
	if claims["exp"].(float64)-claims["iat"].(float64) != 60 {
		t.Errorf("it is valid from %v to %v", claims["iat"], claims["exp"])
	}
	w.wantIn(t, "/user", "eidas2: "+identity)
	_, _, body := w.visit(t, "/high") // the session of eidas2 does not serve
	if !strings.HasPrefix(body, "eidas3: ") {
		t.Errorf("got %s", body)
	}
}

// hintOf signs out and returns the claims of the ID Token that travelled there.
func hintOf(t *testing.T, w *world) map[string]any {
	t.Helper()
	w.logout(t)
	requests := w.RequestsTo(oidctest.EndpointEndSession)
	if len(requests) != 1 {
		t.Fatalf("%d logouts", len(requests))
	}
	payload := strings.Split(requests[0].URL.Query().Get("id_token_hint"), ".")[1]
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// The person comes back with an error: they read what to do, in their language.
func TestFranceConnect_ExplainsARefusal(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"Y010015": "is deceased", "Y010011": "does not answer FranceConnect", "Z": "was cancelled",
	} {
		w := newWorld(t, franceconnect.Options{}, nil)
		w.Deny("access_denied", code, false)
		if at, status, body := w.visit(t, "/user"); at.Path != "/auth/callback" || status != http.StatusForbidden || !strings.Contains(body, want) {
			t.Errorf("%s: %d at %s:\n%s", code, status, at, body)
		}
		w.wantIn(t, "/user", "eidas1: "+identity)
		w = newWorld(t, franceconnect.Options{}, nil)
		w.Deny("access_denied", code, true)
		if _, status, body := w.visit(t, "/user"); status != http.StatusBadRequest || !strings.Contains(body, `href="/auth/login"`) {
			t.Errorf("%s without state: %d\n%s", code, status, body)
		}
	}
}
