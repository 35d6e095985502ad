package oidcrp_test

// This file tests the fields that exist for the sake of providers that deviate, each with
// a provider that needs it. docs/providers.md names the tests.

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// visit opens /me as persona with a new browser, and returns it and who is then signed in.
func (a *testApp) visit(t testing.TB, persona string) (*http.Client, string) {
	t.Helper()
	browser := a.provider.Browser()
	res, err := a.provider.Visit(browser, a.URL+"/me", persona)
	if err == nil { // else the login did not even reach the provider's page
		readBody(t, res)
	}
	return browser, a.who(t, browser, "/").Sub
}

// needs checks that nobody can sign in at the provider without field, and that alice can
// with it. It returns that app and her browser. base is what both have in common; may be nil.
func needs(t *testing.T, s setup, base, field func(*oidcrp.Config)) (*testApp, *http.Client) {
	t.Helper()
	prepare := func(further func(*oidcrp.Config)) *testApp {
		s := s
		s.config = func(c *oidcrp.Config) {
			if base != nil {
				base(c)
			}
			if further != nil {
				further(c)
			}
		}
		return newTestApp(t, s)
	}
	if _, sub := prepare(nil).visit(t, "alice"); sub != "" {
		t.Errorf("%s is signed in without the field: the provider does not need it", sub)
	}
	app := prepare(field)
	browser, sub := app.visit(t, "alice")
	if sub != "alice" {
		t.Fatalf("%q is signed in with the field, want alice\n%s", sub, app.log)
	}
	if v := app.provider.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
	return app, browser
}

func TestMetadataURL_IsWhereTheMetadataIs(t *testing.T) {
	t.Parallel()
	const path = "/.well-known/wallet-openid-configuration"
	provider := oidctest.Config{Paths: map[string]string{oidctest.EndpointDiscovery: path}}
	app, _ := needs(t, setup{provider: provider}, nil, func(c *oidcrp.Config) { c.Provider.MetadataURL = c.Issuer + path })
	if n := app.provider.Count(oidctest.EndpointDiscovery); n != 1 {
		t.Errorf("%d requests for the metadata, want 1", n)
	}
}

func TestMetadataURL_TheIssuerIsStillCompared(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Provider.MetadataURL, c.Issuer = c.Issuer+"/.well-known/openid-configuration", c.Issuer+"/tenant"
	}})
	_, err := app.client.Metadata(t.Context())
	if e := wantCode(t, err, oidcrp.CodeProviderInvalid); !strings.Contains(e.Error(), "issuer is") {
		t.Errorf("the error is %v", e)
	}
}

func TestAdjustMetadata_MendsWhatIsPublished(t *testing.T) {
	t.Parallel()
	provider := oidctest.Config{Metadata: map[string]any{"token_endpoint": "/nowhere", "end_session_endpoint": nil}}
	app, _ := needs(t, setup{provider: provider}, nil, func(c *oidcrp.Config) {
		issuer := c.Issuer
		c.Provider.AdjustMetadata = func(m *oidcrp.Metadata) {
			m.TokenEndpoint, m.EndSessionEndpoint = issuer+"/token", issuer+"/session/end"
		}
	})
	m := mustMetadata(t, app.client)
	if want := app.provider.Endpoint(oidctest.EndpointEndSession); m.EndSessionEndpoint != want {
		t.Errorf("end_session_endpoint is %q, want %q", m.EndSessionEndpoint, want)
	}
}

func TestAdjustMetadata_TheResultIsChecked(t *testing.T) {
	t.Parallel()
	for want, adjust := range map[string]func(*oidcrp.Metadata){
		"token_endpoint is missing":                 func(m *oidcrp.Metadata) { m.TokenEndpoint = "" },
		"userinfo_endpoint is not an https URL":     func(m *oidcrp.Metadata) { m.UserInfoEndpoint = "ftp://op.example/" },
		"issuer is":                                 func(m *oidcrp.Metadata) { m.Issuer += "/" },
		`response_types_supported lacks "code"`:     func(m *oidcrp.Metadata) { m.ResponseTypesSupported = []string{"token"} },
		"authorization_endpoint is not an absolute": func(m *oidcrp.Metadata) { m.AuthorizationEndpoint += "#" },
	} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Provider.AdjustMetadata = adjust }})
		_, err := app.client.Metadata(t.Context())
		if e := wantCode(t, err, oidcrp.CodeProviderInvalid); !strings.Contains(e.Error(), want) {
			t.Errorf("the error is %v, want %q", e, want)
		}
	}
}

