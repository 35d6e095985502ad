package oidcrp

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// refuseMaxAge is a Check of a provider where max_age proves nothing.
func refuseMaxAge(cfg Config, requirements ...Requirement) error {
	var problems []error
	if slices.Contains(cfg.Login.ACRValues, "retired") {
		problems = append(problems, errors.New("ACRValues holds a retired level"))
	}
	for _, requirement := range requirements {
		if strings.HasPrefix(requirement.Name, "max_age") {
			problems = append(problems, fmt.Errorf("%s proves nothing here", requirement.Name))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &Error{Op: "config", Code: CodeConfig, Err: errors.Join(problems...)}
}

func TestTheRulesOfOneProviderAreReportedBesideTheOthers(t *testing.T) {
	t.Parallel()
	plain := errors.New("not here")
	for _, tt := range []struct {
		name string
		rule func(Config, ...Requirement) error
		want string // beside ClientID's
	}{
		{"an error of the configuration", refuseMaxAge, "\nACRValues holds a retired level"},
		{"any error", func(Config, ...Requirement) error { return plain }, "\nnot here"},
		{"an Error with another code",
			func(Config, ...Requirement) error { return &Error{Op: "check", Code: CodeInternal, Err: plain} },
			"\noidcrp: check: internal: not here"},
		{"nothing", func(Config, ...Requirement) error { return nil }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(soundConfig(func(c *Config) {
				c.ClientID, c.Login.ACRValues, c.Validate = "", []string{"retired"}, tt.rule
			}))
			wantCode(t, err, CodeConfig)
			if want := "oidcrp: config: config_invalid: ClientID is empty" + tt.want; err.Error() != want {
				t.Errorf("error is\n%v\nwant\n%s", err, want)
			}
		})
	}
	_, err := New(soundConfig(func(c *Config) {
		c.Login.ACRValues, c.Validate = []string{"retired"}, refuseMaxAge
	}))
	if want := "oidcrp: config: config_invalid: ACRValues holds a retired level"; err == nil || err.Error() != want {
		t.Errorf("with nothing else wrong: %v, want %s", err, want)
	}
}

func TestCheckSeesTheConfigAsItWillBeUsed(t *testing.T) {
	t.Parallel()
	var seen []Config
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.Scopes = []string{"email"}
		cfg.Validate = func(cfg Config, requirements ...Requirement) error {
			if len(requirements) > 0 {
				t.Errorf("requirements that nobody has: %v", requirements)
			}
			seen = append(seen, cfg)
			return nil
		}
	})
	c.RequireLogin(http.NotFoundHandler()) // nothing new to look at
	if len(seen) != 1 || !slices.Equal(seen[0].Scopes, []string{"openid", "email"}) ||
		seen[0].Registration.RedirectURI != "https://app.example/auth/callback" || seen[0].Sessions.Lifetime != 12*time.Hour {
		t.Errorf("Check has seen %+v", seen)
	}
}

func TestARouteWithARequirementThatCheckRefusesIsAMistake(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Validate = refuseMaxAge })
	c.Require(ACR("eidas2"), Claim("roles", "admin"))
	defer func() {
		const want = "oidcrp: Require: max_age 1m0s proves nothing here"
		if p := recover(); p != want {
			t.Errorf("panic: %v, want %s", p, want)
		}
	}()
	c.Require(ACR("eidas2"), MaxAge(time.Minute))
}

func TestAClientSaysWhatToRegister(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.BaseURL += "/" })
	if got, want := c.Registration().RedirectURI, "https://app.example/auth/callback"; got != want {
		t.Errorf("redirect URI %s, want %s", got, want)
	}
	if got, want := c.Registration().PostLogoutRedirectURI, "https://app.example/auth/logout/callback"; got != want {
		t.Errorf("post-logout redirect URI %s, want %s", got, want)
	}
	c = mustNew(t, func(c *Config) {
		c.Registration.RedirectURI, c.Registration.PostLogoutRedirectURI = "https://app.example/cb", "https://app.example/bye?from=op"
	})
	if c.Registration().RedirectURI != "https://app.example/cb" || c.Registration().PostLogoutRedirectURI != "https://app.example/bye?from=op" {
		t.Errorf("registered already: %s, %s", c.Registration().RedirectURI, c.Registration().PostLogoutRedirectURI)
	}
}
