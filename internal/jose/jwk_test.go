package jose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
)

func TestKeySet_VerifiesEveryAlgorithm(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	set := keySet(t, jwk(keys.rsa, "kid", "rsa"), jwk(keys.p256, "kid", "p256"), jwk(keys.p384, "kid", "p384"),
		jwk(keys.p521, "kid", "p521"), jwk(keys.ed, "kid", "ed"))
	if want := []string{"ed", "p256", "p384", "p521", "rsa"}; !slices.Equal(set.Kids(), want) {
		t.Errorf("the kids are %q, want %q", set.Kids(), want)
	}
	for _, row := range []struct {
		algs, kid string
		key       any
	}{
		{"RS256 RS384 RS512 PS256 PS384 PS512", "rsa", keys.rsa},
		{"ES256", "p256", keys.p256},
		{"ES384", "p384", keys.p384},
		{"ES512", "p521", keys.p521},
		{"EdDSA Ed25519", "ed", keys.ed},
	} {
		for _, alg := range strings.Fields(row.algs) {
			compact := sign(head(alg, row.kid), `{"sub":"alice"}`, row.key)
			if payload, v := set.Verify(parse(t, compact)); v != Verified || string(payload) != `{"sub":"alice"}` {
				t.Errorf("%s: %q, verdict %d", alg, payload, v)
			}
			// The same signature is not valid over anything else.
			parts := strings.Split(compact, ".")
			parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"mallory"}`))
			wantVerdict(t, alg+" with another payload", set, strings.Join(parts, "."), Forged)
		}
	}
}

func TestKeySet_RefusesWhatOtherKeysSign(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	set := keySet(t, jwk(keys.rsa, "kid", "rsa"), jwk(keys.p256, "kid", "p256"))
	der, err := x509.MarshalPKIXPublicKey(keys.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what, token string
		want        Verdict
	}{
		{"another RSA key", sign(head("RS256", "rsa"), "{}", keys.rsa2), Forged},
		{"another P-256 key", sign(head("ES256", "p256"), "{}", keys.other), Forged},
		{"no signature at all", sign(head("ES256", "p256"), "{}", nil) + "AAAA", Forged},
		{"the kid of a key of another type", sign(head("ES256", "rsa"), "{}", keys.p256), Unsuitable},
		{"the kid of a key on another curve", sign(head("ES384", "p256"), "{}", keys.p256), Unsuitable},
		{"the public key as an HMAC key", sign(head("HS256", "rsa"), "{}", der), Unsuitable},
		{"the same without a kid", sign(head("HS256", ""), "{}", der), NoKey},
		{"an unknown kid", sign(head("ES256", "new"), "{}", keys.p256), NoKey},
		{"a kid in other letters", sign(head("ES256", "P256"), "{}", keys.p256), NoKey},
	} {
		wantVerdict(t, row.what, set, row.token, row.want)
	}
}

// The caller compares it with the token's iss.
func TestKeySet_RecordsTheIssuerOfTheKey(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	set := keySet(t, jwk(keys.rsa, "kid", "rsa", "issuer", "https://op.example/{tenantid}"), jwk(keys.p256, "kid", "p256"),
		jwk(keys.ed, "kid", "ed", "issuer", []string{"https://op.example"}))
	for _, row := range []struct{ token, want string }{
		{sign(head("RS256", "rsa"), "{}", keys.rsa), "https://op.example/{tenantid}"},
		{sign(head("RS256", ""), "{}", keys.rsa), "https://op.example/{tenantid}"},
		{sign(head("ES256", "p256"), "{}", keys.p256), ""},
		{sign(head("RS256", "rsa"), "{}", keys.rsa2), ""}, // forged
	} {
		jws := parse(t, row.token)
		set.Verify(jws)
		if jws.Header.KeyIssuer != row.want {
			t.Errorf("the issuer is %q, want %q", jws.Header.KeyIssuer, row.want)
		}
	}
	wantVerdict(t, "an issuer that is no text", set, sign(head("EdDSA", "ed"), "{}", keys.ed), Unsuitable)
	if set.Empty() || !keySet(t, jwk(keys.p256, "use", "enc")).Empty() {
		t.Error("Empty is wrong")
	}
}

func TestKeySet_ChoosesTheKey(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	a := func(alg string) string { return head(alg, "a") }
	symmetric := map[string]any{"kty": "oct", "kid": "a", "k": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}
	for _, row := range []struct {
		what  string
		keys  []any
		token string
		want  Verdict
	}{
		{"one kid on two types", []any{jwk(keys.rsa, "kid", "a"), jwk(keys.p256, "kid", "a")}, sign(a("ES256"), "{}", keys.p256), Verified},
		{"one kid on two keys of a type", []any{jwk(keys.other, "kid", "a"), jwk(keys.p256, "kid", "a")}, sign(a("ES256"), "{}", keys.p256), Verified},
		{"the right alg", []any{jwk(keys.rsa, "kid", "a", "alg", "PS256")}, sign(a("PS256"), "{}", keys.rsa), Verified},
		{"another alg of the type", []any{jwk(keys.rsa, "kid", "a", "alg", "PS256")}, sign(a("RS256"), "{}", keys.rsa), Unsuitable},
		{"EdDSA by its new name", []any{jwk(keys.ed, "kid", "a", "alg", "Ed25519")}, sign(a("EdDSA"), "{}", keys.ed), Verified},
		{"EdDSA by its old name", []any{jwk(keys.ed, "kid", "a", "alg", "EdDSA")}, sign(a("Ed25519"), "{}", keys.ed), Verified},
		{"use sig", []any{jwk(keys.p256, "kid", "a", "use", "sig")}, sign(a("ES256"), "{}", keys.p256), Verified},
		{"use enc", []any{jwk(keys.p256, "kid", "a", "use", "enc")}, sign(a("ES256"), "{}", keys.p256), Unsuitable},
		{"use unknown", []any{jwk(keys.p256, "kid", "a", "use", "tls")}, sign(a("ES256"), "{}", keys.p256), Unsuitable},
		{"use of a wrong type", []any{jwk(keys.p256, "kid", "a", "use", 1)}, sign(a("ES256"), "{}", keys.p256), Unsuitable},
		{"one kid for sig and enc", []any{jwk(keys.rsa2, "kid", "a", "use", "enc"), jwk(keys.rsa, "kid", "a", "use", "sig")}, sign(a("RS256"), "{}", keys.rsa), Verified},
		{"key_ops verify", []any{jwk(keys.p256, "kid", "a", "key_ops", []string{"verify"})}, sign(a("ES256"), "{}", keys.p256), Verified},
		{"key_ops wrapKey", []any{jwk(keys.p256, "kid", "a", "key_ops", []string{"wrapKey"})}, sign(a("ES256"), "{}", keys.p256), Unsuitable},
		{"key_ops of a wrong type", []any{jwk(keys.p256, "kid", "a", "key_ops", "verify")}, sign(a("ES256"), "{}", keys.p256), Unsuitable},
		{"alg of a wrong type", []any{jwk(keys.p256, "kid", "a", "alg", 256)}, sign(a("ES256"), "{}", keys.p256), Unsuitable},
		{"kid of a wrong type", []any{jwk(keys.p256, "kid", []string{"a"})}, sign(a("ES256"), "{}", keys.p256), NoKey},
		{"a symmetric key", []any{symmetric}, sign(a("HS256"), "{}", make([]byte, 32)), Unsuitable},
		{"a symmetric key, no kid", []any{symmetric}, sign(head("HS256", ""), "{}", make([]byte, 32)), NoKey},
		{"a private key", []any{jwk(keys.p256, "kid", "a", "d", "AAAA")}, sign(a("ES256"), "{}", keys.p256), Unsuitable},
		{"broken certificates", []any{jwk(keys.p256, "kid", "a", "x5c", []string{"!"}, "x5t", "!", "x5u", ":")}, sign(a("ES256"), "{}", keys.p256), Verified},
		{"null for what is absent", []any{jwk(keys.p256, "kid", "a", "use", nil, "alg", nil, "key_ops", nil, "d", nil)}, sign(a("ES256"), "{}", keys.p256), Verified},

		{"no kid, one key", []any{jwk(keys.p256, "kid", "b")}, sign(head("ES256", ""), "{}", keys.p256), Verified},
		{"no kid, many keys", []any{jwk(keys.rsa, "kid", "b"), jwk(keys.other), jwk(keys.p256, "kid", "c")}, sign(head("ES256", ""), "{}", keys.p256), Verified},
		{"no kid anywhere", []any{jwk(keys.other), jwk(keys.p256)}, sign(head("ES256", ""), "{}", keys.p256), Verified},
		{"no kid, no key", []any{jwk(keys.other), jwk(keys.rsa)}, sign(head("ES256", ""), "{}", keys.p256), NoKey},
		{"a kid, a key without", []any{jwk(keys.p256)}, sign(a("ES256"), "{}", keys.p256), NoKey},
		{"no keys", nil, sign(a("ES256"), "{}", keys.p256), NoKey},
	} {
		wantVerdict(t, row.what, keySet(t, row.keys...), row.token, row.want)
	}
	wantVerdict(t, "a set that was never read", new(KeySet), sign(a("ES256"), "{}", keys.p256), NoKey)
}

func TestKeySet_TriesAFewKeysOnly(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	unnamed, named := sign(head("ES256", ""), "{}", keys.p256), sign(head("ES256", "a"), "{}", keys.p256)
	good := jwk(keys.p256, "kid", "a")

	set := keySet(t, append(slices.Repeat([]any{jwk(keys.other)}, 15), good)...)
	wantVerdict(t, "behind 15 others", set, unnamed, Verified)
	set = keySet(t, append(slices.Repeat([]any{jwk(keys.other)}, 16), good)...)
	wantVerdict(t, "behind 16 others", set, unnamed, NoKey)
	wantVerdict(t, "behind 16 others, with its kid", set, named, Verified)
	set = keySet(t, append(slices.Repeat([]any{jwk(keys.other, "kid", "a")}, 16), good)...)
	wantVerdict(t, "behind 16 others of its kid", set, named, Forged)
	// Keys of another type cost nothing.
	set = keySet(t, append(slices.Repeat([]any{jwk(keys.rsa)}, 16), good)...)
	wantVerdict(t, "behind 16 of another type", set, unnamed, Verified)
}

// The time that verifying takes grows with the square of the size.
func TestKeySet_RSAKeysHaveAReasonableSize(t *testing.T) {
	t.Parallel()
	modulus := func(bits int) any {
		n := make([]byte, bits/8)
		rand.Read(n)
		n[0], n[len(n)-1] = n[0]|0x80, n[len(n)-1]|1
		return map[string]any{"kty": "RSA", "kid": "a", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(n)}
	}
	for bits, usable := range map[int]bool{
		1024: false, 2040: false, 2048: true, 4096: true, 4104: false, 1 << 20: false,
	} {
		if set := keySet(t, modulus(bits)); (len(set.usable) == 1) != usable || set.unusable["a"] == usable {
			t.Errorf("%d bits: %d usable keys", bits, len(set.usable))
		}
	}
}

func TestParseKeySet_OfRealProviders(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		file             string
		usable, unusable int
	}{
		{"proconnect.json", 4, 0},
		{"conformance-suite.json", 5, 3}, // secp256k1 and two for encryption are skipped
		{"odd.json", 2, 13},
	} {
		set, err := ParseKeySet(readFile(t, "jwks", row.file))
		if err != nil {
			t.Errorf("%s: %v", row.file, err)
			continue
		}
		if len(set.usable) != row.usable || len(set.unusable) != row.unusable {
			t.Errorf("%s: %d usable %q, %d unusable %v", row.file, len(set.usable), set.Kids(), len(set.unusable), set.unusable)
		}
	}
}

func TestParseKeySet_Refuses(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		``, `[]`, `{}`, `{"keys":null}`, `{"keys":{}}`, `{"Keys":[]}`, `{"keys":[],"keys":[]}`,
		`{"keys":[]}x`, `{"keys":[{"kid":"a","kid":"b"}]}`,
		`{"keys":[` + strings.Repeat(`{},`, 200) + `{}]}`, `{"s3cret":[]}`, `{"keys":"s3cret"}`,
	} {
		set, err := ParseKeySet([]byte(doc))
		if err == nil || set != nil {
			t.Errorf("ParseKeySet(%.60s) succeeds", doc)
			continue
		}
		if wantCleanText(t, err); strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error quotes the document: %v", err)
		}
	}
	if _, err := ParseKeySet([]byte(`{"keys":[` + strings.Repeat(`{},`, 199) + `{}]}`)); err != nil {
		t.Errorf("200 keys: %v", err)
	}
	if set, err := ParseKeySet([]byte(`{"keys":[1,"x",[],null,{}]}`)); err != nil || len(set.usable)+len(set.unusable) != 0 {
		t.Errorf("keys that are not objects: %+v, %v", set, err)
	}
}

// FuzzParseKeySet checks that no set holds a key that accepts a forged token.
func FuzzParseKeySet(f *testing.F) {
	for _, file := range []string{"proconnect.json", "conformance-suite.json", "odd.json"} {
		f.Add(readFile(f, "jwks", file))
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`))
	var tokens []*JWS
	for _, alg := range everyAlg {
		tokens = append(tokens, parse(f, sign(head(alg, ""), "{}", []byte("forged"))))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := ParseKeySet(body)
		if err != nil {
			wantCleanText(t, err)
			return
		}
		for _, key := range set.usable {
			if key.key == nil || key.keyType == "oct" {
				t.Fatalf("key is %+v", key)
			}
			if public, ok := key.key.(*rsa.PublicKey); ok && (public.N.BitLen() < 2048 || public.N.BitLen() > gojose.MaxRSAModulusBits) {
				t.Fatalf("an RSA key has %d bits", public.N.BitLen())
			}
		}
		for _, jws := range tokens {
			if payload, v := set.Verify(jws); v == Verified || payload != nil {
				t.Fatalf("%s: a forged token is accepted", jws.Header.Alg)
			}
		}
	})
}

