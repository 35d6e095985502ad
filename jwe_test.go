package oidcrp

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
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
		{Key: testKeys().rsa2, KeyID: "signs", Use: "sig"},
		{Key: testKeys().p384, KeyID: "signs too", Use: "sig"},
		{Key: testKeys().rsa, KeyID: "rsa", Use: "enc"},
		{Key: testKeys().p256, KeyID: "ec", Use: "enc"},
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

// recipientKey returns what alg encrypts to for a client with encryptionKeys.
func recipientKey(alg, enc, secret string) any {
	switch {
	case strings.HasPrefix(alg, "RSA"):
		return testKeys().rsa.Public()
	case strings.HasPrefix(alg, "ECDH"):
		return testKeys().p256.Public()
	}
	return secretKey(secret, secretKeySize(alg, enc))
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

func TestEveryPairOfEncryptionAlgorithms(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.Registration.ClientKeys = encryptionKeys() })
	for _, alg := range everyKeyManagement {
		for _, enc := range everyContentEncryption {
			compact := encryptedFor(t, recipientKey(alg, enc, c.cfg.ClientSecret), "", alg, enc, "inside")
			if got, err := c.decrypt("ID Token", compact, alg, enc); got != "inside" || err != nil {
				t.Errorf("%s with %s: %q, %v", alg, enc, got, err)
			}
			if enc != defaultEnc {
				_, err := c.decrypt("ID Token", compact, alg, "")
				wantRefusal(t, alg+" with "+enc+" for the default", err, "alg")
				continue
			}
			if got, err := c.decrypt("ID Token", compact, alg, ""); got != "inside" || err != nil {
				t.Errorf("%s without an enc: %q, %v", alg, got, err)
			}
		}
	}
}

// The sizes and hashes of OIDC Core 10.2, for secrets of the usual length.
func TestSecretKeys(t *testing.T) {
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

func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	c := mustNew(t, func(c *Config) { c.Registration.ClientKeys = encryptionKeys() })
	secret := c.cfg.ClientSecret
	direct := func(members string) string {
		return directJWE(t, `{"alg":"dir","enc":"A256GCM"`+members+`}`, secret, []byte("inside"))
	}
	signed := sign(head("ES256", "a"), "{}", keys.p256)
	sound := encryptedFor(t, keys.p256.Public(), "ec", "ECDH-ES", "A128GCM", "inside")
	for _, tt := range []struct {
		what, compact string
		alg, enc      string
		check         string
	}{
		{"one that is not encrypted, though that was agreed", signed, "dir", "A256GCM", "alg"},
		{"one that is encrypted, though nothing was agreed", sound, "", "", "alg"},
		{"another alg", sound, "ECDH-ES+A128KW", "A128GCM", "alg"},
		{"another enc", sound, "ECDH-ES", "A256GCM", "alg"},
		{"RSA1_5", encryptedFor(t, keys.rsa.Public(), "", "RSA1_5", "A128GCM", "inside"), "RSA-OAEP", "A128GCM", "alg"},
		{"PBES2", encryptedFor(t, []byte(secret), "", "PBES2-HS256+A128KW", "A128GCM", "inside"), "A128KW", "A128GCM", "alg"},
		{"no alg", directJWE(t, `{"enc":"A256GCM"}`, secret, nil), "dir", "A256GCM", "alg"},
		{"no enc", directJWE(t, `{"alg":"dir"}`, secret, nil), "dir", "A256GCM", "alg"},
		{"ALG for alg", directJWE(t, `{"ALG":"dir","enc":"A256GCM"}`, secret, nil), "dir", "A256GCM", "alg"},
		{"alg twice", direct(`,"alg":"dir"`), "dir", "A256GCM", "alg"},
		{"a header that is no object", directJWE(t, `["dir"]`, secret, nil), "dir", "A256GCM", "alg"},
		{"an empty header", strings.Repeat(".", 4), "dir", "A256GCM", "alg"},
		{"crit", direct(`,"crit":["exp"],"exp":1`), "dir", "A256GCM", "encryption"},
		{"an unknown zip", direct(`,"zip":"ZSTD"`), "dir", "A256GCM", "encryption"},
		{"another secret", directJWE(t, `{"alg":"dir","enc":"A256GCM"}`, secret+"1", nil), "dir", "A256GCM", "encryption"},
		{"somebody else's key", encryptedFor(t, keys.other.Public(), "ec", "ECDH-ES", "A128GCM", "inside"),
			"ECDH-ES", "A128GCM", "encryption"},
		{"a key that only signs", encryptedFor(t, keys.rsa2.Public(), "signs", "RSA-OAEP", "A128GCM", "inside"),
			"RSA-OAEP", "A128GCM", "encryption"},
		{"an elliptic key that only signs", encryptedFor(t, keys.p384.Public(), "signs too", "ECDH-ES", "A128GCM", "inside"),
			"ECDH-ES", "A128GCM", "encryption"},
		{"six parts", sound + ".a", "ECDH-ES", "A128GCM", "alg"},
		{"more than is reasonable", sound + strings.Repeat("A", maxEncryptedSize), "ECDH-ES", "A128GCM", "format"},
	} {
		_, err := c.decrypt("ID Token", tt.compact, tt.alg, tt.enc)
		wantRefusal(t, tt.what, err, tt.check)
		if err != nil {
			checkText(t, err)
		}
	}
	if got, err := c.decrypt("ID Token", direct(""), "dir", "A256GCM"); got != "inside" || err != nil {
		t.Errorf("the rows are made of %q, %v, which is not sound", got, err)
	}
}

