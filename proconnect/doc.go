/*
Package proconnect sets up oidcrp for ProConnect, the French State's sign-in for
professionals, and says what only ProConnect does.

	cfg := proconnect.Integration.Config()
	cfg.ClientID = os.Getenv("OIDC_CLIENT_ID")
	cfg.ClientSecret = os.Getenv("OIDC_CLIENT_SECRET")
	cfg.BaseURL = "https://app.example.gouv.fr"
	cfg.CookieKeys = keys
	cfg.IDTokenSignedResponseAlg = "ES256"  // as chosen at registration
	cfg.UserInfoSignedResponseAlg = "ES256" // the same
	client, err := oidcrp.New(cfg)
	...
	mux.Handle("/agent", client.RequireLogin(agent))
	mux.Handle("/sign", client.RequireLogin(sign, proconnect.RequireMFA()))

[ConfigFromEnv] does the same from the environment. Handlers read a [User] with
[UserFrom], pages show a [Button], and [SignInSilently] is for public pages.
[SIRET], [EmailDomain], [IdentityProvider] and [Role] say who may enter. [Explain]
and [ExplainCode] say what ProConnect's errors mean; [ErrorHandler], which a Config of
this package has already, says it to the person. The folders docs/en and docs/fr of
the repository lead from the registration to production.

# Accounts

Key an account by [User.AccountKey], the issuer and sub, and never by an e-mail
address. An agent's address changes with a marriage, a new office or a new spelling
in a directory, and the account would be lost; an address that is given to somebody
else would hand the account over. ProConnect does not normalise its case, and has no
email_verified. The sub changes only when the agent comes through another identity
provider. If accounts are linked by address then, make the person confirm it and
keep a record of it.

# Assurance

[RequireMFA], [RequireEIDAS2] and [RequireCertificationDirigeant] ask ProConnect for
a level and check the verified ID Token afterwards. ProConnect matches acr values
exactly: "eidas2" does not cover "eidas3", so requirements of your own must name
every level that is good enough.

# Signing in anew

Nothing makes ProConnect ask for the password again on demand. It accepts max_age and
prompt=login but reuses its own session all the same, and sets auth_time to the time
of the answer even then. A check of auth_time always passes and proves nothing, so
[Check], which a Config of this package has, refuses both: as settings in
[oidcrp.New], and as [oidcrp.MaxAge] on a route in [oidcrp.Client.RequireLogin]. These do work: [RequireEIDAS2], since ProConnect never reuses a
session for eidas2 and eidas3; a logout first; a login_hint for another address.

# Sessions and tokens

ProConnect forgets its session after 12 hours, when the person signs out anywhere,
and when they sign in with another browser. Its UserInfo and token endpoints then
answer with status 500, and a refresh sometimes with invalid_grant. [NeedsSignIn]
tells both from ProConnect being out of reach. No other service hears of a logout.
*/
package proconnect
