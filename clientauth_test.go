package oidcrp_test

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// An authRow is a way for a client to prove itself.
type authRow struct {
	what     string
	client   oidctest.Client // as it is registered
	config   func(*oidcrp.Config)
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
	withKeys := func(alg string) func(*oidcrp.Config) {
		return func(c *oidcrp.Config) {
			c.ClientSecret, c.Registration.ClientKeys = "", privateKeys()
			c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = "private_key_jwt", alg
		}
	}
	withSecret := func(alg string) func(*oidcrp.Config) {
		return func(c *oidcrp.Config) {
			c.ClientSecret, c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = long, "client_secret_jwt", alg
		}
	}
	odd := func(method string) func(*oidcrp.Config) {
		return func(c *oidcrp.Config) {
			c.ClientID, c.ClientSecret, c.Registration.TokenEndpointAuthMethod = oddID, oddSecret, method
		}
	}
	secretJWT := oidctest.Client{ID: oidctest.ClientID, Secret: long, TokenEndpointAuthMethod: "client_secret_jwt"}
	keyJWT := registered("private_key_jwt")
	return []authRow{
		{"nothing said", oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}, nil, "client_secret_basic", "", ""},
		{"basic", oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_basic"},
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_basic" }, "client_secret_basic", "", ""},
		{"basic with special characters", oidctest.Client{ID: oddID, Secret: oddSecret, TokenEndpointAuthMethod: "client_secret_basic"},
			odd("client_secret_basic"), "client_secret_basic", "", ""},
		{"post", oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_post"},
			func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "client_secret_post" }, "client_secret_post", "", ""},
		{"post with special characters", oidctest.Client{ID: oddID, Secret: oddSecret, TokenEndpointAuthMethod: "client_secret_post"},
			odd("client_secret_post"), "client_secret_post", "", ""},
		{"post, since the provider offers nothing else",
			oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_post"},
			nil, "client_secret_post", "", ""},
		{"a public client", oidctest.Client{ID: oidctest.ClientID},
			func(c *oidcrp.Config) { c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "none" }, "none", "", ""},

		{"client_secret_jwt", secretJWT, withSecret(""), "client_secret_jwt", "HS256", ""},
		{"client_secret_jwt with HS384", secretJWT, withSecret("HS384"), "client_secret_jwt", "HS384", ""},
		{"client_secret_jwt with HS512", secretJWT, withSecret("HS512"), "client_secret_jwt", "HS512", ""},

		{"private_key_jwt, the first key that is for signing", keyJWT, withKeys(""), "private_key_jwt", "RS256", "rsa"},
		{"private_key_jwt with RS256", keyJWT, withKeys("RS256"), "private_key_jwt", "RS256", "rsa"},
		{"private_key_jwt with ES256", keyJWT, withKeys("ES256"), "private_key_jwt", "ES256", "p256"},
		{"private_key_jwt with EdDSA", keyJWT, withKeys("EdDSA"), "private_key_jwt", "EdDSA", "ed"},
		{"private_key_jwt with PS512, which only a key without alg does", keyJWT, withKeys("PS512"), "private_key_jwt", "PS512", "rsa"},
		{"private_key_jwt with the alg of the first key", keyJWT, func(c *oidcrp.Config) {
			c.ClientSecret, c.Registration.ClientKeys = "", []jose.JSONWebKey{privateKeys()[4], privateKeys()[1]}
		}, "private_key_jwt", "PS256", "pss"},
		{"private_key_jwt without a key id", keyJWT, func(c *oidcrp.Config) {
			c.ClientSecret, c.Registration.ClientKeys = "", []jose.JSONWebKey{{Key: testKeys().P256}}
		}, "private_key_jwt", "ES256", ""},
	}
}

