package oidcrp_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// keysAt returns the JWK Set that the app serves, as it is and read.
func keysAt(t testing.TB, base string) (body string, set jose.JSONWebKeySet) {
	t.Helper()
	res, body := get(t, http.DefaultClient, base+"/auth/jwks")
	if err := json.Unmarshal([]byte(body), &set); err != nil || res.StatusCode != 200 {
		t.Fatalf("%s: %v\n%s", res.Status, err, body)
	}
	return body, set
}

func TestClientKeys_AreServedWithoutTheirPrivateParts(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	certificates := []tls.Certificate{certificateFor(t, keys.RSA2, "rsa"), certificateFor(t, keys.P521, "ec")}
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{
			{Key: keys.RSA, KeyID: "rsa", Use: "sig", Algorithm: "PS256"},
			{Key: keys.P256}, {Key: keys.P384, Use: "enc"}, {Key: keys.Ed},
		}
		c.Registration.ClientCertificates = certificates
	}})
	res, body := get(t, http.DefaultClient, app.URL+"/auth/jwks")
	for name, want := range map[string]string{
		"Content-Type": "application/jwk-set+json", "Cache-Control": "public, max-age=600", "X-Content-Type-Options": "nosniff",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, ok := key[name]; ok {
				t.Errorf("a key is served with its %s", name)
			}
		}
	}
	for _, secret := range [][]byte{
		keys.RSA.D.Bytes(), keys.RSA.Primes[0].Bytes(), scalar(t, keys.P256), scalar(t, keys.P384), keys.Ed.Seed(),
	} {
		for _, enc := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
			if bytes.Contains([]byte(body), []byte(enc.EncodeToString(secret))) {
				t.Error("a private key is served")
			}
		}
	}
	_, read := keysAt(t, app.URL)
	wantKeys := []crypto.Signer{keys.RSA, keys.P256, keys.P384, keys.Ed, keys.RSA2, keys.P521}
	if len(read.Keys) != len(wantKeys) {
		t.Fatalf("%d keys are served, want %d", len(read.Keys), len(wantKeys))
	}
	var kids []string
	for i, key := range read.Keys {
		if !key.IsPublic() || !key.Valid() || !wantKeys[i].Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Key) {
			t.Errorf("key %d is another one", i)
		}
		if key.KeyID == "" || slices.Contains(kids, key.KeyID) {
			t.Errorf("key %d is called %q, beside %q", i, key.KeyID, kids)
		}
		kids = append(kids, key.KeyID)
	}
	if key := read.Keys[0]; key.KeyID != "rsa" || key.Use != "sig" || key.Algorithm != "PS256" {
		t.Errorf("a key's kid, use and alg became %q, %q, %q", key.KeyID, key.Use, key.Algorithm)
	}
	for i, certificate := range certificates {
		key := read.Keys[4+i]
		if len(key.Certificates) != 1 || !bytes.Equal(key.Certificates[0].Raw, certificate.Certificate[0]) {
			t.Errorf("key %d has the certificates %v", 4+i, key.Certificates)
		}
		if key.Use != "sig" {
			// Or a provider may encrypt to it, which nothing here can open.
			t.Errorf("the key of a certificate is for %q", key.Use)
		}
	}
}

