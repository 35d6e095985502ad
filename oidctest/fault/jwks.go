package fault

import "github.com/oidcrp/oidcrp/oidctest/internal/wire"

// Faults of the JWK Set.
var (
	JWKSEmpty = jwks("empty", Reject,
		"the set has no keys", members(put("keys", []any{})))
	JWKSNoKeys = jwks("no-keys", Reject,
		"the member keys is missing", members(remove("keys")))
	JWKSOnlyEnc = jwks("only-enc", Reject,
		"every key has use enc",
		eachKey(func(k map[string]any) { k["use"] = "enc"; delete(k, "alg") }))
	JWKSWrongType = jwks("wrong-type", Reject,
		"keys is an object", members(put("keys", map[string]any{})))
	JWKSUnusableKeys = jwks("unusable-keys", Accept,
		"keys of unknown types, curves and uses precede the good ones",
		members(func(m map[string]any) { m["keys"] = append(wire.OddKeys(), keysOf(m)...) }))
	JWKSMalformedKey = jwks("malformed-key", Accept,
		"one key is malformed", members(malformedKey))
	JWKSDuplicateKeys = jwks("duplicate-keys", Accept,
		"every key appears twice",
		members(func(m map[string]any) { m["keys"] = append(keysOf(m), keysOf(m)...) }))
	JWKSSameKID = jwks("same-kid", Accept,
		"keys of other types have the same kid", members(sameKID))
	JWKSNoKID = jwks("no-kid", Either,
		"no key has a kid, but the token's header has one",
		eachKey(func(k map[string]any) { delete(k, "kid") }))
	JWKSNoAlg = jwks("no-alg", Accept,
		"no key has alg or use",
		eachKey(func(k map[string]any) { delete(k, "alg"); delete(k, "use") }))
	JWKSUnnamedKeys = unnamedKeys("unnamed-keys", Accept,
		"there is one signing key of each type, without kid and alg, and the token has no kid", 0)
	JWKSManyUnnamedKeys = unnamedKeys("many-unnamed-keys", Either,
		"there are three signing keys of each type, without kid and alg, and the token has no kid", 2)
	JWKSPlainJSON = jwks("plain-json", Accept,
		"the content type is application/json", contentType("application/json"))
)

func jwks(name string, verdict Verdict, doc string, effect func(*wire.Response)) Fault {
	return declare(Fault{Name: "jwks/" + name, Doc: doc, Endpoint: wire.EndpointJWKS,
		Verdict: verdict}, wire.Effect{Response: effect})
}

func keysOf(m map[string]any) []any {
	keys, _ := m["keys"].([]any)
	return keys
}

func malformedKey(m map[string]any) {
	malformed := map[string]any{"kty": "RSA", "n": "!", "e": 3, "kid": "odd:malformed"}
	m["keys"] = append([]any{malformed}, keysOf(m)...)
}

func eachKey(change func(map[string]any)) func(*wire.Response) {
	return members(func(m map[string]any) {
		for _, k := range keysOf(m) {
			if k, ok := k.(map[string]any); ok {
				change(k)
			}
		}
	})
}

// sameKID adds keys of other types under the kids of the good keys.
func sameKID(m map[string]any) {
	var decoys []any
	for _, k := range keysOf(m) {
		kid := text(k.(map[string]any)["kid"])
		decoys = append(decoys,
			map[string]any{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": wire.RandomString(32)},
			map[string]any{"kty": "oct", "use": "sig", "kid": kid, "k": wire.RandomString(32)})
	}
	m["keys"] = append(decoys, keysOf(m)...)
}

// unnamedKeys removes the kid from keys and ID Tokens; others is the number of further
// signing keys of each type.
func unnamedKeys(name string, verdict Verdict, doc string, others int) Fault {
	return declare(Fault{Name: "jwks/" + name, Doc: doc, Endpoint: wire.EndpointJWKS,
		Verdict: verdict}, wire.Effect{
		Response: members(func(m map[string]any) { m["keys"] = nameless(m, others) }),
		IDToken:  noHeader("kid"),
	})
}

// nameless returns one good key of each type, preceded by unusable keys and by others
// of each type, all of those for signatures without kid and alg.
func nameless(m map[string]any, others int) []any {
	keys := wire.OddKeys()[:2] // for encryption; these have a kid
	for n := range others {
		for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
			keys = append(keys, wire.PublicJWK(wire.SpareKey(alg, n), "", "", "sig"))
		}
	}
	keys = append(keys, map[string]any{"kty": "EC", "crv": "secp256k1", "use": "sig",
		"x": wire.RandomString(32), "y": wire.RandomString(32)})
	seen := make(map[string]bool)
	for _, k := range keysOf(m) {
		k := k.(map[string]any)
		if kind := text(k["kty"]) + text(k["crv"]); text(k["use"]) == "sig" && !seen[kind] && text(k["d"]) == "" {
			seen[kind] = true
			delete(k, "kid")
			delete(k, "alg")
			keys = append(keys, k)
		}
	}
	return keys
}