// A func that sets the issuer would accept anybody's metadata.
func TestAdjustMetadata_CannotMakeUpForAnotherIssuer(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{Metadata: map[string]any{"issuer": "/other"}}, config: func(c *oidcrp.Config) {
		issuer := c.Issuer
		c.Provider.AdjustMetadata = func(m *oidcrp.Metadata) { m.Issuer = issuer }
	}})
	_, err := app.client.Metadata(t.Context())
	wantCode(t, err, oidcrp.CodeProviderInvalid)
}

// graphUserInfo refuses every token as Microsoft Graph does one of another API.
func graphUserInfo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	w.Write([]byte(`{"error":{"code":"InvalidAuthenticationToken","message":"Access token validation failure. Invalid audience."}}`))
}

func TestNoUserInfo_IsNeverCalled(t *testing.T) {
	t.Parallel()
	without := newTestApp(t, setup{})
	without.provider.Handle(oidctest.EndpointUserInfo, graphUserInfo)
	if _, sub := without.visit(t, "alice"); sub != "" {
		t.Errorf("%s is signed in without the field", sub)
	}
	app := newTestApp(t, setup{
		config: func(c *oidcrp.Config) { c.Provider.NoUserInfo, c.Tokens.Keep = true, true },
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) {
				if _, err := c.Refresh(w, r); err != nil {
					t.Error(err)
				}
			})
		},
	})
	app.provider.Handle(oidctest.EndpointUserInfo, graphUserInfo)
	browser, sub := app.visit(t, "alice")
	if sub != "alice" {
		t.Fatalf("%q is signed in, want alice\n%s", sub, app.log)
	}
	get(t, browser, app.URL+"/refresh")
	if n := app.provider.Count(oidctest.EndpointUserInfo); n != 0 {
		t.Errorf("%d UserInfo requests", n)
	}
}

func TestNoPKCE_SendsNothingOfIt(t *testing.T) {
	t.Parallel()
	app, _ := needs(t, setup{provider: oidctest.Config{RefusePKCE: true}}, nil,
		func(c *oidcrp.Config) { c.Provider.NoPKCE = true })
	asked, redeemed := app.provider.RequestsTo(oidctest.EndpointAuthorization)[0], app.provider.RequestsTo(oidctest.EndpointToken)[0]
	for _, form := range []url.Values{asked.Form, redeemed.Form} {
		for name := range form {
			if strings.HasPrefix(name, "code_") {
				t.Errorf("%s was sent", name)
			}
		}
	}
	if len(asked.Form.Get("nonce")) < 43 {
		t.Errorf("the nonce is %q", asked.Form.Get("nonce"))
	}
}

// The nonce is then all that binds the code to the browser (RFC 9700 section 2.1.1).
func TestNoPKCE_ANonceOfAnotherLoginIsRefused(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) { c.Provider.NoPKCE = true }})
	mine, theirs := app.provider.Browser(), app.provider.Browser()
	callback, stolen := comeBack(t, app, mine, "/tab/1"), comeBack(t, app, theirs, "/tab/1")
	query := callback.Query()
	query.Set("code", stolen.Query().Get("code")) // injected into a login of another browser
	callback.RawQuery = query.Encode()
	res, _ := get(t, noRedirects(mine), callback.String())
	if want := oidcrp.StatusOf(oidcrp.CodeTokenRefused); res.StatusCode != want {
		t.Errorf("an injected code is answered with %s, want %d", res.Status, want)
	}
	if sub := app.who(t, mine, "/").Sub; sub != "" {
		t.Errorf("%s is signed in", sub)
	}
}

// keysOf returns the JWK Set that the provider publishes.
func keysOf(t testing.TB, provider *oidctest.Provider) string {
	t.Helper()
	res, err := provider.HTTPClient().Get(provider.Endpoint(oidctest.EndpointJWKS))
	if err != nil {
		t.Fatal(err)
	}
	return readBody(t, res)
}

