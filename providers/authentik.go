package providers

import (
	"strings"

	"github.com/oidcrp/oidcrp"
)

// Authentik returns a Config for an application of an authentik server. base is the public
// address of the server, and slug the application's. It sets the issuer, which ends in a
// slash. For a provider whose issuer mode is "Same identifier for all applications", set
// Issuer to base and a slash, and Provider.MetadataURL to the address that authentik shows.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In authentik, create an OAuth2/OpenID
// provider of the type Confidential with a signing key and the redirect URI, and the
// application. Newer versions demand that the post-logout redirect URI is registered there,
// too.
//
// Three mistakes: no signing key, so that the ID Token is signed with the client secret
// (HS256) and refused here: select a key; an issuer without the slash; a server that is
// reached under an internal name, which then is the issuer, since authentik makes it from the
// host of the request.
//
// What is left to you, since it depends on the version: the scope offline_access for a refresh
// token, and where a logout ends: older versions do not lead back to the app. What the subject
// is depends on the provider's subject mode: do not change it later. Groups are in the claim
// groups.
//
// Source: docs.goauthentik.io, "OAuth2 Provider".
func Authentik(base, slug string) oidcrp.Config {
	f := &findings{preset: "Authentik"}
	base = f.base("base", base, "https://authentik.example.org")
	if before, _, found := strings.Cut(base, "/application/o"); found {
		f.add("base", "%q names an application: give %s, and the slug apart", shown(base), shown(before))
	}
	slug = f.segment("slug", slug, "the slug of the application, such as my-app")
	return f.config(oidcrp.Config{Issuer: base + "/application/o/" + slug + "/"})
}
