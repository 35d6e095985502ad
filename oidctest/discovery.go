package oidctest

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// serveDiscovery implements OpenID Connect Discovery 4.
func (p *Provider) serveDiscovery(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodGet, http.MethodHead); res != nil {
		return res
	}
	m := p.metadata()
	if p.cfg.BackchannelDynamic {
		for _, name := range []string{"token_endpoint", "userinfo_endpoint", "jwks_uri", "revocation_endpoint",
			"pushed_authorization_request_endpoint"} {
			if endpoint, ok := m[name].(string); ok {
				m[name] = atHostOf(r, endpoint)
			}
		}
	}
	res := jsonResponse(http.StatusOK, m)
	res.Header.Set("Cache-Control", p.cfg.CacheControl)
	res.Header.Del("Pragma")
	return res
}

// metadata returns the registered members (OpenID Connect Discovery 3, RFC 8414).
func (p *Provider) metadata() map[string]any {
	algs := p.cfg.IDTokenSigningAlgValuesSupported
	m := map[string]any{
		"issuer":                                p.cfg.Issuer,
		"authorization_endpoint":                p.Endpoint(EndpointAuthorization),
		"token_endpoint":                        p.Endpoint(EndpointToken),
		"userinfo_endpoint":                     p.Endpoint(EndpointUserInfo),
		"jwks_uri":                              p.Endpoint(EndpointJWKS),
		"scopes_supported":                      p.scopes(),
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token"},
		"acr_values_supported":                  p.cfg.ACRValuesSupported,
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algs,
		"userinfo_signing_alg_values_supported": algs,
		"token_endpoint_auth_methods_supported": p.authMethods(),
		"claims_parameter_supported":            true,
		"claims_supported":                      p.claimNames(),
		"request_parameter_supported":           false,
		"request_uri_parameter_supported":       false,
		"ui_locales_supported":                  []string{"en", "fr"},
		"prompt_values_supported":               []string{"none", "login", "consent", "select_account"},
		"backchannel_logout_supported":          true,
		"backchannel_logout_session_supported":  true,
		"frontchannel_logout_supported":         true,
		"frontchannel_logout_session_supported": true,

		"token_endpoint_auth_signing_alg_values_supported": assertionAlgs,
	}
	p.optionalMetadata(m)
	for name, v := range p.cfg.Metadata {
		if path, ok := v.(string); ok {
			v = p.under(path)
		}
		m[name] = v
	}
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

// optionalMetadata adds the members that depend on the Config.
func (p *Provider) optionalMetadata(m map[string]any) {
	if !p.cfg.NoPKCEMetadata {
		m["code_challenge_methods_supported"] = []string{"S256"}
	}
	if !p.cfg.NoIssParameter {
		m["authorization_response_iss_parameter_supported"] = true
	}
	if !p.cfg.NoEndSession {
		m["end_session_endpoint"] = p.Endpoint(EndpointEndSession)
	}
	if p.cfg.SessionState {
		m["check_session_iframe"] = p.site.Root + "/session/check"
	}
	if p.cfg.MTLSEndpointAliases {
		m["mtls_endpoint_aliases"] = map[string]any{
			"token_endpoint": otherHost(p.Endpoint(EndpointToken))}
	}
	if !p.cfg.NoRevocation {
		m["revocation_endpoint"] = p.Endpoint(EndpointRevocation)
	}
	if !p.cfg.NoPAR {
		m["pushed_authorization_request_endpoint"] = p.Endpoint(EndpointPAR)
		m["require_pushed_authorization_requests"] = p.cfg.RequirePAR
	}
}

// atHostOf returns an endpoint under the scheme and host that r asked for.
func atHostOf(r *http.Request, endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		panic("oidctest: parsing an endpoint: " + err.Error())
	}
	u.Scheme, u.Host = "http", r.Host
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// mtlsHost is the only host that accepts client certificates if
// Config.MTLSEndpointAliases is set.
const mtlsHost = "localhost"

func otherHost(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		panic("oidctest: parsing an endpoint: " + err.Error())
	}
	u.Host = net.JoinHostPort(mtlsHost, u.Port())
	return u.String()
}

func (p *Provider) authMethods() []string {
	var methods []string
	for i := range p.clients {
		methods = append(methods, p.clients[i].authMethods()...)
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// claimNames returns the claims of the protocol and of all personas.
func (p *Provider) claimNames() []string {
	names := map[string]bool{"name": true}
	for _, name := range []string{"sub", "iss", "acr", "amr", "auth_time", "sid"} {
		names[name] = true
	}
	for _, persona := range p.cfg.Personas {
		for name := range persona.Claims {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// scopes returns the standard scopes and a scope for every claim that they do not
// cover.
func (p *Provider) scopes() []string {
	scopes := []string{"openid", "profile", "email", "phone", "address", "offline_access"}
	var own []string
	for _, name := range p.claimNames() {
		if standardScope(name) == "" && !slices.Contains(protocolClaims, name) {
			own = append(own, name)
		}
	}
	return append(scopes, own...)
}

// serveJWKS serves the JWK Set (RFC 7517 section 5).
func (p *Provider) serveJWKS(r *http.Request) *response {
	if res := onlyMethods(r, http.MethodGet, http.MethodHead); res != nil {
		return res
	}
	keys := p.site.Keys.JWKS()
	if p.cfg.NoKeyAlg {
		for _, k := range keys {
			delete(k.(map[string]any), "alg")
		}
	}
	for _, k := range keys {
		k := k.(map[string]any)
		if alg, _ := k["alg"].(string); p.cfg.KeyIssuers[alg] != "" {
			k["issuer"] = p.under(p.cfg.KeyIssuers[alg])
		}
	}
	if p.cfg.OddKeys {
		keys = append(wire.OddKeys(), keys...)
	}
	return &response{Response: wire.Response{
		Status: http.StatusOK,
		JSON:   map[string]any{"keys": keys},
		Header: http.Header{
			"Content-Type":  {"application/jwk-set+json"},
			"Cache-Control": {p.cfg.CacheControl},
		},
	}}
}