func BenchmarkVerifyES256(b *testing.B) { benchmarkVerify(b, "ES256") }
func BenchmarkVerifyRS256(b *testing.B) { benchmarkVerify(b, "RS256") }

// benchmarkVerify measures what one ID Token costs: reading it and verifying it
// with a set that was read before.
func benchmarkVerify(b *testing.B, alg string) {
	keys := testKeys()
	set := keySet(b, jwk(keys.rsa, "kid", "RS256"), jwk(keys.p256, "kid", "ES256"))
	key := map[string]any{"ES256": keys.p256, "RS256": keys.rsa}[alg]
	claims := `{"iss":"https://op.example/api/v2","sub":"704e0242-2901-5d2b-d47f-7a5e5ab05b35","aud":"6925fb81",` +
		`"exp":1800000300,"iat":1800000000,"nonce":"n-0S6_WzA2Mj","acr":"eidas1","auth_time":1800000000}`
	compact := sign(head(alg, alg), claims, key)
	b.ReportAllocs()
	for b.Loop() {
		jws, err := ParseJWS(compact, everyAlg)
		if err != nil {
			b.Fatal(err)
		}
		if payload, v := set.Verify(jws); v != Verified || len(payload) != len(claims) {
			b.Fatalf("the verdict is %d", v)
		}
	}
}

