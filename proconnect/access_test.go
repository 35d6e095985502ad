package proconnect_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/proconnect"
)

func TestAccessRule_LetsInWhomItNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		rule  oidcrp.Requirement
		claim string // of the agent, changed
		value any
		in    bool
	}{
		{"the establishment", proconnect.SIRET("", "21750001600019", "130 025 265 00013"), "", nil, true},
		{"another establishment", proconnect.SIRET("", "21750001600019"), "", nil, false},
		{"no establishment", proconnect.SIRET("", ""), "siret", "", false},
		{"a rule without values", proconnect.SIRET(""), "", nil, false},
		{"the domain in another case", proconnect.EmailDomain("", "direction.EXAMPLE.org"), "", nil, true},
		{"the domain with its @", proconnect.EmailDomain("", "@direction.example.org"), "", nil, true},
		{"the domain above", proconnect.EmailDomain("", "example.org"), "", nil, false},
		{"the end of the domain", proconnect.EmailDomain("", "irection.example.org"), "", nil, false},
		{"a domain before the last @", proconnect.EmailDomain("", "example.org"),
			"email", `"a@example.org"@evil.example`, false},
		{"a domain in the local part", proconnect.EmailDomain("", "example.org"), "email", "a@example.org.evil.example", false},
		{"a domain alone", proconnect.EmailDomain("", "example.org"), "email", "example.org", false},
		{"a domain that only looks alike", proconnect.EmailDomain("", "kexample.org"), "email", "a@\u212aexample.org", false},
		{"no address and an empty rule", proconnect.EmailDomain("", ""), "email", "", false},
		{"an address without domain and an empty rule", proconnect.EmailDomain("", ""), "email", "a@", false},
		{"the identity provider", proconnect.IdentityProvider("", "idp-b", "idp-a"), "", nil, true},
		{"another identity provider", proconnect.IdentityProvider("", "idp-b"), "", nil, false},
		{"no identity provider", proconnect.IdentityProvider("", ""), "idp_id", "", false},
		{"one of the roles", proconnect.Role("", "dirigeant", proconnect.RoleAgentPublicEtat), "", nil, true},
		{"none of the roles", proconnect.Role("", "dirigeant"), "", nil, false},
		{"no roles at all", proconnect.Role("", "agent_public"), "roles", []string{}, false},
		{"an empty role", proconnect.Role("", ""), "roles", []string{""}, false},
		{"roles that cannot be read", proconnect.Role("", "agent_public"), "roles", "agent_public", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			persona := agent()
			if test.claim != "" {
				persona.Claims[test.claim] = test.value
			}
			s := newService(t, persona, nil, func(c *oidcrp.Client, mux *http.ServeMux) {
				mux.Handle("/page", c.Require(test.rule)(page))
			})
			want := http.StatusForbidden
			if test.in {
				want = http.StatusOK
			}
			if status, body := s.visit(t, s.provider.Browser(), "/page", persona.Subject); status != want {
				t.Errorf("status %d, want %d:\n%s", status, want, body)
			}
		})
	}
}

func TestAccessRule_RefusalSaysWhyAndWhomToAsk(t *testing.T) {
	t.Parallel()
	const contact = "support@app.example"
	for name, test := range map[string]struct {
		rule   oidcrp.Requirement
		en, fr string
		asks   bool
	}{
		"siret":     {proconnect.SIRET(contact, "1"), "organisations", "organisations", true},
		"email":     {proconnect.EmailDomain(contact, "a.example"), "e-mail address", "adresse électronique", true},
		"idp":       {proconnect.IdentityProvider(contact, "x"), "identity providers", "fournisseurs d’identité", true},
		"role":      {proconnect.Role(contact, "x"), "status", "statut", true},
		"mfa":       {proconnect.MFA(), "two factors", "double authentification", false},
		"eidas2":    {proconnect.EIDAS2(), "substantial", "substantiel", false},
		"dirigeant": {proconnect.CertificationDirigeant(), "directors", "dirigeants", false},
	} {
		en, fr := test.rule.Explain("en"), test.rule.Explain("fr")
		if !strings.Contains(en, test.en) || !strings.Contains(fr, test.fr) {
			t.Errorf("%s: %q and %q do not say %q and %q", name, en, fr, test.en, test.fr)
		}
		if strings.HasSuffix(en, contact+".") != test.asks || strings.HasSuffix(fr, contact+".") != test.asks {
			t.Errorf("%s: whom to ask: %q, %q", name, en, fr)
		}
	}
	if text := proconnect.Role("", "x").Explain("fr"); strings.Contains(text, "Pour demander") {
		t.Errorf("nobody to ask: %q", text)
	}

	s := newService(t, agent(), nil, func(c *oidcrp.Client, mux *http.ServeMux) {
		mux.Handle("/page", c.Require(proconnect.SIRET(contact, "21750001600019"))(page))
	})
	status, body := s.visit(t, s.provider.Browser(), "/page", agent().Subject)
	if status != http.StatusForbidden || !strings.Contains(body, "To ask for access: "+contact+".") {
		t.Errorf("status %d:\n%s", status, body)
	}
}

func TestIdentityProvider_OneIsHinted(t *testing.T) {
	t.Parallel()
	for hint, rule := range map[string]oidcrp.Requirement{
		"idp-a": proconnect.IdentityProvider("", "idp-a"),
		"":      proconnect.IdentityProvider("", "idp-a", "idp-b"),
	} {
		s := newService(t, agent(), nil, func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.Handle("/page", c.Require(rule)(page))
		})
		s.visit(t, s.provider.Browser(), "/page", agent().Subject)
		query := s.provider.RequestsTo(oidctest.EndpointAuthorization)[0].URL.Query()
		if query.Get("idp_hint") != hint || query.Has("idp_hint") != (hint != "") {
			t.Errorf("%s sends %q", rule.Name, query["idp_hint"])
		}
	}
}
