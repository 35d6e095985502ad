package oidctest

import "strings"

// Faults of the discovery document.
var (
	DiscoveryWrongIssuer = discovery("wrong-issuer", Reject,
		"issuer is the real one followed by INVALID",
		members(func(m map[string]any) { m["issuer"] = text(m["issuer"]) + "INVALID" }))
	DiscoverySlashIssuer = discovery("slash-issuer", Reject,
		"issuer has a slash at the end where the real one has none, and the reverse",
		members(toggleSlash))
	DiscoveryMissingIssuer = discovery("missing-issuer", Reject,
		"there is no issuer", members(remove("issuer")))
	DiscoveryHTTPEndpoints = needs(NeedsHTTPS, discovery("http-endpoints", Reject,
		"the endpoints are http though the issuer is https", members(httpEndpoints)))
	DiscoveryNoTokenURL = discovery("no-token-endpoint", Reject,
		"there is no token_endpoint", members(remove("token_endpoint")))
	DiscoveryNoAuthorizeURL = discovery("no-authorization-endpoint", Reject,
		"there is no authorization_endpoint", members(remove("authorization_endpoint")))
	DiscoveryNoJWKSURI = discovery("no-jwks-uri", Reject,
		"there is no jwks_uri", members(remove("jwks_uri")))
	DiscoveryWrongType = discovery("wrong-type", Reject,
		"token_endpoint is an array", members(put("token_endpoint", []string{"a"})))
	DiscoveryWrongListType = discovery("wrong-list-type", Either,
		"id_token_signing_alg_values_supported is a string",
		members(put("id_token_signing_alg_values_supported", "RS256")))
	DiscoveryScriptURL = discovery("script-url", Reject,
		"authorization_endpoint is a javascript URL",
		members(put("authorization_endpoint", "javascript:alert(1)")))
	DiscoveryRelativeURL = discovery("relative-url", Reject,
		"token_endpoint is a relative reference", members(put("token_endpoint", "/token")))
	DiscoveryDuplicate = discovery("duplicate-member", Reject,
		"token_endpoint is there twice",
		body(appendMember(`"token_endpoint":"http://127.0.0.1:1/"`)))
	DiscoveryUppercase = discovery("uppercase-member", Reject,
		"TOKEN_ENDPOINT stands in the place of token_endpoint",
		members(move("token_endpoint", "TOKEN_ENDPOINT")))
	DiscoveryOddValues = discovery("odd-values", Accept,
		"lists hold none and algorithms nobody knows, and there are unknown members",
		members(oddMetadata))
)

// Faults of the JWK Set.
var (
	JWKSEmpty = jwks("empty", Reject,
		"the set has no key", members(put("keys", []any{})))
	JWKSNoKeys = jwks("no-keys", Reject,
		"there is no member keys", members(remove("keys")))
	JWKSOnlyEnc = jwks("only-enc", Reject,
		"every key has use enc",
		eachKey(func(k map[string]any) { k["use"] = "enc"; delete(k, "alg") }))
	JWKSWrongType = jwks("wrong-type", Reject,
		"keys is an object", members(put("keys", map[string]any{})))
	JWKSUnusableKeys = jwks("unusable-keys", Accept,
		"keys of unknown types, curves and uses stand before the good ones",
		members(func(m map[string]any) { m["keys"] = append(oddKeys(), keysOf(m)...) }))
	JWKSMalformedKey = jwks("malformed-key", Accept,
		"one key is not even well-formed", members(malformedKey))
	JWKSDuplicateKeys = jwks("duplicate-keys", Accept,
		"every key is there twice",
		members(func(m map[string]any) { m["keys"] = append(keysOf(m), keysOf(m)...) }))
	JWKSSameKID = jwks("same-kid", Accept,
		"keys of other types carry the same kid", members(sameKID))
	JWKSNoKID = jwks("no-kid", Either,
		"no key has a kid, while the token's header has one",
		eachKey(func(k map[string]any) { delete(k, "kid") }))
	JWKSNoAlg = jwks("no-alg", Accept,
		"no key has alg or use",
		eachKey(func(k map[string]any) { delete(k, "alg"); delete(k, "use") }))
	JWKSUnnamedKeys = unnamed(jwks("unnamed-keys", Accept,
		"there is one key of each type for signatures, without kid and alg, and the token has no kid",
		members(func(m map[string]any) { m["keys"] = unnamedKeys(m, 0) })))
	JWKSManyUnnamedKeys = unnamed(jwks("many-unnamed-keys", Either,
		"there are three keys of each type for signatures, without kid and alg, and the token has no kid",
		members(func(m map[string]any) { m["keys"] = unnamedKeys(m, 2) })))
	JWKSPlainJSON = jwks("plain-json", Accept,
		"the type is application/json", contentType("application/json"))
)

