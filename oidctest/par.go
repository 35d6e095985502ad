package oidctest

import (
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// A pushedRequest can be used once (RFC 9126 section 2.2).
type pushedRequest struct {
	params  url.Values
	expires time.Time
}

const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// servePAR implements RFC 9126 section 2.
func (p *Provider) servePAR(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodPost); res != nil {
		return res
	}
	client, err := p.authenticate(r)
	if err != nil {
		return jsonError(err)
	}
	params := maps.Clone(r.PostForm)
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		params.Del(name)
	}
	params.Set("client_id", client.ID)
	a, err := p.trustedTarget(params)
	if err == nil {
		err = p.parse(a, params)
	}
	if err != nil {
		return jsonError(err)
	}
	uri := requestURIPrefix + wire.RandomString(24)
	p.pushed[uri] = &pushedRequest{params: params, expires: p.now().Add(time.Minute)}
	return jsonResponse(http.StatusCreated, map[string]any{"request_uri": uri, "expires_in": 60})
}

// unpush returns the parameters of an authorization request. If it has a request_uri,
// they are the pushed ones, and the request_uri becomes invalid (RFC 9126 section 4).
func (p *Provider) unpush(form url.Values) (url.Values, *oauthError) {
	uri := form.Get("request_uri")
	if uri == "" {
		return form, nil
	}
	pushed := p.pushed[uri]
	delete(p.pushed, uri)
	if pushed == nil || !p.now().Before(pushed.expires) {
		return nil, failure("invalid_request_uri", "request_uri is unknown, used or expired")
	}
	if pushed.params.Get("client_id") != form.Get("client_id") {
		return nil, failure("invalid_request_uri", "request_uri belongs to another client")
	}
	return pushed.params, nil
}
