package franceconnect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/franceconnect"
)

func TestEnvironment_ConfigFitsTheRegistration(t *testing.T) {
	t.Parallel()
	for environment, want := range map[franceconnect.Environment]struct {
		issuer, alg, ask, accept string
		plus                     bool
	}{
		franceconnect.Integration:     {"https://fcp-low.sbx.dev-franceconnect.fr/api/v2", "", "eidas1", "eidas1", false},
		franceconnect.Integ01:         {"https://fcp-low.integ01.dev-franceconnect.fr/api/v2", "", "eidas1", "eidas1", false},
		franceconnect.Production:      {"https://oidc.franceconnect.gouv.fr/api/v2", "", "eidas1", "eidas1", false},
		franceconnect.PlusIntegration: {"https://auth.integ01.dev-franceconnect.fr/api/v2", "ES256", "eidas2", "eidas2 eidas3", true},
		franceconnect.PlusProduction:  {"https://auth.franceconnect.gouv.fr/api/v2", "ES256", "eidas2", "eidas2 eidas3", true},
	} {
		cfg := environment.Config()
		r, p := &cfg.Registration, &cfg.Provider
		if cfg.Issuer != want.issuer || environment.Plus() != want.plus || r.TokenEndpointAuthMethod != "client_secret_post" ||
			r.IDTokenSignedResponseAlg != want.alg || r.UserInfoSignedResponseAlg != want.alg {
			t.Errorf("%s: issuer %q, plus %t, %+v", environment, cfg.Issuer, environment.Plus(), r)
		}
		if strings.Join(cfg.Login.ACRValues, " ") != want.ask || strings.Join(cfg.Login.RequireACR, " ") != want.accept {
			t.Errorf("%s: asks for %q, accepts %q", environment, cfg.Login.ACRValues, cfg.Login.RequireACR)
		}
		scopes := "openid given_name family_name birthdate gender birthplace birthcountry preferred_username email"
		if got := strings.Join(cfg.Scopes, " "); got != scopes {
			t.Errorf("%s: scopes %q, want %q", environment, got, scopes)
		}
		if !p.NoPKCE || !p.RevocationWithoutHint || !p.LogoutHintRequired || cfg.ResponseMode != "" || cfg.Tokens.Keep {
			t.Errorf("%s: %+v", environment, p)
		}
		if _, err := oidcrp.New(registered(environment)); err != nil {
			t.Errorf("%s: %v", environment, err)
		}
	}
	if got := franceconnect.Environment("staging").Config().Issuer; got != "" {
		t.Errorf("an unknown environment has the issuer %q", got)
	}
}

func TestEnvironment_ConfigsDoNotShareSlices(t *testing.T) {
	t.Parallel()
	changed := franceconnect.PlusIntegration.Config()
	changed.Scopes[0], changed.Login.RequireACR[0], changed.Login.ACRValues[0] = "changed", "changed", "changed"
	fresh := franceconnect.PlusIntegration.Config()
	if fresh.Scopes[0] != "openid" || fresh.Login.RequireACR[0] != "eidas2" || fresh.Login.ACRValues[0] != "eidas2" {
		t.Errorf("a change of one Config is in the next: %v, %v", fresh.Scopes, fresh.Login)
	}
}

func TestDecrypt_SetsTheClientUpForEncryption(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []jose.JSONWebKey{{Key: private, KeyID: "a", Use: "enc"}}
	cfg := registered(franceconnect.PlusProduction)
	franceconnect.Decrypt(&cfg, "ECDH-ES", keys)
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := client.Registration()
	if r.IDTokenEncryptedResponseAlg != "ECDH-ES" || r.UserInfoEncryptedResponseAlg != "ECDH-ES" ||
		r.IDTokenEncryptedResponseEnc != "A256GCM" || r.UserInfoEncryptedResponseEnc != "A256GCM" || r.JWKSURI != "https://app.example/auth/jwks" {
		t.Errorf("the registration is %v", r)
	}
	keys[0] = jose.JSONWebKey{}
	if cfg.Registration.ClientKeys[0].KeyID != "a" {
		t.Error("the Config shares the keys of its caller")
	}
}

