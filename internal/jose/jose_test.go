package jose

// This file holds what the tests of every subject share, and the examples of the
// specifications.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode"

	gojose "github.com/go-jose/go-jose/v4"
)

// testKeys are made once, because RSA keys take long.
var testKeys = sync.OnceValue(func() (k struct {
	rsa, rsa2        *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	other            *ecdsa.PrivateKey // another P-256
	ed               ed25519.PrivateKey
}) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.rsa2, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	k.p521, _ = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	k.other, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

// everyAlg is the widest pin there can be.
var everyAlg = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
	"EdDSA", "Ed25519", "HS256", "HS384", "HS512",
}

// jwk returns key's public part as a JWK with the members given as name, value,
// name, value.
func jwk(key crypto.Signer, members ...any) map[string]any {
	raw, err := json.Marshal(gojose.JSONWebKey{Key: key.Public()})
	if err != nil {
		panic(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		panic(err)
	}
	for i := 0; i < len(members); i += 2 {
		m[members[i].(string)] = members[i+1]
	}
	return m
}

// keySet returns a set that holds keys.
func keySet(t testing.TB, keys ...any) *KeySet {
	t.Helper()
	if keys == nil {
		keys = []any{}
	}
	doc, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	set, err := ParseKeySet(doc)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// head returns a JOSE header. kid may be empty.
func head(alg, kid string) string {
	if kid == "" {
		return fmt.Sprintf(`{"alg":%q}`, alg)
	}
	return fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, kid)
}

// sign makes a JWS with a header of any content, without the library that
// verifies it.
func sign(header, payload string, key any) string {
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(payload))
	return input + "." + base64.RawURLEncoding.EncodeToString(signature(header, input, key))
}

func signature(header, input string, key any) []byte {
	var h struct{ Alg string }
	_ = json.Unmarshal([]byte(header), &h) // a broken header is signed too
	hash := crypto.SHA256
	switch {
	case strings.HasSuffix(h.Alg, "384"):
		hash = crypto.SHA384
	case strings.HasSuffix(h.Alg, "512"):
		hash = crypto.SHA512
	}
	sum := hash.New()
	sum.Write([]byte(input))
	digest := sum.Sum(nil)

	var sig []byte
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(h.Alg, "PS") {
			sig, _ = rsa.SignPSS(rand.Reader, key, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, _ = rsa.SignPKCS1v15(nil, key, hash, digest)
		}
	case *ecdsa.PrivateKey:
		r, s, _ := ecdsa.Sign(rand.Reader, key, digest)
		size := (key.Params().BitSize + 7) / 8
		sig = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, []byte(input))
	case []byte:
		mac := hmac.New(hash.New, key)
		mac.Write([]byte(input))
		sig = mac.Sum(nil)
	}
	return sig
}

// parse reads compact with the widest pin there can be.
func parse(t testing.TB, compact string) *JWS {
	t.Helper()
	jws, err := ParseJWS(compact, everyAlg)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

// wantVerdict fails the test unless set gives that verdict about compact, with
// the payload "{}" if it is Verified and none otherwise.
func wantVerdict(t *testing.T, what string, set *KeySet, compact string, want Verdict) {
	t.Helper()
	payload, got := set.Verify(parse(t, compact))
	if got != want {
		t.Errorf("%s: the verdict is %d, want %d", what, got, want)
	}
	if text := map[bool]string{true: "{}"}[want == Verified]; string(payload) != text {
		t.Errorf("%s: the payload is %q, want %q", what, payload, text)
	}
}

// wantRefusal fails the test unless err is an *Error for check.
func wantRefusal(t *testing.T, what string, err error, check string) {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) || refused.Check != check {
		t.Errorf("%s: the error is %v, want a refusal for its %s", what, err, check)
		return
	}
	wantCleanText(t, err)
}

// wantCleanText fails the test unless err's text is short and printable.
func wantCleanText(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) {
		t.Errorf("the error has %d bytes and begins %.300q", len(text), text)
	}
}

// readFile returns a file of testdata.
func readFile(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The examples were made by other programs than the ones under test.
func TestSpecifications_ExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	type example struct {
		Source, Alg, Enc string
		JWK              json.RawMessage
		Token, Payload   string
	}
	var examples struct{ Signed, Encrypted []example }
	if err := json.Unmarshal(readFile(t, "rfc.json"), &examples); err != nil {
		t.Fatal(err)
	}
	if len(examples.Signed) != 5 || len(examples.Encrypted) != 1 {
		t.Fatalf("there are %d signed examples and %d encrypted ones", len(examples.Signed), len(examples.Encrypted))
	}
	for _, e := range examples.Signed {
		jws, err := ParseJWS(e.Token, []string{e.Alg})
		if err != nil {
			t.Errorf("%s: %v", e.Source, err)
			continue
		}
		var payload []byte
		if IsMAC(e.Alg) {
			var key gojose.JSONWebKey
			if err := json.Unmarshal(e.JWK, &key); err != nil {
				t.Fatal(err)
			}
			payload, err = jws.VerifyMAC(key.Key.([]byte))
		} else if got, v := keySet(t, e.JWK).Verify(jws); v == Verified {
			payload = got
		}
		if err != nil || string(payload) != e.Payload {
			t.Errorf("%s: the payload is %q, %v, want %q", e.Source, payload, err, e.Payload)
		}
	}
	for _, e := range examples.Encrypted {
		keys, err := ParsePrivateKeys(e.JWK)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decrypt(e.Token, e.Alg, e.Enc, keys, ""); err != nil || got != e.Payload {
			t.Errorf("%s: the payload is %q, %v, want %q", e.Source, got, err, e.Payload)
		}
	}
}

func TestPackage_HasNoNetworkAndNoClock(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	sources := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		sources++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			switch first, _, _ := strings.Cut(path, "/"); {
			case first == "net", first == "time", first == "os", first == "log", first == "context", first == "sync":
				t.Errorf("%s imports %s", file, path)
			case first == "github.com" && path != "github.com/go-jose/go-jose/v4" &&
				path != "github.com/oidcrp/oidcrp/internal/strictjson" &&
				path != "github.com/oidcrp/oidcrp/internal/printable": // two pure packages
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
	if sources == 0 {
		t.Error("there are no source files here")
	}
}
