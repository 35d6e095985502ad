package proconnect

import "github.com/oidcrp/oidcrp"

// The levels that ProConnect attests in acr. They are compared exactly: none includes
// another. All but [ACREIDAS0] and [ACREIDAS1] stand for two factors.
const (
	ACREIDAS0    = "eidas0"
	ACREIDAS0MFA = "eidas0-mfa"
	ACREIDAS1    = "eidas1"
	ACREIDAS1MFA = "eidas1-mfa"
	ACREIDAS2    = "eidas2" // eIDAS substantial
	ACREIDAS3    = "eidas3" // eIDAS high
	// ACRCertificationDirigeant attests that the person is a director of the company
	// of the siret claim.
	ACRCertificationDirigeant = "https://proconnect.gouv.fr/assurance/certification-dirigeant"
)

// The methods that ProConnect names in amr (RFC 8176). The claim may be missing, and
// identity providers may add values of their own, so decide by acr.
const (
	AMRPassword    = "pwd"
	AMRMail        = "mail" // a code sent by e-mail
	AMROTP         = "otp"
	AMRPIN         = "pin"
	AMRPossession  = "pop" // proof of possession of a key
	AMRHardwareKey = "hwk"
	AMRSoftwareKey = "swk"
	AMRMFA         = "mfa"
)

// MFA requires two factors. When the identity provider has only one,
// ProConnect adds a code sent by e-mail.
func MFA() oidcrp.Requirement {
	requirement := oidcrp.ACR(ACREIDAS0MFA, ACREIDAS1MFA, ACREIDAS2, ACREIDAS3)
	requirement.Explain = text{
		"This page asks for a sign-in with two factors, such as a password and a code. Yours had one. " +
			"Sign in again with two factors; if you are not offered any, ask your organisation's IT department.",
		"Cette page demande une double authentification, par exemple un mot de passe et un code. " +
			"La vôtre n’avait qu’un facteur. Reconnectez-vous avec deux facteurs\u00a0; " +
			"si cela ne vous est pas proposé, adressez-vous au service informatique de votre organisation.",
	}.in
	return requirement
}

// EIDAS2 requires the eIDAS level substantial or high. ProConnect never reuses
// its own session for these levels: the person signs in again. On a route that
// requires [MFA] too, this is the level that is asked for.
func EIDAS2() oidcrp.Requirement {
	requirement := oidcrp.ACR(ACREIDAS2, ACREIDAS3)
	requirement.Explain = text{
		"This page asks for a sign-in of the eIDAS level “substantial” or “high”, for example with a card. " +
			"Ask your organisation's IT department whether you can have one.",
		"Cette page demande une authentification de niveau eIDAS «\u00a0substantiel\u00a0» ou «\u00a0élevé\u00a0», " +
			"par exemple avec une carte. Demandez au service informatique de votre organisation si vous pouvez en disposer.",
	}.in
	return requirement
}

// CertificationDirigeant requires ProConnect to attest that the person is a
// director of the company they act for. Directors of public bodies, of associations
// and of companies that only companies own cannot be certified, so offer them another
// way. ProConnect enables it in production on request. No sign-in meets both this and
// another level: do not require both on one route.
func CertificationDirigeant() oidcrp.Requirement {
	requirement := oidcrp.ACR(ACRCertificationDirigeant)
	requirement.Ask = func(o *oidcrp.AuthOptions) {
		// ProConnect documents value for this one, and values for the others.
		if o.Claims == nil {
			o.Claims = new(oidcrp.ClaimsRequest)
		}
		if o.Claims.IDToken == nil {
			o.Claims.IDToken = make(map[string]*oidcrp.ClaimRequest)
		}
		o.Claims.IDToken["acr"] = &oidcrp.ClaimRequest{Essential: true, Value: ACRCertificationDirigeant}
	}
	requirement.Explain = text{
		"This page is for company directors whose status ProConnect has certified, which takes a sign-in " +
			"with FranceConnect. Public bodies and associations cannot be certified.",
		"Cette page est réservée aux dirigeants d’entreprise dont ProConnect a certifié la qualité, " +
			"ce qui passe par FranceConnect. Les organismes publics et les associations ne peuvent pas être certifiés.",
	}.in
	return requirement
}
