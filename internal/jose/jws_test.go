package jose

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
)

func TestParseJWS_EveryAlgorithmIsPinned(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlg {
		compact := sign(`{"alg":"`+alg+`","kid":"a","typ":"JWT","cty":"x"}`, "{}", []byte("key"))
		jws, err := ParseJWS(compact, []string{alg})
		if err != nil || jws.Header != (Header{Alg: alg, Kid: "a", Typ: "JWT", Cty: "x"}) {
			t.Errorf("%s: %+v, %v", alg, jws, err)
		}
		_, err = ParseJWS(compact, slices.DeleteFunc(slices.Clone(everyAlg), func(a string) bool { return a == alg }))
		wantRefusal(t, alg+" outside of the pin", err, "alg")
		_, err = ParseJWS(compact, nil)
		wantRefusal(t, alg+" without a pin", err, "alg")
	}
}

func TestParseJWS_ReadsTheHeaderStrictly(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	set := keySet(t, jwk(keys.p256, "kid", "a"))
	const url = "https://op.example/evil"
	elsewhere, err := json.Marshal(jwk(keys.other))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ header, check string }{
		{`{"alg":"ES256","kid":"a"}`, ""},
		{` {"kid":"a", "alg":"ES256","typ":"JWT","cty":"x","unknown":[{}]} `, ""},
		{`{"alg":"ES256","kid":"a","jku":"` + url + `","x5u":"` + url + `","x5t":"AAAA","x5c":[]}`, ""},
		{`{"alg":"ES256","kid":"a","jwk":` + string(elsewhere) + `}`, ""},
		{`{"alg":"ES256","kid":null}`, ""},
		{`{"alg":"ES256","kid":""}`, ""},
		{`{"alg":"ES256","kid":"a","ALG":"none","Crit":["b64"]}`, ""},

		{`{"alg":"none","kid":"a"}`, "alg"},
		{`{"alg":"None","kid":"a"}`, "alg"},
		{`{"alg":"es256","kid":"a"}`, "alg"},
		{`{"alg":"ES256K","kid":"a"}`, "alg"},
		{`{"alg":"","kid":"a"}`, "alg"},
		{`{"kid":"a"}`, "alg"},
		{`{"ALG":"ES256","kid":"a"}`, "alg"},
		{`{"alg":["ES256"],"kid":"a"}`, "alg"},
		{`{"alg":"ES256","kid":1}`, "kid"},
		{`{"alg":"ES256","kid":["a"]}`, "kid"},
		{`{"alg":"ES256","kid":"a","typ":7}`, "typ"},
		{`{"alg":"ES256","kid":"a","cty":7}`, "cty"},
		{`{"alg":"ES256","kid":"a","crit":["exp"],"exp":1}`, "crit"},
		{`{"alg":"ES256","kid":"a","crit":[]}`, "crit"},
		{`{"alg":"ES256","kid":"a","crit":null}`, "crit"},
		{`{"alg":"ES256","kid":"a","b64":true}`, "b64"},
		{`{"alg":"ES256","kid":"a","b64":null}`, "b64"},
		{`{"alg":"ES256","kid":"a","b64":false,"crit":["b64"]}`, "crit"},
		{`{"alg":"none","alg":"ES256","kid":"a"}`, "format"},
		{`{"alg":"ES256","kid":"a","\u006bid":"a"}`, "format"},
		{`{"alg":"ES256","kid":"a"}{}`, "format"},
		{`{"alg":"ES256","kid":"a","x5c":["AAAA"]}`, "format"},
		{`["ES256"]`, "format"},
		{`null`, "format"},
		{"{\"alg\":\"ES256\",\"kid\":\"\xff\"}", "format"},
		{`{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "format"},
	} {
		what := fmt.Sprintf("%.80q", row.header)
		compact := sign(row.header, "{}", keys.p256)
		if row.check == "" {
			wantVerdict(t, what, set, compact, Verified)
			continue
		}
		// An algorithm that is not supported stays so, whatever the pin says.
		_, err := ParseJWS(compact, append([]string{"none", "ES256K", ""}, everyAlg...))
		wantRefusal(t, what, err, row.check)
	}
	wantVerdict(t, "signed by the key in its own header", set,
		sign(`{"alg":"ES256","kid":"a","jwk":`+string(elsewhere)+`}`, "{}", keys.other), Forged)
}

// base64URL is the alphabet of RFC 4648 section 5.
const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestParseJWS_TakesCompactSerializationOnly(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	good := sign(head("ES256", "a"), "{}", keys.p256)
	wantVerdict(t, "the token itself", keySet(t, jwk(keys.p256, "kid", "a")), good, Verified)
	parts := strings.Split(good, ".")
	last := good[:len(good)-1]
	if parts[1] != "e30" || len(parts[2])%4 != 2 {
		t.Fatalf("the token is %s, which the rows are not made for", good)
	}
	for what, compact := range map[string]string{
		"nothing":                        "",
		"one part":                       parts[0],
		"two parts":                      parts[0] + "." + parts[1],
		"four parts":                     good + "." + parts[2],
		"five parts":                     good + "..",
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"no payload":                     parts[0] + ".." + parts[2],
		"no header":                      "." + parts[1] + "." + parts[2],
		"JSON":                           fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]),
		"space before":                   " " + good,
		"line break before":              "\n" + good,
		"line break after":               good + "\n",
		"line break inside":              parts[0] + "." + parts[1] + "\n." + parts[2],
		"padding":                        parts[0] + "." + parts[1] + "=." + parts[2],
		"base64 alphabet":                parts[0] + "." + parts[1] + "." + "+/" + parts[2][2:],
		"other last bits":                last + string(base64URL[strings.IndexByte(base64URL, good[len(good)-1])+1]),
		"other last bits of the payload": parts[0] + ".e31." + parts[2], // e30 is {}
		"one letter alone":               parts[0] + "." + parts[1] + ".AAAAA",
		"not ASCII":                      parts[0] + "." + parts[1] + ".é" + parts[2],
		"too long":                       sign(head("ES256", "a"), strings.Repeat(" ", MaxTokenSize), keys.p256),
	} {
		_, err := ParseJWS(compact, everyAlg)
		wantRefusal(t, what, err, "format")
	}
}

func TestParseJWS_SizeIsBounded(t *testing.T) {
	t.Parallel()
	secret := make([]byte, 32)
	// The header makes up for the sizes that base64 cannot have.
	for pad := range 4 {
		header := head("HS256", strings.Repeat("k", pad+1))
		room := MaxTokenSize - len(sign(header, "", secret))
		if room%4 == 1 {
			continue
		}
		largest := sign(header, strings.Repeat(" ", base64.RawURLEncoding.DecodedLen(room)), secret)
		if len(largest) != MaxTokenSize {
			t.Fatalf("the token has %d bytes, want %d", len(largest), MaxTokenSize)
		}
		if _, err := parse(t, largest).VerifyMAC(secret); err != nil {
			t.Errorf("a token of the largest size: %v", err)
		}
		_, err := ParseJWS(largest+"A", everyAlg)
		wantRefusal(t, "a byte more", err, "format")
		if refused := new(Error); !errors.As(err, &refused) || refused.Expected != "at most 65536 bytes" {
			t.Errorf("a byte more: the error is %v", err)
		}
		return
	}
	t.Error("no token has the largest size")
}

func TestVerifyMAC_EveryAlgorithm(t *testing.T) {
	t.Parallel()
	for alg, size := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		secret := []byte(strings.Repeat("s", size))
		compact := sign(head(alg, "any"), `{"sub":"alice"}`, secret)
		if payload, err := parse(t, compact).VerifyMAC(secret); err != nil || string(payload) != `{"sub":"alice"}` {
			t.Errorf("%s: %q, %v", alg, payload, err)
		}
		parts := strings.Split(compact, ".")
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"mallory"}`))
		_, err := parse(t, strings.Join(parts, ".")).VerifyMAC(secret)
		wantRefusal(t, alg+" with another payload", err, "signature")
	}
}

