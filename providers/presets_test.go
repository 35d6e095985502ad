package providers_test

// This file signs in with each preset at a provider that deviates as the real one does.

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/providers"
)

// clientWith returns oidctest's client with one authentication method.
func clientWith(method string) []oidctest.Client {
	return []oidctest.Client{{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: method}}
}

// alice is a person with an acr.
func alice(acr string) []oidctest.Persona {
	persona := oidctest.DefaultPersonas()[0]
	persona.ACR, persona.StepUpACRs = acr, nil
	return []oidctest.Persona{persona}
}

func TestProSanteConnect_SignsInAPersonWithACardAndOut(t *testing.T) {
	t.Parallel()
	cfg := providers.ProSanteConnect(providers.Sandbox)
	client := clientWith("")
	client[0].Scopes = []string{"openid", "scope_all"}
	persona := alice("eidas2")
	persona[0].Claims["SubjectRole"] = []string{"10^1.2.250.1.213.1.1.5.5"}
	pro := oidctest.Config{
		Clients: client, Personas: persona, ACRValuesSupported: []string{"0", "1"},
		Paths: map[string]string{oidctest.EndpointDiscovery: "/.well-known/wallet-openid-configuration"},
		Metadata: map[string]any{
			"authorization_endpoint": "https://wallet.bas.psc.esante.gouv.fr/auth/realms/esante-wallet/authorize",
		},
	}
	a := startApp(t, cfg, pro)
	browser, claims := a.signsIn(t)
	if claims["acr"] != "eidas2" || claims["iss"] != "https://auth.bas.psc.esante.gouv.fr/auth/realms/esante-wallet" {
		t.Errorf("the session is %v", claims)
	}
	if asked := a.asked(t); asked.Get("acr_values") != "eidas1" || asked.Get("scope") != "openid scope_all" {
		t.Errorf("the request asks for %v", asked)
	}
	if query := a.signsOut(t, browser); query.Has("state") || query.Get("id_token_hint") == "" {
		t.Errorf("the logout has %v", query)
	}

	cfg.Provider.MetadataURL = "" // the standard file is not that of the wallet
	startApp(t, cfg, pro).refuses(t, "alice", "/.well-known/openid-configuration")
}

func TestProSanteConnect_RefusesAnUnknownLevel(t *testing.T) {
	t.Parallel()
	cfg := providers.ProSanteConnect(providers.Production)
	a := startApp(t, cfg, oidctest.Config{
		Personas: alice("0"), Paths: map[string]string{oidctest.EndpointDiscovery: "/.well-known/wallet-openid-configuration"},
	})
	a.refuses(t, "alice", "requirement_unmet")
}

const (
	tenantA = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
	tenantB = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	tenantC = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
)

func entraIssuer(tenant string) string {
	return "https://login.microsoftonline.com/" + tenant + "/v2.0"
}

// graphUserInfo refuses every token as Microsoft Graph does one of another API.
func graphUserInfo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	w.Write([]byte(`{"error":{"code":"InvalidAuthenticationToken","message":"Invalid audience."}}`))
}

func TestEntra_OneTenantSignsInWithoutUserInfoAndOut(t *testing.T) {
	t.Parallel()
	cfg := providers.Entra(strings.ToUpper(tenantA))
	config := oidctest.Config{Clients: clientWith("client_secret_post"), NoIssParameter: true, NoPKCEMetadata: true,
		KeyIssuers: map[string]string{"RS256": entraIssuer("{tenantid}"), "ES256": entraIssuer(tenantB)}}
	a := startApp(t, cfg, config)
	a.provider.Handle(oidctest.EndpointUserInfo, graphUserInfo)
	browser, claims := a.signsIn(t)
	if claims["iss"] != entraIssuer(tenantA) || a.provider.Count(oidctest.EndpointUserInfo) != 0 {
		t.Errorf("the session is %v, after %d UserInfo requests", claims, a.provider.Count(oidctest.EndpointUserInfo))
	}
	a.signsOut(t, browser)

	cfg.Provider.NoUserInfo = false
	other := startApp(t, cfg, config)
	other.provider.Handle(oidctest.EndpointUserInfo, graphUserInfo)
	other.refuses(t, "alice", "userinfo")
}