func TestClientAuth_ProvesTheClientAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	for _, tt := range authRows() {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			var cfg oidcrp.Config
			app := newTestApp(t, setup{
				provider: oidctest.Config{Clients: []oidctest.Client{tt.client}},
				config: func(c *oidcrp.Config) {
					c.Tokens.Keep, c.Registration.RequirePushedAuthorizationRequests = true, true
					c.Tokens.RevokeAtLogout = true
					if tt.config != nil {
						tt.config(c)
					}
					cfg = *c
				},
				routes: func(c *oidcrp.Client, mux *http.ServeMux) {
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
					checkProof(t, &cfg, &tt, r, seen)
				}
			}
		})
	}
}

// checkProof checks the client authentication of one request. seen holds the
// jti of those before.
func checkProof(t *testing.T, cfg *oidcrp.Config, tt *authRow, r oidctest.Request, seen map[string]bool) {
	t.Helper()
	if r.Status/100 != 2 {
		t.Errorf("the %s endpoint answered %d to %v", r.Endpoint, r.Status, r.Form)
	}
	if got := r.Header.Get("Accept"); got != "application/json" {
		t.Errorf("the %s request accepts %q", r.Endpoint, got)
	}
	shown := make(url.Values)
	for _, name := range []string{"client_id", "client_secret", "client_assertion_type", "client_assertion"} {
		if values, ok := r.Form[name]; ok {
			shown[name] = values
		}
	}
	want := url.Values{"client_id": {cfg.ClientID}}
	authorization := ""
	switch tt.method {
	case "client_secret_basic":
		plain := url.QueryEscape(cfg.ClientID) + ":" + url.QueryEscape(cfg.ClientSecret)
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(plain))
		if r.Endpoint != oidctest.EndpointPAR { // where client_id is part of the request
			want.Del("client_id")
		}
	case "client_secret_post":
		want.Set("client_secret", cfg.ClientSecret)
	case "client_secret_jwt", "private_key_jwt":
		want.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		want["client_assertion"] = shown["client_assertion"]
		checkAssertion(t, cfg, tt, shown.Get("client_assertion"), seen)
	}
	if got := r.Header.Values("Authorization"); strings.Join(got, "\n") != authorization {
		t.Errorf("the %s request has Authorization %q, want %q", r.Endpoint, got, authorization)
	}
	if got, want := shown.Encode(), want.Encode(); got != want {
		t.Errorf("the %s request shows\n%s\nwant\n%s", r.Endpoint, got, want)
	}
}

// checkAssertion checks an assertion whose signature the provider has checked.
func checkAssertion(t *testing.T, cfg *oidcrp.Config, tt *authRow, assertion string, seen map[string]bool) {
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
	now := float64(cfg.Now().Unix())
	for name, want := range map[string]any{
		"iss": cfg.ClientID, "sub": cfg.ClientID, "aud": cfg.Issuer,
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

func TestClientAuth_ARefusedProofIsNotRetriedInAnotherWay(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"", "client_secret_basic", "client_secret_post", "client_secret_jwt"} {
		var refusals []oidcrp.LoginEvent
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
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
		if len(refusals) != 1 || refusals[0].Code != oidcrp.CodeClientRefused {
			t.Errorf("%q: the login was refused with %+v", method, refusals)
		}
	}
}

// certificateFor returns a certificate that key signed for itself.
func certificateFor(t testing.TB, key crypto.Signer, name string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// registeredFor is a client that is known by its certificate.
func registeredFor(t testing.TB, method string, certificate tls.Certificate) oidctest.Client {
	t.Helper()
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	client := oidctest.Client{ID: oidctest.ClientID, TokenEndpointAuthMethod: method}
	if method == "tls_client_auth" {
		client.TLSClientAuthSubjectDN = leaf.Subject.String()
	} else {
		client.JWKS.Keys = []jose.JSONWebKey{{Key: leaf.PublicKey, Certificates: []*x509.Certificate{leaf}}}
	}
	return client
}

// mtlsApp is an app whose provider answers clients with a certificate on
// another port, too.
type mtlsApp struct {
	*testApp
	aliases *url.URL
}

// newMTLSApp starts one. aliased are the endpoints that the provider's
// mtls_endpoint_aliases name.
func newMTLSApp(t *testing.T, client oidctest.Client, aliased []string, s setup) *mtlsApp {
	t.Helper()
	var provider atomic.Pointer[oidctest.Provider]
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		provider.Load().ServeHTTP(w, r)
	}))
	other.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	other.StartTLS()
	t.Cleanup(other.Close)
	paths := map[string]string{
		"token_endpoint": "/token", "userinfo_endpoint": "/userinfo", "revocation_endpoint": "/token/revocation",
		"pushed_authorization_request_endpoint": "/request",
	}
	aliases := make(map[string]any)
	for _, name := range aliased {
		aliases[name] = other.URL + paths[name]
	}
	if len(aliases) > 0 {
		s.provider.Metadata = map[string]any{"mtls_endpoint_aliases": aliases}
	}
	s.provider.TLS, s.provider.Clients = true, []oidctest.Client{client}
	change := s.config
	s.config = func(c *oidcrp.Config) {
		c.Provider.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(other.Certificate())
		c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", client.TokenEndpointAuthMethod
		c.Tokens.Keep, c.Tokens.RevokeAtLogout = true, true
		change(c)
	}
	app := &mtlsApp{testApp: newTestApp(t, s)}
	provider.Store(app.provider)
	app.aliases, _ = url.Parse(other.URL)
	return app
}

