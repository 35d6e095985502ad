package providers

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

const (
	entraRoot = "https://login.microsoftonline.com/"
	// entraConsumers is the tenant of all personal accounts.
	entraConsumers = "9188040d-6c67-4c5b-b112-36a304b66dad"
)

var guid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// Entra returns a Config for Microsoft Entra ID, for the people of these tenants and of no
// other. A tenant is its Directory (tenant) ID, a GUID: with a domain name in its place,
// the metadata names another issuer. It sets:
//
//   - the issuer of the one tenant; or for several, the template that the metadata of
//     "organizations" has ("common" if personal accounts are among them, the tenant
//     9188040d-6c67-4c5b-b112-36a304b66dad), MetadataURL, and AcceptedIssuers;
//   - client_secret_post;
//   - NoUserInfo: UserInfo is at Microsoft Graph, says nothing that the ID Token does not,
//     and refuses the access token once a scope is another API's.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. In the app registration, add the
// redirect URI under the platform Web, and the post-logout redirect URI as a further
// redirect URI; for several tenants, choose accounts in any organizational directory.
//
// In place of the secret, a certificate:
//
//	cfg.Registration.ClientKeys = keys // with the certificate, by oidcrp.ParseClientKeys
//	cfg.Registration.TokenEndpointAuthMethod = "private_key_jwt"
//	cfg.Registration.TokenEndpointAuthSigningAlg = "PS256"
//	cfg.Provider.AssertionAudience = "token_endpoint"
//	cfg.Provider.AssertionThumbprint = true
//
// The Validate of this Config refuses keys without the other four.
//
// Three mistakes: to take "common" for an issuer; to call UserInfo with the token of
// another API; to find an account by e-mail address or preferred_username, which an
// administrator of any tenant can set to anything: key your data by Session.Issuer and
// Session.Subject, or by the claims tid and oid.
//
// What is left to you, since it is not documented or not certain: for front-channel logout,
// set Provider.FrontchannelLogoutWithoutIssuer, and add the optional claim sid to the ID
// Token; for oidcrp.MaxAge, add the optional claim auth_time. With more than 200 groups,
// the ID Token has no groups: ask Microsoft Graph. National clouds have other hosts.
//
// Source: learn.microsoft.com/entra/identity-platform, "OpenID Connect", "Certificate
// credentials", "ID token claims reference" and "UserInfo endpoint".
func Entra(tenants ...string) oidcrp.Config {
	f := &findings{preset: "Entra"}
	cfg := oidcrp.Config{
		Registration: oidcrp.Registration{TokenEndpointAuthMethod: "client_secret_post"},
		Provider:     oidcrp.Provider{NoUserInfo: true},
	}
	issuers := f.entraIssuers(tenants)
	if len(issuers) == 1 {
		cfg.Issuer = issuers[0]
		return f.config(cfg, checkEntraKeys)
	}
	endpoint := "organizations"
	if slices.Contains(issuers, entraIssuer(entraConsumers)) {
		endpoint = "common"
	}
	cfg.Issuer = entraIssuer("{tenantid}")
	cfg.Provider.MetadataURL = entraIssuer(endpoint) + "/.well-known/openid-configuration"
	cfg.Provider.AcceptedIssuers = issuers
	return f.config(cfg, checkEntraKeys)
}

func entraIssuer(tenant string) string { return entraRoot + tenant + "/v2.0" }

// entraIssuers returns the issuers of the tenants, each once.
func (f *findings) entraIssuers(tenants []string) []string {
	if len(tenants) == 0 {
		f.add("tenants", "is empty: list the Directory (tenant) ID of each tenant that may sign in")
	}
	var issuers []string
	for i, tenant := range tenants {
		id := strings.ToLower(tenant)
		if !guid.MatchString(id) {
			f.add(fmt.Sprintf("tenants[%d]", i), "%q is not a GUID: give the Directory (tenant) ID from the app registration, "+
				"not a domain name, common or organizations", shown(tenant))
			continue
		}
		if issuer := entraIssuer(id); !slices.Contains(issuers, issuer) {
			issuers = append(issuers, issuer)
		}
	}
	return issuers
}

// checkEntraKeys refuses a certificate that Entra would not find.
func checkEntraKeys(f *findings, cfg oidcrp.Config, _ []request) {
	r, p := cfg.Registration, cfg.Provider
	if len(r.ClientKeys) == 0 {
		return
	}
	for _, field := range []struct{ name, got, want string }{
		{"Registration.TokenEndpointAuthMethod", r.TokenEndpointAuthMethod, "private_key_jwt"},
		{"Registration.TokenEndpointAuthSigningAlg", r.TokenEndpointAuthSigningAlg, "PS256"},
		{"Provider.AssertionAudience", p.AssertionAudience, "token_endpoint"},
		{"Provider.AssertionThumbprint", fmt.Sprint(p.AssertionThumbprint), "true"},
	} {
		if field.got != field.want {
			f.add(field.name, "must be %s with Registration.ClientKeys, since Entra finds the key by its certificate", field.want)
		}
	}
}