func TestEntra_ListedTenantsSignInAndOthersDoNot(t *testing.T) {
	t.Parallel()
	personas := oidctest.DefaultPersonas()
	for i, tenant := range []string{tenantA, tenantB, tenantC} {
		personas[i].Issuer = entraIssuer(tenant)
	}
	for endpoint, tenants := range map[string][]string{
		"organizations": {tenantA, tenantB},
		"common":        {tenantA, tenantB, "9188040d-6c67-4c5b-b112-36a304b66dad"},
	} {
		a := startApp(t, providers.Entra(tenants...), oidctest.Config{
			Issuer: entraIssuer(endpoint), Personas: personas, Clients: clientWith("client_secret_post"),
			NoIssParameter: true, Metadata: map[string]any{"issuer": entraIssuer("{tenantid}"), "userinfo_endpoint": nil},
			KeyIssuers: map[string]string{"RS256": entraIssuer("{tenantid}"), "ES256": entraIssuer("{tenantid}")},
		})
		if _, claims := a.signsIn(t); claims["iss"] != entraIssuer(tenantA) {
			t.Errorf("%s: the session is %v", endpoint, claims)
		}
		if _, claims := a.visit(t, "bruno"); claims["iss"] != entraIssuer(tenantB) {
			t.Errorf("%s: the session is %v", endpoint, claims)
		}
		a.refuses(t, "chloe", tenantC)
	}
}

func TestEntra_ACertificateSignsTheClientIn(t *testing.T) {
	t.Parallel()
	cfg := providers.Entra(tenantA)
	cfg.Registration.ClientKeys = rsaKeys(t)
	cfg.Registration.TokenEndpointAuthMethod = "private_key_jwt"
	cfg.Registration.TokenEndpointAuthSigningAlg = "PS256"
	cfg.Provider.AssertionAudience = "token_endpoint"
	cfg.Provider.AssertionThumbprint = true
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{cfg.Registration.ClientKeys[0].Public()}}
	a := startApp(t, cfg, oidctest.Config{
		Clients:           []oidctest.Client{{ID: oidctest.ClientID, JWKS: public}},
		AssertionAudience: "token_endpoint", AssertionThumbprint: true,
	})
	a.signsIn(t)
}

func TestGoogle_SignsInAndEndsTheSessionOfTheApp(t *testing.T) {
	t.Parallel()
	a := startApp(t, providers.Google(), oidctest.Config{NoEndSession: true, NoPAR: true})
	browser, claims := a.signsIn(t)
	if claims["iss"] != "https://accounts.google.com" {
		t.Errorf("the session is %v", claims)
	}
	res, err := browser.PostForm(a.URL+a.client.LogoutURL("/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if sub := a.session(t, browser)["sub"]; sub != nil {
		t.Errorf("%v is still signed in", sub)
	}
}

func TestGoogle_AnAccountOfAnotherDomainIsRefused(t *testing.T) {
	t.Parallel()
	a := startApp(t, providers.GoogleWorkspace("example.org", "example.com"), oidctest.Config{NoEndSession: true})
	for _, domain := range []any{"example.com", "example.org"} {
		a.provider.idToken = map[string]any{"hd": domain}
		if _, claims := a.signsIn(t); claims["hd"] != domain {
			t.Errorf("the session is %v", claims)
		}
	}
	for _, domain := range []any{"evil.example", "", nil, "EXAMPLE.ORG"} {
		a.provider.idToken = map[string]any{"hd": domain}
		a.refuses(t, "alice", "a Google account of the organisation")
	}
}

func TestKeycloak_SignsInAndOut(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://login.example.org", "https://login.example.org/auth/"} {
		a := startApp(t, providers.Keycloak(base, "agents"), oidctest.Config{})
		browser, claims := a.signsIn(t)
		if want := strings.TrimSuffix(base, "/") + "/realms/agents"; claims["iss"] != want {
			t.Errorf("the session is of %v, want %s", claims["iss"], want)
		}
		if query := a.signsOut(t, browser); query.Get("id_token_hint") == "" || query.Get("state") == "" {
			t.Errorf("the logout has %v", query)
		}
		if violations := a.provider.Violations(); len(violations) > 0 {
			t.Errorf("violations: %q", violations)
		}
	}
}

