package fault

import (
	"strings"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// Faults of the discovery document.
var (
	DiscoveryWrongIssuer = discovery("wrong-issuer", Reject,
		"issuer is the real one followed by INVALID",
		members(func(m map[string]any) { m["issuer"] = text(m["issuer"]) + "INVALID" }))
	DiscoverySlashIssuer = discovery("slash-issuer", Reject,
		"issuer ends in a slash if the real one does not, and the reverse",
		members(toggleSlash))
	DiscoveryMissingIssuer = discovery("missing-issuer", Reject,
		"issuer is missing", members(remove("issuer")))
	DiscoveryHTTPEndpoints = needs(NeedsHTTPS, discovery("http-endpoints", Reject,
		"the endpoints are http URLs although the issuer is https", members(httpEndpoints)))
	DiscoveryNoTokenURL = discovery("no-token-endpoint", Reject,
		"token_endpoint is missing", members(remove("token_endpoint")))
	DiscoveryNoAuthorizeURL = discovery("no-authorization-endpoint", Reject,
		"authorization_endpoint is missing", members(remove("authorization_endpoint")))
	DiscoveryNoJWKSURI = discovery("no-jwks-uri", Reject,
		"jwks_uri is missing", members(remove("jwks_uri")))
	DiscoveryWrongType = discovery("wrong-type", Reject,
		"token_endpoint is an array", members(put("token_endpoint", []string{"a"})))
	DiscoveryWrongListType = discovery("wrong-list-type", Either,
		"id_token_signing_alg_values_supported is a string",
		members(put("id_token_signing_alg_values_supported", "RS256")))
	DiscoveryUnusedWrongType = discovery("unused-wrong-type", Accept,
		"subject_types_supported is a string, which a login does not use",
		members(put("subject_types_supported", "public")))
	DiscoveryWrongAliases = discovery("wrong-aliases", Accept,
		"mtls_endpoint_aliases is an array, which concerns only a client with a certificate",
		members(put("mtls_endpoint_aliases", []string{"token_endpoint"})))
	DiscoveryWrongAliasType = discovery("wrong-alias-type", Accept,
		"a member of mtls_endpoint_aliases is a number, which concerns only a client with a certificate",
		members(put("mtls_endpoint_aliases", map[string]any{"token_endpoint": 7, "userinfo_endpoint": "x"})))
	DiscoveryScriptURL = discovery("script-url", Reject,
		"authorization_endpoint is a javascript URL",
		members(put("authorization_endpoint", "javascript:alert(1)")))
	DiscoveryRelativeURL = discovery("relative-url", Reject,
		"token_endpoint is a relative reference", members(put("token_endpoint", "/token")))
	DiscoveryDuplicate = discovery("duplicate-member", Reject,
		"token_endpoint appears twice",
		body(appendMember(`"token_endpoint":"http://127.0.0.1:1/"`)))
	DiscoveryUppercase = discovery("uppercase-member", Reject,
		"token_endpoint is named TOKEN_ENDPOINT",
		members(move("token_endpoint", "TOKEN_ENDPOINT")))
	DiscoveryOddValues = discovery("odd-values", Accept,
		"lists contain none and unknown algorithms, and unknown members are present",
		members(oddMetadata))
)

func discovery(name string, verdict Verdict, doc string, effect func(*wire.Response)) Fault {
	return declare(Fault{Name: "discovery/" + name, Doc: doc, Endpoint: wire.EndpointDiscovery,
		Verdict: verdict}, wire.Effect{Response: effect})
}

func toggleSlash(m map[string]any) {
	issuer := text(m["issuer"])
	if cut, had := strings.CutSuffix(issuer, "/"); had {
		m["issuer"] = cut
		return
	}
	m["issuer"] = issuer + "/"
}

func httpEndpoints(m map[string]any) {
	for name, v := range m {
		if rest, secure := strings.CutPrefix(text(v), "https:"); secure && name != "issuer" {
			m[name] = "http:" + rest
		}
	}
}

func oddMetadata(m map[string]any) {
	for _, use := range []string{"id_token", "userinfo"} {
		name := use + "_signing_alg_values_supported"
		if algs, ok := m[name].([]string); ok {
			m[name] = append([]string{"none", "ES256K", "ML-DSA-44"}, algs...)
		}
	}
	m["response_types_supported"] = []string{"token code id_token", "code", "none"}
	m["urn:example:member"] = map[string]any{"a": []any{nil, true}}
	m["service_documentation"] = nil
}
