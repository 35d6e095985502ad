/*
Package proconnect sets up oidcrp for ProConnect, the French State's sign-in for
professionals, and covers what is specific to it.

	cfg := proconnect.Integration.Config()
	cfg.ClientID = os.Getenv("OIDC_CLIENT_ID")
	cfg.ClientSecret = os.Getenv("OIDC_CLIENT_SECRET")
	cfg.BaseURL = "https://app.example.gouv.fr"
	cfg.CookieKeys = oidcrp.KeyFile("/run/secrets/cookie-keys")
	cfg.Registration.IDTokenSignedResponseAlg = "ES256"  // as chosen at registration
	cfg.Registration.UserInfoSignedResponseAlg = "ES256" // the same
	client, err := oidcrp.New(cfg)
	...
	mux.Handle("/agent", client.RequireLogin(agent))
	mux.Handle("/sign", client.Require(proconnect.MFA())(sign))

[ConfigFromEnv] does the same from the environment. Handlers get a [User] from
[UserFrom], pages show a [Button], an [oidcrp.Group] shows [MemberButton], and
[oidcrp.Client.SignInSilently] is for public pages. [SIRET],
[EmailDomain], [IdentityProvider] and [Role] restrict who may enter. [Explain] and
[ExplainCode] explain ProConnect's errors; [PageHandler], which a Config of this package
uses, shows the explanations to people. The folders docs/en and docs/fr of the
repository lead from the registration to production.

# Accounts

Identify an account by [User.AccountKey], the issuer and sub, and never by an e-mail
address. The address of an agent changes with a marriage, a new office or a new spelling
in a directory, and the account would be lost; and an address that is given to another
person would hand the account over. ProConnect does not normalise the case of addresses,
and does not send email_verified. The sub changes only when the agent comes through
another identity provider. If you then link accounts by address, have the person confirm
it, and keep a record.

# Assurance

[MFA], [EIDAS2] and [CertificationDirigeant] ask ProConnect for a
level and check the verified ID Token afterwards. ProConnect compares acr values exactly:
"eidas2" does not include "eidas3", so requirements of your own must name every level
that is good enough.

# Asking for the password again

ProConnect cannot be made to ask for the password again on demand. It accepts max_age and
prompt=login but reuses its own session nevertheless, and even then sets auth_time to the
current time. A check of auth_time always passes and proves nothing, so [Validate], which
a Config of this package uses, refuses both: as settings in [oidcrp.New], and as
[oidcrp.MaxAge] on a route in [oidcrp.Client.Require]. These work: [EIDAS2], since
ProConnect never reuses a session for eidas2 and eidas3; a logout first; a login_hint for
another address.

# Sessions and tokens

ProConnect's session ends after 12 hours, when the person signs out of any service, and
when they sign in with another browser. Its UserInfo and token endpoints then answer with
status 500, and a refresh sometimes with invalid_grant. [NeedsSignIn] tells both from
ProConnect being out of reach. ProConnect does not notify other services of a logout.
*/
package proconnect