func TestVerifyMAC_Refuses(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	secret := []byte(strings.Repeat("s", 47))
	der, err := x509.MarshalPKIXPublicKey(keys.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, compact string
		secret        []byte
		check         string
	}{
		{"another secret", sign(head("HS256", ""), "{}", []byte("guess")), secret, "signature"},
		{"a secret a byte longer", sign(head("HS256", ""), "{}", append(slices.Clone(secret), 's')), secret, "signature"},
		{"the provider's public key", sign(head("HS256", "rsa"), "{}", der), secret, "signature"},
		{"a secret too short for HS256", sign(head("HS256", ""), "{}", secret[:31]), secret[:31], "alg"},
		{"a secret too short for HS384", sign(head("HS384", ""), "{}", secret), secret, "alg"},
		{"a secret too short for HS512", sign(head("HS512", ""), "{}", secret), secret, "alg"},
		{"no secret", sign(head("HS256", ""), "{}", []byte{}), nil, "alg"},
		{"a signature of another kind", sign(head("RS256", ""), "{}", keys.rsa), secret, "alg"},
		{"a secret under the name of another algorithm", sign(head("ES256", ""), "{}", secret), secret, "alg"},
	} {
		payload, err := parse(t, tt.compact).VerifyMAC(tt.secret)
		wantRefusal(t, tt.what, err, tt.check)
		if payload != nil {
			t.Errorf("%s: the payload is returned", tt.what)
		}
	}
}

