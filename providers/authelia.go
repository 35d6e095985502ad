package providers

import "github.com/oidcrp/oidcrp"

// Authelia returns a Config for an Authelia server. base is the address under which people
// reach its portal. It sets:
//
//   - the issuer, which has no slash at its end;
//   - client_secret_basic, which is what Authelia expects of a client whose
//     token_endpoint_auth_method is not set.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In the configuration of Authelia, add a
// client under identity_providers.oidc.clients with the redirect URI, the scopes "openid
// profile email", and the hash of the secret. Authelia has no logout for relying parties: the
// session of the app ends, and that of Authelia goes on.
//
// Three mistakes: to expect claims in the ID Token, where Authelia puts them into UserInfo
// (this library reads both); another authentication method than the one that is registered;
// a secret hashed with a slow function, which makes each login slow.
//
// What is left to you, since this package is not certain of it: an Authelia with several
// session domains has an issuer for each, and needs a Config for each. A refresh token needs
// the scope offline_access, and the person's explicit consent. Groups need the scope groups.
//
// Source: authelia.com, "OpenID Connect 1.0 Provider" and "OpenID Connect 1.0 Claims".
func Authelia(base string) oidcrp.Config {
	f := &findings{preset: "Authelia"}
	return f.config(oidcrp.Config{
		Issuer:       f.base("base", base, "https://auth.example.org"),
		Registration: oidcrp.Registration{TokenEndpointAuthMethod: "client_secret_basic"},
	})
}
