package oidcrp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

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
func encryptionKeys() []jose.JSONWebKey {
	return []jose.JSONWebKey{
		{Key: testKeys().RSA2, KeyID: "signs", Use: "sig"},
		{Key: testKeys().P384, KeyID: "signs too", Use: "sig"},
		{Key: testKeys().RSA, KeyID: "rsa", Use: "enc"},
		{Key: testKeys().P256, KeyID: "ec", Use: "enc"},
	}
}

func publicOf(keys []jose.JSONWebKey) (set jose.JSONWebKeySet) {
	for _, key := range keys {
		set.Keys = append(set.Keys, key.Public())
	}
	return set
}

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

// encryptedSetup is an app whose ID Tokens and UserInfo answers are encrypted
// with alg, and the latter signed as well if signed is not empty.
func encryptedSetup(alg, enc, userInfoEnc, signed string) setup {
	return setup{
		provider: oidctest.Config{Clients: []oidctest.Client{{
			ID: oidctest.ClientID, Secret: oidctest.ClientSecret, JWKS: publicOf(encryptionKeys()),
			IDTokenEncryptedResponseAlg: alg, IDTokenEncryptedResponseEnc: enc,
			UserInfoEncryptedResponseAlg: alg, UserInfoEncryptedResponseEnc: userInfoEnc,
			UserInfoSignedResponseAlg: signed,
		}}},
		config: func(c *Config) {
			c.Registration.ClientKeys = encryptionKeys()
			c.Registration.IDTokenEncryptedResponseAlg, c.Registration.IDTokenEncryptedResponseEnc = alg, enc
			c.Registration.UserInfoEncryptedResponseAlg, c.Registration.UserInfoEncryptedResponseEnc = alg, userInfoEnc
			c.Registration.UserInfoSignedResponseAlg = signed
		},
		routes: func(c *Client, mux *http.ServeMux) {
			mux.Handle("/session", c.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, _ := SessionFromContext(r.Context())
				json.NewEncoder(w).Encode(map[string]any{"id_token": s.IDToken(), "email": s.claim("email")})
			})))
		},
	}
}

func TestEveryEncryptionSignsIn(t *testing.T) {
	t.Parallel()
	for i, alg := range everyKeyManagement {
		for j := range 3 {
			enc := everyContentEncryption[(i+2*j)%6]
			userInfoEnc := everyContentEncryption[(i+2*j+1)%6]
			signed := []string{"", "RS256", "ES256"}[j]
			t.Run(alg+" "+enc, func(t *testing.T) {
				t.Parallel()
				app := newTestApp(t, encryptedSetup(alg, enc, userInfoEnc, signed))
				browser := app.signIn(t)
				res, body := get(t, browser, app.URL+"/session")
				if email := jsonMember(t, body, "email"); res.StatusCode != 200 || email != "alice@example.org" {
					t.Fatalf("%s\n%s", res.Status, body)
				}
				inner := jsonMember(t, body, "id_token")
				if strings.Count(inner, ".") != 2 {
					t.Errorf("the session keeps %q, want the JWS inside", inner)
				}
				res, _ = app.logsOut(t, browser, "/auth/logout")
				get(t, noRedirects(browser), res.Header.Get("Location"))
				ended := app.provider.RequestsTo(oidctest.EndpointEndSession)
				if len(ended) != 1 || ended[0].Form.Get("id_token_hint") != inner || ended[0].Status >= 400 {
					t.Errorf("logging out sent %v", ended)
				}
			})
		}
	}
}

