package franceconnect

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
)

// An Environment is one of the servers of FranceConnect and FranceConnect+. Each has its
// own registrations, keys and accounts.
type Environment string

// The environments. Integration is for clients that were made on the partner portal, and
// Integ01 for older ones.
const (
	Integration     Environment = "integration"
	Integ01         Environment = "integ01"
	Production      Environment = "production"
	PlusIntegration Environment = "plus-integration"
	PlusProduction  Environment = "plus-production"
)

var environments = []Environment{Integration, Integ01, Production, PlusIntegration, PlusProduction}

var issuers = map[Environment]string{
	Integration:     "https://fcp-low.sbx.dev-franceconnect.fr/api/v2",
	Integ01:         "https://fcp-low.integ01.dev-franceconnect.fr/api/v2",
	Production:      "https://oidc.franceconnect.gouv.fr/api/v2",
	PlusIntegration: "https://auth.integ01.dev-franceconnect.fr/api/v2",
	PlusProduction:  "https://auth.franceconnect.gouv.fr/api/v2",
}

// Issuer returns the issuer identifier, which has no slash at its end; "" if e is not
// one of the five.
func (e Environment) Issuer() string { return issuers[e] }

// Plus reports whether e is a server of FranceConnect+.
func (e Environment) Plus() bool { return e == PlusIntegration || e == PlusProduction }

// name is the platform's name.
func (e Environment) name() string {
	if e.Plus() {
		return "FranceConnect+"
	}
	return "FranceConnect"
}

// Config returns what all clients of the environment have in common:
//
//   - the issuer, and client_secret_post;
//   - the scopes of the civil status and of the e-mail address; replace them by those
//     that the service is allowed to have, since it must not ask for more than it needs;
//   - the levels: eidas1, or with FranceConnect+ eidas2 or higher;
//   - no PKCE, no token_type_hint, an id_token_hint at each logout, and levels asked by
//     acr_values, not by claims: FranceConnect refuses everything else;
//   - with FranceConnect+, ES256 for the ID Token and UserInfo;
//   - [PageHandler];
//   - [Environment.Validate], so that [oidcrp.New] and [oidcrp.Client.Require] refuse
//     what cannot work.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. For FranceConnect, set in
// Registration the two SignedResponseAlgs to what was chosen at registration: ES256,
// RS256 or HS256, which is FranceConnect's default. Leave that of UserInfo empty if the
// client is registered for none. For FranceConnect+, call [Decrypt] if the client is
// registered for encryption. Register the Config's redirect URI
// (by default BaseURL and "/auth/callback"), its post-logout redirect URI
// ("/auth/logout/callback") and, for encryption, its jwks_uri ("/auth/jwks").
//
// If e is not one of the five, the issuer is empty, which New refuses.
func (e Environment) Config() oidcrp.Config {
	return e.complete(oidcrp.Config{Issuer: e.Issuer()})
}

// complete fills in what cfg leaves open.
func (e Environment) complete(cfg oidcrp.Config) oidcrp.Config {
	r := &cfg.Registration
	r.TokenEndpointAuthMethod = cmp.Or(r.TokenEndpointAuthMethod, "client_secret_post")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{
			"openid", "given_name", "family_name", "birthdate", "gender", "birthplace", "birthcountry",
			"preferred_username", "email",
		}
	}
	if cfg.Login.ACRValues == nil && cfg.Login.RequireACR == nil {
		// The lowest level that is asked for wins, and a higher one may come back.
		cfg.Login.ACRValues, cfg.Login.RequireACR = []string{e.levels()[0]}, e.levels()
	}
	if e.Plus() {
		r.IDTokenSignedResponseAlg = cmp.Or(r.IDTokenSignedResponseAlg, "ES256")
		r.UserInfoSignedResponseAlg = cmp.Or(r.UserInfoSignedResponseAlg, "ES256")
	}
	p := &cfg.Provider
	p.NoPKCE, p.RevocationWithoutHint, p.LogoutHintRequired = true, true, true
	if p.Metadata == nil && p.AdjustMetadata == nil {
		p.AdjustMetadata = askByACRValues
	}
	if cfg.Pages.Handler == nil {
		cfg.Pages.Handler = PageHandler
	}
	if cfg.Validate == nil {
		cfg.Validate = e.Validate
	}
	return cfg
}

// askByACRValues makes a level that is required travel in acr_values: FranceConnect
// refuses a request without it, whatever the claims parameter asks.
func askByACRValues(m *oidcrp.Metadata) { m.ClaimsParameterSupported = false }

