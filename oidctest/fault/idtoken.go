package fault

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// Faults of the ID Token's claims.
var (
	IDTokenWrongIss = idToken("wrong-iss", Reject,
		"iss is the issuer followed by 1", suffix("iss"))
	IDTokenMissingIss = idToken("missing-iss", Reject,
		"iss is missing", drop("iss"))

	IDTokenMissingSub = idToken("missing-sub", Reject,
		"sub is missing", drop("sub"))
	IDTokenEmptySub = idToken("empty-sub", Reject,
		"sub is the empty string", set("sub", ""))
	IDTokenLongSub = idToken("long-sub", Reject,
		"sub has 256 characters", set("sub", strings.Repeat("s", 256)))
	IDTokenNonASCIISub = idToken("non-ascii-sub", Reject,
		"sub contains a character outside ASCII", set("sub", "zoé"))
	IDTokenNumberSub = idToken("number-sub", Reject,
		"sub is a number", set("sub", 42))
	IDTokenUppercaseSub = idToken("uppercase-sub", Reject,
		"sub is named SUB", rename("sub", "SUB"))

	IDTokenWrongAud = idToken("wrong-aud", Reject,
		"aud is the client_id followed by 1", suffix("aud"))
	IDTokenMissingAud = idToken("missing-aud", Reject,
		"aud is missing", drop("aud"))
	IDTokenEmptyAud = idToken("empty-aud", Reject,
		"aud is an empty array", set("aud", []string{}))
	IDTokenArrayAud = idToken("array-aud", Accept,
		"aud is an array that contains only the client_id", arrayAud)
	IDTokenExtraAud = idToken("extra-aud", Reject,
		"aud is an array that contains the client_id and an untrusted audience", extraAud)
	IDTokenWrongAzp = idToken("wrong-azp", Reject,
		"azp is another client", set("azp", "another-client"))
	IDTokenOwnAzp = idToken("own-azp", Accept,
		"azp is the client_id", ownAzp)
	IDTokenStringAMR = idToken("string-amr", Accept,
		"amr is a string instead of an array", set("amr", "pwd"))
	IDTokenUnknownData = idToken("unknown-claim", Accept,
		"an unknown claim is present",
		set("urn:example:claim", map[string]any{"a": []any{1}}))

	IDTokenOddSid = idToken("odd-sid", Accept,
		"sid contains a space, quotes and the special characters of URLs and HTML",
		set("sid", "a b\"'&#%<\\~"))

	IDTokenMissingIat = idToken("missing-iat", Reject,
		"iat is missing", drop("iat"))
	IDTokenFutureIat = idToken("future-iat", Reject,
		"iat is a day in the future", shift("iat", 24*time.Hour))
	IDTokenOldIat = idToken("old-iat", Reject,
		"iat was a week ago, exp is valid", shift("iat", -7*24*time.Hour))
	IDTokenStringIat = idToken("string-iat", Reject,
		"iat is a string", set("iat", "1700000000"))
	IDTokenMissingExp = idToken("missing-exp", Reject,
		"exp is missing", drop("exp"))
	IDTokenExpired = idToken("expired", Reject,
		"exp was six minutes ago", shift("exp", -6*time.Minute))
	IDTokenStringExp = idToken("string-exp", Reject,
		"exp is a string", set("exp", "9999999999"))
	IDTokenFutureNbf = idToken("future-nbf", Reject,
		"nbf is an hour in the future", shift("nbf", time.Hour))

	IDTokenWrongNonce = idToken("wrong-nonce", Reject,
		"nonce is the one of the request followed by 1", suffix("nonce"))
	IDTokenMissingNonce = idToken("missing-nonce", Reject,
		"nonce is missing although the request had one", drop("nonce"))

	IDTokenWrongAtHash = idToken("wrong-at-hash", Reject,
		"at_hash belongs to another access token", wrongAtHash)
	IDTokenMissingAtHash = idToken("missing-at-hash", Accept,
		"at_hash is missing, which the code flow allows", drop("at_hash"))

	IDTokenLowerACR = needs(NeedsACR, idToken("lower-acr", Reject,
		"acr is 0 regardless of the request", set("acr", "0")))
	IDTokenMissingACR = needs(NeedsACR, idToken("missing-acr", Reject,
		"acr is missing regardless of the request", drop("acr")))
	IDTokenMissingAuthTime = needs(NeedsMaxAge, idToken("missing-auth-time", Reject,
		"auth_time is missing", drop("auth_time")))
	IDTokenOldAuthTime = needs(NeedsMaxAge, idToken("old-auth-time", Reject,
		"auth_time was 30 days ago", shift("auth_time", -30*24*time.Hour)))
)

