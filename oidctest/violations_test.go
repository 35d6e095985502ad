package oidctest_test

import (
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

func TestASoundRelyingPartyLeavesNoViolations(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", RequirePAR: true})
	c := newRaw(t, p)
	pushed := c.post(oidctest.EndpointPAR, authRequest("client_secret", oidctest.ClientSecret))
	back := c.get(oidctest.EndpointAuthorization, url.Values{
		"client_id": {oidctest.ClientID}, "request_uri": {pushed.json["request_uri"].(string)}}).back
	tokens := c.post(oidctest.EndpointToken, tokenRequest(back.Get("code"))).json
	c.userInfo(tokens["access_token"].(string))
	c.post(oidctest.EndpointToken, refreshRequest(tokens["refresh_token"].(string)))
	c.get(oidctest.EndpointEndSession, url.Values{"id_token_hint": {tokens["id_token"].(string)},
		"post_logout_redirect_uri": {bye}, "state": {"s"}})
	c.get(oidctest.EndpointEndSession, nil) // somebody who comes by themselves
	if got := p.Violations(); got != nil {
		t.Errorf("the violations are %q", got)
	}
}

func TestViolations(t *testing.T) {
	t.Parallel()
	asks := func(pairs ...string) func(*raw) {
		return func(c *raw) { c.get(oidctest.EndpointAuthorization, authRequest(pairs...)) }
	}
	redeems := func(pairs ...string) func(*raw) {
		return func(c *raw) { c.post(oidctest.EndpointToken, tokenRequest(c.code(), pairs...)) }
	}
	logsOut := func(pairs ...string) func(*raw) {
		return func(c *raw) {
			sound := url.Values{"id_token_hint": {c.tokens()["id_token"].(string)},
				"post_logout_redirect_uri": {bye}, "state": {"s"}}
			c.get(oidctest.EndpointEndSession, with(sound, pairs...))
		}
	}
	for _, row := range []struct {
		name string
		do   func(*raw)
		want string // the beginning of the violation
	}{
		{"no nonce", asks("nonce", ""), "authorization: there is no nonce"},
		{"a long nonce", asks("nonce", strings.Repeat("n", 44)), "authorization: nonce has 44 characters"},
		{"an odd nonce", asks("nonce", "a+b"), "authorization: nonce has characters other than"},
		{"no state", asks("state", ""), "authorization: there is no state"},
		{"no PKCE", asks("code_challenge", "", "code_challenge_method", ""), "authorization: there is no code_challenge"},
		{"plain PKCE", asks("code_challenge_method", "plain"), "authorization: invalid_request: code_challenge_method"},
		{"scopes apart by two spaces", asks("scope", "profile  email"), "authorization: scope does not contain openid"},
		{"openid after a tab", asks("scope", "email\topenid"), "authorization: scope does not contain openid"},
		{"a request object", asks("request", "x"), "authorization: request_not_supported"},
		{"an implicit request", asks("response_type", "id_token"), "authorization: unsupported_response_type"},
		{"another redirect URI", asks("redirect_uri", callback+"/"), "authorization: invalid_request: redirect_uri"},
		{"what cannot be", asks("max_age", "0", "prompt", "none"), "authorization: max_age 0 with prompt none"},
		{"an odd member of claims", asks("claims", `{"access_token":{"a":null}}`), `authorization: claims has the member "access_token"`},
		{"an odd member of a claim", asks("claims", `{"id_token":{"a":{"vital":true}}}`), `authorization: claims asks for "a" with the member "vital"`},
		{"an empty parameter", func(c *raw) {
			c.get(oidctest.EndpointAuthorization, url.Values{"ui_locales": {""}, "client_id": {"x"}})
		}, "authorization: ui_locales is empty"},

		{"no verifier", redeems("code_verifier", ""), "token: there is no code_verifier"},
		{"another verifier", redeems("code_verifier", strings.Repeat("v", 43)), "token: invalid_grant: code_verifier"},
		{"an odd verifier", redeems("code_verifier", verifier+"+"), "token: code_verifier is not of the form"},
		{"the same verifier", func(c *raw) { redeems()(c); redeems()(c) }, "token: code_verifier was used before"},
		{"a code twice", func(c *raw) {
			code := c.code()
			c.post(oidctest.EndpointToken, tokenRequest(code))
			c.post(oidctest.EndpointToken, tokenRequest(code))
		}, "token: invalid_grant: code is unknown, used"},
		{"another redirect URI for the code", redeems("redirect_uri", callback+"/"), "token: invalid_grant: redirect_uri"},
		{"a wrong secret", redeems("client_secret", "wrong"), "token: invalid_client"},
		{"two proofs", redeems("client_assertion", "x.y.z",
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), "token: invalid_request: more than one"},

		{"no access token", func(c *raw) { c.get(oidctest.EndpointUserInfo, nil) }, "userinfo: there is no access token"},
		{"an access token in the URL", func(c *raw) {
			c.get(oidctest.EndpointUserInfo, url.Values{"access_token": {c.tokens()["access_token"].(string)}})
		}, "userinfo: invalid_request: the access token must be in the Authorization header"},
		{"an unknown access token", func(c *raw) { c.userInfo("x") }, "userinfo: invalid_token"},

		{"no hint", logsOut("id_token_hint", "", "client_id", oidctest.ClientID), "end_session: id_token_hint is not"},
		{"no way back", logsOut("post_logout_redirect_uri", ""), "end_session: there is no post_logout_redirect_uri"},
		{"a logout without state", logsOut("state", ""), "end_session: there is no state"},

		{"a path that was never announced", func(c *raw) {
			c.client.Get(c.p.Issuer() + "/favicon.ico")
		}, "unknown: not_found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
				ID: oidctest.ClientID, Secret: oidctest.ClientSecret, RedirectURIs: []string{callback}}}})
			row.do(newRaw(t, p))
			got := p.Violations()
			if !slices.ContainsFunc(got, func(v string) bool { return strings.HasPrefix(v, row.want) }) {
				t.Errorf("the violations are %q, want one that begins with %q", got, row.want)
			}
		})
	}
}