func TestJWKS_AreTheKeysOfAProviderWithoutJWKSURI(t *testing.T) {
	t.Parallel()
	provider := oidctest.NewServer(t, oidctest.Config{Metadata: map[string]any{"jwks_uri": nil}})
	signIn := func(jwks []byte) (*testApp, string) {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
			c.Issuer, c.Provider.JWKS, c.Now = provider.Issuer(), jwks, nil
		}})
		app.provider = provider
		_, sub := app.visit(t, "alice")
		return app, sub
	}
	keys := []byte(keysOf(t, provider))
	if _, sub := signIn(nil); sub != "" {
		t.Errorf("%s is signed in without the field", sub)
	}
	provider.ResetRequests()
	app, sub := signIn(keys)
	if sub != "alice" || provider.Count(oidctest.EndpointJWKS) != 0 {
		t.Errorf("%q is signed in after %d requests for keys\n%s", sub, provider.Count(oidctest.EndpointJWKS), app.log)
	}
	if err := app.client.Ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	provider.RotateKeys() // given keys do not follow, and are asked for nowhere
	if _, sub := signIn(keys); sub != "" || provider.Count(oidctest.EndpointJWKS) != 0 {
		t.Errorf("%q is signed in by an unknown key", sub)
	}
}

func TestTrustedAudiences_OfTheEnvironmentAreAccepted(t *testing.T) {
	provider := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	for list, want := range map[string]string{"sibling, client1": "alice", "sibling": ""} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
			setEnv(t, map[string]string{"OIDC_TRUSTED_AUDIENCES": list})
			env, err := oidcrp.ConfigFromEnv()
			if err != nil {
				t.Fatal(err)
			}
			c.Issuer, c.Now, c.Provider.TrustedAudiences = provider.Issuer(), nil, env.Provider.TrustedAudiences
		}})
		app.provider = provider
		provider.Misbehave(fault.IDTokenExtraAud)
		if _, sub := app.visit(t, "alice"); sub != want {
			t.Errorf("with %q: %q is signed in, want %q", list, sub, want)
		}
	}
}

func TestPushedRequests_OfTheEnvironmentArePushed(t *testing.T) {
	setEnv(t, map[string]string{"OIDC_PUSHED_AUTHORIZATION_REQUESTS": "1"})
	env, err := oidcrp.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	// A provider that refuses other requests, and does not say so.
	provider := oidctest.Config{RequirePAR: true, Metadata: map[string]any{"require_pushed_authorization_requests": nil}}
	app, _ := needs(t, setup{provider: provider}, nil, func(c *oidcrp.Config) {
		c.Registration.RequirePushedAuthorizationRequests = env.Registration.RequirePushedAuthorizationRequests
	})
	if app.provider.Count(oidctest.EndpointPAR) != 1 {
		t.Errorf("%d requests were pushed, want 1", app.provider.Count(oidctest.EndpointPAR))
	}
}

func TestTokensExtra_AreSentWithEveryRequestForTokens(t *testing.T) {
	t.Parallel()
	provider := oidctest.Config{TokenParameters: url.Values{"resource": {"https://api.example"}, "audience": {"api"}}}
	app, browser := needs(t, setup{provider: provider, routes: refreshRoute(t)},
		func(c *oidcrp.Config) { c.Tokens.Keep = true },
		func(c *oidcrp.Config) {
			c.Tokens.Extra = url.Values{"resource": {"https://api.example"}, "audience": {"api"}}
		})
	if res, body := get(t, browser, app.URL+"/refresh"); body != "alice" {
		t.Errorf("the refresh is answered with %s %s", res.Status, body)
	}
	for _, request := range app.provider.RequestsTo(oidctest.EndpointAuthorization) {
		if request.Form.Has("audience") {
			t.Error("the parameter was sent to the authorization endpoint too")
		}
	}
}

// refreshRoute adds a page that refreshes and says for whom.
func refreshRoute(t testing.TB) func(*oidcrp.Client, *http.ServeMux) {
	return func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.HandleFunc("/refresh", func(w http.ResponseWriter, r *http.Request) {
			s, err := c.Refresh(w, r)
			if err != nil {
				t.Logf("refresh: %v", err)
				http.Error(w, err.Error(), http.StatusTeapot)
				return
			}
			w.Write([]byte(s.Subject()))
		})
	}
}

