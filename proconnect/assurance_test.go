package proconnect_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest/fault"
	"github.com/oidcrp/oidcrp/proconnect"
)

const dirigeantClaim = `{"essential":true,"value":"https://proconnect.gouv.fr/assurance/certification-dirigeant"}`

func TestARequiredLevelIsAskedForExactlyAndCheckedAfterwards(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		require oidcrp.Requirement
		reach   string // the level that the person can step up to
		bare    bool   // the configuration asks for no claims
		want    string // the claims parameter
		status  int
	}{
		{"two factors of a person who has them", proconnect.RequireMFA(), "eidas1-mfa", false,
			`{"id_token":{"acr":` + mfaClaim + `,"amr":null}}`, 200},
		{"two factors and nothing else", proconnect.RequireMFA(), "eidas3", true,
			`{"id_token":{"acr":` + mfaClaim + `}}`, 200},
		{"two factors of a person who has one", proconnect.RequireMFA(), "", true,
			`{"id_token":{"acr":` + mfaClaim + `}}`, 403},
		{"substantial, and high is as good", proconnect.RequireEIDAS2(), "eidas3", true,
			`{"id_token":{"acr":{"essential":true,"values":["eidas2","eidas3"]}}}`, 200},
		{"substantial of a person with two factors only", proconnect.RequireEIDAS2(), "eidas1-mfa", true,
			`{"id_token":{"acr":{"essential":true,"values":["eidas2","eidas3"]}}}`, 403},
		{"a director", proconnect.RequireCertificationDirigeant(), proconnect.ACRCertificationDirigeant, true,
			`{"id_token":{"acr":` + dirigeantClaim + `}}`, 200},
		{"a director, with the usual configuration", proconnect.RequireCertificationDirigeant(),
			proconnect.ACRCertificationDirigeant, false, `{"id_token":{"acr":` + dirigeantClaim + `,"amr":null}}`, 200},
		{"somebody who is no director", proconnect.RequireCertificationDirigeant(), "eidas3", true,
			`{"id_token":{"acr":` + dirigeantClaim + `}}`, 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			persona := agent()
			persona.StepUpACRs = []string{test.reach}
			s := newService(t, persona, func(cfg *oidcrp.Config) {
				if test.bare {
					cfg.AuthOptions.Claims = nil
				}
			}, func(c *oidcrp.Client, mux *http.ServeMux) { mux.Handle("/page", c.RequireLogin(page, test.require)) })
			status, body := s.visit(t, s.provider.Browser(), "/page", persona.Subject)
			if got := s.lastClaims(t); got != test.want {
				t.Errorf("claims = %s\nwant     %s", got, test.want)
			}
			if status != test.status {
				t.Errorf("status %d, want %d:\n%s", status, test.status, body)
			}
		})
	}
}

func TestOfTwoLevelsOnOneRouteTheNarrowerIsAskedFor(t *testing.T) {
	t.Parallel()
	persona := agent()
	persona.StepUpACRs = []string{"eidas1-mfa", "eidas3"}
	s := newService(t, persona, nil, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/page", c.RequireLogin(page, proconnect.RequireMFA(), proconnect.RequireEIDAS2()))
	})
	status, body := s.visit(t, s.provider.Browser(), "/page", persona.Subject)
	if status != http.StatusOK || !strings.Contains(body, "eidas3") {
		t.Errorf("status %d:\n%s", status, body)
	}
	want := `{"id_token":{"acr":{"essential":true,"values":["eidas2","eidas3"]},"amr":null}}`
	if got := s.lastClaims(t); got != want {
		t.Errorf("claims = %s\nwant     %s", got, want)
	}
}

// A provider that overlooks what is asked does not get anybody in.
func TestALevelThatTheIDTokenDoesNotAttestIsRefused(t *testing.T) {
	t.Parallel()
	for _, f := range []fault.Fault{fault.IDTokenLowerACR, fault.IDTokenMissingACR} {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, agent(), nil, func(c *oidcrp.Client, mux *http.ServeMux) {
				mux.Handle("/page", c.RequireLogin(page, proconnect.RequireMFA()))
			})
			s.provider.Misbehave(f)
			if status, body := s.visit(t, s.provider.Browser(), "/page", agent().Subject); status == http.StatusOK {
				t.Errorf("the page was shown:\n%s", body)
			}
		})
	}
}

