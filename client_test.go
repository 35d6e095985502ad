package oidcrp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestNew_MakesNoRequests(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *oidcrp.Config) { c.Provider.Transport = oidcrp.NoNetwork(t) })
	c.LoginURL("/a")
	c.LogoutURL("/a")
	c.Middleware(c.Require(oidcrp.ACR("eidas2"))(http.NotFoundHandler()))
}

func TestClient_SignsInAtOtherAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what        string
		issuer      string // after the server's address
		config      func(*oidcrp.Config)
		redirectURI string // after the app's address
	}{
		{"an issuer with a path", "/op", nil, "/auth/callback"},
		{"an issuer with a slash at its end", "/op/", nil, "/auth/callback"},
		{"an issuer that is a host with a slash", "/", nil, "/auth/callback"},
		{"a BaseURL with a path", "", func(c *oidcrp.Config) { c.BaseURL += "/pro" }, "/pro/auth/callback"},
		{"a PathPrefix", "", func(c *oidcrp.Config) { c.PathPrefix = "/sso/agents/" }, "/sso/agents/callback"},
		{"a RedirectURI elsewhere", "", func(c *oidcrp.Config) {
			c.Registration.RedirectURI, c.Registration.PostLogoutRedirectURI = c.BaseURL+"/oidc/back", c.BaseURL+"/oidc/bye"
		}, "/oidc/back"},
		{"a RedirectURI with a query and no BaseURL", "", func(c *oidcrp.Config) {
			c.Registration.RedirectURI, c.BaseURL = c.BaseURL+"/oidc?tenant=1", ""
		}, "/oidc?tenant=1"},
		{"form_post", "", func(c *oidcrp.Config) { c.ResponseMode = "form_post" }, "/auth/callback"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: oidctest.Config{Issuer: tt.issuer}, config: tt.config})
			browser := app.signIn(t)
			if got := app.who(t, browser, "/me").Sub; got != "alice" {
				t.Errorf("signed in as %q, want alice", got)
			}
			for _, endpoint := range []string{oidctest.EndpointAuthorization, oidctest.EndpointToken} {
				got := app.provider.RequestsTo(endpoint)[0].Form.Get("redirect_uri")
				if want := app.URL + tt.redirectURI; got != want {
					t.Errorf("redirect_uri at the %s endpoint is %s, want %s", endpoint, got, want)
				}
			}
		})
	}
}

func TestMetadata_InPlaceOfDiscovery(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		discovering, err := oidcrp.New(*c)
		if err != nil {
			t.Fatal(err)
		}
		if c.Provider.Metadata, err = discovering.Metadata(context.Background()); err != nil {
			t.Fatal(err)
		}
	}})
	app.provider.ResetRequests()
	app.signIn(t)
	if n := app.provider.Count(oidctest.EndpointDiscovery); n != 0 {
		t.Errorf("%d discovery requests, want none", n)
	}
}

func TestProvider_TransportCarriesEveryRequest(t *testing.T) {
	t.Parallel()
	var paths []string
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		next := c.Provider.Transport
		if next == nil {
			next = http.DefaultTransport
		}
		c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			paths = append(paths, r.URL.Path)
			return next.RoundTrip(r)
		})
	}})
	app.signIn(t)
	if slices.Sort(paths); len(paths) != 4 {
		t.Errorf("requests by the transport: %q, want discovery, keys, token and UserInfo", paths)
	}
}

func TestKeySet_ServesGoOIDC(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Registration.IDTokenSignedResponseAlg = "ES256" }})
	verifier := oidc.NewVerifier(app.provider.Issuer(), app.client.KeySet(), &oidc.Config{
		ClientID: "api", SupportedSigningAlgs: []string{"ES256", "RS256"}, Now: app.clock.Now,
	})
	claims := map[string]any{
		"iss": app.provider.Issuer(), "aud": "api", "sub": "alice", "exp": app.clock.Now().Unix() + 60,
	}
	token, err := verifier.Verify(t.Context(), app.provider.SignClaims("ES256", claims, nil))
	if err != nil || token.Subject != "alice" {
		t.Errorf("%+v, %v", token, err)
	}
	for name, forged := range map[string]string{
		"another key":       app.provider.ForgedToken("ES256", app.provider.KeyID("ES256"), claims),
		"another algorithm": app.provider.SignClaims("RS256", claims, nil),
	} {
		if _, err := verifier.Verify(t.Context(), forged); err == nil {
			t.Errorf("a token by %s is accepted", name)
		}
	}
}