func TestRefreshScopes_AreSentAtARefreshOnly(t *testing.T) {
	t.Parallel()
	for _, scopes := range [][]string{nil, {"openid", "email"}} {
		app := newTestApp(t, setup{
			provider: oidctest.Config{RefreshScope: "openid email"}, routes: refreshRoute(t),
			config: func(c *oidcrp.Config) { c.Tokens.Keep, c.Tokens.RefreshScopes = true, scopes },
		})
		browser := app.signIn(t)
		_, body := get(t, browser, app.URL+"/refresh")
		if works := body == "alice"; works != (scopes != nil) {
			t.Errorf("with %q the refresh is answered with %q", scopes, body)
		}
		requests := app.provider.RequestsTo(oidctest.EndpointToken)
		if requests[0].Form.Has("scope") || requests[1].Form.Get("scope") != strings.Join(scopes, " ") {
			t.Errorf("scope is %q and then %q", requests[0].Form["scope"], requests[1].Form["scope"])
		}
	}
}

// certifiedKey is a client with the public half of a key and its certificate, and the
// PEM file of both.
func certifiedKey(t testing.TB) (oidctest.Client, []byte) {
	t.Helper()
	file := selfSigned(t)
	keys, err := oidcrp.ParseClientKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	return oidctest.Client{ID: oidctest.ClientID, JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{keys[0].Public()}}}, file
}

func TestAssertionAudience_IsTheTokenEndpointWhereItMustBe(t *testing.T) {
	t.Parallel()
	client, file := certifiedKey(t)
	withKey := func(c *oidcrp.Config) {
		c.ClientSecret = ""
		c.Registration.ClientKeys, _ = oidcrp.ParseClientKeys(file)
		c.Registration.RequirePushedAuthorizationRequests = true // at every endpoint
	}
	provider := oidctest.Config{Clients: []oidctest.Client{client}, AssertionAudience: "token_endpoint"}
	needs(t, setup{provider: provider}, withKey, func(c *oidcrp.Config) { c.Provider.AssertionAudience = "token_endpoint" })
	// The default is the issuer, and nothing else.
	provider.AssertionAudience = "issuer"
	needs(t, setup{provider: provider}, func(c *oidcrp.Config) {
		withKey(c)
		c.Provider.AssertionAudience = "token_endpoint"
	}, func(c *oidcrp.Config) { c.Provider.AssertionAudience = "" })
}

func TestAssertionThumbprint_NamesTheCertificate(t *testing.T) {
	t.Parallel()
	client, file := certifiedKey(t)
	provider := oidctest.Config{Clients: []oidctest.Client{client}, AssertionThumbprint: true}
	app, _ := needs(t, setup{provider: provider}, func(c *oidcrp.Config) {
		c.ClientSecret = ""
		c.Registration.ClientKeys, _ = oidcrp.ParseClientKeys(file)
	}, func(c *oidcrp.Config) { c.Provider.AssertionThumbprint = true })
	header := partOf(t, app.provider.RequestsTo(oidctest.EndpointToken)[0].Form.Get("client_assertion"), 0)
	if header["alg"] != "ES256" || header["x5t#S256"] == "" {
		t.Errorf("the header is %v", header)
	}
}

// Entra takes PS256 with x5t#S256, for the token endpoint.
func TestAssertion_OfEntraIsPS256WithTheThumbprintForTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	key := testKeys().RSA
	file := append(certificatePEM(t, key), pkcs8(t, key)...)
	public := jose.JSONWebKey{Key: key.Public()}
	keys, err := oidcrp.ParseClientKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	public.Certificates = keys[0].Certificates
	provider := oidctest.Config{
		Clients:           []oidctest.Client{{ID: oidctest.ClientID, JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}}},
		AssertionAudience: "token_endpoint", AssertionThumbprint: true,
	}
	app, _ := needs(t, setup{provider: provider}, func(c *oidcrp.Config) {
		c.ClientSecret, c.Registration.ClientKeys, c.Registration.TokenEndpointAuthSigningAlg = "", keys, "PS256"
	}, func(c *oidcrp.Config) {
		c.Provider.AssertionThumbprint, c.Provider.AssertionAudience = true, "token_endpoint"
	})
	assertion := app.provider.RequestsTo(oidctest.EndpointToken)[0].Form.Get("client_assertion")
	if alg, aud := partOf(t, assertion, 0)["alg"], partOf(t, assertion, 1)["aud"]; alg != "PS256" || aud != app.provider.Endpoint(oidctest.EndpointToken) {
		t.Errorf("alg is %v and aud %v", alg, aud)
	}
}

