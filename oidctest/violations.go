package oidctest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Violations returns what was wrong with the requests received so far, oldest first,
// each prefixed with the endpoint. It lists the requests that the provider refused, and
// the mistakes that it accepted but that a conformance suite would report. A conforming
// relying party causes no violations, even if the provider misbehaves.
func (p *Provider) Violations() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.violations)
}

func (p *Provider) violation(endpoint, format string, args ...any) {
	p.violations = append(p.violations, endpoint+": "+fmt.Sprintf(format, args...))
}

// blamelessErrors are the errors that the relying party does not cause.
var blamelessErrors = []string{"access_denied", "login_required", "server_error"}

// inspectResponse records that a request was refused.
func (p *Provider) inspectResponse(endpoint string, res *response) {
	err := res.refused
	if err == nil || endpoint == EndpointLogin || slices.Contains(blamelessErrors, err.Code) {
		return
	}
	p.violation(endpoint, "%s", strings.TrimPrefix(err.Error(), ": "))
}

// inspect records the mistakes in a request that the provider accepts.
func (p *Provider) inspect(endpoint string, r *http.Request) {
	switch endpoint {
	case EndpointAuthorization:
		if !r.Form.Has("request_uri") {
			p.inspectAuthentication(endpoint, r)
		}
	case EndpointPAR:
		p.inspectAuthentication(endpoint, r)
	case EndpointToken:
		p.inspectToken(r)
	case EndpointEndSession:
		p.inspectEndSession(r)
	}
	for name, values := range r.Form {
		if slices.Contains(values, "") {
			p.violation(endpoint, "%s is empty", name)
		}
	}
}

// maxNonce is the length of the longest nonce that every provider accepts.
const maxNonce = 43

func (p *Provider) inspectAuthentication(endpoint string, r *http.Request) {
	params := r.Form
	nonce := params.Get("nonce")
	switch {
	case nonce == "":
		p.violation(endpoint, "nonce is missing")
	case len(nonce) > maxNonce:
		p.violation(endpoint, "nonce has %d characters, expected at most %d", len(nonce), maxNonce)
	case strings.ContainsFunc(nonce, func(c rune) bool { return !isUnreserved(c) }):
		p.violation(endpoint, "nonce contains characters other than letters, digits, - . _ ~")
	}
	if !slices.Contains(strings.Split(params.Get("scope"), " "), "openid") {
		p.violation(endpoint, "scope does not contain openid in a list separated by single spaces")
	}
	if params.Get("code_challenge") == "" && !p.cfg.RefusePKCE {
		p.violation(endpoint, "code_challenge is missing")
	}
	if params.Get("state") == "" {
		p.violation(endpoint, "state is missing")
	}
	if params.Get("max_age") == "0" && params.Get("prompt") == "none" {
		p.violation(endpoint, "max_age 0 with prompt none cannot be met")
	}
	p.inspectClaims(endpoint, params.Get("claims"))
}

// isUnreserved reports whether c is an unreserved character of RFC 3986 section 2.3.
func isUnreserved(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.ContainsRune("-._~", c)
}

// inspectClaims checks the members of the claims parameter (OIDC Core 5.5).
// parseAuthentication checks that it is valid JSON.
func (p *Provider) inspectClaims(endpoint, text string) {
	var members map[string]map[string]map[string]any
	if text == "" || json.Unmarshal([]byte(text), &members) != nil {
		return
	}
	for name, claims := range members {
		if name != "userinfo" && name != "id_token" {
			p.violation(endpoint, "claims has the unknown member %q", name)
		}
		for claim, request := range claims {
			for member := range request {
				if !slices.Contains([]string{"essential", "value", "values"}, member) {
					p.violation(endpoint, "claims requests %q with the unknown member %q", claim, member)
				}
			}
		}
	}
}

func (p *Provider) inspectToken(r *http.Request) {
	if assertion := r.PostForm.Get("client_assertion"); assertion != "" && unverifiedClaims(assertion)["iat"] == nil {
		p.violation(EndpointToken, "client_assertion has no iat")
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		return
	}
	verifier := r.PostForm.Get("code_verifier")
	switch {
	case verifier == "" && p.cfg.RefusePKCE:
		return
	case verifier == "":
		p.violation(EndpointToken, "code_verifier is missing")
	case len(verifier) > 128 || strings.ContainsFunc(verifier, func(c rune) bool { return !isUnreserved(c) }):
		p.violation(EndpointToken, "code_verifier does not follow RFC 7636 section 4.1")
	case p.verifiers[verifier]:
		p.violation(EndpointToken, "code_verifier was used before")
	}
	p.verifiers[verifier] = true
}

// inspectEndSession requires the parameters with which a provider logs the user out
// without asking (RP-Initiated Logout 1.0 section 2). A request without any parameter
// comes from the user and not from the relying party.
func (p *Provider) inspectEndSession(r *http.Request) {
	if len(r.Form) == 0 || p.cfg.LogoutURIParameter != "" {
		return
	}
	// A relying party cannot return an ID Token that was encrypted for it alone.
	client := p.client(r.Form.Get("client_id"))
	encrypted := client != nil && client.IDTokenEncryptedResponseAlg != ""
	if hint := r.Form.Get("id_token_hint"); !p.issued[hint] && !((encrypted || p.cfg.NoLogoutHint) && hint == "") {
		p.violation(EndpointEndSession, "id_token_hint is not an ID Token of this provider")
	}
	if r.Form.Get("post_logout_redirect_uri") == "" {
		p.violation(EndpointEndSession, "post_logout_redirect_uri is missing")
	}
	if r.Form.Get("state") == "" {
		p.violation(EndpointEndSession, "state is missing")
	}
}