// BenchmarkBareES256 is the floor: the signature and nothing else.
func BenchmarkBareES256(b *testing.B) {
	keys := testKeys()
	digest := make([]byte, 32)
	r, s, err := ecdsa.Sign(rand.Reader, keys.p256, digest)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.Verify(&keys.p256.PublicKey, digest, r, s) {
			b.Fatal("the signature is not valid")
		}
	}
}

// go-jose has a bound of its own, which another package can raise: these keys come as
// go-jose would then return them.
func TestAcceptKey_RSAKeysAreBounded(t *testing.T) {
	t.Parallel()
	key := func(bits, exponent int) gojose.JSONWebKey {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return gojose.JSONWebKey{Key: &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: exponent}}
	}
	for _, row := range []struct {
		bits, exponent int
		want           bool
	}{
		{2048, 65537, true},
		{3072, 3, true},
		{4096, 65537, true},
		{4096, math.MaxInt32, true},

		{2047, 65537, false},
		{4097, 65537, false},
		{4104, 65537, false},
		{8192, 65537, false},
		{1 << 20, 65537, false},
		{2048, 0, false},
		{2048, 1, false},
		{2048, 2, false},
		{2048, -3, false},
		{2048, 65536, false},
		{2048, 1<<32 + 1, false},
		{2048, math.MaxInt64, false},
	} {
		accepted, keyType := acceptKey(key(row.bits, row.exponent).Key)
		if got := accepted != nil && keyType == "RSA"; got != row.want {
			t.Errorf("%d bits with the exponent %d: accepted is %v, want %v", row.bits, row.exponent, got, row.want)
		}
	}
}