func TestAnAssertionNeedsIssuedAt(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
		ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_jwt"}}})
	c := newRaw(t, p)
	for _, iat := range []bool{true, false} {
		claims := map[string]any{"iss": oidctest.ClientID, "sub": oidctest.ClientID, "aud": p.Issuer(),
			"jti": iat, "exp": time.Now().Add(time.Minute).Unix()}
		claims["jti"] = map[bool]string{true: "one", false: "two"}[iat]
		if iat {
			claims["iat"] = time.Now().Unix()
		}
		c.post(oidctest.EndpointToken, anonymous(c.code(),
			"code_verifier", verifier,
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
			"client_assertion", sign(t, jose.HS256, []byte(oidctest.ClientSecret), claims)))
		objects := slices.Contains(p.Violations(), "token: client_assertion has no iat")
		if objects == iat {
			t.Errorf("with iat %t the violations are %q", iat, p.Violations())
		}
	}
}

// Nobody is to blame for a person who cancels, or who is not there.
func TestWhatAPersonDoesIsNoViolation(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	c := newRaw(t, p)
	c.get(oidctest.EndpointAuthorization, authRequest("prompt", "none"))
	c.post(oidctest.EndpointLogin, url.Values{"interaction": {"gone"}})
	if got := p.Violations(); got != nil {
		t.Errorf("the violations are %q", got)
	}
}

func TestAccessTokenInTheBody(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", TokenInBody: true})
	c := newRaw(t, p)
	access := c.tokens()["access_token"].(string)
	form := url.Values{"access_token": {access}}
	if r := c.post(oidctest.EndpointUserInfo, form); r.json["sub"] != "alice" || p.Violations() != nil {
		t.Errorf("in the body: %d %s %q", r.status, r.body, p.Violations())
	}
	header := http.Header{"Authorization": {"Bearer " + access}}
	for name, r := range map[string]reply{
		"in the header":      c.userInfo(access),
		"in both":            c.do(http.MethodPost, oidctest.EndpointUserInfo, form, header),
		"in the URL":         c.get(oidctest.EndpointUserInfo, form),
		"twice in the body":  c.post(oidctest.EndpointUserInfo, url.Values{"access_token": {access, access}}),
		"in no place at all": c.post(oidctest.EndpointUserInfo, nil),
	} {
		if r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestTheShapeOfTheMetadata(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{TLS: true, SessionState: true, MTLSEndpointAliases: true, NoKeyAlg: true,
		Paths:    map[string]string{oidctest.EndpointJWKS: "/keys"},
		Metadata: map[string]any{"registration_endpoint": "/register", "op_policy_uri": "https://op.example/"}})
	c := newRaw(t, p)
	metadata := c.get(oidctest.EndpointDiscovery, nil).json
	_, port, _ := strings.Cut(strings.TrimPrefix(p.Issuer(), "https://"), ":")
	for name, want := range map[string]string{
		"jwks_uri":              p.Issuer() + "/keys",
		"registration_endpoint": p.Issuer() + "/register",
		"op_policy_uri":         "https://op.example/",
		"check_session_iframe":  p.Issuer() + "/session/check",
	} {
		if got := metadata[name]; got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	aliases, _ := metadata["mtls_endpoint_aliases"].(map[string]any)
	if got, want := aliases["token_endpoint"], "https://localhost:"+port+"/token"; got != want || len(aliases) != 1 {
		t.Errorf("mtls_endpoint_aliases is %v, want %s", aliases, want)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(c.get(oidctest.EndpointJWKS, nil).body), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		if key.Algorithm != "" || key.Use != "sig" || key.KeyID == "" {
			t.Errorf("the key %q has alg %q and use %q", key.KeyID, key.Algorithm, key.Use)
		}
	}
}

func TestOddValues(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", OddValues: true, SessionState: true})
	c := newRaw(t, p)
	back := c.get(oidctest.EndpointAuthorization, authRequest()).back
	if back.Get("session_state") == "" {
		t.Errorf("there is no session_state: %v", back)
	}
	tokens := c.post(oidctest.EndpointToken, tokenRequest(back.Get("code"))).json
	sid, _ := claims(t, tokens["id_token"])["sid"].(string)
	for name, value := range map[string]string{"sid": sid, "refresh_token": tokens["refresh_token"].(string)} {
		if !strings.ContainsAny(value[max(0, len(value)-5):], " \"#%&'+/<=>?\\^`{|}~") {
			t.Errorf("%s is %q", name, value)
		}
	}
	if r := c.post(oidctest.EndpointToken, refreshRequest(tokens["refresh_token"].(string))); r.status != http.StatusOK {
		t.Errorf("the refresh token is not taken: %d %s", r.status, r.body)
	}
}
