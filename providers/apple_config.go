package providers

import (
	"slices"

	"github.com/oidcrp/oidcrp"
)

// Apple returns a Config for Sign in with Apple. It sets:
//
//   - the issuer, and the ClientID of the key;
//   - ClientSecretFunc, made from the key, and client_secret_post: Apple's secret is a JWT of
//     at most six months, and this one is made for each request;
//   - the scopes "openid name email";
//   - the response mode form_post, which Apple demands with name and email.
//
// Add BaseURL and CookieKeys. In the developer account, create a Services ID with the domain
// and the redirect URI as return URL, and a key for Sign in with Apple. Apple has no logout
// and no UserInfo: the session of the app ends, and the claims are those of the ID Token.
//
// Three mistakes: the scope profile, or the response mode query with name and email, both of
// which the Validate of this Config refuses; to lose the name, which comes once, at the
// first login, in a form field that [AppleUser] reads; a secret that was made by hand
// and expires after six months. An address may be a relay's, which the person can
// switch off: key your data by Session.Subject.
//
// What is left to you, since this package is not certain of it: Apple refuses redirect URIs at
// localhost and at IP addresses; subjects are those of one developer team.
//
// Source: developer.apple.com/documentation/signinwithapple.
func Apple(key AppleKey) oidcrp.Config {
	f := &findings{preset: "Apple"}
	secret, err := key.ClientSecret()
	if err != nil {
		f.add("key", "cannot be used: %v", err)
	}
	return f.config(oidcrp.Config{
		Issuer:           appleIssuer,
		ClientID:         key.ClientID,
		ClientSecretFunc: secret,
		Scopes:           []string{"openid", "name", "email"},
		ResponseMode:     "form_post",
		Registration:     oidcrp.Registration{TokenEndpointAuthMethod: "client_secret_post"},
	}, func(f *findings, cfg oidcrp.Config, _ []request) {
		if cfg.ClientID != key.ClientID {
			f.add("ClientID", "%q is not that of the key, %q: Apple compares the two", shown(cfg.ClientID), shown(key.ClientID))
		}
	}, checkAppleRequest)
}

func checkAppleRequest(f *findings, cfg oidcrp.Config, _ []request) {
	if slices.Contains(cfg.Scopes, "profile") {
		f.add("Scopes", `holds "profile", which Apple refuses: use openid, name and email`)
	}
	named := slices.Contains(cfg.Scopes, "name") || slices.Contains(cfg.Scopes, "email")
	if named && cfg.ResponseMode != "form_post" {
		f.add("ResponseMode", "must be form_post, which Apple demands with the scopes name and email")
	}
}
