package oidctest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// start starts the provider that shows a fault.
func start(t *testing.T, f fault.Fault) *oidctest.Provider {
	t.Helper()
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret}
	if f.Needs == fault.NeedsSignedUserInfo {
		client.UserInfoSignedResponseAlg = "RS256"
	}
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{client},
		TLS: f.Needs == fault.NeedsHTTPS})
	p.Misbehave(f)
	return p
}

// A token signed with the client's secret has no key that a fault could replace.
func TestMisbehave_HMACTokens(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
		ID: oidctest.ClientID, Secret: oidctest.ClientSecret, IDTokenSignedResponseAlg: "HS256"}}})
	c := newRaw(t, p)
	for _, f := range fault.All() {
		if !strings.HasPrefix(f.Name, "id_token/") {
			continue
		}
		p.Misbehave(f)
		if idToken, _ := c.tokens("max_age", "60")["id_token"].(string); idToken == "" {
			t.Errorf("%s: there is no ID Token", f.Name)
		}
	}
}

func TestMisbehave_FaultsAddUp(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	p.Misbehave(fault.JWKSNoKID, fault.IDTokenNoKID, fault.TokenLowercaseType)
	c := newRaw(t, p)
	tokens := c.tokens()
	header, _ := parts(t, tokens["id_token"])
	if header["kid"] != nil || tokens["token_type"] != "bearer" {
		t.Errorf("got %v %v", header, tokens)
	}
	if body := c.get(oidctest.EndpointJWKS, nil).body; strings.Contains(body, "kid") {
		t.Errorf("the keys are %s", body)
	}
	p.Misbehave()
	if tokens := c.tokens(); tokens["token_type"] != "Bearer" {
		t.Errorf("behaving again: %v", tokens)
	}
}

// letThrough lists the faults that go-oidc and x/oauth2 leave to their caller.
var letThrough = []string{
	"authorization/duplicate-code", "authorization/duplicate-iss", "authorization/duplicate-state",
	"authorization/missing-iss", "authorization/wrong-iss",
	"discovery/transport-wrong-type", "discovery/uppercase-member",
	"id_token/extra-aud", "id_token/future-iat", "id_token/invalid-utf8",
	"id_token/json-serialization", "id_token/lower-acr", "id_token/missing-acr",
	"id_token/missing-auth-time", "id_token/missing-iat", "id_token/old-auth-time",
	"id_token/old-iat", "id_token/string-exp", "id_token/string-iat", "id_token/typ-access-token",
	"id_token/typ-logout-token", "id_token/typ-security-event", "id_token/uppercase-sub",
	"id_token/wrong-azp",
	"jwks/only-enc", "jwks/transport-wrong-type",
	"logout_token/no-iat", "logout_token/old-iat", "logout_token/wrong-typ",
	"refresh/earlier-auth-time", "refresh/older-iat",
	"token/control-in-refresh-token", "token/no-type", "token/transport-wrong-type",
	"userinfo/duplicate-sub", "userinfo/plain-json", "userinfo/signed-expired",
	"userinfo/signed-missing-aud", "userinfo/signed-missing-iss", "userinfo/signed-other-alg",
	"userinfo/signed-wrong-aud", "userinfo/signed-wrong-iss", "userinfo/transport-wrong-type",
	"userinfo/uppercase-sub",
}

// stumbledOver lists the allowed responses that go-oidc and x/oauth2 refuse: go-jose
// rejects a JWK Set because of one bad key, VerifyAccessToken requires at_hash, and
// expires_in is read as an integer only.
var stumbledOver = []string{"id_token/missing-at-hash", "jwks/malformed-key", "jwks/unnamed-keys",
	"jwks/unusable-keys", "token/exponent-expires-in", "token/fraction-expires-in"}

func TestMisbehave_AnotherRelyingPartyAgreesWithTheVerdicts(t *testing.T) {
	t.Parallel()
	for _, f := range fault.All() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			p := start(t, f)
			err := foreign(t, p, f)
			want := f.Verdict
			if slices.Contains(letThrough, f.Name) {
				want = fault.Accept
			}
			if slices.Contains(stumbledOver, f.Name) {
				want = fault.Reject
			}
			if want == fault.Accept && err != nil {
				t.Errorf("%s: it was refused: %v", f.Doc, err)
			}
			if want == fault.Reject && err == nil {
				t.Errorf("%s: it was accepted", f.Doc)
			}
		})
	}
}

// foreign runs the requests that a fault may concern in an app on go-oidc.
func foreign(t *testing.T, p *oidctest.Provider, f fault.Fault) error {
	client := p.HTTPClient()
	if waits := regexp.MustCompile("slow|hanging|endless"); waits.MatchString(f.Name) {
		client.Timeout = 300 * time.Millisecond // the response does not end
	}
	a, err := openApp(t, p, client, "RS256")
	if err != nil {
		return err
	}
	switch f.Needs {
	case fault.NeedsMaxAge:
		a.options = append(a.options, oauth2.SetAuthURLParam("max_age", "60"))
	case fault.NeedsACR:
		a.options = append(a.options, oauth2.SetAuthURLParam("acr_values", "eidas1"))
	}
	res, err := p.Visit(p.Browser(), a.URL+"/login", "alice")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s", res.Status, body)
	}
	switch f.Needs {
	case fault.NeedsRefresh:
		return a.refresh(t.Context())
	case fault.NeedsBackchannel:
		_, err := a.verifier.VerifyLogout(a.context(t.Context()), p.LogoutToken(oidctest.ClientID, "alice", "sid"))
		return err
	}
	return nil
}

// refresh refreshes the tokens with the checks of OIDC Core 12.2.
func (a *app) refresh(ctx context.Context) error {
	ctx = a.context(ctx)
	token, err := a.config.TokenSource(ctx, &oauth2.Token{RefreshToken: a.token.RefreshToken}).Token()
	if err != nil {
		return err
	}
	compact, ok := token.Extra("id_token").(string)
	if !ok {
		return nil
	}
	idToken, err := a.verifier.Verify(ctx, compact)
	if err == nil && idToken.Subject != a.idToken.Subject {
		err = fmt.Errorf("sub changed to %q", idToken.Subject)
	}
	return err
}

func TestMisbehave_RedirectLeadsToTheCorrectResponseElsewhere(t *testing.T) {
	t.Parallel()
	for name, paths := range map[string]map[string]string{
		"default path": nil,
		"own path":     {oidctest.EndpointToken: "/oauth/exchange"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{Issuer: "/api", AutoLogin: "alice", Paths: paths})
			p.Misbehave(fault.Transport(oidctest.EndpointToken, fault.Redirected))
			c := newRaw(t, p)
			form := tokenRequest(c.code())
			c.client = p.HTTPClient()
			if r := c.post(oidctest.EndpointToken, form); r.status != http.StatusOK || r.json["id_token"] == nil {
				t.Errorf("got %d %s", r.status, r.body)
			}
			elsewhere := p.RequestsTo(oidctest.EndpointElsewhere)
			if len(elsewhere) != 1 || !strings.HasPrefix(elsewhere[0].Host, "localhost:") || elsewhere[0].Form.Get("code") == "" {
				t.Errorf("elsewhere received %v", elsewhere)
			}
		})
	}
}