// Some providers find no key without a key id and a use.
func TestClientKeys_AreServedWithTheirNameAndUse(t *testing.T) {
	t.Parallel()
	rsa, ec := jose.JSONWebKey{Key: testKeys().RSA}, jose.JSONWebKey{Key: testKeys().P256}
	thumbprint, err := ec.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		keys          []jose.JSONWebKey
		method, opens string
		kid, use      string // of the first
	}{
		"one that signs":                {[]jose.JSONWebKey{ec}, "private_key_jwt", "", base64.RawURLEncoding.EncodeToString(thumbprint), "sig"},
		"one with a name":               {[]jose.JSONWebKey{{Key: testKeys().P256, KeyID: "mine"}}, "private_key_jwt", "", "mine", "sig"},
		"one that opens":                {[]jose.JSONWebKey{ec}, "client_secret_basic", "ECDH-ES", base64.RawURLEncoding.EncodeToString(thumbprint), "enc"},
		"one that does both":            {[]jose.JSONWebKey{ec}, "private_key_jwt", "ECDH-ES", base64.RawURLEncoding.EncodeToString(thumbprint), ""},
		"one that cannot open that":     {[]jose.JSONWebKey{ec, rsa}, "private_key_jwt", "RSA-OAEP", base64.RawURLEncoding.EncodeToString(thumbprint), "sig"},
		"one with a use":                {[]jose.JSONWebKey{{Key: testKeys().P256, KeyID: "e", Use: "enc"}, rsa}, "private_key_jwt", "", "e", "enc"},
		"one that nothing needs so far": {[]jose.JSONWebKey{ec}, "client_secret_basic", "", base64.RawURLEncoding.EncodeToString(thumbprint), ""},
	} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
			c.Registration.ClientKeys, c.Registration.TokenEndpointAuthMethod = test.keys, test.method
			c.Registration.UserInfoEncryptedResponseAlg = test.opens
		}})
		_, set := keysAt(t, app.URL)
		if len(set.Keys) != len(test.keys) || set.Keys[0].KeyID != test.kid || set.Keys[0].Use != test.use {
			t.Errorf("%s is served with kid %q and use %q, want %q and %q", what, set.Keys[0].KeyID, set.Keys[0].Use, test.kid, test.use)
		}
	}
}

func TestClientKeys_WhoMayAskForThem(t *testing.T) {
	t.Parallel()
	with := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}}
	}})
	without := newTestApp(t, setup{})
	for _, tt := range []struct {
		app    *testApp
		method string
		status int
	}{
		{with, "GET", 200}, {with, "HEAD", 200}, {with, "POST", 405}, {with, "PUT", 405}, {with, "DELETE", 405},
		{without, "GET", 404}, {without, "HEAD", 404}, {without, "POST", 404},
	} {
		res, body := tt.app.asks(t, http.DefaultClient, tt.method, "/auth/jwks")
		if res.StatusCode != tt.status || (tt.status == 405) != (res.Header.Get("Allow") == "GET, HEAD") {
			t.Errorf("%s: %s, Allow %q, want %d", tt.method, res.Status, res.Header.Get("Allow"), tt.status)
		}
		if tt.method == "HEAD" && body != "" {
			t.Errorf("HEAD answered %q", body)
		}
	}
}

// The provider knows the keys from the client's jwks_uri alone.
func TestClientKeys_AProviderFindsTheKeyOfAnAssertionByItsName(t *testing.T) {
	t.Parallel()
	keys := testKeys()
	clientKeys := []jose.JSONWebKey{
		{Key: keys.P384, Use: "enc"}, {Key: keys.RSA2, Algorithm: "PS512"}, {Key: keys.RSA},
		{Key: keys.P256}, {Key: keys.Ed}, {Key: keys.P521},
	}
	served := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Registration.ClientKeys = clientKeys }})
	_, set := keysAt(t, served.URL)
	for i, alg := range map[int]string{1: "PS512", 2: "RS256", 3: "ES256", 4: "EdDSA", 5: "ES512"} {
		app := newTestApp(t, setup{
			provider: oidctest.Config{Clients: []oidctest.Client{{
				ID: oidctest.ClientID, TokenEndpointAuthMethod: "private_key_jwt", JWKS: set,
			}}},
			config: func(c *oidcrp.Config) {
				c.ClientSecret, c.Registration.ClientKeys = "", clientKeys
				c.Registration.TokenEndpointAuthMethod, c.Registration.TokenEndpointAuthSigningAlg = "private_key_jwt", alg
			},
		})
		app.signIn(t)
		assertion := app.provider.RequestsTo(oidctest.EndpointToken)[0].Form.Get("client_assertion")
		parsed, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(err)
		}
		if kid := parsed.Signatures[0].Header.KeyID; kid == "" || kid != set.Keys[i].KeyID {
			t.Errorf("%s: the assertion names key %q, want %q", alg, kid, set.Keys[i].KeyID)
		}
	}
}

