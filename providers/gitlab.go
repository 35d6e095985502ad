package providers

import "github.com/oidcrp/oidcrp"

// GitLab returns a Config for a GitLab server. base is its external_url: "https://gitlab.com",
// or that of a server of your own, with its path if it has a relative URL root. It sets the
// issuer alone.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. On the server, create an application
// (of a user, a group or the instance) that is confidential, with the redirect URI and the
// scopes openid, profile and email.
//
// Three mistakes: an application without the scope openid; to take groups_direct, which the ID
// Token has, for groups, which UserInfo has with the inherited ones; people with thousands of
// groups, for whom UserInfo is slow and a session in a cookie is too small: set
// Sessions.KeepClaims. Groups where a person is an owner are in the claim
// https://gitlab.org/claims/groups/owner.
//
// What is left to you, since this package is not certain of it: GitLab publishes no
// end_session_endpoint, so that a logout ends the session of the app and not GitLab's; it
// issues refresh tokens and knows no scope offline_access.
//
// Source: docs.gitlab.com, "GitLab as OpenID Connect identity provider".
func GitLab(base string) oidcrp.Config {
	f := &findings{preset: "GitLab"}
	return f.config(oidcrp.Config{Issuer: f.base("base", base, "https://gitlab.com")})
}