func TestAuth0_SignsInAndOutWithoutTheLogoutInTheMetadata(t *testing.T) {
	t.Parallel()
	cfg := providers.Auth0("example.eu.auth0.com")
	config := oidctest.Config{
		Metadata: map[string]any{"end_session_endpoint": nil},
		Paths:    map[string]string{oidctest.EndpointEndSession: "/oidc/logout"},
	}
	a := startApp(t, cfg, config)
	browser, claims := a.signsIn(t)
	if claims["iss"] != "https://example.eu.auth0.com/" {
		t.Errorf("the session is %v", claims)
	}
	a.signsOut(t, browser)

	// Where the metadata has one, it stays.
	config.Metadata["end_session_endpoint"] = "https://example.eu.auth0.com/new/logout"
	m, err := startApp(t, cfg, config).client.Metadata(t.Context())
	if err != nil || m.EndSessionEndpoint != "https://example.eu.auth0.com/new/logout" {
		t.Errorf("end_session_endpoint is %v, %v", m, err)
	}
}

func TestOkta_SignsInAndOut(t *testing.T) {
	t.Parallel()
	for server, issuer := range map[string]string{
		"": "https://example.okta.com", "default": "https://example.okta.com/oauth2/default",
	} {
		a := startApp(t, providers.Okta("example.okta.com", server), oidctest.Config{})
		browser, claims := a.signsIn(t)
		if claims["iss"] != issuer {
			t.Errorf("the session is of %v, want %s", claims["iss"], issuer)
		}
		a.signsOut(t, browser)
	}
}

func TestCognito_SignsInAndOutByItsOwnParameters(t *testing.T) {
	t.Parallel()
	const domain = "https://agents.auth.eu-west-3.amazoncognito.com/eu-west-3_AbCdEf123"
	cfg := providers.Cognito("eu-west-3_AbCdEf123")
	personas := alice("")
	personas[0].Claims["email_verified"] = "true"
	config := oidctest.Config{
		Personas: personas, LogoutURIParameter: "logout_uri", NoPKCEMetadata: true, NoIssParameter: true,
		Metadata: map[string]any{
			"authorization_endpoint": domain + "/authorize", "token_endpoint": domain + "/token",
			"userinfo_endpoint": domain + "/userinfo", "end_session_endpoint": domain + "/session/end",
		},
	}
	a := startApp(t, cfg, config)
	browser, claims := a.signsIn(t)
	if claims["iss"] != "https://cognito-idp.eu-west-3.amazonaws.com/eu-west-3_AbCdEf123" || claims["email_verified"] != true {
		t.Errorf("the session is %v", claims)
	}
	if query := a.signsOut(t, browser); len(query) != 2 || query.Get("logout_uri") != a.URL+"/auth/logout/callback" ||
		query.Get("client_id") != oidctest.ClientID {
		t.Errorf("the logout has %v", query)
	}

	cfg.Provider.EndSessionURL = "" // the standard parameters end on an error page
	a = startApp(t, cfg, config)
	browser, _ = a.signsIn(t)
	res, err := browser.PostForm(a.URL+a.client.LogoutURL("/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("the provider takes the standard parameters: %s", res.Status)
	}
}

func TestApple_SignsInByAPostedFormAndASecretOfItsKey(t *testing.T) {
	t.Parallel()
	key, public := appleKey(t)
	cfg := providers.Apple(key)
	client := clientWith("client_secret_post")
	client[0].Scopes = []string{"openid", "name", "email"}
	a := startApp(t, cfg, oidctest.Config{
		Clients: client, CallbackUser: true, NoIssParameter: true, NoEndSession: true,
		Metadata: map[string]any{"userinfo_endpoint": nil},
	})
	a.provider.redeem = func(form url.Values) {
		if err := checkSecret(form.Get("client_secret"), public, time.Now()); err != nil {
			t.Error(err)
		}
		form.Set("client_secret", oidctest.ClientSecret)
	}
	a.provider.idToken = map[string]any{"email": "alice@privaterelay.appleid.com", "email_verified": "true"}
	_, claims := a.signsIn(t)
	if claims["email_verified"] != true || claims["email"] != "alice@privaterelay.appleid.com" {
		t.Errorf("the session is %v", claims)
	}
	if mode := a.asked(t).Get("response_mode"); mode != "form_post" {
		t.Errorf("response_mode is %q", mode)
	}
}

func TestGitLab_SignsIn(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://gitlab.com", "https://git.example.org/gitlab"} {
		a := startApp(t, providers.GitLab(base), oidctest.Config{NoEndSession: true, NoIssParameter: true})
		if _, claims := a.signsIn(t); claims["iss"] != base || claims["groups"] != nil {
			t.Errorf("the session is %v", claims)
		}
	}
}

