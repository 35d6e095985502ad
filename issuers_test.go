package oidcrp_test

// This file tests Provider.AcceptedIssuers with a provider of several tenants, such as
// Microsoft Entra.

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// manyTenants is a provider whose metadata and keys name no tenant. alice is of tenant-a,
// bruno of tenant-b, chloe of tenant-c.
func manyTenants() oidctest.Config {
	personas := oidctest.DefaultPersonas()
	for i, tenant := range []string{"tenant-a", "tenant-b", "tenant-c"} {
		personas[i].Issuer = "/" + tenant + "/v2.0"
	}
	return oidctest.Config{
		Personas: personas, NoIssParameter: true,
		Metadata:   map[string]any{"issuer": "/{tenantid}/v2.0"},
		KeyIssuers: map[string]string{"RS256": "/{tenantid}/v2.0", "ES256": "/{tenantid}/v2.0"},
	}
}

// ofTenants accepts these tenants of manyTenants.
func ofTenants(tenants ...string) func(*oidcrp.Config) {
	return func(c *oidcrp.Config) {
		root := c.Issuer
		c.Issuer, c.Provider.MetadataURL = root+"/{tenantid}/v2.0", root+"/.well-known/openid-configuration"
		for _, tenant := range tenants {
			c.Provider.AcceptedIssuers = append(c.Provider.AcceptedIssuers, root+"/"+tenant+"/v2.0")
		}
	}
}

// tenant returns the issuer of a tenant.
func (a *testApp) tenant(name string) string { return a.provider.Issuer() + "/" + name + "/v2.0" }

func TestAcceptedIssuers_AListOfTenants(t *testing.T) {
	t.Parallel()
	var events []oidcrp.LoginEvent
	app, browser := needs(t, setup{provider: manyTenants()}, nil, func(c *oidcrp.Config) {
		ofTenants("tenant-a", "tenant-b")(c)
		c.Trace.LoginSucceeded = collect(&events)
	})
	if got, want := app.sessionOf(t, browser).Issuer(), app.tenant("tenant-a"); got != want || events[0].Issuer != want {
		t.Errorf("the session is of %q and the event of %q, want %q", got, events[0].Issuer, want)
	}
	if _, sub := app.visit(t, "bruno"); sub != "bruno" {
		t.Errorf("%q is signed in, want bruno of the other tenant", sub)
	}
	if _, sub := app.visit(t, "chloe"); sub != "" {
		t.Errorf("%s of a tenant that is not on the list is signed in", sub)
	}
	if lines := app.linesWith("token_refused"); len(lines) != 1 || !strings.Contains(lines[0], app.tenant("tenant-c")) {
		t.Errorf("the log says %q in\n%s", lines, app.log)
	}
}

func TestAcceptedIssuers_FurtherOnesBesideIssuer(t *testing.T) {
	t.Parallel()
	provider := oidctest.Config{NoIssParameter: true, Personas: oidctest.DefaultPersonas()}
	provider.Personas[0].Issuer = "/policy/v2.0"
	app, _ := needs(t, setup{provider: provider}, nil, func(c *oidcrp.Config) {
		c.Provider.AcceptedIssuers = []string{c.Issuer + "/policy/v2.0"}
	})
	if _, sub := app.visit(t, "bruno"); sub != "bruno" {
		t.Errorf("%q is signed in, want bruno, whose tokens are of Issuer", sub)
	}
}

func TestAcceptedIssuers_EveryTenantWhereOnLoginDecides(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: manyTenants(), config: func(c *oidcrp.Config) {
		ofTenants("{tenantid}")(c)
		c.OnLogin = func(_ context.Context, _ *http.Request, s *oidcrp.Session) error {
			if !strings.HasSuffix(s.Issuer(), "/tenant-c/v2.0") {
				return oidcrp.Refuse("tenant", nil)
			}
			return nil
		}
	}})
	for persona, want := range map[string]string{"alice": "", "chloe": "chloe"} {
		if _, sub := app.visit(t, persona); sub != want {
			t.Errorf("%q is signed in, want %q", sub, want)
		}
	}
}

// A key with the issuer of one tenant must not sign for another (Entra's consumer keys).
func TestAcceptedIssuers_AKeyIsForItsIssuer(t *testing.T) {
	t.Parallel()
	provider := manyTenants()
	provider.KeyIssuers = map[string]string{"RS256": "/tenant-b/v2.0"}
	app := newTestApp(t, setup{provider: provider, config: ofTenants("tenant-a", "tenant-b")})
	for persona, want := range map[string]string{"alice": "", "bruno": "bruno"} {
		if _, sub := app.visit(t, persona); sub != want {
			t.Errorf("%q is signed in, want %q", sub, want)
		}
	}
	if lines := app.linesWith("for which its key is"); len(lines) != 1 {
		t.Errorf("the log says %q", lines)
	}
}

