package oidcrp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// encryptedFor returns plaintext encrypted with alg and enc for a key: a public
// one, or the secret's. kid may be empty.
func encryptedFor(t testing.TB, key any, kid, alg, enc, plaintext string) string {
	t.Helper()
	encrypter, err := jose.NewEncrypter(jose.ContentEncryption(enc),
		jose.Recipient{Algorithm: jose.KeyAlgorithm(alg), Key: key, KeyID: kid, PBES2Count: 1000}, nil)
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

func TestVerifyIDToken_OpensWhatIsEncrypted(t *testing.T) {
	t.Parallel()
	s := signingOP()
	f, m := s.flow(t, func(c *Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P384, Use: "sig"}, {Key: testKeys().P256, KeyID: "ec", Use: "enc"}}
		c.Registration.IDTokenEncryptedResponseAlg, c.Registration.IDTokenEncryptedResponseEnc = "ECDH-ES", "A128GCM"
	})
	encrypted := func(inner string) string {
		return encryptedFor(t, testKeys().P256.Public(), "ec", "ECDH-ES", "A128GCM", inner)
	}
	expected := &expectedIDToken{nonce: "the-nonce"}
	claims := s.claimsOf(nil)
	sound := signed("RS256", claims)
	if token, err := f.verifyIDToken(t.Context(), m, encrypted(sound), expected); err != nil || token.raw != sound {
		t.Fatalf("%+v, %v", token, err)
	}
	for _, tt := range []struct{ what, token, check string }{
		{"bare claims", encrypted(claims), "format"},
		{"nothing", encrypted(""), "format"},
		{"another JWE", encrypted(encrypted(sound)), "format"},
		{"a JWS without a signature", encrypted(sign(head("none", ""), claims, nil)), "format"},
		{"a JWS of another signer", encrypted(sign(head("RS256", "unknown"), claims, testKeys().RSA2)), "kid"},
		{"a JWS that is too large", encrypted(sound + strings.Repeat("A", 256<<10)), "format"},
		{"a JWS that is not encrypted", sound, "alg"},
		{"a JWE for another client", encryptedFor(t, testKeys().Other.Public(), "ec", "ECDH-ES", "A128GCM", sound), "encryption"},
		{"a JWE by another algorithm", encryptedFor(t, testKeys().P256.Public(), "ec", "ECDH-ES+A128KW", "A128GCM", sound), "alg"},
	} {
		_, err := f.verifyIDToken(t.Context(), m, tt.token, expected)
		wantRefusal(t, tt.what, err, tt.check)
		if err != nil {
			checkText(t, err)
		}
	}
}

func TestUserInfo_OpensWhatIsEncrypted(t *testing.T) {
	t.Parallel()
	const bare = `{"sub":"alice","email":"a@example.org"}`
	type row struct {
		what, mediaType, body string
		check                 string // that refuses it; "ok" if none does
	}
	for _, signed := range []string{"", "ES256"} {
		a := newUserInfoAppWith(t, func(c *Config) {
			c.ClientSecret, c.Registration.UserInfoSignedResponseAlg = longSecret, signed
			c.Registration.UserInfoEncryptedResponseAlg, c.Registration.UserInfoEncryptedResponseEnc = "dir", "A256GCM"
		})
		encrypted := func(header, inner string) string {
			return directJWE(t, `{"alg":"dir","enc":"A256GCM"`+header+`}`, longSecret, []byte(inner))
		}
		nested := a.signed("ES256", nil)
		bareCheck, otherCheck := "ok", "sub"
		if signed != "" {
			bareCheck, otherCheck = "alg", "alg"
		}
		for _, tt := range []row{
			{"bare JSON", "application/jwt", encrypted("", bare), bareCheck},
			{"bare JSON declared as a JWT", "application/jwt", encrypted(`,"cty":"JWT"`, bare), bareCheck},
			{"bare JSON after a line end", "application/jwt", encrypted("", "\n"+bare), bareCheck},
			{"a nested JWT", "application/jwt", encrypted(`,"cty":"JWT"`, nested), "ok"},
			{"a nested JWT not declared as one", "application/jwt", encrypted("", nested), "ok"},
			{"a line end after it", "application/jwt; charset=utf-8", encrypted("", nested) + "\r\n", "ok"},
			{"bare JSON about another person", "application/jwt", encrypted("", `{"sub":"bob"}`), otherCheck},
			{"a nested JWT about another person", "application/jwt", encrypted("", a.signed("ES256", map[string]any{"sub": "bob"})), "sub"},
			{"a nested JWT for another client", "application/jwt", encrypted("", a.signed("ES256", map[string]any{"aud": "bob"})), "aud"},
			{"a nested JWT without a signature", "application/jwt", encrypted("", a.signed("none", nil)), "format"},
			{"a JWE in a JWE", "application/jwt", encrypted("", encrypted("", bare)), "format"},
			{"a JWT that is not encrypted", "application/jwt", nested, "alg"},
			{"bare JSON that is not encrypted", "application/json", bare, "alg"},
			{"bare JSON declared as a JWT and not encrypted", "application/jwt", bare, "alg"},
		} {
			claims, err := a.ask(t, 200, tt.mediaType, tt.body)
			what := fmt.Sprintf("%s, signed %q", tt.what, signed)
			if tt.check != "ok" {
				wantUserInfoRefused(t, what, err, tt.check)
			} else if err != nil || !strings.Contains(claims, `"sub":"alice"`) {
				t.Errorf("%s: %q, %v", what, claims, err)
			}
		}
	}
	a := newUserInfoApp(t, "")
	_, err := a.ask(t, 200, "application/jwt",
		directJWE(t, `{"alg":"dir","enc":"A256GCM"}`, longSecret, []byte(bare)))
	wantUserInfoRefused(t, "an encrypted answer, though nothing was agreed", err, "alg")
	_, err = a.ask(t, 200, "application/jwt", bare)
	wantUserInfoRefused(t, "bare JSON in a JWT's place, though nothing was agreed", err, "format")
}