func TestDecryptRefusesWhatWasChangedOnTheWay(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.Registration.ClientKeys = encryptionKeys() })
	for _, alg := range []string{"RSA-OAEP", "ECDH-ES", "ECDH-ES+A128KW", "A256KW", "A128GCMKW", "dir"} {
		for _, enc := range []string{"A128CBC-HS256", "A256GCM"} {
			compact := encryptedFor(t, recipientKey(alg, enc, c.cfg.ClientSecret), "ec", alg, enc, "inside")
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
				_, err = c.decrypt("ID Token", strings.Join(parts, "."), alg, enc)
				wantRefusal(t, fmt.Sprintf("%s with %s, part %d", alg, enc, i), err, "encryption")
				parts[i] = ""
				if _, err := c.decrypt("ID Token", strings.Join(parts, "."), alg, enc); err == nil {
					t.Errorf("%s with %s was accepted without its part %d", alg, enc, i)
				}
			}
		}
	}
}

// Whoever knows the public key can make the client work: it must be little.
func TestDecryptBoundsWhatIsCompressed(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	header := `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`
	ask := func(size int) (string, error) {
		compact := directJWE(t, header, c.cfg.ClientSecret, deflated(t, make([]byte, size)))
		return c.decrypt("ID Token", compact, "dir", "A256GCM")
	}
	if got, err := ask(10_000); len(got) != 10_000 || err != nil {
		t.Errorf("a compressed token: %d bytes, %v", len(got), err)
	}
	for _, size := range []int{300_000, 1 << 20} {
		_, err := ask(size)
		wantRefusal(t, fmt.Sprintf("%d bytes in a small token", size), err, "encryption")
	}
}

func TestDecryptWithSeveralKeys(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	c := mustNew(t, func(c *Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{
			{Key: keys.p256, KeyID: "new"}, {Key: keys.other, KeyID: "old"},
			{Key: keys.rsa, KeyID: "rsa", Algorithm: "RSA-OAEP-256"}, {Key: keys.rsa2},
		}
	})
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
		{"a key by its thumbprint", keys.rsa2.Public(), c.cfg.Registration.ClientKeys[3].KeyID, "RSA-OAEP", true},
	} {
		got, err := c.decrypt("ID Token", encryptedFor(t, tt.key, tt.kid, tt.alg, "A128GCM", "inside"), tt.alg, "A128GCM")
		if tt.ok && (got != "inside" || err != nil) {
			t.Errorf("%s: %q, %v", tt.what, got, err)
		}
		if !tt.ok {
			wantRefusal(t, tt.what, err, "encryption")
		}
	}
	if c.cfg.Registration.ClientKeys[3].KeyID == "" {
		t.Error("a key among several has no name")
	}
}