// wantHost fails the test unless every request to the endpoint, of which there
// must be some, went to that host.
func (a *mtlsApp) wantHost(t *testing.T, endpoint, host string) {
	t.Helper()
	requests := a.provider.RequestsTo(endpoint)
	if len(requests) == 0 {
		t.Errorf("nobody asked the %s endpoint", endpoint)
	}
	for _, r := range requests {
		if r.Host != host {
			t.Errorf("the %s endpoint was asked at %s, want %s", endpoint, r.Host, host)
		}
	}
}

var allAliases = []string{
	"token_endpoint", "userinfo_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint",
}

func TestMutualTLS_ProvesTheClientAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"tls_client_auth", "self_signed_tls_client_auth"} {
		for name, key := range map[string]crypto.Signer{"RSA": testKeys().RSA, "EC": testKeys().P256, "Ed25519": testKeys().Ed} {
			for _, aliased := range [][]string{nil, allAliases} {
				t.Run(fmt.Sprintf("%s %s %d aliases", method, name, len(aliased)), func(t *testing.T) {
					t.Parallel()
					certificate := certificateFor(t, key, "the client")
					app := newMTLSApp(t, registeredFor(t, method, certificate), aliased, setup{
						provider: oidctest.Config{RequirePAR: true},
						config:   func(c *oidcrp.Config) { c.Registration.ClientCertificates = []tls.Certificate{certificate} },
					})
					browser := app.signIn(t)
					app.logsOut(t, browser, "/auth/logout")

					issuer, _ := url.Parse(app.provider.Issuer())
					host := issuer.Host
					if aliased != nil {
						host = app.aliases.Host
					}
					for _, endpoint := range []string{
						oidctest.EndpointToken, oidctest.EndpointPAR, oidctest.EndpointRevocation, oidctest.EndpointUserInfo,
					} {
						app.wantHost(t, endpoint, host)
					}
					for _, endpoint := range []string{
						oidctest.EndpointDiscovery, oidctest.EndpointJWKS, oidctest.EndpointAuthorization,
					} {
						app.wantHost(t, endpoint, issuer.Host)
					}
					checkNoOtherProof(t, app.testApp)
				})
			}
		}
	}
}