// Faults of the ID Token's JSON.
var (
	IDTokenDuplicateSub = idToken("duplicate-sub", Reject,
		"sub appears twice, the last one is mallory",
		payload(appendMember(`"sub":"mallory"`)))
	IDTokenTrailingData = idToken("trailing-data", Reject,
		"a second JSON object follows the claims",
		payload(func(b []byte) []byte { return append(b, `{"sub":"mallory"}`...) }))
	IDTokenInvalidUTF8 = idToken("invalid-utf8", Reject,
		"a claim contains a byte that is not UTF-8",
		payload(appendMember("\"x\":\"\xff\"")))
	IDTokenNotAnObject = idToken("not-an-object", Reject,
		"the claims are wrapped in an array", payload(inArray))
)

// Faults of the ID Token's signature and header.
var (
	IDTokenAlgNone = idToken("alg-none", Reject,
		"alg is none and the signature is empty", algNone)

	IDTokenBadSignature = idToken("bad-signature", Reject,
		"every byte of the signature is XORed with 0x5A", badSignature)
	IDTokenNoSignature = idToken("no-signature", Reject,
		"the signature is empty, alg is the usual one",
		func(t *wire.Token) { t.EditSignature = func([]byte) []byte { return nil } })
	IDTokenUnknownKey = idToken("unknown-key", Reject,
		"a key outside the JWK Set signed it, under its own kid", forged("unknown:key"))
	IDTokenKnownKIDForged = idToken("known-kid-forged", Reject,
		"a key outside the JWK Set signed it, under a kid of the set",
		func(t *wire.Token) { forge(t, keyOf(t).KID) })
	IDTokenOtherAlg = needs(NeedsPinnedAlg, idToken("other-alg", Reject,
		"another key of the JWK Set signed it: ES256 for RS256 and the reverse", otherAlg))
	IDTokenHMACPublicPEM = idToken("hmac-public-pem", Reject,
		"alg is HS256 and the secret is the public key in PEM", hmacWith((*wire.Key).PEM))
	IDTokenHMACPublicJWK = idToken("hmac-public-jwk", Reject,
		"alg is HS256 and the secret is the public key as a JWK",
		hmacWith(func(k *wire.Key) []byte { return wire.MustJSON(k.JWK()) }))
	IDTokenHMACEmptyKey = idToken("hmac-empty-key", Reject,
		"alg is HS256 and the secret is empty", hmacWith(func(*wire.Key) []byte { return []byte{} }))

	IDTokenNoKID = idToken("no-kid", Accept,
		"the header has no kid", noHeader("kid"))
	IDTokenTyp = idToken("typ", Accept,
		"the header has typ JWT", header("typ", "JWT"))
	IDTokenTypAccessToken = idToken("typ-access-token", Reject,
		"the header has typ at+jwt, that of an access token (RFC 9068)", header("typ", "at+jwt"))
	IDTokenTypLogoutToken = idToken("typ-logout-token", Reject,
		"the header has typ application/Logout+JWT, that of a logout token",
		header("typ", "application/Logout+JWT"))
	IDTokenTypSecurityEvent = idToken("typ-security-event", Reject,
		"the header has typ secevent+jwt, that of a security event token (RFC 8417)",
		header("typ", "secevent+jwt"))
	IDTokenCrit = idToken("crit", Reject,
		"crit in the header lists an unknown extension", crit)
	IDTokenJKU = idToken("jku", Reject,
		"an attacker's key signed it and jku in the header points to that key", linkedKey("jku", "/attacker/jwks"))
	IDTokenJWK = idToken("jwk", Reject,
		"an attacker's key signed it and jwk in the header is that key", embeddedJWK)
	IDTokenX5U = idToken("x5u", Reject,
		"an attacker's key signed it and x5u in the header points to its certificate", linkedKey("x5u", "/attacker/cert"))
	IDTokenX5C = idToken("x5c", Reject,
		"an attacker's key signed it and x5c in the header is its certificate", embeddedX5C)

	IDTokenJSONSerialization = idToken("json-serialization", Reject,
		"the id_token is a JWS in flattened JSON serialization", jsonSerialization)
	IDTokenRotatedKeys = idToken("rotated-keys", Accept,
		"the provider replaces its keys just before it signs the token", rotatedKeys)
)