func TestClientKeys_ASelfSignedCertificateIsKnownByThem(t *testing.T) {
	t.Parallel()
	certificate := certificateFor(t, testKeys().RSA, "the client")
	config := func(c *oidcrp.Config) { c.Registration.ClientCertificates = []tls.Certificate{certificate} }
	_, set := keysAt(t, newTestApp(t, setup{config: config}).URL)
	app := newMTLSApp(t, oidctest.Client{
		ID: oidctest.ClientID, TokenEndpointAuthMethod: "self_signed_tls_client_auth", JWKS: set,
	}, allAliases, setup{config: config})
	app.signIn(t)
}

// clientKeyFiles are contents of a file of client keys: each with the key that is
// read, or the error. Package internal/jose tests the rest.
func clientKeyFiles(t *testing.T) []clientKeyFile {
	t.Helper()
	keys := testKeys()
	named := jose.JSONWebKey{Key: keys.Ed, KeyID: "2026", Algorithm: "EdDSA", Use: "sig"}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{named}})
	if err != nil {
		t.Fatal(err)
	}
	return []clientKeyFile{
		{"PKCS #8", pkcs8(t, keys.P256), jose.JSONWebKey{Key: keys.P256}, ""},
		{"a JWK Set", set, named, ""},
		{"garbage", []byte("s3cr3t garbage"), jose.JSONWebKey{}, "holds neither a JWK nor a PEM key"},
	}
}

type clientKeyFile struct {
	what string
	file []byte
	want jose.JSONWebKey
	err  string
}

// sameKey reports whether two keys are the same, private parts and names included.
func sameKey(t *testing.T, a, b jose.JSONWebKey) bool {
	t.Helper()
	var texts [2][]byte
	for i, key := range []jose.JSONWebKey{a, b} {
		var err error
		if texts[i], err = json.Marshal(key); err != nil {
			t.Fatal(err)
		}
	}
	return bytes.Equal(texts[0], texts[1])
}

func TestParseClientKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range clientKeyFiles(t) {
		keys, err := oidcrp.ParseClientKeys(tt.file)
		if tt.err != "" {
			if want := "oidcrp: client keys: config_invalid: " + tt.err; wantCode(t, err, oidcrp.CodeConfigInvalid).Error() != want || keys != nil {
				t.Errorf("%s: %v, %v, want %s", tt.what, keys, err, want)
			}
			continue
		}
		if err != nil || len(keys) != 1 || !sameKey(t, keys[0], tt.want) {
			t.Errorf("%s: the keys are %v, %v", tt.what, keys, err)
			continue
		}
		mustNew(t, func(c *oidcrp.Config) { c.ClientSecret, c.Registration.ClientKeys = "", keys })
	}
}

func TestParseClientCertificate(t *testing.T) {
	t.Parallel()
	file := selfSigned(t)
	certificate, err := oidcrp.ParseClientCertificate(file)
	if err != nil || !testKeys().P256.Equal(certificate.PrivateKey) {
		t.Fatalf("%v, %v", certificate.PrivateKey, err)
	}
	mustNew(t, func(c *oidcrp.Config) {
		c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "tls_client_auth"
		c.Registration.ClientCertificates = []tls.Certificate{certificate}
	})
	for what, file := range map[string][]byte{
		"nothing": nil, "garbage": []byte("s3cr3t"), "a key alone": pkcs8(t, testKeys().P256),
		"the key of another": bytes.Replace(file, pkcs8(t, testKeys().P256), pkcs8(t, testKeys().Other), 1),
	} {
		const want = "oidcrp: client certificate: config_invalid: holds no PEM certificate with its private key"
		_, err := oidcrp.ParseClientCertificate(file)
		if wantCode(t, err, oidcrp.CodeConfigInvalid).Error() != want {
			t.Errorf("%s: error is %v, want %s", what, err, want)
		}
	}
}
