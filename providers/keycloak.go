package providers

import (
	"strings"

	"github.com/oidcrp/oidcrp"
)

// Keycloak returns a Config for a realm of a Keycloak server. base is the public address of
// the server, as in its setting hostname: "https://login.example.org", and with the path
// "/auth" for a server before Keycloak 17 or with that relative path. It sets the issuer
// alone: Keycloak needs no deviation.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In the realm, create a client of the
// type OpenID Connect with client authentication on. Enter the redirect URI and the
// post-logout redirect URI, which are two settings. For back-channel logout, enter the URL
// of Registration.BackchannelLogoutURI, which Keycloak must reach; for private_key_jwt, that
// of Registration.JWKSURI.
//
// Three mistakes: a base with "/auth" for a server without it, or the other way round; an
// issuer that differs inside and outside a network of containers, for which
// docs/en/recipes.md of the repository has the settings; to look for roles in the ID Token:
// by default they are in the access token only, so add a mapper to the ID Token or UserInfo,
// and require them by oidcrp.Claim("/realm_access/roles", "admin").
//
// What is left to you, since it depends on the version or is not certain: the scope
// offline_access for a refresh token that outlives Keycloak's session, and kc_idp_hint in
// Login.Extra.
//
// Source: Keycloak's guides "Configuring the hostname" and "Securing applications".
func Keycloak(base, realm string) oidcrp.Config {
	f := &findings{preset: "Keycloak"}
	base = f.base("base", base, "https://login.example.org")
	if before, _, found := strings.Cut(base, "/realms/"); found {
		f.add("base", "%q names a realm: give %s, and the realm apart", shown(base), shown(before))
	}
	realm = f.segment("realm", realm, "the name of a realm as its URLs have it, such as agents or my%20realm")
	return f.config(oidcrp.Config{Issuer: base + "/realms/" + realm})
}