func idToken(name string, verdict Verdict, doc string, effect func(*wire.Token)) Fault {
	return declare(Fault{Name: "id_token/" + name, Doc: doc, Endpoint: wire.EndpointToken,
		Verdict: verdict}, wire.Effect{IDToken: effect})
}

func extraAud(t *wire.Token) { t.Claims["aud"] = []string{t.ClientID, t.ClientID + "1"} }
func ownAzp(t *wire.Token)   { t.Claims["azp"] = t.ClientID }

func wrongAtHash(t *wire.Token) {
	t.Claims["at_hash"] = wire.HalfHash(t.Alg, "another access token")
}

// keyOf returns the token's key, or a key of the JWK Set for an HMAC token.
func keyOf(t *wire.Token) *wire.Key {
	if t.Key != nil {
		return t.Key
	}
	return t.Site.Keys.Current["RS256"]
}

// hmacWith uses a public key as an HMAC secret (RFC 8725 section 2.1).
func hmacWith(secret func(*wire.Key) []byte) func(*wire.Token) {
	return func(t *wire.Token) {
		k := keyOf(t)
		t.Alg, t.Key, t.Secret = "HS256", nil, secret(k)
		t.Header = map[string]any{"alg": "HS256", "kid": k.KID}
	}
}

func crit(t *wire.Token) {
	t.Header["crit"] = []string{"urn:example:extension"}
	t.Header["urn:example:extension"] = true
}

// attack signs with an asymmetric key that the provider does not have, and returns it.
func attack(t *wire.Token, kid string) *wire.Key {
	alg := t.Alg
	if t.Secret != nil {
		alg = "RS256"
	}
	k := wire.StrangerKey(alg, kid)
	t.SignWith(k)
	return k
}

func linkedKey(name, path string) func(*wire.Token) {
	return func(t *wire.Token) {
		attack(t, "unknown:"+name)
		t.Header[name] = t.Site.Root + path
	}
}

func embeddedJWK(t *wire.Token) {
	t.Header["jwk"] = attack(t, "unknown:jwk").JWK()
}

func embeddedX5C(t *wire.Token) {
	k := attack(t, "unknown:x5c")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mallory"},
		NotBefore: t.Site.Now().Add(-time.Hour), NotAfter: t.Site.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Private.Public(), k.Private)
	if err != nil {
		panic("oidctest: creating a certificate: " + err.Error())
	}
	t.Header["x5c"] = []string{base64.StdEncoding.EncodeToString(der)}
}

func jsonSerialization(t *wire.Token) {
	t.Serialize = func(header, payload, signature string) string {
		return string(wire.MustJSON(map[string]string{
			"protected": header, "payload": payload, "signature": signature,
		}))
	}
}

func rotatedKeys(t *wire.Token) {
	t.Site.Keys.MustRotate(false)
	if t.Key != nil {
		t.SignWith(t.Site.Keys.Current[t.Alg])
	}
}
