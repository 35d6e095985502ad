package oidctest

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"time"
)

// Faults of the ID Token's claims.
var (
	IDTokenWrongIss = idToken("wrong-iss", Reject,
		"iss is the issuer followed by 1", suffix("iss"))
	IDTokenMissingIss = idToken("missing-iss", Reject,
		"there is no iss", drop("iss"))

	IDTokenMissingSub = idToken("missing-sub", Reject,
		"there is no sub", drop("sub"))
	IDTokenEmptySub = idToken("empty-sub", Reject,
		"sub is the empty string", set("sub", ""))
	IDTokenLongSub = idToken("long-sub", Reject,
		"sub has 256 characters", set("sub", strings.Repeat("s", 256)))
	IDTokenNonASCIISub = idToken("non-ascii-sub", Reject,
		"sub has a character outside of ASCII", set("sub", "zoé"))
	IDTokenNumberSub = idToken("number-sub", Reject,
		"sub is a number", set("sub", 42))
	IDTokenUppercaseSub = idToken("uppercase-sub", Reject,
		"SUB stands in the place of sub", rename("sub", "SUB"))

	IDTokenWrongAud = idToken("wrong-aud", Reject,
		"aud is the client_id followed by 1", suffix("aud"))
	IDTokenMissingAud = idToken("missing-aud", Reject,
		"there is no aud", drop("aud"))
	IDTokenEmptyAud = idToken("empty-aud", Reject,
		"aud is an empty array", set("aud", []string{}))
	IDTokenArrayAud = idToken("array-aud", Accept,
		"aud is an array with the client_id alone", arrayAud)
	IDTokenExtraAud = idToken("extra-aud", Reject,
		"aud is an array with an untrusted audience beside the client_id", extraAud)
	IDTokenWrongAzp = idToken("wrong-azp", Reject,
		"azp is another client", set("azp", "another-client"))
	IDTokenOwnAzp = idToken("own-azp", Accept,
		"azp is the client_id", ownAzp)
	IDTokenUnknownData = idToken("unknown-claim", Accept,
		"there is a claim that nobody knows",
		set("urn:example:claim", map[string]any{"a": []any{1}}))

	IDTokenOddSid = idToken("odd-sid", Accept,
		"sid has spaces, quotes and the characters of URLs and HTML",
		set("sid", "a b\"'&#%<\\~"))

	IDTokenMissingIat = idToken("missing-iat", Reject,
		"there is no iat", drop("iat"))
	IDTokenFutureIat = idToken("future-iat", Reject,
		"iat is a day ahead", shift("iat", 24*time.Hour))
	IDTokenOldIat = idToken("old-iat", Reject,
		"iat is a week ago, exp is sound", shift("iat", -7*24*time.Hour))
	IDTokenStringIat = idToken("string-iat", Reject,
		"iat is a string", set("iat", "1700000000"))
	IDTokenMissingExp = idToken("missing-exp", Reject,
		"there is no exp", drop("exp"))
	IDTokenExpired = idToken("expired", Reject,
		"exp was six minutes ago", shift("exp", -6*time.Minute))
	IDTokenStringExp = idToken("string-exp", Reject,
		"exp is a string", set("exp", "9999999999"))
	IDTokenFutureNbf = idToken("future-nbf", Reject,
		"nbf is an hour ahead", shift("nbf", time.Hour))

	IDTokenWrongNonce = idToken("wrong-nonce", Reject,
		"nonce is the one sent, followed by 1", suffix("nonce"))
	IDTokenMissingNonce = idToken("missing-nonce", Reject,
		"there is no nonce though one was sent", drop("nonce"))

	IDTokenWrongAtHash = idToken("wrong-at-hash", Reject,
		"at_hash belongs to another access token", wrongAtHash)
	IDTokenMissingAtHash = idToken("missing-at-hash", Accept,
		"there is no at_hash, which the code flow allows", drop("at_hash"))

	IDTokenLowerACR = needs(NeedsACR, idToken("lower-acr", Reject,
		"acr is 0 whatever was asked", set("acr", "0")))
	IDTokenMissingACR = needs(NeedsACR, idToken("missing-acr", Reject,
		"there is no acr whatever was asked", drop("acr")))
	IDTokenMissingAuthTime = needs(NeedsMaxAge, idToken("missing-auth-time", Reject,
		"there is no auth_time", drop("auth_time")))
	IDTokenOldAuthTime = needs(NeedsMaxAge, idToken("old-auth-time", Reject,
		"auth_time is 30 days ago", shift("auth_time", -30*24*time.Hour)))
)

