package oidcrp

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

// setEnv sets these variables, and no others that ConfigFromEnv reads, for the
// time of the test.
func setEnv(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OIDC_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

// tempFile writes data into a new file and returns its name.
func tempFile(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// pemOf returns what encode makes of key, as PEM.
func pemOf(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemOf(t, "PRIVATE KEY", der, err)
}

func TestConfigFromEnvReadsEveryVariable(t *testing.T) {
	provider := oidctest.NewServer(t, oidctest.Config{TLS: true})
	setEnv(t, map[string]string{
		"OIDC_ISSUER":                          provider.Issuer(),
		"OIDC_CLIENT_ID":                       "app",
		"OIDC_CLIENT_SECRET":                   "a=b c\"",
		"OIDC_BASE_URL":                        "https://app.example",
		"OIDC_REDIRECT_URI":                    "https://app.example/back",
		"OIDC_POST_LOGOUT_REDIRECT_URI":        "https://app.example/bye",
		"OIDC_SCOPES":                          " openid  email uid ",
		"OIDC_CLIENT_AUTH":                     "client_secret_post",
		"OIDC_CLIENT_KEY_FILE":                 tempFile(t, pkcs8(t, testKeys().P256)),
		"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG":    "ES256",
		"OIDC_USERINFO_SIGNED_RESPONSE_ALG":    "RS256",
		"OIDC_RESPONSE_MODE":                   "form_post",
		"OIDC_CLIENT_CERT_FILE":                tempFile(t, selfSigned(t)),
		"OIDC_USERINFO_TOKEN_IN_BODY":          "1",
		"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": "ECDH-ES",
		"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC": "A128GCM",
		"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG": "dir",
		"OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC": "A256GCM",
		"OIDC_CLIENT_AUTH_SIGNING_ALG":         "HS512",
		"OIDC_PROMPT":                          "login",
		"OIDC_MAX_AGE":                         "300",
		"OIDC_PROVIDER_CA_FILE":                tempFile(t, provider.Certificate()),
		"OIDC_COOKIE_KEYS":                     base64.StdEncoding.EncodeToString(testKey(1)) + "," + base64.StdEncoding.EncodeToString(testKey(2)),
	})
	got, err := ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	trusting, keys, certificates := got.Provider.RootCAs, got.Registration.ClientKeys, got.Registration.ClientCertificates
	got.Provider.RootCAs, got.Registration.ClientKeys, got.Registration.ClientCertificates = nil, nil, nil
	want := Config{
		Issuer: provider.Issuer(), ClientID: "app", ClientSecret: "a=b c\"",
		BaseURL: "https://app.example", Scopes: []string{"openid", "email", "uid"}, ResponseMode: "form_post",
		Login: AuthOptions{Prompt: "login", MaxAge: new(5 * time.Minute)},
		Registration: Registration{
			RedirectURI: "https://app.example/back", PostLogoutRedirectURI: "https://app.example/bye",
			TokenEndpointAuthMethod: "client_secret_post", TokenEndpointAuthSigningAlg: "HS512",
			IDTokenSignedResponseAlg: "ES256", UserInfoSignedResponseAlg: "RS256",
			IDTokenEncryptedResponseAlg: "ECDH-ES", IDTokenEncryptedResponseEnc: "A128GCM",
			UserInfoEncryptedResponseAlg: "dir", UserInfoEncryptedResponseEnc: "A256GCM",
		},
		Provider: Provider{UserInfoTokenInBody: true}, fromEnv: true,
		CookieKeys: Keys(testKey(1), testKey(2)),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the configuration is\n%+v\nwant\n%+v", got, want)
	}
	if len(keys) != 1 || !testKeys().P256.Equal(keys[0].Key) {
		t.Errorf("the client keys are %v", keys)
	}
	if len(certificates) != 1 || !testKeys().P256.Equal(certificates[0].PrivateKey) {
		t.Errorf("the client certificates are %v", certificates)
	}
	got.Provider.RootCAs, got.Registration.ClientKeys, got.Registration.ClientCertificates = trusting, keys, certificates
	client, err := New(got)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Metadata(t.Context()); err != nil {
		t.Errorf("the provider's certificate is not trusted: %v", err)
	}
	if len(envVars) != 24 { // OIDC_COOKIE_KEYS_FILE takes the place of OIDC_COOKIE_KEYS
		t.Errorf("there are %d variables: the new ones need a line above", len(envVars))
	}
}

func TestAnEmptyVariableIsLikeNone(t *testing.T) {
	vars := map[string]string{"OIDC_UNKNOWN": ""}
	for name := range envVars {
		vars[name] = ""
	}
	setEnv(t, vars)
	got, err := ConfigFromEnv()
	if err != nil || !reflect.DeepEqual(got, Config{fromEnv: true}) {
		t.Errorf("the configuration is %+v, %v", got, err)
	}
}

func TestConfigFromEnvNamesEveryMistake(t *testing.T) {
	const value = "s3cr3t-value"
	setEnv(t, map[string]string{
		"OIDC_ISSUER_URL":             value,
		"OIDC_CLIENT_KEY_FILE":        "/does/not/exist/" + value,
		"OIDC_COOKIE_KEYS":            base64.StdEncoding.EncodeToString(testKey(1)) + "," + value + "!",
		"OIDC_PROVIDER_CA_FILE":       tempFile(t, []byte(value)),
		"OIDC_CLIENTID":               value,
		"OIDC_CLIENT_CERT_FILE":       tempFile(t, pkcs8(t, testKeys().P256)),
		"OIDC_USERINFO_TOKEN_IN_BODY": value,
		"OIDC_MAX_AGE":                value,
		"OIDC_CLIENT_SECRET":          value,
	})
	const known = "OIDC_BASE_URL, OIDC_CLIENT_AUTH, OIDC_CLIENT_AUTH_SIGNING_ALG, OIDC_CLIENT_CERT_FILE, OIDC_CLIENT_ID, OIDC_CLIENT_KEY_FILE, " +
		"OIDC_CLIENT_SECRET, OIDC_COOKIE_KEYS, OIDC_COOKIE_KEYS_FILE, OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG, OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC, " +
		"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG, OIDC_ISSUER, OIDC_MAX_AGE, OIDC_POST_LOGOUT_REDIRECT_URI, OIDC_PROMPT, OIDC_PROVIDER_CA_FILE, " +
		"OIDC_REDIRECT_URI, OIDC_RESPONSE_MODE, OIDC_SCOPES, OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG, " +
		"OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC, OIDC_USERINFO_SIGNED_RESPONSE_ALG, OIDC_USERINFO_TOKEN_IN_BODY"
	const want = "OIDC_CLIENTID is not known; there are " + known + "\n" +
		"OIDC_CLIENT_CERT_FILE does not hold a certificate and its private key as PEM\n" +
		"OIDC_CLIENT_KEY_FILE cannot be read: no such file or directory\n" +
		"OIDC_COOKIE_KEYS key 2 is not base64\n" +
		"OIDC_ISSUER_URL is not known; there are " + known + "\n" +
		"OIDC_MAX_AGE is not a number of seconds\n" +
		"OIDC_PROVIDER_CA_FILE holds no PEM certificate\n" +
		"OIDC_USERINFO_TOKEN_IN_BODY is neither 1 nor 0"
	got, err := ConfigFromEnv()
	if text := wantCode(t, err, CodeConfig).Err.Error(); text != want {
		t.Errorf("error is\n%s\nwant\n%s", text, want)
	}
	if !reflect.DeepEqual(got, Config{}) {
		t.Errorf("beside the error there is %+v", got)
	}
	if strings.Contains(err.Error(), value) {
		t.Errorf("the value of a variable is in %v", err)
	}
}

func TestClientKeyFiles(t *testing.T) {
	keys := testKeys()
	sec1, sec1Err := x509.MarshalECPrivateKey(keys.P384)
	ecKey := pemOf(t, "EC PRIVATE KEY", sec1, sec1Err)
	public, publicErr := x509.MarshalPKIXPublicKey(keys.P256.Public())
	x25519, x25519Err := ecdhKey()
	one := jose.JSONWebKey{Key: keys.Ed, KeyID: "2026", Algorithm: "EdDSA", Use: "sig"}
	jwkFile, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	jwksFile, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{one}})
	if err != nil {
		t.Fatal(err)
	}
	// openssl ecparam -genkey writes the curve's parameters in front.
	parameters := pemOf(t, "EC PARAMETERS", []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}, nil)
	for _, tt := range []struct {
		what string
		file []byte
		key  any    // what is read
		err  string // or why not
	}{
		{"PKCS #8 with RSA", pkcs8(t, keys.RSA), keys.RSA, ""},
		{"PKCS #8 with EC", pkcs8(t, keys.P256), keys.P256, ""},
		{"PKCS #8 with Ed25519", pkcs8(t, keys.Ed), keys.Ed, ""},
		{"PKCS #1", pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(keys.RSA), nil), keys.RSA, ""},
		{"SEC 1", ecKey, keys.P384, ""},
		{"SEC 1 behind the curve's parameters", append(parameters, ecKey...), keys.P384, ""},
		{"text around the PEM block", append([]byte("Bag Attributes\n"), append(pkcs8(t, keys.P256), "\n\n"...)...), keys.P256, ""},
		{"a JWK", jwkFile, keys.Ed, ""},
		{"a JWK Set", jwksFile, keys.Ed, ""},

		{"an empty file", nil, nil, "holds neither a JWK nor a PEM key"},
		{"garbage", []byte("\x00\xffgarbage"), nil, "holds neither a JWK nor a PEM key"},
		{"JSON that is no JWK", []byte(`{"keys":[]}`), nil, "holds neither a JWK nor a PEM key"},
		{"a public key", pemOf(t, "PUBLIC KEY", public, publicErr), nil, "holds no RSA, EC or Ed25519 private key"},
		{"a key for key agreement", pemOf(t, "PRIVATE KEY", x25519, x25519Err), nil, "holds no RSA, EC or Ed25519 private key"},
		{"a PEM block that holds garbage", pemOf(t, "PRIVATE KEY", []byte("garbage"), nil), nil, "holds no RSA, EC or Ed25519 private key"},
		{"the curve's parameters alone", parameters, nil, "holds no RSA, EC or Ed25519 private key"},
	} {
		setEnv(t, map[string]string{"OIDC_CLIENT_KEY_FILE": tempFile(t, tt.file)})
		cfg, err := ConfigFromEnv()
		if tt.err != "" {
			if want := "OIDC_CLIENT_KEY_FILE " + tt.err; err == nil || wantCode(t, err, CodeConfig).Err.Error() != want {
				t.Errorf("%s: error is %v, want %s", tt.what, err, want)
			}
			continue
		}
		if err != nil || len(cfg.Registration.ClientKeys) != 1 || !sameKey(cfg.Registration.ClientKeys[0].Key, tt.key) {
			t.Errorf("%s: the keys are %v, %v", tt.what, cfg.Registration.ClientKeys, err)
			continue
		}
		_, err = New(soundConfig(func(c *Config) { c.ClientSecret, c.Registration.ClientKeys = "", cfg.Registration.ClientKeys }))
		if err != nil {
			t.Errorf("%s: New: %v", tt.what, err)
		}
	}
}

