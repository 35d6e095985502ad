package oidctest_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestViolations_NoneByASoundRelyingParty(t *testing.T) {
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
	c.get(oidctest.EndpointEndSession, nil) // the user opens the URL directly
	if got := p.Violations(); got != nil {
		t.Errorf("the violations are %q", got)
	}
}

func TestViolations_EachIsReported(t *testing.T) {
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
		want string // the start of the violation
	}{
		{"no nonce", asks("nonce", ""), "authorization: nonce is missing"},
		{"a long nonce", asks("nonce", strings.Repeat("n", 44)), "authorization: nonce has 44 characters"},
		{"an odd nonce", asks("nonce", "a+b"), "authorization: nonce contains characters other than"},
		{"no state", asks("state", ""), "authorization: state is missing"},
		{"no PKCE", asks("code_challenge", "", "code_challenge_method", ""), "authorization: code_challenge is missing"},
		{"plain PKCE", asks("code_challenge_method", "plain"), "authorization: invalid_request: code_challenge_method"},
		{"scopes apart by two spaces", asks("scope", "profile  email"), "authorization: scope does not contain openid"},
		{"openid after a tab", asks("scope", "email\topenid"), "authorization: scope does not contain openid"},
		{"a request object", asks("request", "x"), "authorization: request_not_supported"},
		{"an implicit request", asks("response_type", "id_token"), "authorization: unsupported_response_type"},
		{"another redirect URI", asks("redirect_uri", callback+"/"), "authorization: invalid_request: redirect_uri"},
		{"max_age 0 with prompt none", asks("max_age", "0", "prompt", "none"), "authorization: max_age 0 with prompt none"},
		{"an unknown member of claims", asks("claims", `{"access_token":{"a":null}}`), `authorization: claims has the unknown member "access_token"`},
		{"an unknown member of a claim", asks("claims", `{"id_token":{"a":{"vital":true}}}`), `authorization: claims requests "a" with the unknown member "vital"`},
		{"an empty parameter", func(c *raw) {
			c.get(oidctest.EndpointAuthorization, url.Values{"ui_locales": {""}, "client_id": {"x"}})
		}, "authorization: ui_locales is empty"},

		{"no verifier", redeems("code_verifier", ""), "token: code_verifier is missing"},
		{"another verifier", redeems("code_verifier", strings.Repeat("v", 43)), "token: invalid_grant: code_verifier"},
		{"an odd verifier", redeems("code_verifier", verifier+"+"), "token: code_verifier does not follow RFC 7636"},
		{"the same verifier", func(c *raw) { redeems()(c); redeems()(c) }, "token: code_verifier was used before"},
		{"a code twice", func(c *raw) {
			code := c.code()
			c.post(oidctest.EndpointToken, tokenRequest(code))
			c.post(oidctest.EndpointToken, tokenRequest(code))
		}, "token: invalid_grant: code is unknown, used"},
		{"another redirect URI for the code", redeems("redirect_uri", callback+"/"), "token: invalid_grant: redirect_uri"},
		{"a wrong secret", redeems("client_secret", "wrong"), "token: invalid_client"},
		{"two authentication methods", redeems("client_assertion", "x.y.z",
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), "token: invalid_request: more than one"},

		{"no access token", func(c *raw) { c.get(oidctest.EndpointUserInfo, nil) }, "userinfo: the access token is missing"},
		{"an access token in the URL", func(c *raw) {
			c.get(oidctest.EndpointUserInfo, url.Values{"access_token": {c.tokens()["access_token"].(string)}})
		}, "userinfo: invalid_request: the access token must be in the Authorization header"},
		{"an unknown access token", func(c *raw) { c.userInfo("x") }, "userinfo: invalid_token"},

		{"no hint", logsOut("id_token_hint", "", "client_id", oidctest.ClientID), "end_session: id_token_hint is not"},
		{"no post-logout redirect URI", logsOut("post_logout_redirect_uri", ""), "end_session: post_logout_redirect_uri is missing"},
		{"a logout without state", logsOut("state", ""), "end_session: state is missing"},

		{"a path that is not advertised", func(c *raw) {
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
				t.Errorf("the violations are %q, want one that starts with %q", got, row.want)
			}
		})
	}
}

func TestViolations_AssertionWithoutIat(t *testing.T) {
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

// A user who has no session or whose login expired is not a mistake of the relying party.
func TestViolations_NoneByTheUser(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	c := newRaw(t, p)
	c.get(oidctest.EndpointAuthorization, authRequest("prompt", "none"))
	c.post(oidctest.EndpointLogin, url.Values{"interaction": {"gone"}})
	if got := p.Violations(); got != nil {
		t.Errorf("the violations are %q", got)
	}
}

// The provider's own faults are not mistakes of the relying party.
func TestViolations_NoneByFaults(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	for _, f := range []fault.Fault{fault.TokenErrorWith200, fault.TokenInvalidGrant,
		fault.TokenInvalidClient, fault.TokenServerError, fault.UserInfoUnauthorized} {
		p.Misbehave(f)
		tokens := c.post(oidctest.EndpointToken, tokenRequest(c.code(), "code_verifier", verifier)).json
		if access, ok := tokens["access_token"].(string); ok {
			c.userInfo(access)
		}
	}
	p.Misbehave()
	got := slices.DeleteFunc(p.Violations(), func(v string) bool { return v == "token: code_verifier was used before" })
	if len(got) > 0 {
		t.Errorf("the violations are %q", got)
	}
}
