package oidcrp

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

// An authRow is a way for a client to prove itself.
type authRow struct {
	what     string
	client   oidctest.Client // as it is registered
	config   func(*Config)
	method   string // what the provider must see
	alg, kid string // of the assertion
}

// privateKeys are keys of each type, with their ids.
func privateKeys() []jose.JSONWebKey {
	keys := testKeys()
	return []jose.JSONWebKey{
		{Key: keys.P384, KeyID: "encryption", Use: "enc"},
		{Key: keys.RSA, KeyID: "rsa"},
		{Key: keys.P256, KeyID: "p256"},
		{Key: keys.Ed, KeyID: "ed", Algorithm: "EdDSA"},
		{Key: keys.RSA2, KeyID: "pss", Algorithm: "PS256", Use: "sig"},
	}
}

// registered is a client with the public parts of privateKeys.
func registered(method string) oidctest.Client {
	client := oidctest.Client{ID: oidctest.ClientID, TokenEndpointAuthMethod: method}
	for _, key := range privateKeys() {
		client.JWKS.Keys = append(client.JWKS.Keys, key.Public())
	}
	return client
}

func authRows() []authRow {
	const (
		oddID     = "client:+% ü/ö"
		oddSecret = "secret:+% ßéß/&=?#\"' of enough length"
	)
	long := strings.Repeat("0123456789abcdef", 4)
	withKeys := func(alg string) func(*Config) {
		return func(c *Config) {
			c.ClientSecret, c.Registration.ClientKeys = "", privateKeys()
			c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = "private_key_jwt", alg
		}
	}
	withSecret := func(alg string) func(*Config) {
		return func(c *Config) {
			c.ClientSecret, c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = long, "client_secret_jwt", alg
		}
	}
	odd := func(method string) func(*Config) {
		return func(c *Config) {
			c.ClientID, c.ClientSecret, c.Registration.TokenEndpointAuthMethod = oddID, oddSecret, method
		}
	}
	secretJWT := oidctest.Client{ID: oidctest.ClientID, Secret: long, TokenEndpointAuthMethod: "client_secret_jwt"}
	keyJWT := registered("private_key_jwt")
	return []authRow{
		{"nothing said", oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}, nil, "client_secret_basic", "", ""},
		{"basic", oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_basic"},
			func(c *Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_basic" }, "client_secret_basic", "", ""},
		{"basic with special characters", oidctest.Client{ID: oddID, Secret: oddSecret, TokenEndpointAuthMethod: "client_secret_basic"},
			odd("client_secret_basic"), "client_secret_basic", "", ""},
		{"post", oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_post"},
			func(c *Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_post" }, "client_secret_post", "", ""},
		{"post with special characters", oidctest.Client{ID: oddID, Secret: oddSecret, TokenEndpointAuthMethod: "client_secret_post"},
			odd("client_secret_post"), "client_secret_post", "", ""},
		{"post, since the provider offers nothing else",
			oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_post"},
			nil, "client_secret_post", "", ""},
		{"a public client", oidctest.Client{ID: oidctest.ClientID},
			func(c *Config) { c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "none" }, "none", "", ""},

		{"client_secret_jwt", secretJWT, withSecret(""), "client_secret_jwt", "HS256", ""},
		{"client_secret_jwt with HS384", secretJWT, withSecret("HS384"), "client_secret_jwt", "HS384", ""},
		{"client_secret_jwt with HS512", secretJWT, withSecret("HS512"), "client_secret_jwt", "HS512", ""},

		{"private_key_jwt, the first key that is for signing", keyJWT, withKeys(""), "private_key_jwt", "RS256", "rsa"},
		{"private_key_jwt with RS256", keyJWT, withKeys("RS256"), "private_key_jwt", "RS256", "rsa"},
		{"private_key_jwt with ES256", keyJWT, withKeys("ES256"), "private_key_jwt", "ES256", "p256"},
		{"private_key_jwt with EdDSA", keyJWT, withKeys("EdDSA"), "private_key_jwt", "EdDSA", "ed"},
		{"private_key_jwt with PS512, which only a key without alg does", keyJWT, withKeys("PS512"), "private_key_jwt", "PS512", "rsa"},
		{"private_key_jwt with the alg of the first key", keyJWT, func(c *Config) {
			c.ClientSecret, c.Registration.ClientKeys = "", []jose.JSONWebKey{privateKeys()[4], privateKeys()[1]}
		}, "private_key_jwt", "PS256", "pss"},
		{"private_key_jwt without a key id", keyJWT, func(c *Config) {
			c.ClientSecret, c.Registration.ClientKeys = "", []jose.JSONWebKey{{Key: testKeys().P256}}
		}, "private_key_jwt", "ES256", ""},
	}
}

func TestTheClientProvesItselfAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	for _, tt := range authRows() {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{
				provider: oidctest.Config{Clients: []oidctest.Client{tt.client}},
				config: func(c *Config) {
					c.Tokens.Keep, c.Registration.RequirePushedAuthorizationRequests = true, true
					if tt.config != nil {
						tt.config(c)
					}
				},
				routes: func(c *Client, mux *http.ServeMux) {
					mux.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) {
						if _, err := c.Refresh(w, r); err != nil {
							t.Error(err)
						}
					})
				},
			})
			browser := app.signIn(t)
			get(t, browser, app.URL+"/refresh")
			res, err := noRedirects(browser).Post(app.URL+"/auth/logout", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()

			seen := make(map[string]bool)
			for endpoint, n := range map[string]int{
				oidctest.EndpointPAR: 1, oidctest.EndpointToken: 2, oidctest.EndpointRevocation: 1,
			} {
				requests := app.provider.RequestsTo(endpoint)
				if len(requests) != n {
					t.Errorf("%d requests to the %s endpoint, want %d", len(requests), endpoint, n)
				}
				for _, r := range requests {
					checkProof(t, app, &tt, r, seen)
				}
			}
		})
	}
}

