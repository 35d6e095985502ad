package jose

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	gojose "github.com/go-jose/go-jose/v4"
)

// clientSecret has a length that no algorithm takes as it is.
const clientSecret = "a-client-secret-of-37-bytes-or-so-ab1"

var (
	everyKeyManagement = []string{
		"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW",
		"A128KW", "A192KW", "A256KW", "A128GCMKW", "A192GCMKW", "A256GCMKW", "dir",
	}
	everyContentEncryption = []string{
		"A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM",
	}
)

// encryptionKeys are a client's keys of which one fits each algorithm.
func encryptionKeys() []gojose.JSONWebKey {
	return []gojose.JSONWebKey{
		{Key: testKeys().rsa2, KeyID: "signs", Use: "sig"},
		{Key: testKeys().p384, KeyID: "signs too", Use: "sig"},
		{Key: testKeys().rsa, KeyID: "rsa", Use: "enc"},
		{Key: testKeys().p256, KeyID: "ec", Use: "enc"},
	}
}

// decrypt is Decrypt for a client that has encryptionKeys and clientSecret.
func decrypt(compact, alg, enc string) (string, error) {
	return Decrypt(compact, alg, enc, encryptionKeys(), clientSecret)
}

// encryptedFor returns plaintext encrypted with alg and enc for a key: a public
// one, or the secret's. kid may be empty.
func encryptedFor(t testing.TB, key any, kid, alg, enc, plaintext string) string {
	t.Helper()
	encrypter, err := gojose.NewEncrypter(gojose.ContentEncryption(enc),
		gojose.Recipient{Algorithm: gojose.KeyAlgorithm(alg), Key: key, KeyID: kid, PBES2Count: 1000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	object, err := encrypter.Encrypt([]byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// recipientKey returns what alg encrypts to for a client with encryptionKeys and
// clientSecret.
func recipientKey(alg, enc string) any {
	switch {
	case strings.HasPrefix(alg, "RSA"):
		return testKeys().rsa.Public()
	case strings.HasPrefix(alg, "ECDH"):
		return testKeys().p256.Public()
	}
	return secretKey(clientSecret, secretKeySize(alg, enc))
}

// directJWE returns a JWE with a header made by hand, encrypted with dir and
// A256GCM by the client secret.
func directJWE(t testing.TB, header, secret string, plaintext []byte) string {
	t.Helper()
	sum := sha256.Sum256([]byte(secret))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding
	protected := enc.EncodeToString([]byte(header))
	iv := make([]byte, gcm.NonceSize())
	rand.Read(iv)
	sealed := gcm.Seal(nil, iv, plaintext, []byte(protected))
	text, tag := sealed[:len(plaintext)], sealed[len(plaintext):]
	return strings.Join([]string{
		protected, "", enc.EncodeToString(iv), enc.EncodeToString(text), enc.EncodeToString(tag),
	}, ".")
}

func deflated(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data) // a bytes.Buffer takes everything
	w.Close()
	return b.Bytes()
}

func TestDecrypt_EveryPairOfAlgorithms(t *testing.T) {
	t.Parallel()
	for _, alg := range everyKeyManagement {
		for _, enc := range everyContentEncryption {
			compact := encryptedFor(t, recipientKey(alg, enc), "", alg, enc, "inside")
			if got, err := decrypt(compact, alg, enc); got != "inside" || err != nil {
				t.Errorf("%s with %s: %q, %v", alg, enc, got, err)
			}
			if enc != "A128CBC-HS256" { // OpenID Connect Registration 2
				_, err := decrypt(compact, alg, "")
				wantRefusal(t, alg+" with "+enc+" for the default", err, "alg")
				continue
			}
			if got, err := decrypt(compact, alg, ""); got != "inside" || err != nil {
				t.Errorf("%s without an enc: %q, %v", alg, got, err)
			}
		}
	}
	if len(keyManagement) != len(everyKeyManagement) || len(contentKeySizes) != len(everyContentEncryption) {
		t.Errorf("%d and %d algorithms are supported, %d and %d tested",
			len(keyManagement), len(contentKeySizes), len(everyKeyManagement), len(everyContentEncryption))
	}
}

func TestDecrypt_WithoutAnAlgReturnsWhatIsNotEncrypted(t *testing.T) {
	t.Parallel()
	for _, compact := range []string{"", "a.b.c", `{"sub":"alice"}`, "a.b.c.d.e.f", sign(head("ES256", "a"), "{}", testKeys().p256)} {
		if got, err := decrypt(compact, "", ""); got != compact || err != nil {
			t.Errorf("%q became %q, %v", compact, got, err)
		}
	}
	_, err := decrypt("a.b.c.d.e", "", "A256GCM")
	wantRefusal(t, "five parts", err, "alg")
}

func TestEncryption_SupportedAlgorithms(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ algs, keyType string }{
		{"RSA-OAEP RSA-OAEP-256", "RSA"},
		{"ECDH-ES ECDH-ES+A128KW ECDH-ES+A192KW ECDH-ES+A256KW", "EC"},
		{"A128KW A192KW A256KW A128GCMKW A192GCMKW A256GCMKW dir", "oct"},
		{"RSA1_5 RSA-OAEP-512 PBES2-HS256+A128KW DIR A256GCM RS256 none", ""},
	} {
		for _, alg := range strings.Fields(tt.algs) {
			if got := EncryptionKeyType(alg); got != tt.keyType {
				t.Errorf("%s takes a key of type %q, want %q", alg, got, tt.keyType)
			}
			for _, enc := range append(everyContentEncryption, "") {
				if got := SupportsEncryption(alg, enc); got != (tt.keyType != "") {
					t.Errorf("%s with %q: supported is %t", alg, enc, got)
				}
			}
			for _, enc := range []string{"A128CTR", "a128gcm", "dir", "none", " "} {
				if SupportsEncryption(alg, enc) {
					t.Errorf("%s with %q is supported", alg, enc)
				}
			}
		}
	}
	if EncryptionKeyType("") != "" || SupportsEncryption("", "") || SupportsEncryption("", "A128GCM") {
		t.Error("an empty alg is supported")
	}
}

// The sizes and hashes of OIDC Core 10.2, for secrets of the usual length.
func TestSecretKey_HasTheSizeAndHashOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		alg, enc string
		size     int
	}{
		{"A128KW", "A256GCM", 16}, {"A192KW", "A128GCM", 24}, {"A256KW", "A128GCM", 32},
		{"A128GCMKW", "A256GCM", 16}, {"A192GCMKW", "A128GCM", 24}, {"A256GCMKW", "A128GCM", 32},
		{"dir", "A128GCM", 16}, {"dir", "A192GCM", 24}, {"dir", "A256GCM", 32},
		{"dir", "A128CBC-HS256", 32}, {"dir", "A192CBC-HS384", 48}, {"dir", "A256CBC-HS512", 64},
	} {
		if size := secretKeySize(tt.alg, tt.enc); size != tt.size {
			t.Errorf("%s with %s takes %d bytes, want %d", tt.alg, tt.enc, size, tt.size)
		}
	}
	// By openssl dgst -sha256, -sha384 and -sha512 of "secret".
	for size, want := range map[int]string{
		16: "2bb80d537b1da3e38bd30361aa855686",
		32: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
		48: "58a775ba4112be3005ae4407ce757d88",
		64: "bd2b1aaf7ef4f09be9f52ce2d8d599674d81aa9d6a4421696dc4d93dd0619d68",
	} {
		if got := fmt.Sprintf("%x", secretKey("secret", size)); !strings.HasPrefix(got, want) || len(got) != 2*size {
			t.Errorf("%d bytes of the secret's hash are %s, want %s", size, got, want)
		}
	}
}