func TestAClientKeyFileWithAPublicJWK(t *testing.T) {
	public, err := json.Marshal(jose.JSONWebKey{Key: testKeys().P256.Public()})
	if err != nil {
		t.Fatal(err)
	}
	setEnv(t, map[string]string{"OIDC_CLIENT_KEY_FILE": tempFile(t, public)})
	if _, err := ConfigFromEnv(); err == nil || !strings.Contains(err.Error(), "OIDC_CLIENT_KEY_FILE holds a JWK without its private part") {
		t.Errorf("error is %v", err)
	}
}

func TestCookieKeysInEveryBase64(t *testing.T) {
	key := make([]byte, 32) // with the two digits that differ
	for i := range key {
		key[i] = 0xfb
	}
	for what, value := range map[string]string{
		"standard":                  base64.StdEncoding.EncodeToString(key),
		"standard without padding":  base64.RawStdEncoding.EncodeToString(key),
		"URL-safe":                  base64.URLEncoding.EncodeToString(key),
		"URL-safe without padding":  base64.RawURLEncoding.EncodeToString(key),
		"with spaces and line ends": " " + base64.StdEncoding.EncodeToString(key) + "\n",
	} {
		setEnv(t, map[string]string{"OIDC_COOKIE_KEYS": value + " , " + value})
		cfg, err := ConfigFromEnv()
		if err != nil || !reflect.DeepEqual(cfg.CookieKeys, Keys(key, key)) {
			t.Errorf("%s: the keys are %x, %v", what, cfg.CookieKeys, err)
		}
	}
}