// checkProof checks the client authentication of one request. seen holds the
// jti of those before.
func checkProof(t *testing.T, app *testApp, tt *authRow, r oidctest.Request, seen map[string]bool) {
	t.Helper()
	if r.Status/100 != 2 {
		t.Errorf("the %s endpoint answered %d to %v", r.Endpoint, r.Status, r.Form)
	}
	if got := r.Header.Get("Accept"); got != "application/json" {
		t.Errorf("the %s request accepts %q", r.Endpoint, got)
	}
	auth, shown := app.client.provider.auth, make(url.Values)
	for _, name := range []string{"client_id", "client_secret", "client_assertion_type", "client_assertion"} {
		if values, ok := r.Form[name]; ok {
			shown[name] = values
		}
	}
	want := url.Values{"client_id": {auth.clientID}}
	authorization := ""
	switch tt.method {
	case "client_secret_basic":
		plain := url.QueryEscape(auth.clientID) + ":" + url.QueryEscape(auth.secret)
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(plain))
		if r.Endpoint != oidctest.EndpointPAR { // where client_id is part of the request
			want.Del("client_id")
		}
	case "client_secret_post":
		want.Set("client_secret", auth.secret)
	case "client_secret_jwt", "private_key_jwt":
		want.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		want["client_assertion"] = shown["client_assertion"]
		checkAssertion(t, app, tt, shown.Get("client_assertion"), seen)
	}
	if got := r.Header.Values("Authorization"); strings.Join(got, "\n") != authorization {
		t.Errorf("the %s request has Authorization %q, want %q", r.Endpoint, got, authorization)
	}
	if got, want := shown.Encode(), want.Encode(); got != want {
		t.Errorf("the %s request shows\n%s\nwant\n%s", r.Endpoint, got, want)
	}
}