func TestKeysForOneUse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what          string
		key           jose.JSONWebKey
		signs, opened bool
	}{
		{"a key for anything", jose.JSONWebKey{Key: testKeys().rsa}, true, true},
		{"a key for signing", jose.JSONWebKey{Key: testKeys().rsa, Use: "sig"}, true, false},
		{"a key for encryption", jose.JSONWebKey{Key: testKeys().rsa, Use: "enc"}, false, true},
		{"a key for one signature", jose.JSONWebKey{Key: testKeys().rsa, Algorithm: "PS256"}, true, false},
		{"a key for one encryption", jose.JSONWebKey{Key: testKeys().rsa, Algorithm: "RSA-OAEP"}, false, true},
		{"a key for another encryption", jose.JSONWebKey{Key: testKeys().rsa, Algorithm: "RSA-OAEP-512"}, false, false},
		{"a key that can sign alone", jose.JSONWebKey{Key: testKeys().ed}, true, false},
	} {
		if got := len(signingAlgs(tt.key)) > 0; got != tt.signs {
			t.Errorf("%s signs: %t", tt.what, got)
		}
		if got := decrypts(tt.key, "RSA-OAEP"); got != tt.opened {
			t.Errorf("%s opens: %t", tt.what, got)
		}
	}
}

func TestEncryptedIDTokenIsVerifiedInside(t *testing.T) {
	t.Parallel()
	v := newIDTokens(t, encryptedSetup("ECDH-ES", "A128GCM", "A128GCM", ""))
	verify := func(inner string) error {
		compact := encryptedFor(t, testKeys().p256.Public(), "ec", "ECDH-ES", "A128GCM", inner)
		_, err := v.client.verifyIDToken(t.Context(), v.metadata, compact, &expectedIDToken{nonce: "the-nonce"})
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
		{"another JWE", encryptedFor(t, testKeys().p256.Public(), "ec", "ECDH-ES", "A128GCM", sound), "format"},
		{"a JWS without a signature", v.provider.SignClaims("none", claims, nil), "format"},
		{"a JWS of somebody else", v.provider.ForgedToken("RS256", "unknown", claims), "kid"},
		{"a JWS that is too large", sound + strings.Repeat("A", maxTokenSize), "format"},
	} {
		wantRefusal(t, tt.what, verify(tt.inner), tt.check)
	}
	_, err = v.client.verifyIDToken(t.Context(), v.metadata, sound, &expectedIDToken{nonce: "the-nonce"})
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
		secret := a.client.cfg.ClientSecret
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

// FuzzJWE checks that no text makes a panic, an unbounded error or an unbounded
// result, and that nothing is opened that was not agreed on.
func FuzzJWE(f *testing.F) {
	c := fuzzClient(f, func(c *Config) { c.Registration.ClientKeys = encryptionKeys() })
	keys := testKeys()
	secret := c.cfg.ClientSecret
	for _, alg := range everyKeyManagement {
		f.Add(encryptedFor(f, recipientKey(alg, "A128GCM", secret), "ec", alg, "A128GCM", "inside"))
	}
	f.Add(encryptedFor(f, keys.p384.Public(), "ec", "ECDH-ES", "A128GCM", "on another curve"))
	f.Add(directJWE(f, `{"alg":"dir","enc":"A128GCM","zip":"DEF"}`, secret, deflated(f, make([]byte, 1<<20))))
	for _, epk := range []string{
		"null", "1", "{}", `{"kty":"EC"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`,
		`{"kty":"EC","crv":"P-256","x":"","y":""}`, `{"kty":"oct","k":"AA"}`,
		`{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
	} {
		f.Add(directJWE(f, `{"alg":"ECDH-ES","enc":"A128GCM","epk":`+epk+`}`, secret, nil))
		f.Add(directJWE(f, `{"alg":"ECDH-ES+A128KW","enc":"A128GCM","epk":`+epk+`}`, secret, nil))
	}
	f.Add("....")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, compact string) {
		for _, alg := range append(everyKeyManagement, "") {
			plain, err := c.decrypt("ID Token", compact, alg, "A128GCM")
			if err == nil {
				if alg == "" && plain != compact || len(plain) > 10*maxEncryptedSize+250_000 {
					t.Fatalf("%s gave %d bytes", alg, len(plain))
				}
				continue
			}
			checkText(t, err)
			if refused := new(TokenError); !errors.As(err, &refused) {
				t.Fatalf("%v is no TokenError", err)
			}
		}
	})
}