func TestZitadel_SignsInWithTheAudiencesOfTheProjectAlone(t *testing.T) {
	t.Parallel()
	cfg := providers.Zitadel("https://example.zitadel.cloud", "project", "sibling")
	a := startApp(t, cfg, oidctest.Config{})
	audience := func(values ...string) map[string]any {
		return map[string]any{"aud": append([]string{oidctest.ClientID}, values...), "azp": oidctest.ClientID}
	}
	a.provider.idToken = audience("sibling", "project")
	a.signsIn(t)
	a.provider.idToken = audience("sibling", "project", "stranger")
	a.refuses(t, "alice", "stranger")

	cfg.Provider.TrustedAudiences = nil
	without := startApp(t, cfg, oidctest.Config{})
	without.provider.idToken = audience("sibling", "project")
	without.refuses(t, "alice", "aud")
}

func TestAuthentik_SignsInAndOut(t *testing.T) {
	t.Parallel()
	a := startApp(t, providers.Authentik("https://id.example.org", "my-app"), oidctest.Config{NoIssParameter: true})
	browser, claims := a.signsIn(t)
	if claims["iss"] != "https://id.example.org/application/o/my-app/" {
		t.Errorf("the session is %v", claims)
	}
	a.signsOut(t, browser)
}

// Without a signing key, authentik signs with the client secret.
func TestAuthentik_AnIDTokenSignedWithTheSecretIsRefused(t *testing.T) {
	t.Parallel()
	client := clientWith("")
	client[0].IDTokenSignedResponseAlg = "HS256"
	a := startApp(t, providers.Authentik("https://id.example.org", "my-app"), oidctest.Config{Clients: client})
	a.refuses(t, "alice", "HS256")
}

func TestAuthelia_SignsInWithTheMethodOfItsDefault(t *testing.T) {
	t.Parallel()
	cfg := providers.Authelia("https://auth.example.org/")
	config := oidctest.Config{Clients: clientWith("client_secret_basic"), NoEndSession: true, Metadata: map[string]any{
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
	}}
	a := startApp(t, cfg, config)
	_, claims := a.signsIn(t)
	if claims["iss"] != "https://auth.example.org" || claims["email"] != "alice@example.org" {
		t.Errorf("the session is %v", claims)
	}
}

// oneLogin starts an app at GOV.UK One Login, whose ID Tokens have this vot.
func oneLogin(t *testing.T, vot any, vectors ...string) *app {
	t.Helper()
	cfg := providers.GOVUKOneLogin(providers.Sandbox, vectors...)
	cfg.Registration.ClientKeys = rsaKeys(t)
	cfg.Registration.IDTokenSignedResponseAlg = "RS256"
	a := startApp(t, cfg, oidctest.Config{Clients: []oidctest.Client{{
		ID: oidctest.ClientID, Scopes: []string{"openid", "email", "phone"},
		JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{cfg.Registration.ClientKeys[0].Public()}},
	}}, Personas: alice(""), NoIssParameter: true})
	a.provider.idToken = map[string]any{"vot": vot, "vtm": "https://oidc.integration.account.gov.uk/trustmark"}
	return a
}

func TestGOVUKOneLogin_SignsInAndOut(t *testing.T) {
	t.Parallel()
	for vot, vectors := range map[string][]string{"Cl.Cm": nil, "Cl": {"Cl", "Cl.Cm"}} {
		a := oneLogin(t, vot, vectors...)
		browser, claims := a.signsIn(t)
		if claims["iss"] != "https://oidc.integration.account.gov.uk/" {
			t.Errorf("the session is %v", claims)
		}
		want := map[string]string{"Cl.Cm": `["Cl.Cm"]`, "Cl": `["Cl","Cl.Cm"]`}[vot]
		if asked := a.asked(t); asked.Get("vtr") != want || asked.Get("scope") != "openid email" || asked.Has("response_mode") {
			t.Errorf("the request asks for %v", asked)
		}
		a.signsOut(t, browser)
	}
	oneLogin(t, "Cl.Cm", "Cl").signsIn(t) // two factors, where one is enough
	a := oneLogin(t, "Cl.Cm", "P2.Cl.Cm") // the identity is not in vot
	a.signsIn(t)
	if got := a.asked(t).Get("vtr"); got != `["P2.Cl.Cm"]` {
		t.Errorf("vtr is %s", got)
	}
}

