package franceconnect

// This file refuses configurations that cannot work with FranceConnect.

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// Validate refuses what cannot work with the platform of e, in cfg and in the requirements
// of a route: parameters that FranceConnect's closed lists do not have, levels of the
// other platform, other means of client authentication, algorithms that cannot be
// registered, and a wrong issuer. Its error is an [*oidcrp.Error] with
// [oidcrp.CodeConfigInvalid] that names every mistake and its reason.
//
// A Config of this package has it as [oidcrp.Config.Validate], so most services need
// not call it.
func (e Environment) Validate(cfg oidcrp.Config, requirements ...oidcrp.Requirement) error {
	return e.validate(cfg, nil, requirements...)
}

// validate is Validate. variables are the environment variables that set the fields of
// cfg, for a Config from the environment.
func (e Environment) validate(cfg oidcrp.Config, variables map[string]string, requirements ...oidcrp.Requirement) error {
	f := &findings{environment: e, variables: variables}
	f.checkIssuer(cfg.Issuer)
	f.checkRedirect(&cfg)
	f.checkScopes(cfg.Scopes)
	f.checkRequests(&cfg)
	f.checkRegistration(&cfg.Registration)
	f.checkOptions("Login.", cfg.Login)
	if len(cfg.Login.ACRValues)+len(cfg.Login.RequireACR) == 0 {
		f.add("Login.ACRValues", "is empty, and %s refuses a login without acr_values; set it to %q",
			e.name(), e.levels()[0])
	}
	for _, requirement := range requirements {
		if requirement.Ask != nil {
			var o oidcrp.AuthOptions
			requirement.Ask(&o)
			f.checkOptions("the requirement "+requirement.Name+": ", o)
		}
	}
	if err := errors.Join(f.problems...); err != nil {
		return configError(err)
	}
	return nil
}

// findings collects what cannot work.
type findings struct {
	environment Environment
	variables   map[string]string // by field; nil for a Config that was written in Go
	problems    []error
}

// add names a field, and the variable that set it if there is one.
func (f *findings) add(field, format string, args ...any) {
	if variable := f.variables[field]; variable != "" {
		field = variable + " (" + field + ")"
	}
	f.problems = append(f.problems, fmt.Errorf("%s %s", field, fmt.Sprintf(format, args...)))
}

// checkIssuer compares an issuer at the hosts of FranceConnect with those that exist. Any
// other one is a stand-in.
func (f *findings) checkIssuer(issuer string) {
	u, err := url.Parse(issuer)
	if err != nil || issuer == f.environment.Issuer() {
		return // New reports the error
	}
	host := u.Hostname()
	for _, e := range environments {
		if strings.HasPrefix(e.Issuer(), "https://"+host+"/") {
			f.add("Issuer", "must be %s exactly: the Config is for the environment %s",
				f.environment.Issuer(), f.environment)
			return
		}
	}
	if host == "app.franceconnect.gouv.fr" || host == "fcp.integ01.dev-franceconnect.fr" {
		f.add("Issuer", "is that of FranceConnect's version 1; the client must be registered for version 2, "+
			"whose issuer is %s", f.environment.Issuer())
	}
}

// checkRedirect refuses a host without a domain, which only FranceConnect's integration
// takes.
func (f *findings) checkRedirect(cfg *oidcrp.Config) {
	field, address := "BaseURL", cfg.BaseURL
	if uri := cfg.Registration.RedirectURI; uri != "" {
		field, address = "Registration.RedirectURI", uri
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || cfg.Issuer != f.environment.Issuer() {
		return // New reports the first two, and a stand-in takes any host
	}
	local := f.environment == Integration || f.environment == Integ01
	if !local && !strings.ContainsAny(u.Hostname(), ".:") {
		f.add(field, "has the host %q, which %s refuses in the environment %s; use a host with a domain",
			u.Hostname(), f.environment.name(), f.environment)
	}
}

// checkScopes refuses scopes of the other platform, which are ignored there, so that the
// claims are missing.
func (f *findings) checkScopes(scopes []string) {
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		rnipp := strings.HasPrefix(scope, "rnipp_")
		switch {
		case rnipp && !f.environment.Plus():
			f.add("Scopes", "holds %q, which only FranceConnect+ has; FranceConnect takes the civil status "+
				"from the register anyway", scope)
		case (scope == "idp_id" || scope == "idp_birthdate") && f.environment.Plus():
			f.add("Scopes", "holds %q, which FranceConnect+ does not have", scope)
		case slices.Contains(proconnectScopes, scope):
			f.add("Scopes", "holds %q, which is a scope of ProConnect", scope)
		case scope == "offline_access":
			f.add("Scopes", "holds %q, and FranceConnect issues no refresh tokens", scope)
		}
	}
}

// proconnectScopes are those that an app with both is likely to mix up.
var proconnectScopes = []string{"usual_name", "siret", "siren", "uid", "organizational_unit", "belonging_population", "organization_label"}

const pushedRequests = "Registration.RequirePushedAuthorizationRequests"

