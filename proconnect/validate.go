package proconnect

// This file refuses configurations that cannot work with ProConnect.

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// retiredACRs went out of use on 2026-06-18, but many examples still show them.
var retiredACRs = []string{
	"https://proconnect.gouv.fr/assurance/self-asserted",
	"https://proconnect.gouv.fr/assurance/self-asserted-2fa",
	"https://proconnect.gouv.fr/assurance/consistency-checked",
	"https://proconnect.gouv.fr/assurance/consistency-checked-2fa",
}

// Validate refuses what cannot work with ProConnect, in cfg and in the requirements of
// a route: a wrong issuer at ProConnect's hosts, retired acr values, max_age or
// prompt=login as a means to make the person sign in again, prompt=none with hints or
// levels, and client authentication that cannot be registered. Its error is an
// [*oidcrp.Error] with [oidcrp.CodeConfigInvalid] that names every mistake and its reason.
//
// A Config of this package has it as [oidcrp.Config.Validate], so most services need
// not call it.
func Validate(cfg oidcrp.Config, requirements ...oidcrp.Requirement) error {
	return validate(cfg, nil, requirements...)
}

// validate is Validate. variables are the environment variables that set the fields of
// cfg, for a Config from the environment.
func validate(cfg oidcrp.Config, variables map[string]string, requirements ...oidcrp.Requirement) error {
	f := &findings{variables: variables}
	f.checkIssuer(cfg.Issuer)
	f.checkOptions("Login.", cfg.Login)
	switch method := cfg.Registration.TokenEndpointAuthMethod; method {
	case "", "client_secret_post", "client_secret_basic":
	default:
		f.add("Registration.TokenEndpointAuthMethod",
			"%q cannot be registered at ProConnect; use client_secret_post", method)
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

// findings collects what cannot work with ProConnect.
type findings struct {
	variables map[string]string // by field; nil for a Config that was written in Go
	problems  []error
}

// add names a field, and the variable that set it if there is one.
func (f *findings) add(field, format string, args ...any) {
	if variable := f.variables[field]; variable != "" {
		field = variable + " (" + field + ")"
	}
	f.problems = append(f.problems, fmt.Errorf("%s %s", field, fmt.Sprintf(format, args...)))
}

func (f *findings) checkIssuer(issuer string) {
	u, err := url.Parse(issuer)
	if err != nil {
		return // New reports it
	}
	if host := u.Hostname(); host == "identite.proconnect.gouv.fr" || host == "identite-sandbox.proconnect.gouv.fr" {
		f.add("Issuer", "is ProConnect Identité, one of the identity providers; "+
			"services register with ProConnect itself")
		return
	}
	for _, e := range environments {
		if want := e.Issuer(); strings.HasPrefix(want, "https://"+u.Hostname()+"/") && issuer != want {
			f.add("Issuer", "must be %s exactly", want)
		}
	}
}

// checkOptions checks what a login asks for. where goes before the names of fields.
func (f *findings) checkOptions(where string, o oidcrp.AuthOptions) {
	levels := 0
	for _, field := range []struct {
		name   string
		values []string
	}{{"ACRValues", o.ACRValues}, {"RequireACR", o.RequireACR}, {"Claims", claimedACR(o.Claims)}} {
		levels += len(field.values)
		for _, acr := range field.values {
			if slices.Contains(retiredACRs, acr) {
				f.add(where+field.name, "holds %q, which ProConnect retired on 2026-06-18; use the eidas levels", acr)
			}
		}
	}
	if o.MaxAge != nil {
		f.add(where+"MaxAge", "proves nothing: ProConnect sets auth_time to the current time even when it "+
			"reuses its own session; require eidas2, or log out first")
	}
	prompts := strings.Fields(o.Prompt)
	if slices.Contains(prompts, "login") {
		f.add(where+"Prompt", "%q does not make ProConnect ask for the password again; "+
			"require eidas2, or log out first", "login")
	}
	if levels == 0 && o.Claims != nil && o.Claims.IDToken["acr"] != nil {
		levels = 1 // any one
	}
	hinted := o.LoginHint != "" || o.Extra.Has("idp_hint") || o.Extra.Has("siret_hint")
	if slices.Contains(prompts, "none") && (hinted || levels > 0) {
		f.add(where+"Prompt", "%q cannot be combined with hints or levels: ProConnect then shows its pages", "none")
	}
}

// claimedACR returns the values of the acr claim that c requests in the ID Token.
func claimedACR(c *oidcrp.ClaimsRequest) []string {
	if c == nil || c.IDToken["acr"] == nil {
		return nil
	}
	var values []string
	for _, v := range append([]any{c.IDToken["acr"].Value}, c.IDToken["acr"].Values...) {
		if s, ok := v.(string); ok {
			values = append(values, s)
		}
	}
	return values
}
