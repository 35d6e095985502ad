package oidcrp

// This file reads the URL of a logout whose parameters are the provider's own.

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// checkLogout checks how a logout goes on at the provider.
func checkLogout(cfg *Config, f *findings) {
	const field = "Provider.EndSessionURL"
	p := &cfg.Provider
	for _, other := range []struct {
		name string
		set  bool
	}{{"Provider.LogoutWithoutHint", p.LogoutWithoutHint}, {field, p.EndSessionURL != ""}} {
		if p.LogoutHintRequired && other.set {
			f.add("Provider.LogoutHintRequired", "contradicts %s, which decides about the hint too: unset one", f.name(other.name))
		}
	}
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