func TestACAFileLeavesTheRestOfTheTransportSafe(t *testing.T) {
	// An app may have put something else in the place of the default.
	old := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = old })
	http.DefaultTransport = noNetwork{t}

	provider := oidctest.NewServer(t, oidctest.Config{TLS: true})
	setEnv(t, map[string]string{"OIDC_PROVIDER_CA_FILE": tempFile(t, provider.Certificate())})
	cfg, err := ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	transport := cfg.Provider.transport().(*http.Transport)
	if transport.Proxy == nil || transport.TLSClientConfig.InsecureSkipVerify || transport.MaxIdleConnsPerHost < 8 {
		t.Errorf("the transport is %+v", transport)
	}
	res, err := (&http.Client{Transport: transport}).Get(provider.Endpoint(oidctest.EndpointJWKS))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

// selfSigned returns a certificate and its private key as PEM.
func selfSigned(t testing.TB) []byte {
	t.Helper()
	key := testKeys().P256
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return append(pemOf(t, "CERTIFICATE", der, err), pkcs8(t, key)...)
}

// ecdhKey returns an X25519 key, which cannot sign, in PKCS #8.
func ecdhKey() ([]byte, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// sameKey reports whether a and b are the same private key.
func sameKey(a, b any) bool {
	switch a := a.(type) {
	case *rsa.PrivateKey:
		other, ok := b.(*rsa.PrivateKey)
		return ok && a.Equal(other)
	case *ecdsa.PrivateKey:
		other, ok := b.(*ecdsa.PrivateKey)
		return ok && a.Equal(other)
	case ed25519.PrivateKey:
		other, ok := b.(ed25519.PrivateKey)
		return ok && a.Equal(other)
	}
	return false
}
