package oidcrp

// This file checks the settings for providers that depart from the specifications, and
// logs them at the start.

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// logWaysOut names the settings that are in force for a provider that departs from the
// specifications, so that the log of a start shows what is given up.
func logWaysOut(cfg *Config, name settingName) {
	p := &cfg.Provider
	for _, setting := range []struct {
		field string
		set   bool
	}{
		{"Provider.EndSessionURL", p.EndSessionURL != ""},
		{"Provider.LogoutWithoutHint", p.LogoutWithoutHint},
		{"Provider.RevocationWithoutHint", p.RevocationWithoutHint},
		{"Provider.FrontchannelLogoutWithoutIssuer", p.FrontchannelLogoutWithoutIssuer},
	} {
		if setting.set {
			cfg.Logger.Info("a setting for a provider that departs from the specifications", "setting", name.name(setting.field))
		}
	}
	if len(p.InsecureHTTPHosts) > 0 {
		cfg.Logger.Warn("requests to these hosts of the provider may go unencrypted: everything in them is readable on the way",
			"setting", name.name("Provider.InsecureHTTPHosts"), "hosts", strings.Join(p.InsecureHTTPHosts, " "))
	}
}

// insideDomains are the domains whose names no public resolver knows: .internal (reserved
// by ICANN in 2024), .local (RFC 6762), .test (RFC 6761), .home.arpa (RFC 8375), and
// Kubernetes' .svc, whose full names end in .local.
var insideDomains = []string{".internal", ".local", ".test", ".svc", ".home.arpa"}

// insideName matches a host name whose last label is a word: some resolvers take a number
// as an address, in whatever form.
var insideName = regexp.MustCompile(`^([a-z0-9_-]+\.)*[a-z][a-z0-9_-]*$`)

// isInside reports whether host can only be in the app's own network, by its form.
func isInside(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsPrivate() || ip.IsLoopback()
	}
	return insideName.MatchString(host) && (!strings.Contains(host, ".") || isLoopback(host) ||
		slices.ContainsFunc(insideDomains, func(domain string) bool { return strings.HasSuffix(host, domain) }))
}

// checkPlainHosts refuses hosts that requests may reach through the internet.
func checkPlainHosts(cfg *Config, f *findings) {
	for i, host := range cfg.Provider.InsecureHTTPHosts {
		if !isInside(host) {
			f.add("Provider.InsecureHTTPHosts", "[%d] %q is no host of a private network: plain http would show the client's "+
				"secret and people's data on the way. Use https, or a name in lower case without port that has no dot or ends in %s, "+
				"or a private address", i, clean(host, 100), strings.Join(insideDomains, ", "))
		}
	}
}

// checkLogout checks how a logout goes on at the provider.
func checkLogout(cfg *Config, f *findings) {
	const field = "Provider.EndSessionURL"
	p := &cfg.Provider
	if p.EndSessionURL == "" {
		return
	}
	query, err := parseEndSessionURL(p.EndSessionURL)
	if err == nil && query.endpoint != "" {
		e := endpoint{name: "end_session_endpoint", url: query.endpoint}
		err = checkEndpoint(e.url, e.mayBePlain(cfg.Issuer, p.InsecureHTTPHosts))
	}
	if err != nil {
		f.add(field, "%q %w", withoutUser(p.EndSessionURL), err)
		return
	}
	if p.LogoutWithoutHint && query.sends(hintPlaceholder) {
		f.add(field, "sends %s, which %s leaves out: use one of them", hintPlaceholder, f.name("Provider.LogoutWithoutHint"))
	}
	if cfg.Registration.PostLogoutRedirectURI == noURI && query.sends(redirectPlaceholder) {
		f.add(field, "sends %s, and %s is %q: register one, or leave the parameter out",
			redirectPlaceholder, f.name("Registration.PostLogoutRedirectURI"), noURI)
	}
}

// The values of Provider.EndSessionURL that stand for something.
const (
	clientPlaceholder   = "{client_id}"
	redirectPlaceholder = "{post_logout_redirect_uri}"
	hintPlaceholder     = "{" + hintParameter + "}"
	statePlaceholder    = "{state}"
)

// A logoutQuery is a parsed Provider.EndSessionURL.
type logoutQuery struct {
	endpoint string     // "": that of the metadata
	params   url.Values // some values are placeholders
}

// parseEndSessionURL reads Provider.EndSessionURL. A placeholder is the whole value of a
// parameter, so that what is filled in cannot change another part of the URL.
func parseEndSessionURL(raw string) (*logoutQuery, error) {
	endpoint, query, _ := strings.Cut(raw, "?")
	params, err := url.ParseQuery(query)
	if err != nil || strings.Contains(raw, "#") {
		return nil, errors.New("has a query that cannot be read, or a fragment")
	}
	if strings.ContainsAny(endpoint, "{}") {
		return nil, errors.New("holds a brace outside of its query: only values of parameters are filled in")
	}
	if endpoint == "" && len(params) == 0 {
		return nil, errors.New("has no parameters")
	}
	known := []string{clientPlaceholder, redirectPlaceholder, hintPlaceholder, statePlaceholder}
	for name, values := range params {
		for _, value := range values {
			if strings.ContainsAny(value, "{}") && !slices.Contains(known, value) {
				return nil, fmt.Errorf("holds the value %q: what is filled in is %s", clean(value, 100), strings.Join(known, ", "))
			}
			if value == hintPlaceholder && name != hintParameter {
				return nil, fmt.Errorf("sends %s as %q: its parameter is %s", value, clean(name, 100), hintParameter)
			}
		}
	}
	return &logoutQuery{endpoint, params}, nil
}

// sends reports whether a parameter has the placeholder as its value.
func (q *logoutQuery) sends(placeholder string) bool {
	for _, values := range q.params {
		if slices.Contains(values, placeholder) {
			return true
		}
	}
	return false
}

// fill returns the parameters with the values of the specification's parameters filled
// in. A parameter whose value is not there is left out.
func (q *logoutQuery) fill(from url.Values) url.Values {
	filled := make(url.Values, len(q.params))
	for name, values := range q.params {
		for _, value := range values {
			if inner, ok := strings.CutPrefix(value, "{"); ok {
				if value = from.Get(strings.TrimSuffix(inner, "}")); value == "" {
					continue
				}
			}
			filled.Add(name, value)
		}
	}
	return filled
}