func TestEncryptedIDTokenIsVerifiedInside(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, encryptedSetup("ECDH-ES", "A128GCM", "A128GCM", ""))
	verify := func(inner string) error {
		compact := encryptedFor(t, testKeys().P256.Public(), "ec", "ECDH-ES", "A128GCM", inner)
		_, err := v.client.flow.verifyIDToken(t.Context(), v.metadata, compact, &expectedIDToken{nonce: "the-nonce"})
		return err
	}
	claims := v.provider.IDTokenClaims(oidctest.ClientID, "alice")
	claims["nonce"] = "the-nonce"
	sound := v.provider.SignClaims("RS256", claims, nil)
	if err := verify(sound); err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ what, inner, check string }{
		{"bare claims", string(plain), "format"},
		{"nothing", "", "format"},
		{"another JWE", encryptedFor(t, testKeys().P256.Public(), "ec", "ECDH-ES", "A128GCM", sound), "format"},
		{"a JWS without a signature", v.provider.SignClaims("none", claims, nil), "format"},
		{"a JWS of somebody else", v.provider.ForgedToken("RS256", "unknown", claims), "kid"},
		{"a JWS that is too large", sound + strings.Repeat("A", 256<<10), "format"},
	} {
		wantRefusal(t, tt.what, verify(tt.inner), tt.check)
	}
	_, err = v.client.flow.verifyIDToken(t.Context(), v.metadata, sound, &expectedIDToken{nonce: "the-nonce"})
	wantRefusal(t, "a JWS that is not encrypted", err, "alg")
}

func TestEncryptedUserInfo(t *testing.T) {
	t.Parallel()
	const bare = `{"sub":"alice","email":"a@example.org"}`
	type row struct {
		what, mediaType, body string
		check                 string // that refuses it; "ok" if none does
	}
	for _, signed := range []string{"", "ES256"} {
		s := encryptedSetup("dir", "A256GCM", "A256GCM", signed)
		a := &userInfoApp{newIDTokens(t, s)}
		secret := oidctest.ClientSecret
		encrypted := func(header, inner string) string {
			return directJWE(t, `{"alg":"dir","enc":"A256GCM"`+header+`}`, secret, []byte(inner))
		}
		nested := a.signed("ES256", nil)
		bareCheck, otherCheck := "ok", "sub"
		if signed != "" {
			bareCheck, otherCheck = "alg", "alg"
		}
		for _, tt := range []row{
			{"bare JSON", "application/jwt", encrypted("", bare), bareCheck},
			{"bare JSON that is said to be a JWT", "application/jwt", encrypted(`,"cty":"JWT"`, bare), bareCheck},
			{"bare JSON after a line end", "application/jwt", encrypted("", "\n"+bare), bareCheck},
			{"a nested JWT", "application/jwt", encrypted(`,"cty":"JWT"`, nested), "ok"},
			{"a nested JWT that is not said to be one", "application/jwt", encrypted("", nested), "ok"},
			{"a line end after it", "application/jwt; charset=utf-8", encrypted("", nested) + "\r\n", "ok"},
			{"bare JSON about somebody else", "application/jwt", encrypted("", `{"sub":"bob"}`), otherCheck},
			{"a nested JWT about somebody else", "application/jwt", encrypted("", a.signed("ES256", map[string]any{"sub": "bob"})), "sub"},
			{"a nested JWT for somebody else", "application/jwt", encrypted("", a.signed("ES256", map[string]any{"aud": "bob"})), "aud"},
			{"a nested JWT without a signature", "application/jwt", encrypted("", a.signed("none", nil)), "format"},
			{"a JWE in a JWE", "application/jwt", encrypted("", encrypted("", bare)), "format"},
			{"a JWT that is not encrypted", "application/jwt", nested, "alg"},
			{"bare JSON that is not encrypted", "application/json", bare, "alg"},
			{"bare JSON that is said to be a JWT and not encrypted", "application/jwt", bare, "alg"},
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
		directJWE(t, `{"alg":"dir","enc":"A256GCM"}`, oidctest.ClientSecret, []byte(bare)))
	wantUserInfoRefused(t, "an encrypted answer, though nothing was agreed", err, "alg")
	_, err = a.ask(t, 200, "application/jwt", bare)
	wantUserInfoRefused(t, "bare JSON in a JWT's place, though nothing was agreed", err, "format")
}

func TestEncryptedTokensAreRefreshed(t *testing.T) {
	t.Parallel()
	s := encryptedSetup("ECDH-ES+A256KW", "A256GCM", "A128CBC-HS256", "ES256")
	config := s.config
	s.config = func(c *Config) { config(c); c.Tokens.Keep = true }
	a := newRefreshApp(t, s)
	browser := a.signIn(t)
	if got := a.refresh(t, browser); got.Sub != "alice" {
		t.Errorf("refreshed to %+v", got)
	}
}
