package oidctest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestSignInAtTheLoginPage(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	a := newApp(t, p)
	browser := p.SignIn(t, a.URL+"/login", "bruno")
	if status, body := get(t, browser, a.URL+"/welcome"); status != http.StatusOK || body != "hello bruno" {
		t.Errorf("got %d %q, want 200 hello bruno", status, body)
	}
	if a.userInfo.Email != "bruno@example.org" {
		t.Errorf("email is %q", a.userInfo.Email)
	}
	for _, endpoint := range []string{oidctest.EndpointDiscovery, oidctest.EndpointJWKS,
		oidctest.EndpointAuthorization, oidctest.EndpointLogin, oidctest.EndpointToken, oidctest.EndpointUserInfo} {
		if n := p.Count(endpoint); n != 1 {
			t.Errorf("%s was asked %d times, want once", endpoint, n)
		}
	}
}

func TestIssuerPathsAndSlashes(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/api/v2", "/api/v2/"} {
		t.Run("issuer ends in "+path, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{Issuer: path, AutoLogin: "alice"})
			if !strings.HasSuffix(p.Issuer(), path) {
				t.Errorf("Issuer() = %q", p.Issuer())
			}
			a := newApp(t, p)
			p.SignIn(t, a.URL+"/login", "")
			for _, r := range p.Requests() {
				if strings.Contains(r.URL.Path, "//") {
					t.Errorf("the path %s has a double slash", r.URL.Path)
				}
			}
		})
	}
}

func TestSigningAlgorithms(t *testing.T) {
	t.Parallel()
	algs := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for _, alg := range algs {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
				ID: oidctest.ClientID, Secret: oidctest.ClientSecret,
				IDTokenSignedResponseAlg: alg, UserInfoSignedResponseAlg: alg,
			}}})
			a := newApp(t, p, alg)
			p.SignIn(t, a.URL+"/login", "")
			if a.userInfo.Email != "alice@example.org" {
				t.Errorf("email is %q", a.userInfo.Email)
			}
		})
	}
}