func TestAlgorithms_AreOfOneKind(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlg {
		mac := strings.HasPrefix(alg, "HS")
		if !Supported(alg) || IsMAC(alg) != mac || IsAsymmetric(alg) == mac || (MinSecret(alg) > 0) != mac {
			t.Errorf("%s: supported %t, MAC %t, asymmetric %t, a secret of %d bytes",
				alg, Supported(alg), IsMAC(alg), IsAsymmetric(alg), MinSecret(alg))
		}
	}
	if len(keyTypes) != len(everyAlg) {
		t.Errorf("%d algorithms are supported, %d tested", len(keyTypes), len(everyAlg))
	}
	for _, alg := range []string{"", "none", "None", "es256", "ES256K", "RS1", "Ed448", "dir", "RSA", "oct"} {
		if Supported(alg) || IsMAC(alg) || IsAsymmetric(alg) || MinSecret(alg) != 0 {
			t.Errorf("%q is supported", alg)
		}
	}
	for alg, want := range map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} {
		if got := MinSecret(alg); got != want {
			t.Errorf("%s takes a secret of %d bytes or more, want %d", alg, got, want)
		}
	}
}

func TestHalfHash_UsesTheHashOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	const value = "the-token"
	half := func(h hash.Hash) string {
		h.Write([]byte(value))
		sum := h.Sum(nil)
		return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
	}
	hashes := map[int]string{256: half(sha256.New()), 384: half(sha512.New384()), 512: half(sha512.New())}
	sizes := map[string]int{
		"RS256": 256, "PS256": 256, "ES256": 256, "HS256": 256, "RS384": 384, "PS384": 384, "ES384": 384, "HS384": 384,
		"RS512": 512, "PS512": 512, "ES512": 512, "HS512": 512, "EdDSA": 512, "Ed25519": 512,
	}
	for _, alg := range everyAlg {
		if got := HalfHash(alg, value); got != hashes[sizes[alg]] {
			t.Errorf("%s: %s, want %d bits", alg, got, sizes[alg])
		}
		if HalfHash(alg, value) == HalfHash(alg, "another") {
			t.Errorf("%s: two values have one hash", alg)
		}
	}
	// The examples of OIDC Core, appendices A.3 and A.4.
	for value, want := range map[string]string{
		"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y":                "77QmUPtjPfzWtF2AnpK9RQ",
		"Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk": "LDktKdoQak3Pk0cnXxCltA",
	} {
		if got := HalfHash("RS256", value); got != want {
			t.Errorf("HalfHash of %s is %s, want %s", value, got, want)
		}
	}
}

// FuzzParseJWS checks that what is accepted is read the same by go-jose, and has
// no second spelling.
func FuzzParseJWS(f *testing.F) {
	for _, header := range []string{
		head("ES256", "a"), head("none", ""), `{"alg":"RS256","crit":["exp"]}`, `{"alg":"HS256","b64":false}`, `{"alg":1}`,
	} {
		f.Add(sign(header, "{}", []byte("key")))
	}
	f.Add("..")
	f.Fuzz(func(t *testing.T, compact string) {
		jws, err := ParseJWS(compact, everyAlg)
		if err != nil {
			if refused := new(Error); !errors.As(err, &refused) {
				t.Fatalf("the error is %T", err)
			}
			wantCleanText(t, err)
			return
		}
		// go-jose must see the same token.
		parsed, err := gojose.ParseSignedCompact(compact, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(jws.Header.Alg)})
		if err != nil {
			t.Fatalf("go-jose refuses it: %v", err)
		}
		got := parsed.Signatures[0]
		if got.Header.Algorithm != jws.Header.Alg || got.Header.KeyID != jws.Header.Kid {
			t.Fatalf("the header is %+v, go-jose reads %+v", jws.Header, got.Header)
		}
		if payload := parsed.UnsafePayloadWithoutVerification(); !bytes.Equal(payload, jws.payload) || !bytes.Equal(got.Signature, jws.signature) {
			t.Fatalf("the parts are %q and %q, go-jose reads %q and %q", jws.payload, jws.signature, payload, got.Signature)
		}
		for part := range strings.SplitSeq(compact, ".") {
			raw, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil || base64.RawURLEncoding.EncodeToString(raw) != part {
				t.Fatalf("%q has a second spelling (%v)", part, err)
			}
		}
	})
}