func TestDecrypt_Refuses(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	direct := func(members string) string {
		return directJWE(t, `{"alg":"dir","enc":"A256GCM"`+members+`}`, clientSecret, []byte("inside"))
	}
	signed := sign(head("ES256", "a"), "{}", keys.p256)
	sound := encryptedFor(t, keys.p256.Public(), "ec", "ECDH-ES", "A128GCM", "inside")
	rsa15 := encryptedFor(t, keys.rsa.Public(), "", "RSA1_5", "A128GCM", "inside")
	pbes2 := encryptedFor(t, []byte(clientSecret), "", "PBES2-HS256+A128KW", "A128GCM", "inside")
	for _, tt := range []struct {
		what, compact string
		alg, enc      string
		check         string
	}{
		{"one that is not encrypted, though that was agreed", signed, "dir", "A256GCM", "alg"},
		{"one that is encrypted, though nothing was agreed", sound, "", "", "alg"},
		{"another alg", sound, "ECDH-ES+A128KW", "A128GCM", "alg"},
		{"another enc", sound, "ECDH-ES", "A256GCM", "alg"},
		{"RSA1_5", rsa15, "RSA-OAEP", "A128GCM", "alg"},
		{"RSA1_5, though that was agreed", rsa15, "RSA1_5", "A128GCM", "alg"},
		{"PBES2", pbes2, "A128KW", "A128GCM", "alg"},
		{"PBES2, though that was agreed", pbes2, "PBES2-HS256+A128KW", "A128GCM", "alg"},
		{"an enc that is not supported", sound, "ECDH-ES", "A128CTR", "alg"},
		{"no alg", directJWE(t, `{"enc":"A256GCM"}`, clientSecret, nil), "dir", "A256GCM", "alg"},
		{"no enc", directJWE(t, `{"alg":"dir"}`, clientSecret, nil), "dir", "A256GCM", "alg"},
		{"ALG for alg", directJWE(t, `{"ALG":"dir","enc":"A256GCM"}`, clientSecret, nil), "dir", "A256GCM", "alg"},
		{"alg twice", direct(`,"alg":"dir"`), "dir", "A256GCM", "alg"},
		{"a header that is not an object", directJWE(t, `["dir"]`, clientSecret, nil), "dir", "A256GCM", "alg"},
		{"an empty header", strings.Repeat(".", 4), "dir", "A256GCM", "alg"},
		{"crit", direct(`,"crit":["exp"],"exp":1`), "dir", "A256GCM", "encryption"},
		{"an unknown zip", direct(`,"zip":"ZSTD"`), "dir", "A256GCM", "encryption"},
		{"another secret", directJWE(t, `{"alg":"dir","enc":"A256GCM"}`, clientSecret+"1", nil), "dir", "A256GCM", "encryption"},
		{"another client's key", encryptedFor(t, keys.other.Public(), "ec", "ECDH-ES", "A128GCM", "inside"),
			"ECDH-ES", "A128GCM", "encryption"},
		{"a key that only signs", encryptedFor(t, keys.rsa2.Public(), "signs", "RSA-OAEP", "A128GCM", "inside"),
			"RSA-OAEP", "A128GCM", "encryption"},
		{"an elliptic key that only signs", encryptedFor(t, keys.p384.Public(), "signs too", "ECDH-ES", "A128GCM", "inside"),
			"ECDH-ES", "A128GCM", "encryption"},
		{"six parts", sound + ".a", "ECDH-ES", "A128GCM", "alg"},
		{"more than is reasonable", sound + strings.Repeat("A", MaxEncryptedSize), "ECDH-ES", "A128GCM", "format"},
	} {
		got, err := decrypt(tt.compact, tt.alg, tt.enc)
		wantRefusal(t, tt.what, err, tt.check)
		if got != "" {
			t.Errorf("%s: %q is returned", tt.what, got)
		}
	}
	if got, err := decrypt(direct(""), "dir", "A256GCM"); got != "inside" || err != nil {
		t.Errorf("the rows are made from %q, %v, which is not sound", got, err)
	}
}

