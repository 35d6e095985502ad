package providers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// Zitadel returns a Config for an application of a Zitadel instance. base is the address of
// the instance, "https://example.zitadel.cloud", or its custom domain. audiences are what
// Zitadel puts into the aud of an ID Token beside this client: the id of the project, and the
// client ids of the project's other applications. It sets:
//
//   - the issuer;
//   - TrustedAudiences, to the audiences. An ID Token with another one is refused.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In the project, create an application of
// the type Web with the redirect URI and the post-logout redirect URI.
//
// Three mistakes: to leave out the project's id or an application that was added later, so that
// nobody can sign in; to take the claim urn:zitadel:iam:org:project:roles for an array, where
// it is an object by role (oidcrp.HasClaim("/urn:zitadel:iam:org:project:roles/admin") requires
// one), and which the project must be told to assert; to reach the instance under another name
// than its domain.
//
// What is left to you, since this package is not certain of it: back-channel logout, which may
// need a feature of the instance, and the scope offline_access for a refresh token.
//
// Source: zitadel.com/docs, "Claims in ZITADEL" and "Scopes".
func Zitadel(base string, audiences ...string) oidcrp.Config {
	f := &findings{preset: "Zitadel"}
	if len(audiences) == 0 {
		f.add("audiences", "is empty: list the id of the project, and the client ids of its other applications")
	}
	for i, audience := range audiences {
		if audience == "" || strings.TrimSpace(audience) != audience {
			f.add(fmt.Sprintf("audiences[%d]", i), "%q is empty, or begins or ends with white space", shown(audience))
		}
	}
	return f.config(oidcrp.Config{
		Issuer:   f.base("base", base, "https://example.zitadel.cloud"),
		Provider: oidcrp.Provider{TrustedAudiences: slices.Clone(audiences)},
	})
}