// partOf returns a part of a JWS, of which 0 is the header and 1 the payload.
func partOf(t testing.TB, compact string, i int) (members map[string]any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(compact+"..", ".")[i])
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	if err != nil {
		t.Fatalf("%v in %q", err, compact)
	}
	return members
}

// certificatePEM returns a certificate of key.
func certificatePEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return pemOf(t, "CERTIFICATE", der, err)
}

// vault is a source of the client secret.
type vault struct {
	secret string
	err    error
	calls  int
}

func (v *vault) get(ctx context.Context) (string, error) {
	v.calls++
	if _, limited := ctx.Deadline(); !limited {
		return "", errors.New("the context has no end")
	}
	return v.secret, v.err
}

func TestClientSecretFunc_IsAskedForEachRequest(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"", "client_secret_basic", "client_secret_post"} {
		v := &vault{secret: oidctest.ClientSecret}
		app := newTestApp(t, setup{routes: refreshRoute(t), config: func(c *oidcrp.Config) {
			c.ClientSecret, c.Tokens.Keep = "", true
			c.ClientSecretFunc, c.Registration.TokenEndpointAuthMethod = v.get, method
		}})
		if v.calls != 0 {
			t.Error("New asks for the secret")
		}
		browser := app.signIn(t)
		if _, body := get(t, browser, app.URL+"/refresh"); body != "alice" || v.calls != 2 {
			t.Errorf("%q: the refresh is answered with %q after %d calls, want 2", method, body, v.calls)
		}
		if strings.Contains(app.log.String(), oidctest.ClientSecret) {
			t.Errorf("%q: the secret is in the log", method)
		}
	}
}

func TestClientSecretFunc_AFailureIsAnOutage(t *testing.T) {
	t.Parallel()
	for _, v := range []*vault{{err: errors.New("the vault is sealed")}, {secret: ""}, {secret: "s3cr3t-with-a-newline\n"}} {
		app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
			c.ClientSecret, c.ClientSecretFunc = "", v.get
		}})
		browser := app.provider.Browser()
		callback := comeBack(t, app, browser, "/tab/1")
		res, body := get(t, noRedirects(browser), callback.String())
		if res.StatusCode != http.StatusServiceUnavailable || strings.Contains(body, "vault") {
			t.Errorf("%v: %s\n%s", v.err, res.Status, body)
		}
		log := app.log.String()
		if !strings.Contains(log, "ClientSecretFunc failed") || strings.Contains(log, "s3cr3t") {
			t.Errorf("%v: the log is\n%s", v.err, log)
		}
		if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
			t.Errorf("%v: %d requests for tokens, which lose the code", v.err, n)
		}
	}
}

func TestClientSecretFunc_AFailureKeepsTheSession(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{
		errors.New("the vault is sealed"),
		// A vault to which the app signs in with this package too.
		&oidcrp.Error{Op: "token", Code: oidcrp.CodeLoginRequired, Err: &oidcrp.ProviderError{ErrorCode: "invalid_grant"}},
	} {
		v := &vault{secret: oidctest.ClientSecret}
		app := newTestApp(t, setup{routes: refreshRoute(t), config: func(c *oidcrp.Config) {
			c.ClientSecret, c.Tokens.Keep, c.ClientSecretFunc = "", true, v.get
		}})
		browser := app.signIn(t)
		v.err = failure
		if res, body := get(t, browser, app.URL+"/refresh"); res.StatusCode != http.StatusTeapot ||
			!strings.Contains(app.log.String(), "ClientSecretFunc failed") {
			t.Errorf("%v: the refresh is answered with %s %s", failure, res.Status, body)
		}
		v.err = nil
		if _, body := get(t, browser, app.URL+"/refresh"); body != "alice" {
			t.Errorf("%v: when the vault is back: %s", failure, body)
		}
	}
}