// A key that is too large or too slow is known by its kid: the error says that the
// key does not suit, and no other fetch is made for it.
func TestVerify_AnRSAKeyOutOfBoundsIsUnsuitable(t *testing.T) {
	t.Parallel()
	number := func(bits int) string {
		b := bytes.Repeat([]byte{0xff}, bits/8)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	for name, key := range map[string]map[string]string{
		"large":         {"n": number(8192), "e": "AQAB"},
		"a little more": {"n": number(4104), "e": "AQAB"},
		"small":         {"n": number(1024), "e": "AQAB"},
		"slow":          {"n": number(2048), "e": number(56)},
		"even":          {"n": number(2048), "e": "Ag"},
	} {
		key["kty"], key["kid"] = "RSA", "k"
		set, err := ParseKeySet(mustJSON(map[string]any{"keys": []any{key}}))
		if err != nil {
			t.Fatal(err)
		}
		header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"k"}`))
		jws, err := ParseJWS(header+".e30."+number(2048), []string{"RS256"})
		if err != nil {
			t.Fatal(err)
		}
		if _, verdict := set.Verify(jws); verdict != Unsuitable {
			t.Errorf("%s: the verdict is %d, want Unsuitable", name, verdict)
		}
	}
}

func TestVerify_AnRSAKeyOf4096BitsVerifies(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gojose.NewSigner(gojose.SigningKey{Algorithm: gojose.RS256, Key: private}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	compact, _ := signed.CompactSerialize()
	jws, err := ParseJWS(compact, []string{"RS256"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := ParseKeySet(mustJSON(gojose.JSONWebKeySet{Keys: []gojose.JSONWebKey{{Key: private.Public()}}}))
	if err != nil {
		t.Fatal(err)
	}
	if _, verdict := set.Verify(jws); verdict != Verified {
		t.Errorf("the verdict is %d, want Verified", verdict)
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
