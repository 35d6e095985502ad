package providers

import "github.com/oidcrp/oidcrp"

// Auth0 returns a Config for a tenant of Auth0. domain is the one that people see when they
// sign in: "example.eu.auth0.com", or a custom domain. It sets:
//
//   - the issuer, which ends in a slash;
//   - the end_session_endpoint where the metadata has none (AdjustMetadata): in tenants from
//     before 2023-11-14 whose setting "RP-Initiated Logout End Session Endpoint Discovery"
//     is off.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In the application, which must be a
// Regular Web Application, enter the redirect URI under Allowed Callback URLs and the
// post-logout redirect URI under Allowed Logout URLs: of the application, not of the tenant.
// Authentication by a key works with the defaults of this library.
//
// Three mistakes: an issuer without the slash; the tenant's domain where people sign in on a
// custom one, which is another issuer; to send the parameter organization (Login.Extra)
// without a check of what comes back: use oidcrp.Claim("org_id", "org_..."). Without the
// parameter audience, the access token is good for UserInfo only.
//
// What is left to you, since this package is not certain of it: the acr value that asks for
// multi-factor authentication. The claim updated_at is text, not a number. For a tenant whose
// /oidc/logout is not to be used, set Provider.EndSessionURL.
//
// Source: auth0.com/docs, "Log Users Out of Auth0 with the OIDC Endpoint" and "Authenticate
// with Private Key JWT".
func Auth0(domain string) oidcrp.Config {
	f := &findings{preset: "Auth0"}
	issuer := "https://" + f.host("domain", domain, "example.eu.auth0.com") + "/"
	return f.config(oidcrp.Config{
		Issuer: issuer,
		Provider: oidcrp.Provider{AdjustMetadata: func(m *oidcrp.Metadata) {
			if m.EndSessionEndpoint == "" {
				m.EndSessionEndpoint = issuer + "oidc/logout"
			}
		}},
	})
}