// Everybody knows the hash of an empty secret.
func TestDecrypt_NeedsTheKeyOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	compact := directJWE(t, `{"alg":"dir","enc":"A256GCM"}`, "", []byte("inside"))
	_, err := Decrypt(compact, "dir", "A256GCM", encryptionKeys(), "")
	wantRefusal(t, "no secret", err, "encryption")
	compact = encryptedFor(t, testKeys().p256.Public(), "", "ECDH-ES", "A128GCM", "inside")
	_, err = Decrypt(compact, "ECDH-ES", "A128GCM", nil, clientSecret)
	wantRefusal(t, "no keys", err, "encryption")
}

func TestDecrypt_RefusesWhatWasChangedOnTheWay(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RSA-OAEP", "ECDH-ES", "ECDH-ES+A128KW", "A256KW", "A128GCMKW", "dir"} {
		for _, enc := range []string{"A128CBC-HS256", "A256GCM"} {
			compact := encryptedFor(t, recipientKey(alg, enc), "ec", alg, enc, "inside")
			for i, part := range strings.Split(compact, ".") {
				if part == "" {
					continue
				}
				raw, err := base64.RawURLEncoding.DecodeString(part)
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					raw = bytes.Replace(raw, []byte(`"kid":"ec"`), []byte(`"kid":"EC"`), 1)
				} else {
					raw[len(raw)-1] ^= 1
				}
				parts := strings.Split(compact, ".")
				parts[i] = base64.RawURLEncoding.EncodeToString(raw)
				if parts[i] == part {
					t.Fatal("nothing was changed")
				}
				_, err = decrypt(strings.Join(parts, "."), alg, enc)
				wantRefusal(t, fmt.Sprintf("%s with %s, part %d", alg, enc, i), err, "encryption")
				parts[i] = ""
				if _, err := decrypt(strings.Join(parts, "."), alg, enc); err == nil {
					t.Errorf("%s with %s was accepted without its part %d", alg, enc, i)
				}
			}
		}
	}
}