// Decrypt sets cfg up for a client of FranceConnect+ that is registered for encrypted ID
// Tokens and UserInfo: alg is "ECDH-ES", "RSA-OAEP" or "RSA-OAEP-256" as chosen at
// registration, and keys are the private keys, newest first, from
// [oidcrp.ParseClientKeys]. The content encryption is A256GCM, the only one there.
// FranceConnect+ fetches the public keys from the client's jwks_uri, which the client
// serves.
func Decrypt(cfg *oidcrp.Config, alg string, keys []jose.JSONWebKey) {
	r := &cfg.Registration
	r.ClientKeys = slices.Clone(keys)
	r.IDTokenEncryptedResponseAlg, r.IDTokenEncryptedResponseEnc = alg, contentEncryption
	r.UserInfoEncryptedResponseAlg, r.UserInfoEncryptedResponseEnc = alg, contentEncryption
}

const contentEncryption = "A256GCM"

// variables are the variables of [oidcrp.ConfigFromEnv] that set what Validate reads.
var variables = map[string]string{
	"Issuer":                                 "OIDC_ISSUER",
	"BaseURL":                                "OIDC_BASE_URL",
	"Scopes":                                 "OIDC_SCOPES",
	"ResponseMode":                           "OIDC_RESPONSE_MODE",
	"Login.ACRValues":                        "OIDC_ACR_VALUES",
	"Login.RequireACR":                       "OIDC_REQUIRE_ACR",
	"Login.MaxAge":                           "OIDC_MAX_AGE",
	"Login.Prompt":                           "OIDC_PROMPT",
	"Provider.NoPKCE":                        "OIDC_NO_PKCE",
	"Provider.LogoutHintRequired":            "OIDC_LOGOUT_HINT_REQUIRED",
	"Provider.RevocationWithoutHint":         "OIDC_REVOCATION_WITHOUT_HINT",
	"Provider.UserInfoTokenInBody":           "OIDC_USERINFO_TOKEN_IN_BODY",
	"Registration.RedirectURI":               "OIDC_REDIRECT_URI",
	"Registration.TokenEndpointAuthMethod":   "OIDC_CLIENT_AUTH",
	"Registration.IDTokenSignedResponseAlg":  "OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG",
	"Registration.UserInfoSignedResponseAlg": "OIDC_USERINFO_SIGNED_RESPONSE_ALG",
	"Registration.IDTokenEncryptedResponse":  "OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG and _ENC",
	"Registration.UserInfoEncryptedResponse": "OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG and _ENC",
	pushedRequests:                           "OIDC_PUSHED_AUTHORIZATION_REQUESTS",
}

// ConfigFromEnv makes a Config from FRANCECONNECT_ENVIRONMENT (integration, integ01,
// production, plus-integration or plus-production), which is required, and the variables
// of [oidcrp.ConfigFromEnv]. The rest is as in [Environment.Config]. OIDC_ISSUER replaces
// the environment's issuer, for a stand-in.
//
// Its errors are [*oidcrp.Error] with [oidcrp.CodeConfigInvalid]; they include what
// [Environment.Validate] refuses, and name the variables.
func ConfigFromEnv() (oidcrp.Config, error) {
	cfg, err := oidcrp.ConfigFromEnv()
	var failure *oidcrp.Error
	if errors.As(err, &failure) {
		err = failure.Err // it is wrapped again below
	}
	e := Environment(os.Getenv("FRANCECONNECT_ENVIRONMENT"))
	if e.Issuer() == "" {
		problem := "is not known; use"
		if e == "" {
			problem = "is empty; set it to"
		}
		err = errors.Join(err, fmt.Errorf("FRANCECONNECT_ENVIRONMENT %s one of %s", problem, knownEnvironments()))
	}
	if err != nil {
		return oidcrp.Config{}, configError(err)
	}
	cfg.Issuer = cmp.Or(cfg.Issuer, e.Issuer())
	cfg = e.complete(cfg)
	switchOff(&cfg.Provider)
	if err := e.validate(cfg, variables); err != nil {
		return oidcrp.Config{}, err
	}
	return cfg, nil
}

// switchOff takes back what complete set and a variable denies, so that Validate refuses it:
// whoever asks for PKCE learns why there is none.
func switchOff(p *oidcrp.Provider) {
	for field, value := range map[string]*bool{
		"Provider.NoPKCE":                &p.NoPKCE,
		"Provider.LogoutHintRequired":    &p.LogoutHintRequired,
		"Provider.RevocationWithoutHint": &p.RevocationWithoutHint,
	} {
		if text := os.Getenv(variables[field]); text != "" { // oidcrp.ConfigFromEnv took it as a bool
			*value = text == "1" || text == "true"
		}
	}
}

func knownEnvironments() string {
	names := make([]string, len(environments))
	for i, e := range environments {
		names[i] = string(e)
	}
	return strings.Join(names, ", ")
}

// configError makes err the kind of error that [oidcrp.New] returns.
func configError(err error) error {
	return &oidcrp.Error{Op: "config", Code: oidcrp.CodeConfigInvalid, Err: err}
}