// checkNoOtherProof fails the test if the client showed anything but its id
// beside the certificate, or was refused.
func checkNoOtherProof(t *testing.T, app *testApp) {
	t.Helper()
	for _, r := range app.provider.Requests() {
		if r.Status >= 400 {
			t.Errorf("the %s endpoint answered %d", r.Endpoint, r.Status)
		}
		switch r.Endpoint {
		case oidctest.EndpointToken, oidctest.EndpointPAR, oidctest.EndpointRevocation:
		default:
			continue
		}
		if got := r.Form.Get("client_id"); got != oidctest.ClientID || r.URL.RawQuery != "" {
			t.Errorf("client_id in the body for %s is %q, and the query %q", r.Endpoint, got, r.URL.RawQuery)
		}
		for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
			if r.Form.Has(name) {
				t.Errorf("%s was sent to the %s endpoint", name, r.Endpoint)
			}
		}
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("the %s endpoint got an Authorization header: %s", r.Endpoint, got)
		}
	}
}

func TestMutualTLS_UsesTheAliasesThereAre(t *testing.T) {
	t.Parallel()
	certificate := certificateFor(t, testKeys().P256, "the client")
	app := newMTLSApp(t, registeredFor(t, "tls_client_auth", certificate), []string{"token_endpoint"}, setup{
		config: func(c *oidcrp.Config) { c.Registration.ClientCertificates = []tls.Certificate{certificate} },
	})
	app.signIn(t)
	issuer, _ := url.Parse(app.provider.Issuer())
	app.wantHost(t, oidctest.EndpointToken, app.aliases.Host)
	app.wantHost(t, oidctest.EndpointUserInfo, issuer.Host)
	m, err := app.client.Metadata(t.Context())
	if err != nil || m.TokenEndpoint != app.provider.Endpoint(oidctest.EndpointToken) {
		t.Errorf("Metadata says %q, %v: not what the provider says", m.TokenEndpoint, err)
	}
}

func TestMutualTLS_AliasesAreForClientsWithACertificate(t *testing.T) {
	t.Parallel()
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_post"}
	app := newMTLSApp(t, client, allAliases, setup{
		config: func(c *oidcrp.Config) { c.ClientSecret = oidctest.ClientSecret },
	})
	app.signIn(t)
	issuer, _ := url.Parse(app.provider.Issuer())
	app.wantHost(t, oidctest.EndpointToken, issuer.Host)
	app.wantHost(t, oidctest.EndpointUserInfo, issuer.Host)
}

func TestMutualTLS_AnotherCertificateIsRefused(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"tls_client_auth", "self_signed_tls_client_auth"} {
		known := certificateFor(t, testKeys().P256, "the client")
		app := newMTLSApp(t, registeredFor(t, method, known), allAliases, setup{
			config: func(c *oidcrp.Config) {
				c.Registration.ClientCertificates = []tls.Certificate{certificateFor(t, testKeys().Other, "another")}
			},
		})
		res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if page := readBody(t, res); res.StatusCode != http.StatusBadGateway || !strings.Contains(app.log.String(), "invalid_client") {
			t.Errorf("%s: %s\n%s", method, res.Status, page)
		}
		if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
			t.Errorf("%s: %d requests to the token endpoint, want 1", method, n)
		}
	}
}

