package oidcrp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// algSetup is a provider and a client that agree on one algorithm.
func algSetup(alg string, config func(*oidcrp.Config)) setup {
	secret := strings.Repeat("0123456789abcdef", 4)
	return setup{
		provider: oidctest.Config{Clients: []oidctest.Client{{ID: oidctest.ClientID, Secret: secret, IDTokenSignedResponseAlg: alg}}},
		config: func(c *oidcrp.Config) {
			c.ClientSecret = secret
			if config != nil {
				config(c)
			}
		},
	}
}

func TestIDToken_SignsInWithEveryAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range oidcrp.EveryAlg {
		if alg == "Ed25519" { // the provider knows it as EdDSA
			continue
		}
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, algSetup(alg, func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = alg }))
			browser := app.signIn(t)
			if got := app.who(t, browser, "/me").Sub; got != "alice" {
				t.Errorf("signed in as %q, want alice", got)
			}
		})
	}
}

func TestIDToken_AnACRThatIsTooLowIsNotAForgery(t *testing.T) {
	t.Parallel()
	var refusals []oidcrp.LoginEvent
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Trace.LoginRefused = collect(&refusals) }})
	app.provider.Misbehave(fault.IDTokenLowerACR)
	res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/admin", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if res.StatusCode != http.StatusForbidden || len(refusals) != 1 || refusals[0].Code != oidcrp.CodeRequirementUnmet {
		t.Errorf("the answer is %s, the refusals %+v", res.Status, refusals)
	}
	if n := app.provider.Count(oidctest.EndpointUserInfo); n != 0 {
		t.Errorf("%d UserInfo requests after a refused ID Token", n)
	}
}
