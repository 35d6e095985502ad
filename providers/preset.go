package providers

// This file holds what all presets have in common: the checks of their parameters, and
// the errors that New reports.

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// An Environment is one of the servers of a provider that has several. Each has its own
// registrations, keys and accounts. There is no default, so that nobody uses the server
// where anybody can sign in as anybody by mistake.
type Environment string

// The environments. The provider may call Sandbox the integration environment.
const (
	Production Environment = "production"
	Sandbox    Environment = "sandbox"
)

// findings collects what is wrong with the parameters of a preset, or with a Config that
// was made by one.
type findings struct {
	preset   string
	problems []error
}

// add reports a problem. what names the parameter or the field.
func (f *findings) add(what, format string, args ...any) {
	f.problems = append(f.problems, fmt.Errorf("providers.%s: %s %s", f.preset, what, fmt.Sprintf(format, args...)))
}

// A rule refuses what cannot work with a provider.
type rule func(f *findings, cfg oidcrp.Config, asked []request)

// A request is what a login asks for: every login, or that of a route with a requirement.
type request struct {
	where string // before the names of fields
	oidcrp.AuthOptions
}

// config returns cfg with a Validate that reports what is wrong with the parameters of
// the preset, and what the rules refuse. If a parameter is wrong, the issuer is empty,
// which New refuses even where the app sets a Validate of its own.
func (f *findings) config(cfg oidcrp.Config, rules ...rule) oidcrp.Config {
	if len(f.problems) > 0 {
		cfg.Issuer = ""
	}
	cfg.Validate = func(cfg oidcrp.Config, requirements ...oidcrp.Requirement) error {
		found := &findings{preset: f.preset, problems: f.problems[:len(f.problems):len(f.problems)]}
		for _, check := range rules {
			check(found, cfg, requests(cfg, requirements))
		}
		if err := errors.Join(found.problems...); err != nil {
			return &oidcrp.Error{Op: "config", Code: oidcrp.CodeConfigInvalid, Err: err}
		}
		return nil
	}
	return cfg
}

// requests returns what the logins of a Config and of a route ask for.
func requests(cfg oidcrp.Config, requirements []oidcrp.Requirement) []request {
	all := []request{{"Login.", cfg.Login}}
	for _, requirement := range requirements {
		if requirement.Ask != nil {
			var o oidcrp.AuthOptions
			requirement.Ask(&o)
			all = append(all, request{"the requirement " + requirement.Name + ": ", o})
		}
	}
	return all
}

// environment returns what issuers has for e.
func (f *findings) environment(e Environment, issuers map[Environment]string) string {
	if issuers[e] == "" {
		f.add("environment", "%q is not known: use Production or Sandbox", string(e))
	}
	return issuers[e]
}

var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?$`)

// host checks a parameter that is a host name alone.
func (f *findings) host(parameter, value, example string) string {
	if !hostName.MatchString(value) {
		f.add(parameter, "%q is not a host name: give it in lower case, without https:// and without a path, such as %s",
			shown(value), example)
	}
	return value
}

// base checks a parameter that is the base URL of an installation, and returns it without
// a slash at its end. New checks the scheme.
func (f *findings) base(parameter, value, example string) string {
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(value, "?#") {
		f.add(parameter, "%q must be an absolute URL without user, query and fragment, such as %s", shown(value), example)
		return ""
	}
	if before, _, found := strings.Cut(value, "/.well-known"); found {
		f.add(parameter, "%q is the address of the metadata: give %s", shown(value), shown(before))
	}
	return strings.TrimRight(value, "/")
}

// segment checks a parameter that becomes one segment of a path, as URLs have it.
func (f *findings) segment(parameter, value, what string) string {
	plain, err := url.PathUnescape(value)
	if err != nil || strings.Trim(plain, ".") == "" || strings.ContainsAny(plain, "/\\") || url.PathEscape(plain) != value {
		f.add(parameter, "%q must be %s", shown(value), what)
	}
	return value
}

// shown returns a value for an error: the part before an @ may be a password.
func shown(value string) string {
	if i := strings.LastIndexByte(value, '@'); i >= 0 {
		value = "…" + value[i:]
	}
	if len(value) > 200 {
		value = strings.ToValidUTF8(value[:200], "") + "…"
	}
	return value
}

// keepsClaim refuses a list of kept claims without the one that a requirement of a preset
// needs, since nobody could sign in.
func keepsClaim(claim string) rule {
	return func(f *findings, cfg oidcrp.Config, _ []request) {
		if keep := cfg.Sessions.KeepClaims; keep != nil && !slices.Contains(keep, claim) {
			f.add("Sessions.KeepClaims", "must hold %q: a requirement decides by it who may sign in", claim)
		}
	}
}

// onlyWith returns the requirement that the claim is one of values. name is for the log,
// and the texts for the person.
func onlyWith(claim string, values []string, name, en, fr string) []oidcrp.Requirement {
	requirement := oidcrp.Claim(claim, values...)
	requirement.Name = name + ": " + requirement.Name
	requirement.Explain = func(language string) string {
		if language == "fr" {
			return fr
		}
		return en
	}
	return []oidcrp.Requirement{requirement}
}