func TestCheckSaysWhatDoesNotWorkWithProConnect(t *testing.T) {
	t.Parallel()
	const retired = "https://proconnect.gouv.fr/assurance/consistency-checked-2fa"
	hour := time.Hour
	tests := []struct {
		name     string
		change   func(*oidcrp.Config)
		requires []oidcrp.Requirement
		want     string // "" when nothing is wrong
	}{
		{"the usual configuration is fine", nil, nil, ""},
		{"its own requirements are fine", nil, []oidcrp.Requirement{
			proconnect.RequireMFA(), proconnect.RequireEIDAS2(), proconnect.RequireCertificationDirigeant(),
			proconnect.IdentityProvider("", "a")}, ""},
		{"a provider of one's own is fine",
			func(c *oidcrp.Config) { c.Issuer = "http://127.0.0.1:4000/api/v2" }, nil, ""},
		{"silent sign-in alone is fine", func(c *oidcrp.Config) { c.AuthOptions.Prompt = "none" }, nil, ""},
		{"a retired level in ACRValues",
			func(c *oidcrp.Config) { c.AuthOptions.ACRValues = []string{"eidas2", retired} }, nil, "retired on 2026-06-18"},
		{"a retired level among the values of a claim", func(c *oidcrp.Config) {
			c.AuthOptions.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Values: []any{retired}}
		}, nil, retired},
		{"a retired level as the value of a claim", func(c *oidcrp.Config) {
			c.AuthOptions.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Value: retired}
		}, nil, retired},
		{"a retired level required by a route", nil, []oidcrp.Requirement{oidcrp.ACR("eidas2", retired)}, retired},
		{"max_age", func(c *oidcrp.Config) { c.AuthOptions.MaxAge = &hour }, nil, "auth_time to now"},
		{"max_age required by a route", nil, []oidcrp.Requirement{oidcrp.MaxAge(hour)}, "auth_time to now"},
		{"prompt=login", func(c *oidcrp.Config) { c.AuthOptions.Prompt = "consent login" }, nil, "ask anew"},
		{"prompt=none with a hint", func(c *oidcrp.Config) {
			c.AuthOptions.Prompt, c.AuthOptions.LoginHint = "none", "a@example.org"
		}, nil, "without hints"},
		{"prompt=none with an identity provider", func(c *oidcrp.Config) {
			c.AuthOptions.Prompt, c.AuthOptions.Extra = "none", url.Values{"idp_hint": {"a"}}
		}, nil, "without hints"},
		{"prompt=none with a level", func(c *oidcrp.Config) {
			c.AuthOptions.Prompt, c.AuthOptions.ACRValues = "none", []string{"eidas1"}
		}, nil, "without hints"},
		{"keys that cannot be registered",
			func(c *oidcrp.Config) { c.TokenEndpointAuthMethod = "private_key_jwt" }, nil, "client_secret_post"},
		{"one of the identity providers",
			func(c *oidcrp.Config) { c.Issuer = "https://identite.proconnect.gouv.fr" }, nil, "Identité"},
		{"an issuer with a slash at its end", func(c *oidcrp.Config) { c.Issuer += "/" }, nil,
			"must be https://fca.integ01.dev-agentconnect.fr/api/v2 exactly"},
		{"an issuer without its path",
			func(c *oidcrp.Config) { c.Issuer = "https://auth.agentconnect.gouv.fr" }, nil, "/api/v2 exactly"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := proconnect.Integration.Config()
			if test.change != nil {
				test.change(&cfg)
			}
			err := proconnect.Check(cfg, test.requires...)
			var failure *oidcrp.Error
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (!errors.As(err, &failure) || failure.Code != oidcrp.CodeConfig ||
				!strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one of the configuration that says %q", err, test.want)
			}
		})
	}
}
