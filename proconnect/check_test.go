package proconnect_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/proconnect"
)

const retiredACR = "https://proconnect.gouv.fr/assurance/consistency-checked-2fa"

// registered is the Config of a service as this package makes it, with what the
// person adds.
func registered() oidcrp.Config {
	cfg := proconnect.Integration.Config()
	cfg.ClientID, cfg.ClientSecret, cfg.BaseURL = clientID, clientSecret, "https://app.example"
	cfg.CookieKeys = [][]byte{make([]byte, 32)}
	return cfg
}

// The app does nothing for it: New calls Check.
func TestNewRefusesWhatDoesNotWorkWithProConnect(t *testing.T) {
	t.Parallel()
	cfg := registered()
	cfg.BaseURL = ""
	cfg.AuthOptions.ACRValues = []string{retiredACR}
	cfg.AuthOptions.MaxAge = new(time.Hour)
	_, err := oidcrp.New(cfg)
	var failure *oidcrp.Error
	if !errors.As(err, &failure) || failure.Code != oidcrp.CodeConfig {
		t.Fatalf("error %v, want one of the configuration", err)
	}
	for _, want := range []string{
		"BaseURL is empty", fmt.Sprintf("asks for %q, which ProConnect retired on 2026-06-18", retiredACR),
		"MaxAge proves nothing: ProConnect sets auth_time to now",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "config"); n != 2 { // "config: config_invalid: "
		t.Errorf("the error says %d times that it is the configuration's: %v", n, err)
	}
}

func TestARouteThatCannotWorkWithProConnectIsAMistake(t *testing.T) {
	t.Parallel()
	tests := []struct {
		requirement oidcrp.Requirement
		want        string // "" when it is fine
	}{
		{proconnect.RequireMFA(), ""},
		{proconnect.RequireEIDAS2(), ""},
		{proconnect.RequireCertificationDirigeant(), ""},
		{proconnect.SIRET("", "13002526500013"), ""},
		{proconnect.IdentityProvider("", "a"), ""},
		{oidcrp.ACR("eidas2", "eidas3"), ""},
		{oidcrp.MaxAge(time.Hour), "oidcrp: RequireLogin: the requirement max_age 1h0m0s: " +
			"AuthOptions.MaxAge proves nothing: ProConnect sets auth_time to now"},
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
				said, _ := recover().(string)
				if test.want == "" && said != "" || !strings.Contains(said, test.want) {
					t.Errorf("panic %q, want %q", said, test.want)
				}
			}()
			client.RequireLogin(http.NotFoundHandler(), test.requirement)
		})
	}
}

func TestTheEnvironmentVariablesBringCheckWithThem(t *testing.T) {
	t.Setenv("PROCONNECT_ENVIRONMENT", "integration")
	cfg, err := proconnect.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Check == nil || cfg.Check(cfg, oidcrp.MaxAge(time.Minute)) == nil {
		t.Error("max_age on a route is not refused")
	}
}
