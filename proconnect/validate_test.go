package proconnect_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/proconnect"
)

const retiredACR = "https://proconnect.gouv.fr/assurance/consistency-checked-2fa"

// registered is the Config of a service as this package makes it, with what a service
// adds.
func registered() oidcrp.Config {
	cfg := proconnect.Integration.Config()
	cfg.ClientID, cfg.ClientSecret, cfg.BaseURL = clientID, clientSecret, "https://app.example"
	cfg.CookieKeys = oidcrp.Keys(cookieKey())
	return cfg
}

// validateTests are changes of the usual configuration, and requirements of a route.
var validateTests = []struct {
	name     string
	change   func(*oidcrp.Config)
	requires []oidcrp.Requirement
	want     string // "" if nothing is wrong
}{
	{"the usual configuration", nil, nil, ""},
	{"the requirements of this package", nil, []oidcrp.Requirement{
		proconnect.MFA(), proconnect.EIDAS2(), proconnect.CertificationDirigeant(),
		proconnect.IdentityProvider("", "a")}, ""},
	{"a requirement that asks for nothing", nil, []oidcrp.Requirement{{
		Name: fmt.Sprintf("a name that holds %q", retiredACR),
		Met:  func(*oidcrp.Session, time.Time) bool { return true },
	}}, ""},
	{"another provider",
		func(c *oidcrp.Config) { c.Issuer = "http://127.0.0.1:4000/api/v2" }, nil, ""},
	{"silent sign-in", func(c *oidcrp.Config) { c.Login.Prompt = "none" }, nil, ""},
	{"a retired level in ACRValues",
		func(c *oidcrp.Config) { c.Login.ACRValues = []string{"eidas2", retiredACR} }, nil,
		`Login.ACRValues holds "` + retiredACR + `", which ProConnect retired on 2026-06-18; use the eidas levels`},
	{"a retired level in RequireACR",
		func(c *oidcrp.Config) { c.Login.RequireACR = []string{"eidas2", retiredACR} }, nil,
		`Login.RequireACR holds "` + retiredACR + `", which ProConnect retired`},
	{"a retired level among the values of a claim", func(c *oidcrp.Config) {
		c.Login.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Values: []any{retiredACR}}
	}, nil, `Login.Claims holds "` + retiredACR},
	{"a retired level as the value of a claim", func(c *oidcrp.Config) {
		c.Login.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Value: retiredACR}
	}, nil, `Login.Claims holds "` + retiredACR},
	{"a retired level on a route", nil, []oidcrp.Requirement{oidcrp.ACR("eidas2", retiredACR)},
		`: RequireACR holds "` + retiredACR + `", which ProConnect retired`},
	{"a retired level that a requirement prefers", nil, []oidcrp.Requirement{{
		Name: "100% own", Met: func(*oidcrp.Session, time.Time) bool { return true },
		Ask: func(o *oidcrp.AuthOptions) { o.ACRValues = []string{retiredACR} },
	}}, `the requirement 100% own: ACRValues holds "` + retiredACR},
	{"max_age", func(c *oidcrp.Config) { c.Login.MaxAge = new(time.Hour) }, nil,
		"Login.MaxAge proves nothing: ProConnect sets auth_time to the current time"},
	{"max_age on a route", nil, []oidcrp.Requirement{oidcrp.MaxAge(time.Hour)},
		"the requirement max_age 1h0m0s: MaxAge proves nothing: ProConnect sets auth_time to the current time"},
	{"prompt=login", func(c *oidcrp.Config) { c.Login.Prompt = "consent login" }, nil,
		`Login.Prompt "login" does not make ProConnect ask`},
	{"prompt=none with a hint", func(c *oidcrp.Config) {
		c.Login.Prompt, c.Login.LoginHint = "none", "a@example.org"
	}, nil, "cannot be combined with hints"},
	{"prompt=none with an identity provider", func(c *oidcrp.Config) {
		c.Login.Prompt, c.Login.Extra = "none", url.Values{"idp_hint": {"a"}}
	}, nil, "cannot be combined with hints"},
	{"prompt=none with a SIRET", func(c *oidcrp.Config) {
		c.Login.Prompt, c.Login.Extra = "none", url.Values{"siret_hint": {"13002526500013"}}
	}, nil, "cannot be combined with hints"},
	{"prompt=none with a preferred level", func(c *oidcrp.Config) {
		c.Login.Prompt, c.Login.ACRValues = "none", []string{"eidas1"}
	}, nil, "cannot be combined with hints or levels"},
	{"prompt=none with a required level", func(c *oidcrp.Config) {
		c.Login.Prompt, c.Login.RequireACR = "none", []string{"eidas1"}
	}, nil, "cannot be combined with hints or levels"},
	{"prompt=none with a level as a claim", func(c *oidcrp.Config) {
		c.Login.Prompt = "none"
		c.Login.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Value: "eidas1"}
	}, nil, "cannot be combined with hints or levels"},
	{"keys that cannot be registered",
		func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "private_key_jwt" }, nil,
		`Registration.TokenEndpointAuthMethod "private_key_jwt" cannot be registered at ProConnect; use client_secret_post`},
	{"one of the identity providers",
		func(c *oidcrp.Config) { c.Issuer = "https://identite.proconnect.gouv.fr" }, nil, "Issuer is ProConnect Identité"},
	{"an issuer with a slash at its end", func(c *oidcrp.Config) { c.Issuer += "/" }, nil,
		"Issuer must be https://fca.integ01.dev-agentconnect.fr/api/v2 exactly"},
	{"an issuer without its path",
		func(c *oidcrp.Config) { c.Issuer = "https://auth.agentconnect.gouv.fr" }, nil,
		"Issuer must be https://auth.agentconnect.gouv.fr/api/v2 exactly"},
}