// sharingConfig is a Config that refers to much.
func sharingConfig(maxAge *time.Duration, key []byte) oidcrp.Config {
	metadata := soundMetadata(func(m *oidcrp.Metadata) {
		m.ACRValuesSupported = []string{"eidas1", "eidas2"}
		m.MTLSEndpointAliases = map[string]string{"token_endpoint": "https://mtls.op.example/token"}
	})
	return soundConfig(func(c *oidcrp.Config) {
		c.Provider.Metadata, c.CookieKeys = metadata, oidcrp.Keys(key)
		c.Scopes = []string{"openid", "email"}
		c.TrustedOrigins = []string{"https://www.example"}
		c.Provider.AcceptedIssuers = []string{"https://other.example"}
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256, KeyID: "1"}}
		c.Login = oidcrp.AuthOptions{
			MaxAge: maxAge, UILocales: []string{"fr"}, Resource: []string{"https://api.example"},
			Extra: url.Values{"idp_hint": {"one"}},
			Claims: &oidcrp.ClaimsRequest{
				UserInfo: map[string]*oidcrp.ClaimRequest{"siret": {Essential: true}, "email": nil},
				IDToken:  map[string]*oidcrp.ClaimRequest{"acr": {Essential: true, Values: []any{"eidas1"}}},
			},
		}
		c.Pages.Texts = map[string]map[string]string{"en": {"signed_out.title": "Bye"}}
	})
}

func TestNew_CopiesItsConfig(t *testing.T) {
	t.Parallel()
	maxAge, key := time.Hour, testKey(1)
	cfg := sharingConfig(&maxAge, key)
	metadata := cfg.Provider.Metadata
	clear(key) // which Keys has copied
	c, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	before := withoutRandom(requestOf(t, c, nil))
	registration, published := c.Registration(), mustMetadata(t, c)

	maxAge = time.Second
	metadata.ACRValuesSupported[0], metadata.MTLSEndpointAliases["token_endpoint"], metadata.TokenEndpoint = "x", "x", "x"
	cfg.TrustedOrigins[0] = "https://evil.example"
	cfg.Scopes[1], cfg.Registration.ClientKeys[0].KeyID = "x", "x"
	opts := cfg.Login
	opts.UILocales[0], opts.Resource[0], opts.Extra["idp_hint"][0] = "x", "x", "x"
	opts.Extra.Set("y", "y")
	opts.Claims.UserInfo["siret"].Essential, opts.Claims.IDToken["acr"].Values[0] = false, "x"
	opts.Claims.UserInfo["y"] = nil
	cfg.Pages.Texts["en"]["signed_out.title"] = "x"
	cfg.Provider.AcceptedIssuers[0] = "https://evil.example"

	if after := withoutRandom(requestOf(t, c, nil)); !reflect.DeepEqual(before, after) {
		t.Errorf("the request was %v and became %v", before, after)
	}
	if after := mustMetadata(t, c); !reflect.DeepEqual(published, after) {
		t.Errorf("the metadata became %+v", after)
	}
	if after := c.Registration(); !reflect.DeepEqual(registration, after) {
		t.Errorf("the registration became %v", after)
	}
	if err := c.RevokeSubject(t.Context(), "https://evil.example", "alice"); err == nil {
		t.Error("an issuer that was put into the list later is accepted")
	}
	// A session that one client seals, another one opens that has the key as it
	// was.
	w := httptest.NewRecorder()
	if err := c.StartSession(w, httptest.NewRequest("GET", "/", nil), oidcrp.NewSession(map[string]any{"sub": "alice"})); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	if s, err := mustNew(t, nil).Session(r); err != nil || s.Subject() != "alice" {
		t.Errorf("the cookie keys changed: %v, %v", s, err)
	}
	w = httptest.NewRecorder()
	c.Middleware(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/auth/logout/callback", nil))
	if !strings.Contains(w.Body.String(), "<h1>Bye</h1>") {
		t.Errorf("the texts changed:\n%s", w.Body)
	}
}

func mustMetadata(t testing.TB, c *oidcrp.Client) *oidcrp.Metadata {
	t.Helper()
	m, err := c.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMetadata_ReturnsACopy(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{Metadata: map[string]any{
		"mtls_endpoint_aliases": map[string]any{"token_endpoint": "https://mtls.example/token"},
		"claims_supported":      []string{"sub", "email"},
	}}})
	want := mustMetadata(t, app.client)
	got := mustMetadata(t, app.client)
	for _, field := range reflect.ValueOf(got).Elem().Fields() {
		scribble(field)
	}
	if got.ScopesSupported[0] != "x" || got.MTLSEndpointAliases["token_endpoint"] != "x" || got.Issuer != "x" {
		t.Errorf("the copy was not changed: %+v", got)
	}
	if again := mustMetadata(t, app.client); !reflect.DeepEqual(again, want) {
		t.Errorf("what a caller did to its copy is in the client's:\n%+v\nwant\n%+v", again, want)
	}
	app.signIn(t) // with what it was
}

