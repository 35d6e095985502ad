package providers

import (
	"github.com/oidcrp/oidcrp"
)

// Google returns a Config for Google, for everybody with a Google account. It sets the
// issuer. [GoogleWorkspace] is for the people of an organisation.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In the Google Cloud console, create an
// OAuth client of the type Web application with the redirect URI. Google has no logout: the
// session of the app ends, and that of Google goes on.
//
// Three mistakes: to trust the parameter hd of the request, which only preselects an
// account and which the person can change; to expect a refresh token again at a second
// login; to find an account by an address whose email_verified Google does not vouch for:
// key your data by Session.Subject.
//
// What is left to you, since the reference is silent or this package is not certain: for a
// refresh token, the parameter access_type ("offline", in Login.Extra) and the prompt
// "consent"; to offer another account, the prompt "select_account". Google does not know the
// scope offline_access, and sends no auth_time, so that oidcrp.MaxAge locks everybody out.
//
// Source: developers.google.com/identity/openid-connect, "API Reference".
func Google() oidcrp.Config {
	f := &findings{preset: "Google"}
	return f.config(oidcrp.Config{Issuer: googleIssuer})
}

const googleIssuer = "https://accounts.google.com"

// GoogleWorkspace is [Google] for the people of these Google Workspace domains and nobody
// else: a Requirement of the Config refuses everybody whose claim hd names another domain or
// none. At least one domain is required.
func GoogleWorkspace(domains ...string) oidcrp.Config {
	f := &findings{preset: "GoogleWorkspace"}
	cfg := oidcrp.Config{Issuer: googleIssuer}
	if len(domains) == 0 {
		f.add("domains:", "there is none: give those of the organisation, or use Google for everybody with an account")
	}
	for _, domain := range domains {
		f.host("domains:", domain, "example.org")
	}
	if len(f.problems) > 0 {
		return f.config(cfg)
	}
	cfg.Requirements = onlyWith("hd", domains, "a Google account of the organisation",
		"Sign in with an account of your organisation.", "Connectez-vous avec un compte de votre organisation.")
	return f.config(cfg, keepsClaim("hd"))
}
