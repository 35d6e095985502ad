package providers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

var loginGovIssuers = map[Environment]string{
	Production: "https://secure.login.gov/",
	Sandbox:    "https://idp.int.identitysandbox.gov/",
}

// loginGovLevels are the service levels, of which a request must have one, from the lowest to
// the highest in each line, and what the ID Token then says.
var loginGovLevels = [][]string{
	{"urn:acr.login.gov:auth-only", "urn:acr.login.gov:verified", "urn:acr.login.gov:verified-facial-match-required"},
	{"http://idmanagement.gov/ns/assurance/ial/1", "http://idmanagement.gov/ns/assurance/ial/2"},
	{loginGovPreferred},
}

// loginGovPreferred is answered with the level that was reached.
const loginGovPreferred = "urn:acr.login.gov:verified-facial-match-preferred"

// loginGovAccepted returns the level and those above it, nil if only the app can tell.
func loginGovAccepted(level string) []string {
	for _, line := range loginGovLevels {
		if i := slices.Index(line, level); i >= 0 && level != loginGovPreferred {
			return slices.Clone(line[i:])
		}
	}
	return nil
}

// LoginGov returns a Config for login.gov, of the United States' government. level is the
// service level, such as "urn:acr.login.gov:auth-only" or "urn:acr.login.gov:verified";
// further are further acr values, such as "http://idmanagement.gov/ns/assurance/aal/2". It
// sets:
//
//   - the issuer, which ends in a slash;
//   - the acr values to ask for, without which every login is refused, and as those to accept
//     (Login.RequireACR) the level and the higher ones: the person can change the request;
//   - private_key_jwt with RS256, and the token endpoint as the audience of its assertions:
//     there are no client secrets;
//   - RS256 for ID Tokens;
//   - the scopes "openid email": others must be allowed for the client;
//   - LogoutWithoutHint: production refuses an id_token_hint.
//
// Add ClientID (the issuer of the app in the portal, such as
// urn:gov:gsa:openidconnect.profiles:sp:sso:agency:app), BaseURL, CookieKeys and
// Registration.ClientKeys (an RSA key). In the portal, register the certificate or public
// key, and the redirect URI and the post-logout redirect URI, both as redirect URIs. For a
// public client with PKCE, set Registration.TokenEndpointAuthMethod to "none", and empty
// Provider.AssertionAudience.
//
// With the level "verified-facial-match-preferred", another acr comes back: that of the level
// that was reached. Set Login.RequireACR to those that are good enough, which the Validate of
// this Config demands.
//
// Three mistakes: a logout with the ID Token; a request without a service level; the prompt
// "none", and with it a silent sign-in, which the Validate of this Config refuses. The person
// confirms a logout at login.gov, and does not come back if they do not.
//
// What is left to you: what came of further acr values is not checked, and the person can
// leave them out of the request. The prompt "login" is for apps with an agreement. There are no refresh
// tokens. Which nested claims are text in place of booleans is not certain.
//
// Source: developers.login.gov/oidc.
func LoginGov(environment Environment, level string, further ...string) oidcrp.Config {
	f := &findings{preset: "LoginGov"}
	f.checkLevels(level, further)
	login := oidcrp.AuthOptions{ACRValues: append([]string{level}, further...), RequireACR: loginGovAccepted(level)}
	return f.config(oidcrp.Config{
		Issuer: f.environment(environment, loginGovIssuers),
		Scopes: []string{"openid", "email"},
		Login:  login,
		Registration: oidcrp.Registration{
			TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlg: "RS256",
			IDTokenSignedResponseAlg: "RS256",
		},
		Provider: oidcrp.Provider{AssertionAudience: "token_endpoint", LogoutWithoutHint: true},
	}, checkLoginGov)
}

// checkLevels refuses acr values that are not exactly one service level and others.
func (f *findings) checkLevels(level string, further []string) {
	levels := slices.Concat(loginGovLevels...)
	if !slices.Contains(levels, level) {
		f.add("level", "%q is not a service level: use one of %s", shown(level), strings.Join(levels, ", "))
	}
	for i, acr := range further {
		switch {
		case acr == "" || strings.ContainsAny(acr, " \t\r\n"):
			f.add(fmt.Sprintf("further[%d]", i), "%q is empty or has white space", shown(acr))
		case slices.Contains(levels, acr):
			f.add(fmt.Sprintf("further[%d]", i), "%q is a second service level: give one", shown(acr))
		}
	}
}

// checkLoginGov refuses what login.gov does.
func checkLoginGov(f *findings, cfg oidcrp.Config, asked []request) {
	switch method := cfg.Registration.TokenEndpointAuthMethod; method {
	case "private_key_jwt":
		if cfg.Provider.AssertionAudience != "token_endpoint" {
			f.add("Provider.AssertionAudience", "must be token_endpoint: assertions for the issuer are refused")
		}
	case "none":
	default:
		f.add("Registration.TokenEndpointAuthMethod", `%q is not accepted: use private_key_jwt, or "none" for a public client`, shown(method))
	}
	if len(cfg.Login.RequireACR) == 0 {
		f.add("Login.RequireACR", "is empty: set it to the acr values that are good enough, since the person can change the request")
	}
	for _, o := range asked {
		if slices.Contains(strings.Fields(o.Prompt), "none") {
			f.add(o.where+"Prompt", `"none" is refused by login.gov, and so is a silent sign-in: leave it empty`)
		}
	}
}
