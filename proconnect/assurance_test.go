package proconnect_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest/fault"
	"github.com/oidcrp/oidcrp/proconnect"
)

const dirigeantClaim = `{"essential":true,"value":"https://proconnect.gouv.fr/assurance/certification-dirigeant"}`

func TestLevel_IsAskedForExactlyAndCheckedAfterwards(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		require oidcrp.Requirement
		reach   string // the level that the person can step up to
		bare    bool   // the configuration asks for no claims
		want    string // the claims parameter
		status  int
	}{
		{"two factors of a person who has them", proconnect.MFA(), "eidas1-mfa", false,
			`{"id_token":{"acr":` + mfaClaim + `,"amr":null}}`, 200},
		{"two factors and nothing else", proconnect.MFA(), "eidas3", true,
			`{"id_token":{"acr":` + mfaClaim + `}}`, 200},
		{"two factors of a person who has one", proconnect.MFA(), "", true,
			`{"id_token":{"acr":` + mfaClaim + `}}`, 403},
		{"substantial, and high is as good", proconnect.EIDAS2(), "eidas3", true,
			`{"id_token":{"acr":{"essential":true,"values":["eidas2","eidas3"]}}}`, 200},
		{"substantial of a person with two factors only", proconnect.EIDAS2(), "eidas1-mfa", true,
			`{"id_token":{"acr":{"essential":true,"values":["eidas2","eidas3"]}}}`, 403},
		{"a director", proconnect.CertificationDirigeant(), proconnect.ACRCertificationDirigeant, true,
			`{"id_token":{"acr":` + dirigeantClaim + `}}`, 200},
		{"a director, with the usual configuration", proconnect.CertificationDirigeant(),
			proconnect.ACRCertificationDirigeant, false, `{"id_token":{"acr":` + dirigeantClaim + `,"amr":null}}`, 200},
		{"a person who is not a director", proconnect.CertificationDirigeant(), "eidas3", true,
			`{"id_token":{"acr":` + dirigeantClaim + `}}`, 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			persona := agent()
			persona.StepUpACRs = []string{test.reach}
			s := newService(t, persona, func(cfg *oidcrp.Config) {
				if test.bare {
					cfg.Login.Claims = nil
				}
			}, func(c *oidcrp.Client, mux *http.ServeMux) { mux.Handle("/page", c.Require(test.require)(page)) })
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

func TestLevel_NarrowerOfTwoIsAskedFor(t *testing.T) {
	t.Parallel()
	persona := agent()
	persona.StepUpACRs = []string{"eidas1-mfa", "eidas3"}
	s := newService(t, persona, nil, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/page", c.Require(proconnect.MFA(), proconnect.EIDAS2())(page))
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

// A provider that ignores the requested level does not get anybody in.
func TestLevel_NotInTheIDTokenIsRefused(t *testing.T) {
	t.Parallel()
	for _, f := range []fault.Fault{fault.IDTokenLowerACR, fault.IDTokenMissingACR} {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, agent(), nil, func(c *oidcrp.Client, mux *http.ServeMux) {
				mux.Handle("/page", c.Require(proconnect.MFA())(page))
			})
			s.provider.Misbehave(f)
			if status, body := s.visit(t, s.provider.Browser(), "/page", agent().Subject); status == http.StatusOK {
				t.Errorf("the page was shown:\n%s", body)
			}
		})
	}
}
