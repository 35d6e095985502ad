package franceconnect_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/franceconnect"
)

const (
	low  = franceconnect.Production
	plus = franceconnect.PlusProduction
)

// validateTests are changes of the usual configuration, and requirements of a route.
var validateTests = []struct {
	name        string
	environment franceconnect.Environment
	change      func(*oidcrp.Config)
	requires    []oidcrp.Requirement
	want        string // "" if nothing is wrong
}{
	{"the usual configuration", low, nil, nil, ""},
	{"the usual configuration of FranceConnect+", plus, nil, nil, ""},
	{"the requirements of this package", plus, nil, []oidcrp.Requirement{franceconnect.EIDAS3()}, ""},
	{"a requirement that asks for nothing", low, nil, []oidcrp.Requirement{oidcrp.HasClaim("email")}, ""},
	{"a stand-in", low, func(c *oidcrp.Config) { c.Issuer, c.BaseURL = "http://127.0.0.1:4000/api/v2", "http://localhost" }, nil, ""},
	{"prompt=login", low, func(c *oidcrp.Config) { c.Login.Prompt = "consent login" }, nil, ""},
	{"an identity provider", low, func(c *oidcrp.Config) { franceconnect.SetIDPHint(&c.Login, "a") }, nil, ""},
	{"amr", low, func(c *oidcrp.Config) { franceconnect.RequestAMR(&c.Login) }, nil, ""},
	{"HS256", low, func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = "HS256" }, nil, ""},
	{"localhost at integration", franceconnect.Integration, func(c *oidcrp.Config) { c.BaseURL = "http://localhost:8080" }, nil, ""},

	{"an issuer with a slash", low, func(c *oidcrp.Config) { c.Issuer += "/" }, nil,
		"Issuer must be https://oidc.franceconnect.gouv.fr/api/v2 exactly"},
	{"another environment's issuer", low, func(c *oidcrp.Config) { c.Issuer = plus.Issuer() }, nil,
		"Issuer must be https://oidc.franceconnect.gouv.fr/api/v2 exactly"},
	{"version 1", low, func(c *oidcrp.Config) { c.Issuer = "https://app.franceconnect.gouv.fr/api/v1" }, nil, "version 1"},
	{"localhost in production", low, func(c *oidcrp.Config) { c.BaseURL = "http://localhost:8080" }, nil, `BaseURL has the host "localhost"`},
	{"localhost at FranceConnect+", franceconnect.PlusIntegration,
		func(c *oidcrp.Config) { c.BaseURL = "http://localhost:8080" }, nil, `BaseURL has the host "localhost"`},
	{"a redirect URI at localhost in production", low,
		func(c *oidcrp.Config) { c.Registration.RedirectURI = "http://localhost:8080/callback" }, nil,
		`Registration.RedirectURI has the host "localhost"`},
	{"PKCE", low, func(c *oidcrp.Config) { c.Provider.NoPKCE = false }, nil, "Provider.NoPKCE must be true"},
	{"a logout without hint", low, func(c *oidcrp.Config) { c.Provider.LogoutHintRequired = false }, nil, "Provider.LogoutHintRequired must be true"},
	{"token_type_hint", low, func(c *oidcrp.Config) { c.Provider.RevocationWithoutHint = false }, nil, "Provider.RevocationWithoutHint must be true"},
	{"UserInfo by POST", low, func(c *oidcrp.Config) { c.Provider.UserInfoTokenInBody = true }, nil, "Provider.UserInfoTokenInBody must be false"},
	{"pushed requests", low, func(c *oidcrp.Config) { c.Registration.RequirePushedAuthorizationRequests = true }, nil,
		"Registration.RequirePushedAuthorizationRequests must not be set"},
	{"response_mode", low, func(c *oidcrp.Config) { c.ResponseMode = "query" }, nil, "ResponseMode must be empty"},
	{"a refresh", low, func(c *oidcrp.Config) { c.Tokens.Keep, c.Tokens.RefreshBefore = true, time.Second }, nil, "Tokens.RefreshBefore must be zero"},
	{"max_age", low, func(c *oidcrp.Config) { c.Login.MaxAge = new(time.Hour) }, nil, "Login.MaxAge is refused: FranceConnect answers max_age with"},
	{"max_age on a route", low, nil, []oidcrp.Requirement{oidcrp.MaxAge(time.Hour)}, "the requirement max_age 1h0m0s: MaxAge is refused"},
	{"login_hint", low, func(c *oidcrp.Config) { c.Login.LoginHint = "a@example.org" }, nil, "Login.LoginHint is refused"},
	{"id_token_hint", low, func(c *oidcrp.Config) { c.Login.IDTokenHint = "a" }, nil, "Login.IDTokenHint is refused"},
	{"display", low, func(c *oidcrp.Config) { c.Login.Display = "page" }, nil, "Login.Display is refused"},
	{"resource", low, func(c *oidcrp.Config) { c.Login.Resource = []string{"https://api.example"} }, nil, "Login.Resource is refused"},
	{"another parameter", low, func(c *oidcrp.Config) { c.Login.Extra = url.Values{"siret_hint": {"1"}} }, nil,
		"Login.Extra is refused: FranceConnect answers siret_hint with"},
	{"prompt=none", low, func(c *oidcrp.Config) { c.Login.Prompt = "none" }, nil, `Login.Prompt "none" is refused`},
	{"prompt=select_account", low, func(c *oidcrp.Config) { c.Login.Prompt = "login select_account" }, nil, `"select_account" is refused`},
	{"no level", low, func(c *oidcrp.Config) { c.Login.ACRValues, c.Login.RequireACR = nil, nil }, nil, "Login.ACRValues is empty"},
	{"a level of FranceConnect+", low, func(c *oidcrp.Config) { c.Login.ACRValues = []string{"eidas2"} }, nil,
		`Login.ACRValues holds "eidas2", which FranceConnect answers with invalid_acr; it has eidas1`},
	{"all levels", plus, func(c *oidcrp.Config) { c.Login.ACRValues = []string{"eidas1", "eidas2", "eidas3"} }, nil,
		`Login.ACRValues holds "eidas1", which FranceConnect+ answers with invalid_acr; it has eidas2 and eidas3`},
	{"a lower level asked than accepted", plus, func(c *oidcrp.Config) {
		c.Login.ACRValues, c.Login.RequireACR = []string{"eidas3", "eidas2"}, []string{"eidas3"}
	}, nil, `Login.ACRValues asks for "eidas2"`},
	{"a level of the other platform on a route", low, nil, []oidcrp.Requirement{franceconnect.EIDAS3()}, `RequireACR holds "eidas3"`},
	{"a level as a claim", plus, func(c *oidcrp.Config) {
		c.Login.Claims = &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": {Essential: true, Value: "eidas3"}}}
	}, nil, "Login.Claims asks for acr"},
	{"keys that cannot be registered", low, func(c *oidcrp.Config) { c.Registration.TokenEndpointAuthMethod = "private_key_jwt" }, nil,
		`Registration.TokenEndpointAuthMethod "private_key_jwt" cannot be registered`},
	{"no algorithm", low, func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = "" }, nil,
		`Registration.IDTokenSignedResponseAlg is ""; set it to what the client is registered for at FranceConnect: ES256, RS256, HS256`},
	{"RS256 of FranceConnect+", plus, func(c *oidcrp.Config) { c.Registration.IDTokenSignedResponseAlg = "RS256" }, nil,
		`Registration.IDTokenSignedResponseAlg is "RS256"`},
	{"PS256 for UserInfo", low, func(c *oidcrp.Config) { c.Registration.UserInfoSignedResponseAlg = "PS256" }, nil,
		`Registration.UserInfoSignedResponseAlg is "PS256"; set it to what the client is registered for at FranceConnect: ES256, RS256, HS256`},
	{"RS256 of FranceConnect+ for UserInfo", plus, func(c *oidcrp.Config) { c.Registration.UserInfoSignedResponseAlg = "RS256" }, nil,
		`Registration.UserInfoSignedResponseAlg is "RS256"`},
	{"UserInfo that is not signed", low, func(c *oidcrp.Config) { c.Registration.UserInfoSignedResponseAlg = "" }, nil, ""},
	{"encryption at FranceConnect", low, func(c *oidcrp.Config) { franceconnect.Decrypt(c, "ECDH-ES", nil) }, nil,
		"Registration.IDTokenEncryptedResponse is set, and FranceConnect encrypts nothing"},
	{"other encryption", plus, func(c *oidcrp.Config) {
		franceconnect.Decrypt(c, "ECDH-ES", nil)
		c.Registration.UserInfoEncryptedResponseEnc = "A128GCM"
	}, nil, `Registration.UserInfoEncryptedResponse is "ECDH-ES" with "A128GCM"; FranceConnect+ has ECDH-ES, RSA-OAEP, RSA-OAEP-256 with A256GCM`},
	{"encryption with the secret", plus, func(c *oidcrp.Config) { franceconnect.Decrypt(c, "dir", nil) }, nil, `is "dir" with "A256GCM"`},
	{"a scope of FranceConnect+", low, func(c *oidcrp.Config) { c.Scopes = []string{"openid rnipp_birth"} }, nil, `Scopes holds "rnipp_birth"`},
	{"a scope of FranceConnect", plus, func(c *oidcrp.Config) { c.Scopes = []string{"idp_id"} }, nil, `Scopes holds "idp_id"`},
	{"a scope of ProConnect", low, func(c *oidcrp.Config) { c.Scopes = []string{"usual_name"} }, nil, `Scopes holds "usual_name"`},
	{"a refresh token", low, func(c *oidcrp.Config) { c.Scopes = []string{"offline_access"} }, nil, `Scopes holds "offline_access"`},
}

func TestValidate_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, test := range validateTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := registered(test.environment)
			if test.change != nil {
				test.change(&cfg)
			}
			err := test.environment.Validate(cfg, test.requires...)
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

// The app does nothing for it: New, Require and SignInSilently call Validate.
func TestValidate_RunsInTheClient(t *testing.T) {
	t.Parallel()
	cfg := registered(low)
	cfg.BaseURL, cfg.Login.MaxAge = "", new(time.Hour)
	_, err := oidcrp.New(cfg)
	for _, want := range []string{"BaseURL is empty", "Login.MaxAge is refused"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	client, err := oidcrp.New(registered(low))
	if err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func(){
		"MaxAge is refused":     func() { client.Require(oidcrp.MaxAge(time.Hour)) },
		"no acr value meets":    func() { client.Require(franceconnect.EIDAS3()) },
		"has no silent sign-in": func() { client.SignInSilently(http.NotFoundHandler()) },
	} {
		func() {
			defer func() {
				if message, _ := recover().(string); !strings.Contains(message, what) {
					t.Errorf("panic %q, want %q", message, what)
				}
			}()
			call()
		}()
	}
}
