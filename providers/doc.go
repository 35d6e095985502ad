/*
Package providers prepares the configuration of package oidcrp for OpenID Providers other
than ProConnect, which has a package of its own.

	cfg := providers.Keycloak("https://login.example.org", "agents")
	cfg.ClientID = os.Getenv("OIDC_CLIENT_ID")
	cfg.ClientSecret = os.Getenv("OIDC_CLIENT_SECRET")
	cfg.BaseURL = "https://app.example.org"
	cfg.CookieKeys = oidcrp.KeyFile("/run/secrets/cookie-keys")
	client, err := oidcrp.New(cfg)

A preset is a function that returns a Config with what the provider demands, and leaves the
rest to the app: [ProSanteConnect], [Entra], [Google], [Keycloak], [Auth0], [Okta],
[Cognito], [Apple], [GitLab], [Zitadel], [Authentik], [Authelia], [GOVUKOneLogin] and [LoginGov].
Its comment says what it sets, what to add, what to register at the provider, which mistakes
people make there, and what it leaves to you because it is not certain. docs/providers.md of
the repository lists them with their tests.

A preset makes no network calls and never fails. What is wrong with its parameters, or with a
setting that the provider is known to refuse, is an error of [oidcrp.New] and names the
parameter or the field, and the mend. It is reported by the Validate of the Config: an app
that sets its own should call the preset's too.
*/
package providers
