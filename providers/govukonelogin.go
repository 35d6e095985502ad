package providers

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

var oneLoginIssuers = map[Environment]string{
	Production: "https://oidc.account.gov.uk/",
	Sandbox:    "https://oidc.integration.account.gov.uk/",
}

// oneLoginVector matches a vector of trust: a level of confidence in the identity, which may
// be left out, and the protection of the authentication.
var oneLoginVector = regexp.MustCompile(`^(?:P[0-9]\.)?(Cl(?:\.Cm)?)$`)

// GOVUKOneLogin returns a Config for GOV.UK One Login. Sandbox is its integration environment.
// vectors are the vectors of trust that a login may have: "Cl.Cm" for two factors, "Cl" for
// one, "P2.Cl.Cm" with a proven identity. If there are none, "Cl.Cm". It sets:
//
//   - the issuer, which ends in a slash;
//   - private_key_jwt with RS256: keys for ES256 are refused there;
//   - the scopes "openid email": the scope profile is refused, and others must be allowed for
//     the client;
//   - the parameter vtr (Login.Extra), and a Requirement that refuses everybody whose ID Token
//     has a lower vot than the vectors ask for: the person can change the request, and there is
//     no acr to check;
//   - ES256 for Logout Tokens, which have it whatever was chosen for ID Tokens.
//
// Add ClientID, BaseURL, CookieKeys, Registration.ClientKeys (an RSA key with a key id), and
// Registration.IDTokenSignedResponseAlg as chosen. Register the redirect URI, the post-logout
// redirect URI, the back-channel logout URI, and the public key or the JWKS URI.
// client_secret_post is possible for vectors without an identity.
//
// Three mistakes: the scope profile, the response mode form_post, or an ES256 key for the
// client, all of which the Validate of this Config refuses; to trust an acr; to take the
// identity from UserInfo without verifying the JWT in its claim
// https://vocab.account.gov.uk/v1/coreIdentityJWT: its issuer, key, sub and vot, which alone
// says that the identity was proven to P2. This library does not verify it.
//
// What is left to you: claims about the identity are requested by Login.Claims, under their
// names at https://vocab.account.gov.uk/v1/, and must be allowed for the client, as must
// max_age. Refresh tokens are not generally offered.
//
// Source: docs.sign-in.service.gov.uk.
func GOVUKOneLogin(environment Environment, vectors ...string) oidcrp.Config {
	f := &findings{preset: "GOVUKOneLogin"}
	if len(vectors) == 0 {
		vectors = []string{"Cl.Cm"}
	}
	cfg := oidcrp.Config{
		Issuer: f.environment(environment, oneLoginIssuers),
		Scopes: []string{"openid", "email"},
		Login:  oidcrp.AuthOptions{Extra: url.Values{"vtr": {vtr(vectors)}}},
		Registration: oidcrp.Registration{
			TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlg: "RS256",
		},
		Provider: oidcrp.Provider{LogoutTokenSigningAlg: "ES256"},
	}
	if protections := f.protections(vectors); len(protections) > 0 {
		cfg.Requirements = onlyWith("vot", protections, "a vector of trust that was asked for",
			"You must sign in with the security checks that this service asks for. Try again.",
			"Vous devez vous connecter avec les contrôles de sécurité demandés par ce service. Réessayez.")
	}
	return f.config(cfg, keepsClaim("vot"), checkOneLogin(slices.ContainsFunc(vectors, provesIdentity)))
}

// vtr returns the value of the parameter vtr (RFC 8485 section 4).
func vtr(vectors []string) string {
	text, err := json.Marshal(vectors)
	if err != nil {
		return "" // strings can be encoded
	}
	return string(text)
}

// protections returns the values that vot may have: the vectors without the identity, of
// which the ID Token says nothing, and two factors where one is enough.
func (f *findings) protections(vectors []string) []string {
	var values []string
	for _, vector := range vectors {
		parts := oneLoginVector.FindStringSubmatch(vector)
		if parts == nil {
			f.add("vectors:", "%q is not a vector of trust, such as Cl.Cm or P2.Cl.Cm", shown(vector))
			continue
		}
		for _, value := range []string{parts[1], "Cl.Cm"} {
			if !slices.Contains(values, value) {
				values = append(values, value)
			}
		}
	}
	return values
}

func provesIdentity(vector string) bool {
	return strings.HasPrefix(vector, "P") && !strings.HasPrefix(vector, "P0.")
}

// checkOneLogin returns the rules. identity says that a vector asks for a proven one.
func checkOneLogin(identity bool) rule {
	return func(f *findings, cfg oidcrp.Config, _ []request) {
		r := cfg.Registration
		if slices.Contains(cfg.Scopes, "profile") {
			f.add("Scopes", `holds "profile", which ends in invalid_scope: use openid, email and phone`)
		}
		if cfg.ResponseMode == "form_post" {
			f.add("ResponseMode", "form_post ends in invalid_request: leave it empty")
		}
		switch method, alg := r.TokenEndpointAuthMethod, r.TokenEndpointAuthSigningAlg; {
		case method == "private_key_jwt" && !strings.HasPrefix(alg, "RS") && !strings.HasPrefix(alg, "PS"):
			f.add("Registration.TokenEndpointAuthSigningAlg", "%q is not accepted: use RS256 or PS256, and an RSA key", shown(alg))
		case method == "client_secret_post" && identity:
			f.add("Registration.TokenEndpointAuthMethod", "client_secret_post is not accepted with a proven identity: use private_key_jwt")
		case method != "private_key_jwt" && method != "client_secret_post":
			f.add("Registration.TokenEndpointAuthMethod", "%q is not accepted: use private_key_jwt", shown(method))
		}
	}
}