// Pro Santé Connect is asked for eidas1, and answers a login by card with eidas2.
func TestACR_AskedAndAcceptedApart(t *testing.T) {
	t.Parallel()
	card := oidctest.Persona{Subject: "alice", Name: "Alice", ACR: "eidas2"}
	provider := oidctest.Config{Personas: []oidctest.Persona{card}, ACRValuesSupported: []string{"eidas1"}}
	app, browser := needs(t, setup{provider: provider},
		func(c *oidcrp.Config) { c.Login.RequireACR = []string{"eidas1", "eidas2"} },
		func(c *oidcrp.Config) { c.Login.ACRValues = []string{"eidas1"} })
	if got := app.who(t, browser, "/me").ACR; got != "eidas2" {
		t.Errorf("the session's acr is %q, want eidas2", got)
	}
	requests := app.provider.RequestsTo(oidctest.EndpointAuthorization)
	if len(requests) != 1 || requests[0].Form.Get("acr_values") != "eidas1" || requests[0].Form.Has("claims") {
		t.Errorf("%d requests, of which the first asks %v", len(requests), requests[0].Form)
	}
}

// What is asked does not widen what is accepted.
func TestACR_AnotherThanTheAcceptedOnesIsRefused(t *testing.T) {
	t.Parallel()
	low := oidctest.Persona{Subject: "alice", Name: "Alice", ACR: "eidas1"}
	app := newTestApp(t, setup{provider: oidctest.Config{Personas: []oidctest.Persona{low}}, config: func(c *oidcrp.Config) {
		c.Login = oidcrp.AuthOptions{ACRValues: []string{"eidas1"}, RequireACR: []string{"eidas2"}}
	}})
	if _, sub := app.visit(t, "alice"); sub != "" {
		t.Errorf("%s is signed in with eidas1, and eidas2 is required", sub)
	}
}

func TestACR_OfTheEnvironmentAskedAndAcceptedApart(t *testing.T) {
	setEnv(t, map[string]string{"OIDC_ACR_VALUES": "eidas1", "OIDC_REQUIRE_ACR": "eidas1 eidas2"})
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil || !slices.Equal(cfg.Login.ACRValues, []string{"eidas1"}) || !slices.Equal(cfg.Login.RequireACR, []string{"eidas1", "eidas2"}) {
		t.Errorf("%v, %v", cfg.Login, err)
	}
}

func TestNew_LogsDeviationsOnce(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Provider.NoPKCE, c.Provider.NoUserInfo = true, true
		c.Tokens.Extra = url.Values{"audience": {"s3cr3t"}}
	}})
	app.signIn(t)
	lines := app.linesWith("deviates")
	if len(lines) != 1 || !strings.Contains(lines[0], `"settings":"Provider.NoPKCE, Provider.NoUserInfo, Tokens.Extra"`) ||
		strings.Contains(lines[0], "s3cr3t") {
		t.Errorf("the lines are %q", lines)
	}
	if lines := newTestApp(t, setup{}).linesWith("deviates"); len(lines) != 0 {
		t.Errorf("without such a field: %q", lines)
	}
}

const wantSegment = " may have {tenantid} as one segment of its path, and no other wildcard"

