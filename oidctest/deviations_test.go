package oidctest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

// noPKCE are the pairs that take PKCE out of a request.
var noPKCE = []string{"code_challenge", "", "code_challenge_method", "", "code_verifier", ""}

func TestRefusePKCE_RefusesTheChallengeAndTheVerifier(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", RefusePKCE: true})
	c := newRaw(t, p)
	if r := c.get(oidctest.EndpointAuthorization, authRequest()); r.status != http.StatusBadRequest || r.back != nil {
		t.Errorf("a code_challenge is answered with %d %v", r.status, r.back)
	}
	c.wantError(c.post(oidctest.EndpointToken, tokenRequest(c.code(noPKCE...))), http.StatusUnauthorized, "invalid_client")
	p.ResetRequests()
	before := len(p.Violations())
	if r := c.post(oidctest.EndpointToken, tokenRequest(c.code(noPKCE...), noPKCE...)); r.status != http.StatusOK {
		t.Errorf("without PKCE: %d %s", r.status, r.body)
	}
	if v := p.Violations(); len(v) != before {
		t.Errorf("requests without PKCE are violations: %q", v[before:])
	}
}

func TestTokenParameters_AreRequired(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{
		AutoLogin: "alice", TokenParameters: url.Values{"resource": {"api"}}, RefreshScope: "openid",
	})
	c := newRaw(t, p)
	c.wantError(c.post(oidctest.EndpointToken, tokenRequest(c.code())), http.StatusBadRequest, "invalid_request")
	c.wantError(c.post(oidctest.EndpointToken, tokenRequest(c.code(), "resource", "x")), http.StatusBadRequest, "invalid_request")
	r := c.post(oidctest.EndpointToken, tokenRequest(c.code(), "resource", "api"))
	token, _ := r.json["refresh_token"].(string)
	if token == "" {
		t.Fatalf("with the parameter: %d %s", r.status, r.body)
	}
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(token, "scope", "openid")), http.StatusBadRequest, "invalid_request")
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(token, "resource", "api")), http.StatusBadRequest, "invalid_scope")
	if r := c.post(oidctest.EndpointToken, refreshRequest(token, "resource", "api", "scope", "openid")); r.status != http.StatusOK {
		t.Errorf("with the scope: %d %s", r.status, r.body)
	}
}

func TestPersona_IssuerIsThatOfItsTokens(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{
		AutoLogin: "alice", NoIssParameter: true,
		Metadata:   map[string]any{"issuer": "/{tenantid}"},
		KeyIssuers: map[string]string{"RS256": "/{tenantid}"},
		Personas:   []oidctest.Persona{{Subject: "alice", Issuer: "/tenant-a"}, {Subject: "bruno", Issuer: "https://other.example"}},
		Clients:    []oidctest.Client{{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, UserInfoSignedResponseAlg: "RS256"}},
	})
	c, want := newRaw(t, p), p.Issuer()+"/tenant-a"
	tokens := c.tokens()
	idToken := claims(t, tokens["id_token"])
	access, _ := tokens["access_token"].(string)
	sid, _ := idToken["sid"].(string)
	for what, got := range map[string]any{
		"the ID Token":             idToken["iss"],
		"UserInfo":                 claims(t, c.userInfo(access).body)["iss"],
		"a Logout Token with sub":  claims(t, p.LogoutToken(oidctest.ClientID, "alice", ""))["iss"],
		"a Logout Token with sid":  claims(t, p.LogoutToken(oidctest.ClientID, "", sid))["iss"],
		"the claims for ID Tokens": p.IDTokenClaims(oidctest.ClientID, "alice")["iss"],
	} {
		if got != want {
			t.Errorf("iss of %s is %v, want %s", what, got, want)
		}
	}
	if got := p.IDTokenClaims(oidctest.ClientID, "bruno")["iss"]; got != "https://other.example" {
		t.Errorf("iss is %v", got)
	}
	for _, k := range c.get(oidctest.EndpointJWKS, nil).json["keys"].([]any) {
		key := k.(map[string]any)
		if issuer, _ := key["issuer"].(string); strings.HasSuffix(issuer, "/{tenantid}") != (key["alg"] == "RS256") {
			t.Errorf("the key %v has the issuer %q", key["kid"], issuer)
		}
	}
	// The provider knows its own ID Tokens again.
	hint := url.Values{"id_token_hint": {tokens["id_token"].(string)}, "client_id": {oidctest.ClientID}}
	if r := c.get(oidctest.EndpointEndSession, hint); r.status != http.StatusOK {
		t.Errorf("the ID Token as a hint: %d %s", r.status, r.body)
	}
}

func TestNeedLogoutHint_RefusesALogoutWithoutOne(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{NeedLogoutHint: true, AutoLogin: "alice"})
	c := newRaw(t, p)
	idToken := c.tokens()["id_token"].(string)
	for hint, status := range map[string]int{idToken: http.StatusOK, "": http.StatusBadRequest} {
		query := url.Values{"id_token_hint": {hint}, "client_id": {oidctest.ClientID}}
		if r := c.get(oidctest.EndpointEndSession, query); r.status != status {
			t.Errorf("hint of %d bytes: %d, want %d: %s", len(hint), r.status, status, r.body)
		}
	}
}