func TestDecrypt_SizeIsBounded(t *testing.T) {
	t.Parallel()
	// The header makes up for the sizes that base64 cannot have.
	for pad := range 4 {
		header := `{"alg":"dir","enc":"A256GCM","kid":"` + strings.Repeat("k", pad+1) + `"}`
		room := MaxEncryptedSize - len(directJWE(t, header, clientSecret, nil))
		if room%4 == 1 {
			continue
		}
		plaintext := make([]byte, base64.RawURLEncoding.DecodedLen(room))
		largest := directJWE(t, header, clientSecret, plaintext)
		if len(largest) != MaxEncryptedSize {
			t.Fatalf("the token has %d bytes, want %d", len(largest), MaxEncryptedSize)
		}
		if got, err := decrypt(largest, "dir", "A256GCM"); len(got) != len(plaintext) || err != nil {
			t.Errorf("a token of the largest size: %d bytes, %v", len(got), err)
		}
		_, err := decrypt(largest+"A", "dir", "A256GCM")
		wantRefusal(t, "a byte more", err, "format")
		if refused := new(Error); !errors.As(err, &refused) || refused.Expected != "at most 131072 bytes" {
			t.Errorf("a byte more: the error is %v", err)
		}
		return
	}
	t.Error("no token has the largest size")
}

// Anybody who knows the public key can make the client work: it must not be
// much.
func TestDecrypt_BoundsWhatIsCompressed(t *testing.T) {
	t.Parallel()
	ask := func(size int) (string, error) {
		header := `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`
		return decrypt(directJWE(t, header, clientSecret, deflated(t, make([]byte, size))), "dir", "A256GCM")
	}
	if got, err := ask(10_000); len(got) != 10_000 || err != nil {
		t.Errorf("a compressed token: %d bytes, %v", len(got), err)
	}
	for _, size := range []int{300_000, 1 << 20} {
		_, err := ask(size)
		wantRefusal(t, fmt.Sprintf("%d bytes in a small token", size), err, "encryption")
	}
}