// scribble changes what v refers to, and v.
func scribble(v reflect.Value) {
	switch v := v.Addr().Interface().(type) {
	case *[]string:
		for i := range *v {
			(*v)[i] = "x"
		}
	case *map[string]string:
		for name := range *v {
			(*v)[name] = "x"
		}
	case *string:
		*v = "x"
	case *bool:
		*v = !*v
	}
}

// noKeysYet is a KeySource that cannot be reached.
type noKeysYet struct{}

func (noKeysYet) CookieKeys(context.Context) ([][]byte, error) {
	return nil, errors.New("the vault is sealed")
}

func TestReady_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	down := func(store *oidcrp.HookStore) { store.Fail(errors.New("connection refused")) }
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		what   string
		ctx    context.Context
		config func(*oidcrp.Config)
		harm   func(*testApp)
		store  func(*oidcrp.HookStore)
		want   oidcrp.Code
	}{
		{"nothing", t.Context(), nil, nil, nil, ""},
		{"no keys yet", t.Context(), func(c *oidcrp.Config) { c.CookieKeys = noKeysYet{} }, nil, nil, oidcrp.CodeCookieKeysUnavailable},
		{"the store", t.Context(), nil, nil, down, oidcrp.CodeStoreUnavailable},
		{"the store of sessions in cookies", t.Context(), func(c *oidcrp.Config) { c.Sessions.InCookies = true }, nil, down,
			oidcrp.CodeStoreUnavailable},
		{"the provider", t.Context(), nil, func(a *testApp) { a.provider.SetDown(true) }, nil, oidcrp.CodeProviderUnavailable},
		{"the provider's metadata", t.Context(), nil, func(a *testApp) { a.provider.Misbehave(fault.DiscoveryWrongIssuer) }, nil,
			oidcrp.CodeProviderInvalid},
		{"the provider's keys", t.Context(), nil,
			func(a *testApp) { a.provider.Handle(oidctest.EndpointJWKS, respond(503, "text/html", "down")) }, nil,
			oidcrp.CodeProviderUnavailable},
		{"keys that can be read", t.Context(), nil,
			func(a *testApp) { a.provider.Handle(oidctest.EndpointJWKS, respond(200, "application/json", "{}")) }, nil,
			oidcrp.CodeProviderInvalid},
		{"the caller's patience", canceled, nil, nil, nil, oidcrp.CodeCanceled},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			store := oidcrp.NewHookStore(nil)
			app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
				c.Store = store
				if tt.config != nil {
					tt.config(c)
				}
			}})
			if tt.harm != nil {
				tt.harm(app)
			}
			if tt.store != nil {
				tt.store(store)
			}
			err := app.client.Ready(tt.ctx)
			if tt.want != "" {
				wantCode(t, err, tt.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReady_AsksTheProviderOnlyForWhatIsMissing(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	for range 10 {
		if err := app.client.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		app.clock.Advance(30 * time.Second)
	}
	if d, k, n := app.provider.Count(oidctest.EndpointDiscovery), app.provider.Count(oidctest.EndpointJWKS),
		len(app.provider.Requests()); d != 1 || k != 1 || n != 2 {
		t.Errorf("%d discovery requests, %d for keys, %d in all; want 1, 1 and 2", d, k, n)
	}
	// What is known is good enough while the provider is away.
	app.provider.SetDown(true)
	if err := app.client.Ready(t.Context()); err != nil {
		t.Errorf("with everything in its caches: %v", err)
	}
}

func TestMetadata_ACallerThatGivesUpIsNotAnOutage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	arrived := make(chan struct{})
	app.provider.Handle(oidctest.EndpointDiscovery, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := app.client.Metadata(ctx)
	wantCode(t, err, oidcrp.CodeCanceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the cause of %v is lost", err)
	}
	// Out of time is another thing: the provider took too long.
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = app.client.Metadata(ctx)
	wantCode(t, err, oidcrp.CodeProviderUnavailable)
}

func TestNow_IsTheClockOfTokensAndSessions(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		now := c.Now
		c.Now = func() time.Time { return now().Add(time.Duration(ahead.Load())) }
	}})
	browser := app.signIn(t)
	ahead.Store(int64(2 * time.Hour)) // more than an ID Token lives, and an idle session
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("two hours later %q is signed in", got.Sub)
	}
	res, err := app.provider.Visit(browser, app.URL+"/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if page := readBody(t, res); res.StatusCode != http.StatusBadGateway || !strings.Contains(app.log.String(), "exp: expected a time to come") {
		t.Errorf("a token of two hours ago: %s\n%s", res.Status, page)
	}
}