func TestAcceptedIssuers_UserInfoIsOfTheIDTokensIssuer(t *testing.T) {
	t.Parallel()
	provider := manyTenants()
	provider.Clients = []oidctest.Client{{
		ID: oidctest.ClientID, Secret: oidctest.ClientSecret, UserInfoSignedResponseAlg: "RS256",
	}}
	app := newTestApp(t, setup{provider: provider, config: ofTenants("tenant-a", "tenant-b")})
	if _, sub := app.visit(t, "alice"); sub != "alice" {
		t.Errorf("%q is signed in, want alice\n%s", sub, app.log)
	}
	app.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwt")
		w.Write([]byte(app.provider.SignClaims("RS256", map[string]any{
			"iss": app.tenant("tenant-b"), "aud": oidctest.ClientID, "sub": "alice",
		}, nil)))
	})
	if _, sub := app.visit(t, "alice"); sub != "" {
		t.Errorf("%s is signed in by the UserInfo of another tenant", sub)
	}
}

// RFC 9207: the response, and the ID Token of the same issuer.
func TestAcceptedIssuers_OfTheAuthenticationResponse(t *testing.T) {
	t.Parallel()
	provider := manyTenants()
	provider.AutoLogin = "alice"
	app := newTestApp(t, setup{provider: provider, config: ofTenants("tenant-a", "tenant-b")})
	for iss, want := range map[string]oidcrp.Code{
		app.tenant("tenant-a"):   "",
		app.tenant("tenant-b"):   oidcrp.CodeTokenRefused,
		app.tenant("tenant-c"):   oidcrp.CodeIssuerMismatch,
		app.tenant("{tenantid}"): oidcrp.CodeIssuerMismatch,
		"":                       oidcrp.CodeIssuerMismatch,
	} {
		browser := app.provider.Browser()
		callback := comeBack(t, app, browser, "/tab/1")
		query := callback.Query()
		query.Set("iss", iss)
		callback.RawQuery = query.Encode()
		res, body := get(t, noRedirects(browser), callback.String())
		if signedIn := app.who(t, browser, "/").Sub != ""; signedIn != (want == "") {
			t.Errorf("%q: signed in: %t\n%s", iss, signedIn, body)
		}
		if want != "" && res.StatusCode != oidcrp.StatusOf(want) {
			t.Errorf("%q: %s, want %d", iss, res.Status, oidcrp.StatusOf(want))
		}
	}
}

// endsAt sends the app a Logout Token of a tenant, and reports whether browser is signed
// in afterwards.
func (a *logoutApp) endsAt(t *testing.T, browser *http.Client, tenant string, claims map[string]any) (status int, signedIn bool) {
	t.Helper()
	now := a.clock.Now().Unix()
	all := map[string]any{
		"iss": a.tenant(tenant), "aud": oidctest.ClientID, "jti": tenant + a.clock.Now().String(), "iat": now, "exp": now + 60,
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
	for name, value := range claims {
		all[name] = value
	}
	status, _ = a.sends(t, a.URL, url.Values{"logout_token": {a.provider.SignClaims("RS256", all, nil)}})
	return status, a.signedIn(t, browser)
}

func TestAcceptedIssuers_ALogoutTokenEndsTheSessionsOfItsIssuer(t *testing.T) {
	t.Parallel()
	for _, store := range []oidcrp.Store{nil, oidcrp.NewMemoryStore(0)} {
		a := newLogoutApp(t, setup{provider: manyTenants(), config: func(c *oidcrp.Config) {
			ofTenants("tenant-a", "tenant-b")(c)
			c.Store = store
		}})
		for _, claim := range []string{"sub", "sid"} {
			a.clock.Advance(time.Second) // the marks of the round before are older
			browser := a.signIn(t)
			claims := map[string]any{"sub": "alice"}
			if claim == "sid" {
				claims = map[string]any{"sid": a.sid(t, browser)}
			}
			for tenant, want := range map[string]int{"tenant-b": http.StatusOK, "tenant-c": http.StatusBadRequest} {
				if status, signedIn := a.endsAt(t, browser, tenant, claims); status != want || !signedIn {
					t.Errorf("%T: a token of %s with %s: %d, and alice is signed in: %t", store, tenant, claim, status, signedIn)
				}
			}
			if status, signedIn := a.endsAt(t, browser, "tenant-a", claims); status != http.StatusOK || signedIn {
				t.Errorf("%T: a token of her own tenant with %s: %d, and alice is signed in: %t", store, claim, status, signedIn)
			}
			if last := a.received[len(a.received)-1]; last.Issuer != a.tenant("tenant-a") {
				t.Errorf("the event is of %q", last.Issuer)
			}
		}
	}
}

func TestAcceptedIssuers_ALogoutTokensKeyIsForItsIssuer(t *testing.T) {
	t.Parallel()
	provider := manyTenants()
	provider.KeyIssuers["RS256"] = "/tenant-a/v2.0"
	a := newLogoutApp(t, setup{provider: provider, config: ofTenants("tenant-a", "tenant-b")})
	browser := a.signIn(t)
	if status, _ := a.endsAt(t, browser, "tenant-b", map[string]any{"sub": "bruno"}); status != http.StatusBadRequest {
		t.Errorf("a token signed with a key of another tenant is answered with %d", status)
	}
}

func TestAcceptedIssuers_FrontchannelLogoutNamesTheSessionsIssuer(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{provider: manyTenants(), config: ofTenants("tenant-a", "tenant-b")})
	browser := a.signIn(t)
	sid := a.sid(t, browser)
	for _, tenant := range []string{"tenant-b", "tenant-c", "{tenantid}", "tenant-a"} {
		a.frame(t, browser, "?"+url.Values{"iss": {a.tenant(tenant)}, "sid": {sid}}.Encode())
		if signedIn := a.signedIn(t, browser); signedIn != (tenant != "tenant-a") {
			t.Errorf("after a logout by %s, alice is signed in: %t", tenant, signedIn)
		}
	}
}

