package proconnect

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// An Environment is one of ProConnect's four servers. They share nothing: each has
// its own registrations, keys and accounts.
type Environment string

// The environments, on the Internet and on the RIE, the State's own network.
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

// Issuer returns the issuer identifier, without a slash at its end; "" if e is none
// of the four.
func (e Environment) Issuer() string { return issuers[e] }

// Config returns what every client of the environment has in common: the issuer,
// client_secret_post, the scopes that a client gets when it is registered at the
// partner portal, the wish to see acr and amr, which ProConnect otherwise leaves out,
// [ErrorHandler], and [Check], so that [oidcrp.New] and [oidcrp.Client.RequireLogin]
// refuse what does not work with ProConnect. Drop the scopes that the service has no
// use for.
//
// The person adds ClientID, ClientSecret, BaseURL, CookieKeys, and the two
// SignedResponseAlgs that they chose at registration. An Environment that is none of
// the four gives no issuer, which [oidcrp.New] refuses.
func (e Environment) Config() oidcrp.Config {
	return complete(oidcrp.Config{Issuer: e.Issuer()})
}

// complete fills in what cfg leaves open.
func complete(cfg oidcrp.Config) oidcrp.Config {
	cfg.TokenEndpointAuthMethod = cmp.Or(cfg.TokenEndpointAuthMethod, "client_secret_post")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{
			"openid", "given_name", "usual_name", "email", "uid", "siret", "phone",
			"idp_id", "custom", "roles", "organization_label",
		}
	}
	if cfg.AuthOptions.Claims == nil {
		cfg.AuthOptions.Claims = &oidcrp.ClaimsRequest{
			IDToken: map[string]*oidcrp.ClaimRequest{"acr": nil, "amr": nil},
		}
	}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = ErrorHandler
	}
	if cfg.Check == nil {
		cfg.Check = Check
	}
	if cfg.RefreshFailure == oidcrp.KeepSession {
		cfg.RefreshFailure = oidcrp.SignInAgain // see NeedsSignIn
	}
	return cfg
}

// ConfigFromEnv makes a Config from PROCONNECT_ENVIRONMENT (integration, production,
// integration-rie or production-rie) and the variables of [oidcrp.ConfigFromEnv].
// What those leave open is as in [Environment.Config]; OIDC_ISSUER takes the place
// of the environment's issuer. One of the two is required: nobody should end up in
// the integration environment, where anybody can be anyone, by an oversight.
//
// Errors are [*oidcrp.Error] with [oidcrp.CodeConfig], also for what [Check] refuses.
func ConfigFromEnv() (oidcrp.Config, error) {
	cfg, err := oidcrp.ConfigFromEnv()
	var failure *oidcrp.Error
	if errors.As(err, &failure) {
		err = failure.Err // it is wrapped again below
	}
	environment := Environment(os.Getenv("PROCONNECT_ENVIRONMENT"))
	switch {
	case environment != "" && environment.Issuer() == "":
		err = errors.Join(err, fmt.Errorf("PROCONNECT_ENVIRONMENT is not known; there are %s", knownEnvironments()))
	case err == nil && environment == "" && cfg.Issuer == "":
		err = fmt.Errorf("PROCONNECT_ENVIRONMENT is empty; there are %s", knownEnvironments())
	}
	if err != nil {
		return oidcrp.Config{}, configError(err)
	}
	cfg.Issuer = cmp.Or(cfg.Issuer, environment.Issuer())
	cfg = complete(cfg)
	if err := Check(cfg); err != nil {
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

// configError wraps err as the root package wraps its own.
func configError(err error) error {
	return &oidcrp.Error{Op: "config", Code: oidcrp.CodeConfig, Err: err}
}
