package proconnect_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/proconnect"
)

func TestEnvironment_ConfigFitsTheRegistration(t *testing.T) {
	t.Parallel()
	for environment, issuer := range map[proconnect.Environment]string{
		proconnect.Integration:    "https://fca.integ01.dev-agentconnect.fr/api/v2",
		proconnect.Production:     "https://auth.agentconnect.gouv.fr/api/v2",
		proconnect.IntegrationRIE: "https://fca.integ02.agentconnect.rie.gouv.fr/api/v2",
		proconnect.ProductionRIE:  "https://auth.agentconnect.rie.gouv.fr/api/v2",
	} {
		cfg := environment.Config()
		if cfg.Issuer != issuer || cfg.Registration.TokenEndpointAuthMethod != "client_secret_post" {
			t.Errorf("%s: issuer %q, method %q", environment, cfg.Issuer, cfg.Registration.TokenEndpointAuthMethod)
		}
		scopes := "openid given_name usual_name email uid siret phone idp_id custom roles organization_label"
		if got := strings.Join(cfg.Scopes, " "); got != scopes {
			t.Errorf("%s: scopes %q, want %q", environment, got, scopes)
		}
		if cfg.Registration.IDTokenSignedResponseAlg != "" || cfg.Registration.UserInfoSignedResponseAlg != "" {
			t.Errorf("%s: algorithms are set that only the registration can tell", environment)
		}
		if cfg.Tokens.RefreshFailure != oidcrp.SignInAgain {
			t.Errorf("%s: a session that ProConnect ended goes on: %v", environment, cfg.Tokens.RefreshFailure)
		}
		cfg.ClientID, cfg.ClientSecret, cfg.BaseURL = "id", clientSecret, "https://app.example"
		cfg.CookieKeys = oidcrp.Keys(cookieKey())
		if _, err := oidcrp.New(cfg); err != nil {
			t.Errorf("%s: %v", environment, err)
		}
	}
	if got := proconnect.Environment("staging").Config().Issuer; got != "" {
		t.Errorf("an unknown environment has the issuer %q", got)
	}
}

func TestEnvironment_ConfigsDoNotShareMaps(t *testing.T) {
	t.Parallel()
	changed := proconnect.Integration.Config()
	changed.Scopes[0] = "changed"
	changed.Login.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Essential: true}
	fresh := proconnect.Integration.Config()
	if fresh.Scopes[0] != "openid" || fresh.Login.Claims.IDToken["acr"] != nil {
		t.Errorf("a change of one Config is in the next: %v, %v", fresh.Scopes, fresh.Login.Claims.IDToken)
	}
}

func TestConfigFromEnv_ChoosesTheServer(t *testing.T) {
	tests := []struct {
		name   string
		env    map[string]string
		issuer string
		wrong  []string // what the error says; nil for none
	}{
		{"production", map[string]string{"PROCONNECT_ENVIRONMENT": "production"},
			"https://auth.agentconnect.gouv.fr/api/v2", nil},
		{"the State's private network", map[string]string{"PROCONNECT_ENVIRONMENT": "integration-rie"},
			"https://fca.integ02.agentconnect.rie.gouv.fr/api/v2", nil},
		{"an issuer takes precedence",
			map[string]string{"PROCONNECT_ENVIRONMENT": "integration", "OIDC_ISSUER": "http://127.0.0.1:4000/api/v2"},
			"http://127.0.0.1:4000/api/v2", nil},
		{"an issuer is enough", map[string]string{"OIDC_ISSUER": "http://127.0.0.1:4000/api/v2"},
			"http://127.0.0.1:4000/api/v2", nil},
		{"nothing is chosen", nil, "", []string{"PROCONNECT_ENVIRONMENT is empty", "integration-rie"}},
		{"an unknown one", map[string]string{"PROCONNECT_ENVIRONMENT": "Prod", "OIDC_ISSUER": "https://op.example"}, "",
			[]string{"PROCONNECT_ENVIRONMENT is not known", "integration, production, integration-rie, production-rie"}},
		{"two mistakes at once", map[string]string{"PROCONNECT_ENVIRONMENT": "Prod", "OIDC_MAX_AGE": "soon"}, "",
			[]string{"PROCONNECT_ENVIRONMENT", "OIDC_MAX_AGE"}},
		{"what cannot work with ProConnect",
			map[string]string{"PROCONNECT_ENVIRONMENT": "production", "OIDC_MAX_AGE": "60", "OIDC_PROMPT": "login",
				"OIDC_CLIENT_AUTH": "none", "OIDC_ISSUER": "https://auth.agentconnect.gouv.fr"}, "",
			[]string{"OIDC_MAX_AGE (Login.MaxAge) proves nothing: ProConnect sets auth_time",
				"OIDC_PROMPT (Login.Prompt) ", "OIDC_CLIENT_AUTH (Registration.TokenEndpointAuthMethod) ",
				"OIDC_ISSUER (Issuer) must be https://auth.agentconnect.gouv.fr/api/v2 exactly"}},
	}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OIDC_") || strings.HasPrefix(name, "PROCONNECT_") {
			t.Setenv(name, "")
		}
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			cfg, err := proconnect.ConfigFromEnv()
			var failure *oidcrp.Error
			if test.wrong != nil && (!errors.As(err, &failure) || failure.Code != oidcrp.CodeConfigInvalid) {
				t.Fatalf("error %v, want one of the configuration", err)
			}
			for _, want := range test.wrong {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if test.wrong == nil && err != nil {
				t.Fatal(err)
			}
			if err != nil && strings.Count(err.Error(), "config_invalid") != 1 {
				t.Errorf("the error is wrapped twice: %v", err)
			}
			if cfg.Issuer != test.issuer {
				t.Errorf("issuer %q, want %q", cfg.Issuer, test.issuer)
			}
		})
	}
}

func TestConfigFromEnv_TakesPrecedenceOverDefaults(t *testing.T) {
	t.Setenv("PROCONNECT_ENVIRONMENT", "integration")
	t.Setenv("OIDC_SCOPES", "openid email")
	t.Setenv("OIDC_CLIENT_AUTH", "client_secret_basic")
	cfg, err := proconnect.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.Scopes, []string{"openid", "email"}) || cfg.Registration.TokenEndpointAuthMethod != "client_secret_basic" {
		t.Errorf("scopes %q, method %q", cfg.Scopes, cfg.Registration.TokenEndpointAuthMethod)
	}
	if _, ok := cfg.Login.Claims.IDToken["acr"]; !ok {
		t.Error("acr is not requested")
	}
}