func TestAcceptedIssuers_RevokeSubjectTakesTheRealOne(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{provider: manyTenants(), config: ofTenants("tenant-a", "tenant-b")})
	browser := a.signIn(t)
	for _, tenant := range []string{"tenant-c", "{tenantid}"} {
		wantCode(t, a.client.RevokeSubject(t.Context(), a.tenant(tenant), "alice"), oidcrp.CodeInvalidRequest)
	}
	for _, tenant := range []string{"tenant-b", "tenant-a"} {
		if err := a.client.RevokeSubject(t.Context(), a.tenant(tenant), "alice"); err != nil {
			t.Fatal(err)
		}
		if signedIn := a.signedIn(t, browser); signedIn != (tenant == "tenant-b") {
			t.Errorf("after a revocation of alice of %s, she is signed in: %t", tenant, signedIn)
		}
	}
}

func TestAcceptedIssuers_AnotherPartyNamesATenant(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: manyTenants(), config: ofTenants("tenant-a", "tenant-b")})
	for tenant, want := range map[string]int{"tenant-a": http.StatusFound, "tenant-b": http.StatusFound, "tenant-c": http.StatusBadRequest} {
		res, _ := app.initiates(t, app.provider.Browser(), "GET", url.Values{"iss": {app.tenant(tenant)}})
		if res.StatusCode != want {
			t.Errorf("%s: %s, want %d", tenant, res.Status, want)
		}
	}
}

func jsonAnswer(w http.ResponseWriter, members map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(members)
}

// A refreshed ID Token of another tenant is about somebody else, whatever its sub.
func TestAcceptedIssuers_ARefreshStaysWithTheSessionsIssuer(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: manyTenants(), routes: refreshRoute(t), config: func(c *oidcrp.Config) {
		ofTenants("tenant-a", "tenant-b")(c)
		c.Tokens.Keep = true
	}})
	browser := app.signIn(t)
	before := app.sessionOf(t, browser).Token().RefreshToken
	answer := func(tenant string) {
		app.provider.Handle(oidctest.EndpointToken, func(w http.ResponseWriter, _ *http.Request) {
			claims := app.provider.IDTokenClaims(oidctest.ClientID, "alice")
			claims["iss"] = app.tenant(tenant)
			jsonAnswer(w, map[string]any{
				"access_token": "a", "token_type": "Bearer", "refresh_token": "of-" + tenant,
				"id_token": app.provider.SignClaims("RS256", claims, nil),
			})
		})
	}
	app.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, _ *http.Request) {
		jsonAnswer(w, map[string]any{"sub": "alice"})
	})
	answer("tenant-b")
	if _, body := get(t, browser, app.URL+"/refresh"); !strings.Contains(body, string(oidcrp.CodeTokenRefused)) {
		t.Errorf("an ID Token of another tenant is answered with %q", body)
	}
	if got := app.sessionOf(t, browser).Token().RefreshToken; got != before {
		t.Errorf("the refresh token is %q, of another tenant's person", got)
	}
	answer("tenant-a")
	if _, body := get(t, browser, app.URL+"/refresh"); body != "alice" {
		t.Errorf("an ID Token of the same tenant is answered with %q", body)
	}
}

func TestAcceptedIssuers_LogoutAtTheProviderSendsTheHint(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{provider: manyTenants(), config: ofTenants("tenant-a", "tenant-b")})
	browser := a.signIn(t)
	res, body := a.logsOut(t, browser, "/auth/logout")
	if res.StatusCode != http.StatusSeeOther {
		t.Fatalf("%s\n%s", res.Status, body)
	}
	get(t, browser, res.Header.Get("Location"))
	if v := a.provider.Violations(); len(v) > 0 || a.signedIn(t, browser) {
		t.Errorf("violations: %q", v)
	}
}