// Faults of the ID Token's JSON.
var (
	IDTokenDuplicateSub = idToken("duplicate-sub", Reject,
		"sub is there twice, the last is mallory", payload(duplicateSub))
	IDTokenTrailingData = idToken("trailing-data", Reject,
		"a second JSON object follows the claims",
		payload(func(b []byte) []byte { return append(b, `{"sub":"mallory"}`...) }))
	IDTokenInvalidUTF8 = idToken("invalid-utf8", Reject,
		"a claim holds a byte that is not UTF-8",
		payload(func(b []byte) []byte { return append(b[:len(b)-1], ",\"x\":\"\xff\"}"...) }))
	IDTokenNotAnObject = idToken("not-an-object", Reject,
		"the claims stand in an array",
		payload(func(b []byte) []byte { return append(append([]byte{'['}, b...), ']') }))
)

// Faults of the ID Token's signature and header.
var (
	IDTokenAlgNone = idToken("alg-none", Reject,
		"alg is none and the signature empty", algNone)

	IDTokenBadSignature = idToken("bad-signature", Reject,
		"every byte of the signature is XORed with 0x5A", badSignature)
	IDTokenNoSignature = idToken("no-signature", Reject,
		"the signature is empty, alg as usual",
		func(t *token) { t.editSignature = func([]byte) []byte { return nil } })
	IDTokenUnknownKey = idToken("unknown-key", Reject,
		"a key outside the JWK Set signed it, under its own kid",
		func(t *token) { forge(t, "unknown:key") })
	IDTokenKnownKIDForged = idToken("known-kid-forged", Reject,
		"a key outside the JWK Set signed it, under a kid of the set",
		func(t *token) { forge(t, kidOf(t)) })
	IDTokenOtherAlg = needs(NeedsPinnedAlg, idToken("other-alg", Reject,
		"another key of the JWK Set signed it properly: ES256 for RS256 and the reverse", otherAlg))
	IDTokenHMACPublicPEM = idToken("hmac-public-pem", Reject,
		"HS256 keyed with the PEM of the public key",
		hmacWith(func(k *key) []byte { return publicPEM(k.private.Public()) }))
	IDTokenHMACPublicJWK = idToken("hmac-public-jwk", Reject,
		"HS256 keyed with the JSON of the public JWK",
		hmacWith(func(k *key) []byte { return mustJSON(k.jwk()) }))
	IDTokenHMACEmptyKey = idToken("hmac-empty-key", Reject,
		"HS256 keyed with nothing", hmacWith(func(*key) []byte { return []byte{} }))

	IDTokenNoKID = idToken("no-kid", Accept,
		"the header has no kid", func(t *token) { delete(t.header, "kid") })
	IDTokenTyp = idToken("typ", Accept,
		"the header has typ JWT", header("typ", "JWT"))
	IDTokenCrit = idToken("crit", Reject,
		"the header names a critical extension nobody knows", crit)
	IDTokenJKU = idToken("jku", Reject,
		"a foreign key signed it and jku points to where it would be",
		func(t *token) { forge(t, "unknown:jku"); t.header["jku"] = t.p.root + "/attacker/jwks" })
	IDTokenJWK = idToken("jwk", Reject,
		"a foreign key signed it and the header's jwk is that key", embeddedJWK)
	IDTokenX5U = idToken("x5u", Reject,
		"a foreign key signed it and x5u points to where its certificate would be",
		func(t *token) { forge(t, "unknown:x5u"); t.header["x5u"] = t.p.root + "/attacker/cert" })
	IDTokenX5C = idToken("x5c", Reject,
		"a foreign key signed it and the header's x5c certifies that key", embeddedX5C)

	IDTokenJSONSerialization = idToken("json-serialization", Reject,
		"the id_token is a JWS in flattened JSON serialization", jsonSerialization)
	IDTokenRotatedKeys = idToken("rotated-keys", Accept,
		"the keys are changed just before it is signed, and the old ones withdrawn", rotatedKeys)
)

func idToken(name string, verdict Verdict, doc string, effect func(*token)) Fault {
	return declare(Fault{Name: "id_token/" + name, Doc: doc, Endpoint: EndpointToken,
		Verdict: verdict, idToken: effect})
}