// Faults of the way back from the end_session_endpoint: nobody stays signed in
// whatever comes.
var (
	LogoutOtherState = postLogout("other-state",
		"state is the one sent, followed by _INVALID",
		func(s string) string { return s + "_INVALID" })
	LogoutNoState = postLogout("no-state",
		"there is no state", func(string) string { return "" })
)

func discovery(name string, verdict Verdict, doc string, effect func(*Provider, *response)) Fault {
	return declare(Fault{Name: "discovery/" + name, Doc: doc, Endpoint: EndpointDiscovery,
		Verdict: verdict, response: effect})
}

func jwks(name string, verdict Verdict, doc string, effect func(*Provider, *response)) Fault {
	return declare(Fault{Name: "jwks/" + name, Doc: doc, Endpoint: EndpointJWKS,
		Verdict: verdict, response: effect})
}

func text(v any) string {
	s, _ := v.(string)
	return s
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

func keysOf(m map[string]any) []any {
	keys, _ := m["keys"].([]any)
	return keys
}

func malformedKey(m map[string]any) {
	malformed := map[string]any{"kty": "RSA", "n": "!", "e": 3, "kid": "odd:malformed"}
	m["keys"] = append([]any{malformed}, keysOf(m)...)
}

func eachKey(change func(map[string]any)) func(*Provider, *response) {
	return members(func(m map[string]any) {
		for _, k := range keysOf(m) {
			if k, ok := k.(map[string]any); ok {
				change(k)
			}
		}
	})
}

// sameKID gives decoys of another type the kids of the good keys.
func sameKID(m map[string]any) {
	var decoys []any
	for _, k := range keysOf(m) {
		kid := text(k.(map[string]any)["kid"])
		decoys = append(decoys,
			map[string]any{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": randomString(32)},
			map[string]any{"kty": "oct", "use": "sig", "kid": kid, "k": randomString(32)})
	}
	m["keys"] = append(decoys, keysOf(m)...)
}

// unnamed takes the kid out of ID Tokens too.
func unnamed(f Fault) Fault {
	f.idToken = func(t *token) { delete(t.header, "kid") }
	catalogue[len(catalogue)-1] = f
	return f
}

// unnamedKeys returns the good keys, one of each type, behind as many others of each
// type and keys that cannot be used.
func unnamedKeys(m map[string]any, others int) []any {
	keys := oddKeys()[:2] // for encryption; these have a kid
	for n := range others {
		keys = append(keys,
			nameless(publicJWK(mustKey("RS256", spareRSA-n).Public(), "", "", "sig")),
			nameless(publicJWK(mustKey("ES256", 0).Public(), "", "", "sig")),
			nameless(publicJWK(mustKey("EdDSA", 0).Public(), "", "", "sig")))
	}
	keys = append(keys, map[string]any{"kty": "EC", "crv": "secp256k1", "use": "sig",
		"x": randomString(32), "y": randomString(32)})
	seen := make(map[string]bool)
	for _, k := range keysOf(m) {
		k := k.(map[string]any)
		if kind := text(k["kty"]) + text(k["crv"]); text(k["use"]) == "sig" && !seen[kind] && text(k["d"]) == "" {
			seen[kind] = true
			keys = append(keys, nameless(k))
		}
	}
	return keys
}

func nameless(k map[string]any) map[string]any {
	delete(k, "kid")
	delete(k, "alg")
	return k
}