func TestDecrypt_ChoosesTheKey(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	clientKeys := []gojose.JSONWebKey{
		{Key: keys.p256, KeyID: "new"}, {Key: keys.other, KeyID: "old"},
		{Key: keys.rsa, KeyID: "rsa", Algorithm: "RSA-OAEP-256"}, {Key: keys.rsa2},
	}
	NameKeys(clientKeys)
	for _, tt := range []struct {
		what string
		key  any
		kid  string
		alg  string
		ok   bool
	}{
		{"the new key by its name", keys.p256.Public(), "new", "ECDH-ES", true},
		{"the old key by its name", keys.other.Public(), "old", "ECDH-ES", true},
		{"the new key unnamed", keys.p256.Public(), "", "ECDH-ES", true},
		{"the old key unnamed", keys.other.Public(), "", "ECDH-ES", true},
		{"the old key under a name that no key has", keys.other.Public(), "gone", "ECDH-ES", true},
		{"the old key under the name of a key of another type", keys.other.Public(), "rsa", "ECDH-ES", true},
		{"the old key under the new one's name", keys.other.Public(), "new", "ECDH-ES", false},
		{"the key for one algorithm with that one", keys.rsa.Public(), "rsa", "RSA-OAEP-256", true},
		{"the key for one algorithm with another", keys.rsa.Public(), "rsa", "RSA-OAEP", false},
		{"a key by its thumbprint", keys.rsa2.Public(), clientKeys[3].KeyID, "RSA-OAEP", true},
	} {
		compact := encryptedFor(t, tt.key, tt.kid, tt.alg, "A128GCM", "inside")
		got, err := Decrypt(compact, tt.alg, "A128GCM", clientKeys, "")
		if tt.ok && (got != "inside" || err != nil) {
			t.Errorf("%s: %q, %v", tt.what, got, err)
		}
		if !tt.ok {
			wantRefusal(t, tt.what, err, "encryption")
		}
	}
	if clientKeys[3].KeyID == "" {
		t.Error("a key among several has no name")
	}
}

// FuzzDecrypt checks that no text makes a panic, an unbounded error or an
// unbounded result, and that nothing is opened that was not agreed on.
func FuzzDecrypt(f *testing.F) {
	keys := testKeys()
	for _, alg := range everyKeyManagement {
		f.Add(encryptedFor(f, recipientKey(alg, "A128GCM"), "ec", alg, "A128GCM", "inside"))
	}
	f.Add(encryptedFor(f, keys.p384.Public(), "ec", "ECDH-ES", "A128GCM", "on another curve"))
	f.Add(directJWE(f, `{"alg":"dir","enc":"A128GCM","zip":"DEF"}`, clientSecret, deflated(f, make([]byte, 1<<20))))
	for _, epk := range []string{
		"null", "1", "{}", `{"kty":"EC"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
		`{"kty":"EC","crv":"P-256","x":"","y":""}`, `{"kty":"oct","k":"AA"}`,
		`{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
	} {
		f.Add(directJWE(f, `{"alg":"ECDH-ES","enc":"A128GCM","epk":`+epk+`}`, clientSecret, nil))
		f.Add(directJWE(f, `{"alg":"ECDH-ES+A128KW","enc":"A128GCM","epk":`+epk+`}`, clientSecret, nil))
	}
	f.Add("....")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, compact string) {
		for _, alg := range append(everyKeyManagement, "") {
			plain, err := decrypt(compact, alg, "A128GCM")
			if err == nil {
				if alg == "" && plain != compact || len(plain) > 10*MaxEncryptedSize+250_000 {
					t.Fatalf("%s gave %d bytes", alg, len(plain))
				}
				continue
			}
			wantCleanText(t, err)
			if refused := new(Error); !errors.As(err, &refused) {
				t.Fatalf("the error is %T", err)
			}
		}
	})
}
