package franceconnect

import (
	"net/url"

	"github.com/oidcrp/oidcrp"
)

// The levels. FranceConnect attests the first, and FranceConnect+ the others.
const (
	ACREIDAS1 = "eidas1" // eIDAS low
	ACREIDAS2 = "eidas2" // eIDAS substantial
	ACREIDAS3 = "eidas3" // eIDAS high
)

// levels returns those of the platform, from the lowest up.
func (e Environment) levels() []string {
	if e.Plus() {
		return []string{ACREIDAS2, ACREIDAS3}
	}
	return []string{ACREIDAS1}
}

// The methods that FranceConnect names in amr, if [RequestAMR] asks for it. Decide by acr.
const (
	AMRFranceConnect = "fc"
	AMRPassword      = "pwd"
	AMRMail          = "mail"
	AMRPIN           = "pin"
	AMRPossession    = "pop"
	AMRMFA           = "mfa"
)

// EIDAS3 requires the level high of FranceConnect+, which never reuses its session for it:
// the person signs in again. It is refused with FranceConnect.
func EIDAS3() oidcrp.Requirement {
	requirement := oidcrp.ACR(ACREIDAS3)
	requirement.Explain = text{
		"This page asks for a sign-in of the eIDAS level “high”. Sign in with FranceConnect+ " +
			"through an identity provider of that level.",
		"Cette page demande une authentification de niveau eIDAS «\u00a0élevé\u00a0». Connectez-vous avec " +
			"FranceConnect+ par un fournisseur d’identité de ce niveau.",
	}.in
	return requirement
}

// RequestAMR asks for the amr claim. FranceConnect must have allowed it for the client:
// otherwise the login ends on its error page, code Y100009.
func RequestAMR(o *oidcrp.AuthOptions) {
	claims := oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"amr": {Essential: true}}}
	if o.Claims != nil {
		claims.UserInfo = o.Claims.UserInfo
		for name, claim := range o.Claims.IDToken { // the map may be shared with other logins
			if name != "amr" {
				claims.IDToken[name] = claim
			}
		}
	}
	o.Claims = &claims
}

// SetIDPHint makes the login go straight to the identity provider with this id. It must
// be one that FranceConnect allows as a hint, to everybody or to this client: otherwise
// the login fails with FranceConnect's error invalid_idp_hint. It has no effect on a
// person who has a session at FranceConnect. An empty id sets nothing.
func SetIDPHint(o *oidcrp.AuthOptions, id string) {
	if id == "" {
		return
	}
	extra := url.Values{idpHint: {id}}
	for name, values := range o.Extra { // the map may be shared with other logins
		if name != idpHint {
			extra[name] = values
		}
	}
	o.Extra = extra
}

const idpHint = "idp_hint"

// A text is the same sentence in both languages.
type text struct{ en, fr string }

// in returns the text in "fr", and in English for any other language.
func (t text) in(language string) string {
	if language == "fr" {
		return t.fr
	}
	return t.en
}