func TestValidate_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, test := range validateTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := proconnect.Integration.Config()
			if test.change != nil {
				test.change(&cfg)
			}
			err := proconnect.Validate(cfg, test.requires...)
			var failure *oidcrp.Error
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (!errors.As(err, &failure) || failure.Code != oidcrp.CodeConfigInvalid ||
				!strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one of the configuration that says %q", err, test.want)
			}
		})
	}
}

// The app does nothing for it: New calls Validate.
func TestValidate_RunsInNew(t *testing.T) {
	t.Parallel()
	cfg := registered()
	cfg.BaseURL = ""
	cfg.Login.RequireACR = []string{retiredACR}
	cfg.Login.MaxAge = new(time.Hour)
	_, err := oidcrp.New(cfg)
	var failure *oidcrp.Error
	if !errors.As(err, &failure) || failure.Code != oidcrp.CodeConfigInvalid {
		t.Fatalf("error %v, want one of the configuration", err)
	}
	for _, want := range []string{
		"BaseURL is empty", fmt.Sprintf("Login.RequireACR holds %q, which ProConnect retired on 2026-06-18", retiredACR),
		"Login.MaxAge proves nothing: ProConnect sets auth_time to the current time",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "config"); n != 2 { // "config: config_invalid: "
		t.Errorf("the error says %d times that it is about the configuration: %v", n, err)
	}
}

func TestValidate_RunsInRequire(t *testing.T) {
	t.Parallel()
	tests := []struct {
		requirement oidcrp.Requirement
		want        string // of the panic; "" for none
	}{
		{proconnect.MFA(), ""},
		{proconnect.EIDAS2(), ""},
		{proconnect.CertificationDirigeant(), ""},
		{proconnect.SIRET("", "13002526500013"), ""},
		{proconnect.IdentityProvider("", "a"), ""},
		{oidcrp.ACR("eidas2", "eidas3"), ""},
		{oidcrp.MaxAge(time.Hour), "oidcrp: Require: the requirement max_age 1h0m0s: " +
			"MaxAge proves nothing: ProConnect sets auth_time to the current time"},
		{oidcrp.ACR("eidas2", retiredACR), "which ProConnect retired on 2026-06-18; use the eidas levels"},
	}
	client, err := oidcrp.New(registered())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.requirement.Name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				message, _ := recover().(string)
				if test.want == "" && message != "" || !strings.Contains(message, test.want) {
					t.Errorf("panic %q, want %q", message, test.want)
				}
			}()
			client.Require(test.requirement)(http.NotFoundHandler())
		})
	}
}

func TestValidate_IsPartOfTheConfigFromEnv(t *testing.T) {
	t.Setenv("PROCONNECT_ENVIRONMENT", "integration")
	cfg, err := proconnect.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Validate == nil || cfg.Validate(cfg, oidcrp.MaxAge(time.Minute)) == nil {
		t.Error("max_age on a route is not refused")
	}
}

// cookieKey returns a new cookie key.
func cookieKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}