// checkAssertion checks an assertion whose signature the provider has checked.
func checkAssertion(t *testing.T, app *testApp, tt *authRow, assertion string, seen map[string]bool) {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Errorf("the assertion is %q", assertion)
		return
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		plain, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(plain, into)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
	kid, _ := header["kid"].(string)
	if header["alg"] != tt.alg || kid != tt.kid || header["typ"] != "JWT" {
		t.Errorf("the assertion's header is %v, want alg %s and kid %q", header, tt.alg, tt.kid)
	}
	jti, _ := claims["jti"].(string)
	if len(jti) != 43 || seen[jti] {
		t.Errorf("jti %q is short or not new", jti)
	}
	seen[jti] = true
	now := float64(app.clock.Now().Unix())
	for name, want := range map[string]any{
		"iss": app.client.clientID, "sub": app.client.clientID, "aud": app.provider.Issuer(),
		"iat": now, "exp": now + 60,
	} {
		if claims[name] != want {
			t.Errorf("the assertion's %s is %v, want %v", name, claims[name], want)
		}
	}
	if len(claims) != 6 {
		t.Errorf("the assertion claims %v", claims)
	}
}

func TestTheMethodFollowsTheProvider(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		configured string
		offered    []string
		want       string
	}{
		{"", nil, "client_secret_basic"}, // the default of OIDC Discovery 3
		{"", []string{}, "client_secret_basic"},
		{"", []string{"client_secret_basic"}, "client_secret_basic"},
		{"", []string{"client_secret_post"}, "client_secret_post"},
		{"", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic"},
		{"", []string{"private_key_jwt", "client_secret_post", "none"}, "client_secret_post"},
		{"", []string{"CLIENT_SECRET_BASIC", "client_secret_post"}, "client_secret_post"},
		{"", []string{"private_key_jwt", "client_secret_jwt"}, ""},
		{"", []string{"none"}, ""},
		// What is configured was agreed at registration, whatever is advertised.
		{"client_secret_post", []string{"client_secret_basic"}, "client_secret_post"},
		{"client_secret_jwt", nil, "client_secret_jwt"},
	} {
		c := mustNew(t, func(c *Config) { c.Registration.TokenEndpointAuthMethod = tt.configured })
		got, err := c.provider.auth.methodFor(soundMetadata(func(m *Metadata) { m.TokenEndpointAuthMethodsSupported = tt.offered }))
		if got != tt.want {
			t.Errorf("%q of %q: %q, want %q", tt.configured, tt.offered, got, tt.want)
		}
		if tt.want == "" {
			wantCode(t, err, CodeUnsupported)
		}
	}
}

func TestAProofThatIsRefusedIsNotTriedInAnotherWay(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"", "client_secret_basic", "client_secret_post", "client_secret_jwt"} {
		var refusals []LoginEvent
		app := newTestApp(t, setup{config: func(c *Config) {
			c.Registration.TokenEndpointAuthMethod = method
			c.ClientSecret = "not the secret of the registration"
			c.Trace.LoginRefused = collect(&refusals)
		}})
		res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
			t.Errorf("%q: %d token requests, want one", method, n)
		}
		if len(refusals) != 1 || refusals[0].Code != CodeClientRefused {
			t.Errorf("%q: the login was refused with %+v", method, refusals)
		}
	}
}

func TestAnAssertionIsMadeForEachRequest(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	c := mustNew(t, func(c *Config) {
		c.ClientSecret, c.Registration.ClientKeys = "", privateKeys()
		c.Now = func() time.Time { return now }
	})
	var assertions []string
	for range 3 {
		form := make(url.Values)
		if err := c.provider.auth.add(soundMetadata(nil), form, make(http.Header)); err != nil {
			t.Fatal(err)
		}
		assertions = append(assertions, form.Get("client_assertion"))
	}
	if slices.Sort(assertions); len(slices.Compact(assertions)) != 3 {
		t.Error("one assertion came twice")
	}
}