// needs adds a condition to the fault declared last.
func needs(need Need, f Fault) Fault {
	f.Needs = need
	catalogue[len(catalogue)-1] = f
	return f
}

// The effects below are also used on UserInfo and logout tokens.

func set(claim string, v any) func(*token) {
	return func(t *token) { t.claims[claim] = v }
}

func drop(claim string) func(*token) {
	return func(t *token) { delete(t.claims, claim) }
}

func rename(claim, to string) func(*token) {
	return func(t *token) {
		t.claims[to] = t.claims[claim]
		delete(t.claims, claim)
	}
}

func suffix(claim string) func(*token) {
	return func(t *token) {
		s, _ := t.claims[claim].(string)
		t.claims[claim] = s + "1"
	}
}

// shift sets a time to now and d.
func shift(claim string, d time.Duration) func(*token) {
	return func(t *token) { t.claims[claim] = t.p.now().Add(d).Unix() }
}

func header(name string, v any) func(*token) {
	return func(t *token) { t.header[name] = v }
}

func payload(edit func([]byte) []byte) func(*token) {
	return func(t *token) { t.editPayload = edit }
}

func arrayAud(t *token) { t.claims["aud"] = []string{t.client.ID} }
func extraAud(t *token) { t.claims["aud"] = []string{t.client.ID, t.client.ID + "1"} }
func ownAzp(t *token)   { t.claims["azp"] = t.client.ID }

func wrongAtHash(t *token) { t.claims["at_hash"] = halfHash(t.alg, "another access token") }

func duplicateSub(b []byte) []byte {
	return append(b[:len(b)-1], `,"sub":"mallory"}`...)
}

func algNone(t *token) {
	t.alg, t.key, t.secret = "none", nil, nil
	t.header = map[string]any{"alg": "none"}
}

func badSignature(t *token) {
	t.editSignature = func(signature []byte) []byte {
		for i := range signature {
			signature[i] ^= 0x5A
		}
		return signature
	}
}

// kidOf returns the token's kid, or some kid of the JWK Set for an HMAC token.
func kidOf(t *token) string {
	if t.key != nil {
		return t.key.kid
	}
	return t.p.keys.current["RS256"].kid
}

// forge signs with a key of the same kind that the provider does not have.
func forge(t *token, kid string) {
	if t.secret != nil {
		t.secret = []byte(randomString(32))
		t.header["kid"] = kid
		return
	}
	t.signWith(stranger(t.alg, kid))
}

func otherAlg(t *token) { t.signWith(t.p.keys.other(t.alg)) }

// hmacWith mistakes a public key for a secret.
func hmacWith(secret func(*key) []byte) func(*token) {
	return func(t *token) {
		k := t.key
		if k == nil {
			k = t.p.keys.current["RS256"]
		}
		t.alg, t.key, t.secret = "HS256", nil, secret(k)
		t.header = map[string]any{"alg": "HS256", "kid": k.kid}
	}
}

func crit(t *token) {
	t.header["crit"] = []string{"urn:example:extension"}
	t.header["urn:example:extension"] = true
}

// foreign signs with an asymmetric key the provider does not have, and returns it.
func foreign(t *token, kid string) *key {
	alg := t.alg
	if t.secret != nil {
		alg = "RS256"
	}
	k := stranger(alg, kid)
	t.signWith(k)
	return k
}

func embeddedJWK(t *token) {
	t.header["jwk"] = foreign(t, "unknown:jwk").jwk()
}

func embeddedX5C(t *token) {
	k := foreign(t, "unknown:x5c")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mallory"},
		NotBefore: t.p.now().Add(-time.Hour), NotAfter: t.p.now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.private.Public(), k.private)
	if err != nil {
		panic("oidctest: making a certificate: " + err.Error())
	}
	t.header["x5c"] = []string{base64.StdEncoding.EncodeToString(der)}
}

func jsonSerialization(t *token) {
	t.serialize = func(header, payload, signature string) string {
		return string(mustJSON(map[string]string{
			"protected": header, "payload": payload, "signature": signature,
		}))
	}
}

func rotatedKeys(t *token) {
	t.p.mustRotate(false)
	if t.key != nil {
		t.signWith(t.p.keys.current[t.alg])
	}
}
