package oidctest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func param(name, value string) oauth2.AuthCodeOption { return oauth2.SetAuthURLParam(name, value) }

func TestToken_InvalidCodesAreRefused(t *testing.T) {
	t.Parallel()
	now := newClock()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Now: now.Now, Clients: []oidctest.Client{
		{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}, {ID: "other", Secret: "other-secret"}}})
	c := newRaw(t, p)
	for name, change := range map[string][]string{
		"an unknown code":            {"code", "unknown"},
		"no code":                    {"code", ""},
		"another redirect URI":       {"redirect_uri", callback + "?a=b"},
		"no redirect URI":            {"redirect_uri", ""},
		"another verifier":           {"code_verifier", verifier + "x"},
		"no verifier":                {"code_verifier", ""},
		"the code of another client": {"client_id", "other", "client_secret", "other-secret"},
	} {
		c.Run(name, func(t *testing.T) {
			c := newRaw(t, p)
			c.wantError(c.post(oidctest.EndpointToken, tokenRequest(c.code(), change...)), http.StatusBadRequest, "invalid_grant")
		})
	}
	unproved := c.code("code_challenge", "", "code_challenge_method", "")
	c.wantError(c.post(oidctest.EndpointToken, tokenRequest(unproved)), http.StatusBadRequest, "invalid_grant")
	late := c.code()
	now.Advance(time.Minute)
	c.wantError(c.post(oidctest.EndpointToken, tokenRequest(late)), http.StatusBadRequest, "invalid_grant")
	c.wantError(c.post(oidctest.EndpointToken, tokenRequest(c.code(), "grant_type", "password")),
		http.StatusBadRequest, "unsupported_grant_type")
	twice := tokenRequest(c.code())
	twice.Add("code", "another")
	c.wantError(c.post(oidctest.EndpointToken, twice), http.StatusBadRequest, "invalid_request")
}

func TestToken_SecondUseOfACodeRevokesItsTokens(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	code := c.code()
	tokens := c.post(oidctest.EndpointToken, tokenRequest(code)).json
	if r := c.userInfo(tokens["access_token"].(string)); r.status != http.StatusOK {
		t.Fatalf("before: %d", r.status)
	}
	c.wantError(c.post(oidctest.EndpointToken, tokenRequest(code)), http.StatusBadRequest, "invalid_grant")
	c.wantError(c.userInfo(tokens["access_token"].(string)), http.StatusUnauthorized, "invalid_token")
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(tokens["refresh_token"].(string))),
		http.StatusBadRequest, "invalid_grant")
}

func TestRefresh_TokensRotate(t *testing.T) {
	t.Parallel()
	now := newClock()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Now: now.Now})
	c := newRaw(t, p)
	first := c.tokens()
	now.Advance(time.Hour)
	c.wantError(c.userInfo(first["access_token"].(string)), http.StatusUnauthorized, "invalid_token")
	second := c.post(oidctest.EndpointToken, refreshRequest(first["refresh_token"].(string))).json
	if second["refresh_token"] == first["refresh_token"] || second["access_token"] == first["access_token"] {
		t.Errorf("the tokens are the same")
	}
	was, is := claims(t, first["id_token"]), claims(t, second["id_token"])
	if is["sub"] != was["sub"] || is["auth_time"] != was["auth_time"] || is["iat"] == was["iat"] || is["nonce"] != nil {
		t.Errorf("the ID Token went from %v to %v", was, is)
	}
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(second["refresh_token"].(string), "scope", "openid phone")),
		http.StatusBadRequest, "invalid_scope")
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(first["refresh_token"].(string))),
		http.StatusBadRequest, "invalid_grant")
	// The second use of the first token revoked the whole grant.
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(second["refresh_token"].(string))),
		http.StatusBadRequest, "invalid_grant")

	old := c.tokens()
	now.Advance(12 * time.Hour)
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(old["refresh_token"].(string))),
		http.StatusBadRequest, "invalid_grant")
}

func TestRefresh_WithoutRotationTheTokenRemainsValid(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	refresh := c.tokens()["refresh_token"].(string)
	p.Misbehave(fault.RefreshNoNewToken)
	for range 3 {
		r := c.post(oidctest.EndpointToken, refreshRequest(refresh))
		if r.status != http.StatusOK || r.json["refresh_token"] != nil {
			t.Fatalf("got %d %s", r.status, r.body)
		}
	}
}

func TestRevocation_RevokesOwnTokensOnly(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{
		{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}, {ID: "other", Secret: "other-secret"}}})
	c := newRaw(t, p)
	revoke := func(token any, pairs ...string) reply {
		form := url.Values{"client_id": {oidctest.ClientID}, "client_secret": {oidctest.ClientSecret}, "token": {token.(string)}}
		return c.post(oidctest.EndpointRevocation, with(form, pairs...))
	}
	tokens := c.tokens()
	access, refresh := tokens["access_token"].(string), tokens["refresh_token"].(string)

	if r := revoke(access, "client_id", "other", "client_secret", "other-secret"); r.status != http.StatusOK {
		t.Errorf("another client: %d", r.status)
	}
	if r := c.userInfo(access); r.status != http.StatusOK {
		t.Errorf("another client revoked the token: %d", r.status)
	}
	revoke(access)
	c.wantError(c.userInfo(access), http.StatusUnauthorized, "invalid_token")
	revoke(refresh)
	c.wantError(c.post(oidctest.EndpointToken, refreshRequest(refresh)), http.StatusBadRequest, "invalid_grant")

	if r := revoke("unknown"); r.status != http.StatusOK {
		t.Errorf("an unknown token: %d", r.status)
	}
	c.wantError(revoke(""), http.StatusBadRequest, "invalid_request")
	c.wantError(revoke(access, "client_secret", "wrong"), http.StatusUnauthorized, "invalid_client")
}