func TestConfigFromEnv_ChoosesTheServer(t *testing.T) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OIDC_") || strings.HasPrefix(name, "FRANCECONNECT_") {
			t.Setenv(name, "")
		}
	}
	for _, test := range []struct {
		name   string
		env    map[string]string
		issuer string
		wrong  []string // what the error says; nil for none
	}{
		{"production", map[string]string{"FRANCECONNECT_ENVIRONMENT": "production", "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "RS256"},
			"https://oidc.franceconnect.gouv.fr/api/v2", nil},
		{"FranceConnect+", map[string]string{"FRANCECONNECT_ENVIRONMENT": "plus-integration"},
			"https://auth.integ01.dev-franceconnect.fr/api/v2", nil},
		{"a stand-in", map[string]string{"FRANCECONNECT_ENVIRONMENT": "plus-integration", "OIDC_ISSUER": "http://127.0.0.1:4000/api/v2"},
			"http://127.0.0.1:4000/api/v2", nil},
		{"an issuer is not enough", map[string]string{"OIDC_ISSUER": "http://127.0.0.1:4000/api/v2"}, "",
			[]string{"FRANCECONNECT_ENVIRONMENT is empty", "plus-production"}},
		{"an unknown one", map[string]string{"FRANCECONNECT_ENVIRONMENT": "Prod", "OIDC_MAX_AGE": "soon"}, "",
			[]string{"FRANCECONNECT_ENVIRONMENT is not known", "integration, integ01, production, plus-integration, plus-production",
				"OIDC_MAX_AGE"}},
		{"what cannot work", map[string]string{"FRANCECONNECT_ENVIRONMENT": "production", "OIDC_MAX_AGE": "60", "OIDC_PROMPT": "none",
			"OIDC_CLIENT_AUTH": "none", "OIDC_RESPONSE_MODE": "query", "OIDC_ACR_VALUES": "eidas2", "OIDC_SCOPES": "siret"}, "",
			[]string{"OIDC_MAX_AGE (Login.MaxAge) is refused", "OIDC_PROMPT (Login.Prompt) ", "OIDC_RESPONSE_MODE (ResponseMode) ",
				"OIDC_CLIENT_AUTH (Registration.TokenEndpointAuthMethod) ", "OIDC_ACR_VALUES (Login.ACRValues) ",
				"OIDC_SCOPES (Scopes) ", "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG (Registration.IDTokenSignedResponseAlg) is \"\""}},
		{"what the package decides", map[string]string{"FRANCECONNECT_ENVIRONMENT": "production", "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "ES256",
			"OIDC_NO_PKCE": "1", "OIDC_LOGOUT_HINT_REQUIRED": "true", "OIDC_REVOCATION_WITHOUT_HINT": "1"},
			"https://oidc.franceconnect.gouv.fr/api/v2", nil},
		{"the opposite of it", map[string]string{"FRANCECONNECT_ENVIRONMENT": "production", "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "ES256",
			"OIDC_NO_PKCE": "0", "OIDC_LOGOUT_HINT_REQUIRED": "false", "OIDC_REVOCATION_WITHOUT_HINT": "0"}, "",
			[]string{"OIDC_NO_PKCE (Provider.NoPKCE) must be true: FranceConnect refuses code_challenge",
				"OIDC_LOGOUT_HINT_REQUIRED (Provider.LogoutHintRequired) must be true",
				"OIDC_REVOCATION_WITHOUT_HINT (Provider.RevocationWithoutHint) must be true"}},
		{"a redirect URI at localhost", map[string]string{"FRANCECONNECT_ENVIRONMENT": "production", "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "ES256",
			"OIDC_BASE_URL": "https://app.example", "OIDC_REDIRECT_URI": "http://localhost:8080/callback"}, "",
			[]string{"OIDC_REDIRECT_URI (Registration.RedirectURI) has the host"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			cfg, err := franceconnect.ConfigFromEnv()
			var failure *oidcrp.Error
			switch {
			case test.wrong == nil && err != nil:
				t.Fatal(err)
			case test.wrong != nil && (!errors.As(err, &failure) || failure.Code != oidcrp.CodeConfigInvalid):
				t.Fatalf("error %v, want one of the configuration", err)
			case err != nil && strings.Count(err.Error(), "config_invalid") != 1:
				t.Errorf("the error is wrapped twice: %v", err)
			}
			for _, want := range test.wrong {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if cfg.Issuer != test.issuer {
				t.Errorf("issuer %q, want %q", cfg.Issuer, test.issuer)
			}
		})
	}
}

func TestConfigFromEnv_TakesPrecedenceOverDefaults(t *testing.T) {
	t.Setenv("FRANCECONNECT_ENVIRONMENT", "plus-production")
	t.Setenv("OIDC_SCOPES", "openid email")
	t.Setenv("OIDC_REQUIRE_ACR", "eidas3")
	cfg, err := franceconnect.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cfg.Scopes, []string{"openid", "email"}) || cfg.Login.ACRValues != nil ||
		!slices.Equal(cfg.Login.RequireACR, []string{"eidas3"}) {
		t.Errorf("scopes %q, login %+v", cfg.Scopes, cfg.Login)
	}
}