// A certificate names the client: it is for the endpoints where the client proves who
// it is or uses a token that is bound to it, and for nobody else who asks (RFC 8705).
func TestMutualTLS_ShowsTheCertificateOnlyWhereTheClientProvesItself(t *testing.T) {
	t.Parallel()
	certificate := certificateFor(t, testKeys().P256, "the client")
	shown := newCertificateLog(t)
	endpoints := map[string]any{}
	for name, path := range map[string]string{
		"jwks_uri": "/jwks", "token_endpoint": "/token", "userinfo_endpoint": "/userinfo",
		"revocation_endpoint": "/token/revocation", "pushed_authorization_request_endpoint": "/request",
	} {
		endpoints[name] = shown.server.URL + path
	}
	app := newTestApp(t, setup{
		provider: oidctest.Config{
			TLS: true, RequirePAR: true, Metadata: endpoints,
			Clients: []oidctest.Client{registeredFor(t, "tls_client_auth", certificate)},
		},
		config: func(c *oidcrp.Config) {
			c.Provider.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(shown.server.Certificate())
			c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "tls_client_auth"
			c.Registration.ClientCertificates, c.Tokens.Keep = []tls.Certificate{certificate}, true
			c.Tokens.RevokeAtLogout = true
		},
	})
	shown.next.Store(app.provider)
	res, err := app.provider.HTTPClient().Get(app.provider.Issuer() + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	document := readBody(t, res)
	app.provider.Handle(oidctest.EndpointDiscovery, func(w http.ResponseWriter, r *http.Request) {
		shown.note(r)
		respond(http.StatusOK, "application/json", document)(w, r)
	})
	browser := app.signIn(t)
	app.logsOut(t, browser, "/auth/logout")
	want := map[string]bool{
		"/.well-known/openid-configuration": false, "/jwks": false,
		"/token": true, "/userinfo": true, "/token/revocation": true, "/request": true,
	}
	if got := shown.paths(); !maps.Equal(got, want) {
		t.Errorf("the certificate was shown at %v, want %v", got, want)
	}
}

// An authenticated request is never repeated elsewhere, with or without its
// certificate.
func TestMutualTLS_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	certificate := certificateFor(t, testKeys().P256, "the client")
	elsewhere := newCertificateLog(t)
	for _, endpoint := range []string{
		oidctest.EndpointToken, oidctest.EndpointUserInfo, oidctest.EndpointPAR, oidctest.EndpointRevocation,
	} {
		app := newMTLSApp(t, registeredFor(t, "tls_client_auth", certificate), nil, setup{
			provider: oidctest.Config{RequirePAR: true},
			config: func(c *oidcrp.Config) {
				c.Provider.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(elsewhere.server.Certificate())
				c.Registration.ClientCertificates = []tls.Certificate{certificate}
			},
		})
		asked := 0
		app.provider.Handle(endpoint, func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, elsewhere.server.URL, http.StatusTemporaryRedirect)
		})
		browser := app.provider.Browser()
		res, err := app.provider.Visit(browser, app.URL+"/me", "alice")
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		app.logsOut(t, browser, "/auth/logout")
		if asked != 1 {
			t.Errorf("the %s endpoint got %d requests, want 1", endpoint, asked)
		}
	}
	if got := elsewhere.paths(); len(got) > 0 {
		t.Errorf("redirects were followed to %v", got)
	}
}

// A certificateLog is a server that asks for a certificate at every path, and notes
// who shows one. What it gets it hands on.
type certificateLog struct {
	server *httptest.Server
	next   atomic.Pointer[oidctest.Provider]

	mu    sync.Mutex
	shown map[string]bool // by path; guarded by mu
}

func newCertificateLog(t *testing.T) *certificateLog {
	t.Helper()
	l := &certificateLog{shown: make(map[string]bool)}
	l.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.note(r)
		if next := l.next.Load(); next != nil {
			next.ServeHTTP(w, r)
		}
	}))
	l.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	l.server.StartTLS()
	t.Cleanup(l.server.Close)
	return l
}

func (l *certificateLog) note(r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown[r.URL.Path] = l.shown[r.URL.Path] || len(r.TLS.PeerCertificates) > 0
}

func (l *certificateLog) paths() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.shown)
}

// The transport may be in use elsewhere, for requests that show no certificate.
func TestMutualTLS_LeavesTheTransportAlone(t *testing.T) {
	t.Parallel()
	transport := new(http.Transport)
	mustNew(t, func(c *oidcrp.Config) {
		c.Provider.Transport = transport
		c.Registration.ClientCertificates = []tls.Certificate{certificateFor(t, testKeys().P256, "the client")}
	})
	if config := transport.TLSClientConfig; config != nil && (config.Certificates != nil || config.GetClientCertificate != nil) {
		t.Error("the certificate is in the caller's transport")
	}
}
