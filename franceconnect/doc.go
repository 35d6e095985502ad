/*
Package franceconnect sets up oidcrp for FranceConnect and FranceConnect+, by which the
French State signs citizens in, and covers what is specific to them.

	cfg := franceconnect.Integration.Config()
	cfg.ClientID = os.Getenv("OIDC_CLIENT_ID")
	cfg.ClientSecret = os.Getenv("OIDC_CLIENT_SECRET")
	cfg.BaseURL = "https://app.example.gouv.fr"
	cfg.CookieKeys = oidcrp.KeyFile("/run/secrets/cookie-keys")
	cfg.Scopes = []string{"openid", "given_name", "family_name", "email"} // what the service may have
	cfg.Registration.IDTokenSignedResponseAlg = "ES256"  // as chosen at registration
	cfg.Registration.UserInfoSignedResponseAlg = "ES256" // the same
	client, err := oidcrp.New(cfg)
	...
	mux.Handle("/dossier", client.RequireLogin(dossier))

[ConfigFromEnv] does the same from the environment. Handlers get a [User] from
[UserFrom], pages show a [Button], and an [oidcrp.Group] shows [Environment.MemberButton]. [Explain] and [ExplainCode] explain
FranceConnect's errors; [PageHandler], which a Config of this package uses, shows the
explanations to people. docs/en/franceconnect.md and docs/fr/franceconnect.md of the
repository lead from the registration to a citizen who is signed in.

FranceConnect attests the level eidas1, and FranceConnect+ the levels eidas2 and eidas3.
They are two platforms: each has its own registrations, keys and rules.

What this package knows was read in FranceConnect's own server and documentation of
February 2026 and earlier. Where a comment says "to be checked", it was not, and the
decision is yours.

# What FranceConnect refuses

FranceConnect compares the parameters of each request with a closed list. Any other one,
such as code_challenge, response_mode, max_age, login_hint or prompt=none, ends on an
error page of FranceConnect, code Y030007, from which nobody comes back to the service.
Its metadata nevertheless announces PKCE and response modes. [Environment.Validate],
which a Config of this package uses, refuses such settings: in [oidcrp.New], on a route in
[oidcrp.Client.Require], and in [oidcrp.Client.SignInSilently]. It does not see the
options that an app gives to [oidcrp.Client.Login]: of these, use Prompt ("login" or
"consent"), ACRValues, RequireACR, Claims, UILocales, Scopes and [SetIDPHint] only. Do not
link to the client's initiate path with a login_hint either.

# Accounts

Identify an account by [User.AccountKey], the issuer and sub. A sub belongs to one legal
entity: all services that FranceConnect registered for it see the same one, and the
services of others see another. An e-mail address changes, and may be another person's
later. The civil status is no key either: two people can share it.

# Sessions and tokens

Codes are valid for 30 seconds, and ID Tokens and access tokens for 60. There are no
refresh tokens. FranceConnect does not notify services of a logout. Its own session, which
signs a person in again without asking, lasts 30 minutes from the last use; that of
FranceConnect+ lasts 10 minutes from the sign-in, and serves eidas2 only. To make a person
authenticate again, log them out first, or require [EIDAS3].

A logout at FranceConnect needs the ID Token of the session. A person whose session here
is over is therefore signed out here only: see [oidcrp.Provider.LogoutHintRequired].

# Three common mistakes

  - A library that sends PKCE, response_mode or max_age: Y030007.
  - JSON is expected from UserInfo, although the client is registered for a signed answer.
  - eidas2 is asked of FranceConnect, or eidas1 of FranceConnect+: invalid_acr.
*/
package franceconnect
