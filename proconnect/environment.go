package proconnect

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// An Environment is one of ProConnect's four servers. Each has its own registrations,
// keys and accounts.
type Environment string

// The environments, on the Internet and on the RIE, the State's private network.
const (
	Integration    Environment = "integration"
	Production     Environment = "production"
	IntegrationRIE Environment = "integration-rie"
	ProductionRIE  Environment = "production-rie"
)

var environments = []Environment{Integration, Production, IntegrationRIE, ProductionRIE}

var issuers = map[Environment]string{
	Integration:    "https://fca.integ01.dev-agentconnect.fr/api/v2",
	Production:     "https://auth.agentconnect.gouv.fr/api/v2",
	IntegrationRIE: "https://fca.integ02.agentconnect.rie.gouv.fr/api/v2",
	ProductionRIE:  "https://auth.agentconnect.rie.gouv.fr/api/v2",
}

// Issuer returns the issuer identifier, which has no slash at its end; "" if e is not
// one of the four.
func (e Environment) Issuer() string { return issuers[e] }

// Config returns what all clients of the environment have in common:
//
//   - the issuer and client_secret_post;
//   - the scopes that the partner portal grants to a new client; remove those that the
//     service does not need;
//   - a voluntary request for acr and amr, which ProConnect leaves out otherwise;
//   - [oidcrp.SignInAgain], since ProConnect answers a refresh with status 500 when its
//     session is over: see [NeedsSignIn];
//   - [PageHandler];
//   - [Validate], so that [oidcrp.New] and [oidcrp.Client.Require] refuse what cannot
//     work with ProConnect.
//
// Add ClientID, ClientSecret, BaseURL, CookieKeys, and in Registration the two
// SignedResponseAlgs that were chosen at registration. If e is not one of the four, the
// issuer is empty, which New refuses.
func (e Environment) Config() oidcrp.Config {
	return complete(oidcrp.Config{Issuer: e.Issuer()})
}

// complete fills in what cfg leaves open.
func complete(cfg oidcrp.Config) oidcrp.Config {
	method := &cfg.Registration.TokenEndpointAuthMethod
	*method = cmp.Or(*method, "client_secret_post")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{
			"openid", "given_name", "usual_name", "email", "uid", "siret", "phone",
			"idp_id", "custom", "roles", "organization_label",
		}
	}
	if cfg.Login.Claims == nil {
		cfg.Login.Claims = &oidcrp.ClaimsRequest{
			IDToken: map[string]*oidcrp.ClaimRequest{"acr": nil, "amr": nil},
		}
	}
	if cfg.Tokens.RefreshFailure == oidcrp.KeepSession {
		cfg.Tokens.RefreshFailure = oidcrp.SignInAgain
	}
	if cfg.Pages.Handler == nil {
		cfg.Pages.Handler = PageHandler
	}
	if cfg.Validate == nil {
		cfg.Validate = Validate
	}
	return cfg
}

// variables are the variables of [oidcrp.ConfigFromEnv] that set what Validate reads.
var variables = map[string]string{
	"Issuer":                               "OIDC_ISSUER",
	"Login.MaxAge":                         "OIDC_MAX_AGE",
	"Login.Prompt":                         "OIDC_PROMPT",
	"Registration.TokenEndpointAuthMethod": "OIDC_CLIENT_AUTH",
}

// ConfigFromEnv makes a Config from PROCONNECT_ENVIRONMENT (integration, production,
// integration-rie or production-rie) and the variables of [oidcrp.ConfigFromEnv]. The
// rest is as in [Environment.Config]. OIDC_ISSUER replaces the environment's issuer.
// One of the two is required: there is no default, so that no service uses the
// integration environment, where anybody can sign in as anybody, by mistake.
//
// Its errors are [*oidcrp.Error] with [oidcrp.CodeConfigInvalid]; they include what [Validate]
// refuses, and name the variables.
func ConfigFromEnv() (oidcrp.Config, error) {
	cfg, err := oidcrp.ConfigFromEnv()
	var failure *oidcrp.Error
	if errors.As(err, &failure) {
		err = failure.Err // it is wrapped again below
	}
	environment := Environment(os.Getenv("PROCONNECT_ENVIRONMENT"))
	switch {
	case environment != "" && environment.Issuer() == "":
		err = errors.Join(err, fmt.Errorf("PROCONNECT_ENVIRONMENT is not known; use one of %s", knownEnvironments()))
	case err == nil && environment == "" && cfg.Issuer == "":
		err = fmt.Errorf("PROCONNECT_ENVIRONMENT is empty; set it to one of %s", knownEnvironments())
	}
	if err != nil {
		return oidcrp.Config{}, configError(err)
	}
	cfg.Issuer = cmp.Or(cfg.Issuer, environment.Issuer())
	cfg = complete(cfg)
	if err := validate(cfg, variables); err != nil {
		return oidcrp.Config{}, err
	}
	return cfg, nil
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
