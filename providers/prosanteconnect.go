package providers

import (
	"slices"

	"github.com/oidcrp/oidcrp"
)

var proSanteConnectIssuers = map[Environment]string{
	Production: "https://auth.esw.esante.gouv.fr/auth/realms/esante-wallet",
	Sandbox:    "https://auth.bas.psc.esante.gouv.fr/auth/realms/esante-wallet",
}

// ProSanteConnect returns a Config for Pro Santé Connect, where health professionals sign
// in. Sandbox is the environment "bac à sable" (BAS). It sets:
//
//   - the issuer, and MetadataURL: the metadata is in a file of its own, and the standard
//     one names another page to sign in on;
//   - the scopes "openid scope_all";
//   - the acr to ask for, "eidas1", and those to accept, since a person with a card comes
//     back with "eidas2";
//   - an EndSessionURL without state, which does not always come back from a logout.
//
// Add ClientID, ClientSecret, BaseURL and CookieKeys. Register the redirect URI and the
// post-logout redirect URI with the Agence du numérique en santé (ANS), in each
// environment.
//
// Three mistakes: to read the standard metadata; to require "eidas1" alone, which locks out
// everybody with a card, and which the Validate of this Config refuses; to take the claim
// SubjectRole for a string, where it is an array. The key of a person is SubjectNameID.
//
// What is left to you, since this package is not certain of it: calls of the ANS's APIs need a
// client certificate (Registration.ClientCertificates); the ANS asks for a logout at Pro Santé
// Connect when the person signs out, and not when the session of the app expires. How long its
// own session lasts depends on its settings.
//
// Source: ansforge/keycloak-prosanteconnect, the connector of the ANS.
func ProSanteConnect(environment Environment) oidcrp.Config {
	f := &findings{preset: "ProSanteConnect"}
	issuer := f.environment(environment, proSanteConnectIssuers)
	return f.config(oidcrp.Config{
		Issuer: issuer,
		Scopes: []string{"openid", "scope_all"},
		Login: oidcrp.AuthOptions{
			ACRValues:  []string{"eidas1"},
			RequireACR: []string{"eidas1", "eidas2", "eidas3"},
		},
		Provider: oidcrp.Provider{
			MetadataURL:   issuer + "/.well-known/wallet-openid-configuration",
			EndSessionURL: "?id_token_hint={id_token_hint}&client_id={client_id}&post_logout_redirect_uri={post_logout_redirect_uri}",
		},
	}, refuseEIDAS1Alone)
}

func refuseEIDAS1Alone(f *findings, _ oidcrp.Config, asked []request) {
	for _, o := range asked {
		if slices.Contains(o.RequireACR, "eidas1") && !slices.Contains(o.RequireACR, "eidas2") {
			f.add(o.where+"RequireACR", `holds "eidas1" without "eidas2", with which people with a card come back: add "eidas2"`)
		}
	}
}