// wrongDeviations are mistakes, one each, and what New says about them.
var wrongDeviations = []struct {
	want   string
	change func(*oidcrp.Config)
}{
	{"Provider.LogoutHintRequired contradicts Provider.LogoutWithoutHint, which decides about the hint too: unset one",
		func(c *oidcrp.Config) { c.Provider.LogoutHintRequired, c.Provider.LogoutWithoutHint = true, true }},
	{"Provider.LogoutHintRequired contradicts Provider.EndSessionURL, which decides about the hint too: unset one",
		func(c *oidcrp.Config) {
			c.Provider.LogoutHintRequired, c.Provider.EndSessionURL = true, cognitoLogout
		}},
	{`Provider.MetadataURL "http://op.example/metadata" is not an https URL`,
		func(c *oidcrp.Config) { c.Provider.MetadataURL = "http://op.example/metadata" }},
	{`Provider.MetadataURL "http://op.example/metadata" is not an https URL`, func(c *oidcrp.Config) {
		c.Issuer, c.Provider.MetadataURL = "http://127.0.0.1:1", "http://op.example/metadata"
	}},
	{`Provider.MetadataURL "metadata" is not an absolute URL without fragment`,
		func(c *oidcrp.Config) { c.Provider.MetadataURL = "metadata" }},
	{"Provider.MetadataURL and Provider.Metadata are both set: use one", func(c *oidcrp.Config) {
		c.Provider.MetadataURL, c.Provider.Metadata = "https://op.example/metadata", soundMetadata(nil)
	}},
	{"Provider.AdjustMetadata and Provider.Metadata are both set: change Provider.Metadata itself", func(c *oidcrp.Config) {
		c.Provider.AdjustMetadata, c.Provider.Metadata = func(*oidcrp.Metadata) {}, soundMetadata(nil)
	}},
	{"Provider.JWKS is no JWK Set: keys is not an array", func(c *oidcrp.Config) { c.Provider.JWKS = []byte(`{}`) }},
	{"Provider.JWKS holds no public key that can verify a signature",
		func(c *oidcrp.Config) { c.Provider.JWKS = []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`) }},
	{"Provider.JWKS and Provider.Metadata.JWKSURI are both set: use one", func(c *oidcrp.Config) {
		c.Provider.Metadata, c.Provider.JWKS = soundMetadata(nil), publicSet()
	}},
	{`Provider.AcceptedIssuers "a"` + wantURL, func(c *oidcrp.Config) { c.Provider.AcceptedIssuers = []string{"a"} }},
	{`Provider.AcceptedIssuers "http://a.example"` + wantHTTPS,
		func(c *oidcrp.Config) { c.Provider.AcceptedIssuers = []string{"http://a.example"} }},
	{`Provider.AcceptedIssuers "https://*.example/v2.0"` + wantSegment,
		func(c *oidcrp.Config) { c.Provider.AcceptedIssuers = []string{"https://*.example/v2.0"} }},
	{`Provider.AcceptedIssuers "https://{tenantid}.example/v2.0"` + wantURL,
		func(c *oidcrp.Config) { c.Provider.AcceptedIssuers = []string{"https://{tenantid}.example/v2.0"} }},
	{`Provider.AcceptedIssuers "https://a.example/{tenantid}/{tenantid}"` + wantSegment,
		func(c *oidcrp.Config) {
			c.Provider.AcceptedIssuers = []string{"https://a.example/{tenantid}/{tenantid}"}
		}},
	{`Provider.AcceptedIssuers "https://a.example/x{tenantid}"` + wantSegment,
		func(c *oidcrp.Config) { c.Provider.AcceptedIssuers = []string{"https://a.example/x{tenantid}"} }},
	{`Provider.AcceptedIssuers "https://a.example/{tenantid}/v2.0" lets everybody of every tenant in: list the issuer of each ` +
		`tenant, or set OnLogin, which says whom the app serves (Session.Issuer names the tenant)`,
		func(c *oidcrp.Config) {
			c.Provider.AcceptedIssuers = []string{"https://a.example/{tenantid}/v2.0"}
		}},
	{`Issuer "https://a.example/{tenantid}/v2.0" stands for many tenants: set Provider.AcceptedIssuers to the issuers of those that may sign in`,
		func(c *oidcrp.Config) {
			c.Issuer, c.Provider.MetadataURL = "https://a.example/{tenantid}/v2.0", "https://a.example/metadata"
		}},
	{`Issuer "https://a.example/{tenantid}/v2.0" is no address: set Provider.MetadataURL to that of the metadata`,
		func(c *oidcrp.Config) {
			c.Issuer, c.Provider.AcceptedIssuers = "https://a.example/{tenantid}/v2.0", []string{"https://a.example/a/v2.0"}
		}},
	{"Provider.AssertionAudience must be token_endpoint, since the issuer stands for many tenants", func(c *oidcrp.Config) {
		c.Issuer, c.Provider.AcceptedIssuers = "https://a.example/{tenantid}/v2.0", []string{"https://a.example/a/v2.0"}
		c.Provider.MetadataURL, c.Registration.TokenEndpointAuthMethod = "https://a.example/metadata", "client_secret_jwt"
	}},
	{`Provider.NoPKCE cannot be set for a public client, whose codes only PKCE protects: register a secret or a key, ` +
		`and set Registration.TokenEndpointAuthMethod to another method than "none"`, func(c *oidcrp.Config) {
		c.Provider.NoPKCE, c.ClientSecret, c.Registration.TokenEndpointAuthMethod = true, "", "none"
	}},
	{"Provider.NoUserInfo contradicts Provider.UserInfoTokenInBody, which asks something of UserInfo: unset one",
		func(c *oidcrp.Config) { c.Provider.NoUserInfo, c.Provider.UserInfoTokenInBody = true, true }},
	{"Provider.NoUserInfo contradicts Registration.UserInfoSignedResponseAlg, which asks something of UserInfo: unset one",
		func(c *oidcrp.Config) {
			c.Provider.NoUserInfo, c.Registration.UserInfoSignedResponseAlg = true, "RS256"
		}},
	{"Provider.NoUserInfo contradicts Tokens.RefreshUserInfo, which asks something of UserInfo: unset one",
		func(c *oidcrp.Config) { c.Provider.NoUserInfo, c.Tokens.RefreshUserInfo = true, true }},
	{"Provider.NoUserInfo contradicts Login.Claims, which asks something of UserInfo: unset one", func(c *oidcrp.Config) {
		c.Provider.NoUserInfo = true
		c.Login.Claims = &oidcrp.ClaimsRequest{UserInfo: map[string]*oidcrp.ClaimRequest{"email": nil}}
	}},
	{`Provider.AssertionAudience "https://op.example/token" is not known (issuer, token_endpoint)`, func(c *oidcrp.Config) {
		c.Registration.TokenEndpointAuthMethod, c.Provider.AssertionAudience = "client_secret_jwt", "https://op.example/token"
	}},
	{"Provider.AssertionAudience needs Registration.TokenEndpointAuthMethod to be private_key_jwt or client_secret_jwt",
		func(c *oidcrp.Config) { c.Provider.AssertionAudience = "token_endpoint" }},
	{"Provider.AssertionThumbprint needs Registration.TokenEndpointAuthMethod to be private_key_jwt",
		func(c *oidcrp.Config) { c.Provider.AssertionThumbprint = true }},
	{"Provider.AssertionThumbprint needs the certificate of the signing key: put it into Registration.ClientKeys, " +
		"in the same PEM file or as x5c", func(c *oidcrp.Config) {
		c.ClientSecret, c.Provider.AssertionThumbprint = "", true
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}}
	}},
	{"ClientSecretFunc and ClientSecret are both set: use one",
		func(c *oidcrp.Config) { c.ClientSecretFunc = new(vault).get }},
	{"ClientSecretFunc cannot make the key of client_secret_jwt: set ClientSecret", func(c *oidcrp.Config) {
		c.ClientSecret, c.ClientSecretFunc = "", new(vault).get
		c.Registration.TokenEndpointAuthMethod = "client_secret_jwt"
	}},
	{"Registration.IDTokenSignedResponseAlg HS256 needs ClientSecret to have 32 bytes or more", func(c *oidcrp.Config) {
		c.ClientSecret, c.ClientSecretFunc, c.Registration.IDTokenSignedResponseAlg = "", new(vault).get, "HS256"
	}},
	{"Tokens.RefreshScopes needs Tokens.Keep", func(c *oidcrp.Config) { c.Tokens.RefreshScopes = []string{"openid"} }},
	{`Tokens.Extra holds "code_verifier", which this package sends itself`,
		func(c *oidcrp.Config) { c.Tokens.Extra = url.Values{"code_verifier": {"x"}} }},
}

func publicSet() []byte {
	set, _ := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: testKeys().P256.Public()}}})
	return set
}

func TestNew_RefusesUnsafeDeviations(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongDeviations {
		_, err := oidcrp.New(soundConfig(tt.change))
		if err == nil {
			t.Errorf("no error, want: %s", tt.want)
			continue
		}
		if got := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); got != tt.want {
			t.Errorf("error is\n%s\nwant\n%s", got, tt.want)
		}
	}
}