// A person can change the request to ask for less.
func TestGOVUKOneLogin_AnotherVectorOfTrustIsRefused(t *testing.T) {
	t.Parallel()
	for _, vot := range []any{"Cl", "", nil, "P2.Cl.Cm"} {
		oneLogin(t, vot).refuses(t, "alice", "a vector of trust that was asked for")
	}
}

// Logout Tokens are signed with ES256 and name the subject, whatever ID Tokens are.
func TestGOVUKOneLogin_ALogoutTokenEndsTheSession(t *testing.T) {
	t.Parallel()
	a := oneLogin(t, "Cl.Cm")
	browser, _ := a.signsIn(t)
	claims := a.provider.IDTokenClaims(oidctest.ClientID, "alice")
	for _, name := range []string{"auth_time", "acr", "sid"} {
		delete(claims, name)
	}
	claims["jti"], claims["events"] = "1", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	token := a.provider.SignClaims("ES256", claims, map[string]any{"typ": "logout+jwt"})
	res, err := http.PostForm(a.URL+"/auth/backchannel-logout", url.Values{"logout_token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if sub := a.session(t, browser)["sub"]; res.StatusCode != http.StatusOK || sub != nil {
		t.Errorf("%s, and %v is still signed in\n%s", res.Status, sub, a.log)
	}
}

// loginGov starts an app at login.gov, where alice has this acr.
func loginGov(t *testing.T, acr string, cfg oidcrp.Config) *app {
	t.Helper()
	cfg.Registration.ClientKeys = rsaKeys(t)
	return startApp(t, cfg, oidctest.Config{
		Clients: []oidctest.Client{{ID: oidctest.ClientID, Scopes: []string{"openid", "email"},
			JWKS: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{cfg.Registration.ClientKeys[0].Public()}}}},
		Personas: alice(acr), NoIssParameter: true, AssertionAudience: "token_endpoint", NoLogoutHint: true,
		Metadata: map[string]any{"claims_parameter_supported": nil},
	})
}

const (
	authOnly = "urn:acr.login.gov:auth-only"
	verified = "urn:acr.login.gov:verified"
)

func TestLoginGov_SignsInAndOut(t *testing.T) {
	t.Parallel()
	const aal2 = "http://idmanagement.gov/ns/assurance/aal/2"
	for reached, level := range map[string]string{authOnly: authOnly, verified: authOnly} {
		a := loginGov(t, reached, providers.LoginGov(providers.Production, level, aal2))
		browser, claims := a.signsIn(t)
		if claims["iss"] != "https://secure.login.gov/" || claims["acr"] != reached {
			t.Errorf("the session is %v", claims)
		}
		if asked := a.asked(t); asked.Get("acr_values") != level+" "+aal2 || len(asked.Get("nonce")) < 22 || len(asked.Get("state")) < 22 {
			t.Errorf("the request asks for %v", asked)
		}
		if query := a.signsOut(t, browser); query.Has("id_token_hint") || len(query.Get("state")) < 22 {
			t.Errorf("the logout has %v", query)
		}
	}
}

// A person can change the request to ask for less.
func TestLoginGov_ALowerLevelIsRefused(t *testing.T) {
	t.Parallel()
	loginGov(t, authOnly, providers.LoginGov(providers.Sandbox, verified)).refuses(t, "alice", "requirement_unmet")
	loginGov(t, "", providers.LoginGov(providers.Sandbox, authOnly)).refuses(t, "alice", "requirement_unmet")
}

// The preferred level is answered with the one that was reached.
func TestLoginGov_ThePreferredLevelIsAnsweredWithAnother(t *testing.T) {
	t.Parallel()
	cfg := providers.LoginGov(providers.Sandbox, "urn:acr.login.gov:verified-facial-match-preferred")
	cfg.Login.RequireACR = []string{verified}
	if _, claims := loginGov(t, verified, cfg).signsIn(t); claims["acr"] != verified {
		t.Errorf("the session is %v", claims)
	}
}

func TestLoginGov_APublicClientSignsIn(t *testing.T) {
	t.Parallel()
	cfg := providers.LoginGov(providers.Sandbox, authOnly)
	cfg.Registration.TokenEndpointAuthMethod, cfg.Provider.AssertionAudience = "none", ""
	cfg.ClientSecret = ""
	a := startApp(t, cfg, oidctest.Config{Clients: []oidctest.Client{{ID: oidctest.ClientID}}, RequirePKCE: true, Personas: alice(authOnly)})
	a.signsIn(t)
}