// checkRequests checks what the client sends beyond the options of a login.
func (f *findings) checkRequests(cfg *oidcrp.Config) {
	p := &cfg.Provider
	for _, field := range []struct {
		name, why string
		wrong     bool
	}{
		{"ResponseMode", "must be empty: FranceConnect refuses response_mode with Y030007", cfg.ResponseMode != ""},
		{pushedRequests, "must not be set: FranceConnect takes no pushed requests",
			cfg.Registration.RequirePushedAuthorizationRequests},
		{"Provider.NoPKCE", "must be true: FranceConnect refuses code_challenge with Y030007", !p.NoPKCE},
		{"Provider.LogoutHintRequired", "must be true: FranceConnect refuses a logout without id_token_hint", !p.LogoutHintRequired},
		{"Provider.RevocationWithoutHint", "must be true: FranceConnect refuses token_type_hint", !p.RevocationWithoutHint},
		{"Provider.UserInfoTokenInBody", "must be false: FranceConnect's UserInfo takes GET only", p.UserInfoTokenInBody},
		{"Tokens.RefreshBefore", "must be zero: FranceConnect issues no refresh tokens", cfg.Tokens.RefreshBefore != 0},
	} {
		if field.wrong {
			f.add(field.name, "%s", field.why)
		}
	}
}

// checkRegistration checks what the client is said to be registered for.
func (f *findings) checkRegistration(r *oidcrp.Registration) {
	const field = "Registration."
	switch r.TokenEndpointAuthMethod {
	case "", "client_secret_post", "client_secret_basic":
	default:
		f.add(field+"TokenEndpointAuthMethod", "%q cannot be registered; use client_secret_post", r.TokenEndpointAuthMethod)
	}
	algs := []string{"ES256", "RS256", "HS256"}
	if f.environment.Plus() {
		algs = algs[:1]
	}
	if alg := r.IDTokenSignedResponseAlg; !slices.Contains(algs, alg) {
		f.add(field+"IDTokenSignedResponseAlg", "is %q; set it to what the client is registered for at %s: %s",
			alg, f.environment.name(), strings.Join(algs, ", "))
	}
	if alg := r.UserInfoSignedResponseAlg; alg != "" && !slices.Contains(algs, alg) {
		f.add(field+"UserInfoSignedResponseAlg", "is %q; set it to what the client is registered for at %s: %s",
			alg, f.environment.name(), strings.Join(algs, ", "))
	}
	f.checkEncryption(field+"IDTokenEncryptedResponse", r.IDTokenEncryptedResponseAlg, r.IDTokenEncryptedResponseEnc)
	f.checkEncryption(field+"UserInfoEncryptedResponse", r.UserInfoEncryptedResponseAlg, r.UserInfoEncryptedResponseEnc)
}

func (f *findings) checkEncryption(field, alg, enc string) {
	switch known := []string{"ECDH-ES", "RSA-OAEP", "RSA-OAEP-256"}; {
	case alg == "":
	case !f.environment.Plus():
		f.add(field, "is set, and FranceConnect encrypts nothing; only FranceConnect+ does")
	case !slices.Contains(known, alg) || enc != contentEncryption:
		f.add(field, "is %q with %q; FranceConnect+ has %s with %s: see Decrypt",
			alg, enc, strings.Join(known, ", "), contentEncryption)
	}
}

// checkOptions checks what a login asks for. where goes before the names of fields.
func (f *findings) checkOptions(where string, o oidcrp.AuthOptions) {
	f.checkLevels(where, o)
	for _, prompt := range strings.Fields(o.Prompt) {
		if prompt != "login" && prompt != "consent" {
			f.add(where+"Prompt", "%q is refused with Y030007: FranceConnect takes login and consent only, and has no silent sign-in", prompt)
		}
	}
	for _, field := range []struct {
		name, parameter string
		set             bool
	}{
		{"MaxAge", "max_age", o.MaxAge != nil},
		{"LoginHint", "login_hint", o.LoginHint != ""},
		{"IDTokenHint", "id_token_hint", o.IDTokenHint != ""},
		{"Display", "display", o.Display != ""},
		{"Resource", "resource", len(o.Resource) > 0},
	} {
		if field.set {
			f.add(where+field.name, "is refused: FranceConnect answers %s with its error page Y030007", field.parameter)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Extra)) {
		if name != idpHint {
			f.add(where+"Extra", "is refused: FranceConnect answers %s with its error page Y030007", name)
		}
	}
}

// checkLevels checks the levels that a login asks for and accepts.
func (f *findings) checkLevels(where string, o oidcrp.AuthOptions) {
	levels := f.environment.levels()
	for _, field := range []struct {
		name   string
		values []string
	}{{"ACRValues", o.ACRValues}, {"RequireACR", o.RequireACR}} {
		for _, acr := range field.values {
			if !slices.Contains(levels, acr) {
				f.add(where+field.name, "holds %q, which %s answers with invalid_acr; it has %s",
					acr, f.environment.name(), strings.Join(levels, " and "))
			}
		}
	}
	if len(o.ACRValues) > 0 && len(o.RequireACR) > 0 && !slices.Contains(o.RequireACR, slices.Min(o.ACRValues)) {
		f.add(where+"ACRValues", "asks for %q, since the lowest value counts, and RequireACR does not accept it",
			slices.Min(o.ACRValues))
	}
	if o.Claims != nil && o.Claims.IDToken["acr"] != nil {
		f.add(where+"Claims", "asks for acr, and FranceConnect reads the level in acr_values; use RequireACR")
	}
}
