package providers

import (
	"regexp"

	"github.com/oidcrp/oidcrp"
)

// cognitoPool matches the id of a user pool, which begins with its region.
var cognitoPool = regexp.MustCompile(`^([a-z]+(?:-[a-z]+)+-[0-9]+)_[A-Za-z0-9]+$`)

// Cognito returns a Config for a user pool of Amazon Cognito. userPool is its id, which names
// the region: "eu-west-3_AbCdEf123". It sets:
//
//   - the issuer, which is not the domain on which people sign in;
//   - EndSessionURL: the end_session_endpoint of the metadata takes client_id and logout_uri,
//     and answers the standard parameters with an error page.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. The pool needs a domain, Cognito's or a
// custom one: without it the metadata has no endpoints. In the app client, enter the redirect
// URI under Allowed callback URLs and the post-logout redirect URI under Allowed sign-out
// URLs, and allow the scopes "openid profile email", or set Scopes to those that are allowed.
//
// Three mistakes: the domain as issuer; a logout with the standard parameters; a sign-out URL
// that is not on the list. No state comes back from a logout: the way back leads to a page
// of the app that the logout's cookie holds.
//
// What is left to you, since this package is not certain of it: Cognito issues a refresh token
// without being asked, and knows no scope offline_access; a prompt and a login_hint work with
// managed login only. Groups are in the claim cognito:groups, and email_verified, which UserInfo
// sends as text, is a boolean in the session.
//
// Source: docs.aws.amazon.com/cognito, "The managed login sign-out endpoint".
func Cognito(userPool string) oidcrp.Config {
	f := &findings{preset: "Cognito"}
	region := ""
	if parts := cognitoPool.FindStringSubmatch(userPool); parts != nil {
		region = parts[1]
	} else {
		f.add("userPool", "%q is not a user pool ID, which begins with the region, such as eu-west-3_AbCdEf123", shown(userPool))
	}
	return f.config(oidcrp.Config{
		Issuer: "https://cognito-idp." + region + ".amazonaws.com/" + userPool,
		Provider: oidcrp.Provider{
			EndSessionURL: "?client_id={client_id}&logout_uri={post_logout_redirect_uri}",
		},
	})
}
