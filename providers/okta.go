package providers

import "github.com/oidcrp/oidcrp"

// Okta returns a Config for an organization at Okta. domain is that of the organization,
// "example.okta.com", or its custom domain, which is another issuer. server is the id of a
// custom authorization server, such as "default"; if empty, it is the organization's own. It
// sets the issuer alone.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In the Admin Console, create an app
// integration of the type OIDC, Web Application, with the sign-in redirect URI and the
// sign-out redirect URI, and assign people or groups to it. A custom server needs an access
// policy, too.
//
// Three mistakes: the organization's issuer where the app uses "default", or the other way
// round; an app that is not assigned to the person, or a server without a policy, which
// ends in access_denied; to expect groups in the ID Token: the organization's server needs a
// groups claim in the app, and sends it in UserInfo.
//
// What is left to you, since this package is not certain of it: with private_key_jwt, set
// Provider.AssertionAudience to "token_endpoint" if the organization's own server refuses
// the issuer; the acr values that ask for a second factor. Accounts are keyed by
// Session.Subject: the address and preferred_username change.
//
// Source: developer.okta.com/docs, "Authorization servers" and "Customize tokens returned
// from Okta with a groups claim".
func Okta(domain, server string) oidcrp.Config {
	f := &findings{preset: "Okta"}
	issuer := "https://" + f.host("domain", domain, "example.okta.com")
	if server != "" {
		issuer += "/oauth2/" + f.segment("server", server,
			`the id of a custom authorization server, such as default, or empty for the organization's own`)
	}
	return f.config(oidcrp.Config{Issuer: issuer})
}
