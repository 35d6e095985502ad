package proconnect

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp"
)

// The levels that ProConnect attests in acr. They match exactly: none covers another.
// Two factors are behind all but [ACREIDAS0] and [ACREIDAS1].
const (
	ACREIDAS0    = "eidas0"
	ACREIDAS0MFA = "eidas0-mfa"
	ACREIDAS1    = "eidas1"
	ACREIDAS1MFA = "eidas1-mfa"
	ACREIDAS2    = "eidas2" // eIDAS substantial
	ACREIDAS3    = "eidas3" // eIDAS high
	// ACRCertificationDirigeant attests that the person directs the company of the
	// siret.
	ACRCertificationDirigeant = "https://proconnect.gouv.fr/assurance/certification-dirigeant"
)

// The methods that ProConnect names in amr, which may be missing. Identity providers
// may add their own; decide by acr.
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

// retiredACRs went out of use on 2026-06-18, but many examples still show them.
var retiredACRs = []string{
	"https://proconnect.gouv.fr/assurance/self-asserted",
	"https://proconnect.gouv.fr/assurance/self-asserted-2fa",
	"https://proconnect.gouv.fr/assurance/consistency-checked",
	"https://proconnect.gouv.fr/assurance/consistency-checked-2fa",
}

// RequireMFA requires two factors. When the identity provider has one only,
// ProConnect adds a code by e-mail.
func RequireMFA() oidcrp.Requirement {
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

// RequireEIDAS2 requires the eIDAS level substantial or high. ProConnect then always
// asks for a fresh sign-in. Beside [RequireMFA] on one route, this one decides.
func RequireEIDAS2() oidcrp.Requirement {
	requirement := oidcrp.ACR(ACREIDAS2, ACREIDAS3)
	requirement.Explain = text{
		"This page asks for a sign-in of the eIDAS level “substantial” or “high”, for example with a card. " +
			"Ask your organisation's IT department whether you can have one.",
		"Cette page demande une authentification de niveau eIDAS «\u00a0substantiel\u00a0» ou «\u00a0élevé\u00a0», " +
			"par exemple avec une carte. Demandez au service informatique de votre organisation si vous pouvez en disposer.",
	}.in
	return requirement
}

// RequireCertificationDirigeant requires ProConnect to attest that the person directs
// the company they act for. That excludes public bodies, associations and companies
// owned by companies alone, so offer them another way. ProConnect opens it in
// production on request. No sign-in meets it and another requirement of a level at
// the same time: do not put both on one route.
func RequireCertificationDirigeant() oidcrp.Requirement {
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

// Check refuses what [oidcrp.New] cannot know to be wrong with ProConnect, in cfg and
// in the requirements of routes: another issuer than ProConnect's at its hosts,
// retired acr values, max_age and prompt=login as a means to have the person sign in
// anew, prompt=none with hints or levels, and proofs of the client that cannot be
// registered. Its error is an [*oidcrp.Error] with [oidcrp.CodeConfig] that names
// everything wrong with its reason.
//
// A Config of this package has it as [oidcrp.Config.Check]: most services need not
// call it.
func Check(cfg oidcrp.Config, requirements ...oidcrp.Requirement) error {
	problems := append([]error{checkIssuer(cfg.Issuer)}, checkOptions("AuthOptions", cfg.AuthOptions)...)
	switch cfg.TokenEndpointAuthMethod {
	case "", "client_secret_post", "client_secret_basic":
	default:
		problems = append(problems, fmt.Errorf("TokenEndpointAuthMethod %q cannot be registered at ProConnect; "+
			"use client_secret_post", cfg.TokenEndpointAuthMethod))
	}
	for _, requirement := range requirements {
		problems = append(problems, checkRequirement(requirement)...)
	}
	if err := errors.Join(problems...); err != nil {
		return configError(err)
	}
	return nil
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil // New says it
	}
	if host := u.Hostname(); host == "identite.proconnect.gouv.fr" || host == "identite-sandbox.proconnect.gouv.fr" {
		return errors.New("Issuer is ProConnect Identité, one of the identity providers; " +
			"services register with ProConnect itself")
	}
	for _, e := range environments {
		if want := e.Issuer(); strings.HasPrefix(want, "https://"+u.Hostname()+"/") && issuer != want {
			return fmt.Errorf("Issuer must be %s exactly", want)
		}
	}
	return nil
}

func checkOptions(field string, o oidcrp.AuthOptions) []error {
	var problems []error
	wrong := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(field+format, args...))
	}
	levels := requestedACR(o)
	for _, acr := range levels {
		if slices.Contains(retiredACRs, acr) {
			wrong(" asks for %q, which ProConnect retired on 2026-06-18; use the eidas levels", acr)
		}
	}
	if o.MaxAge != nil {
		wrong(".MaxAge proves nothing: ProConnect sets auth_time to now even when nobody signed in anew; " +
			"require eidas2, or log out first")
	}
	prompts := strings.Fields(o.Prompt)
	if slices.Contains(prompts, "login") {
		wrong(".Prompt login does not make ProConnect ask anew; require eidas2, or log out first")
	}
	hinted := o.LoginHint != "" || o.Extra.Has("idp_hint") || o.Extra.Has("siret_hint")
	if slices.Contains(prompts, "none") && (hinted || len(levels) > 0) {
		wrong(".Prompt none must go without hints and levels: ProConnect shows its pages otherwise")
	}
	return problems
}

// requestedACR returns the acr values that o asks for in any way.
func requestedACR(o oidcrp.AuthOptions) []string {
	values := slices.Clone(o.ACRValues)
	if o.Claims == nil || o.Claims.IDToken["acr"] == nil {
		return values
	}
	claim := o.Claims.IDToken["acr"]
	for _, v := range append([]any{claim.Value}, claim.Values...) {
		if s, ok := v.(string); ok {
			values = append(values, s)
		}
	}
	return values
}

func checkRequirement(requirement oidcrp.Requirement) []error {
	var problems []error
	if requirement.Ask != nil {
		var o oidcrp.AuthOptions
		requirement.Ask(&o)
		problems = checkOptions("the requirement "+requirement.Name+": AuthOptions", o)
	}
	// What oidcrp.ACR asks for is to be read in its name only.
	for _, acr := range retiredACRs {
		if len(problems) == 0 && strings.Contains(requirement.Name, fmt.Sprintf("%q", acr)) {
			problems = append(problems, fmt.Errorf("the requirement %s asks for %q, "+
				"which ProConnect retired on 2026-06-18; use the eidas levels", requirement.Name, acr))
		}
	}
	return problems
}

// require makes a requirement of what a test says of the person.
func require(name string, met func(User) bool, explain text) oidcrp.Requirement {
	return oidcrp.Requirement{
		Name: name,
		Met: func(s *oidcrp.Session, _ time.Time) bool {
			u, err := UserFrom(s)
			return err == nil && met(u)
		},
		Explain: explain.in,
	}
}
