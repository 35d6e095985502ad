package oidcrp_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"maps"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

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

// emptyEnvConfig is what an empty environment makes.
func emptyEnvConfig(t *testing.T) oidcrp.Config {
	t.Helper()
	setEnv(t, nil)
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// everyVariable has a value for each variable of an app with that provider.
func everyVariable(t *testing.T, provider *oidctest.Provider) map[string]string {
	t.Helper()
	return map[string]string{
		"OIDC_ISSUER":                             provider.Issuer(),
		"OIDC_CLIENT_ID":                          "app",
		"OIDC_CLIENT_SECRET":                      "a=b c\"",
		"OIDC_BASE_URL":                           "https://app.example",
		"OIDC_REDIRECT_URI":                       "https://app.example/back",
		"OIDC_POST_LOGOUT_REDIRECT_URI":           "https://app.example/bye",
		"OIDC_TRUSTED_ORIGINS":                    "https://www.example, https://a.example  https://b.example",
		"OIDC_SCOPES":                             " openid  email uid ",
		"OIDC_CLIENT_AUTH":                        "private_key_jwt",
		"OIDC_CLIENT_KEY_FILE":                    tempFile(t, selfSigned(t)),
		"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG":       "ES256",
		"OIDC_USERINFO_SIGNED_RESPONSE_ALG":       "RS256",
		"OIDC_RESPONSE_MODE":                      "form_post",
		"OIDC_METADATA_URL":                       provider.Endpoint(oidctest.EndpointDiscovery),
		"OIDC_JWKS_FILE":                          tempFile(t, []byte(keysOf(t, provider))),
		"OIDC_ACCEPTED_ISSUERS":                   "https://a.example/v2.0, https://b.example/v2.0",
		"OIDC_TRUSTED_AUDIENCES":                  "api project",
		"OIDC_NO_PKCE":                            "1",
		"OIDC_NO_USERINFO":                        "0",
		"OIDC_CLIENT_ASSERTION_AUDIENCE":          "token_endpoint",
		"OIDC_CLIENT_ASSERTION_THUMBPRINT":        "1",
		"OIDC_PUSHED_AUTHORIZATION_REQUESTS":      "1",
		"OIDC_TOKEN_PARAMETERS":                   "resource=https%3A%2F%2Fapi.example&audience=api",
		"OIDC_REFRESH_SCOPES":                     "openid api",
		"OIDC_ACR_VALUES":                         "eidas1",
		"OIDC_REQUIRE_ACR":                        "eidas1 eidas2",
		"OIDC_CLIENT_CERT_FILE":                   tempFile(t, selfSigned(t)),
		"OIDC_USERINFO_TOKEN_IN_BODY":             "1",
		"OIDC_LOGOUT_WITHOUT_HINT":                "1",
		"OIDC_LOGOUT_HINT_REQUIRED":               "0",
		"OIDC_ALLOW_PRIVATE_NETWORK":              "true",
		"OIDC_LOGOUT_TOKEN_SIGNING_ALG":           "ES384",
		"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG":    "ECDH-ES",
		"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC":    "A128GCM",
		"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG":    "dir",
		"OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC":    "A256GCM",
		"OIDC_CLIENT_AUTH_SIGNING_ALG":            "ES256",
		"OIDC_PROMPT":                             "login",
		"OIDC_MAX_AGE":                            "300",
		"OIDC_PROVIDER_CA_FILE":                   tempFile(t, provider.Certificate()),
		"OIDC_COOKIE_KEYS":                        base64Keys(testKey(1), testKey(2)),
		"OIDC_END_SESSION_URL":                    "?client_id={client_id}&logout_uri={post_logout_redirect_uri}",
		"OIDC_INSECURE_HTTP_HOSTS":                "keycloak,op.internal",
		"OIDC_REVOCATION_WITHOUT_HINT":            "1",
		"OIDC_FRONTCHANNEL_LOGOUT_WITHOUT_ISSUER": "1",
	}
}

func TestConfigFromEnv_ReadsEveryVariable(t *testing.T) {
	provider := oidctest.NewServer(t, oidctest.Config{TLS: true})
	known, want := oidcrp.KnownVariables(), emptyEnvConfig(t)
	vars := everyVariable(t, provider)
	for _, name := range known {
		if _, ok := vars[name]; !ok && name != "OIDC_COOKIE_KEYS_FILE" { // in the place of OIDC_COOKIE_KEYS
			t.Errorf("%s is new: it needs a line above", name)
		}
	}
	setEnv(t, vars)
	got, err := oidcrp.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	got.Tokens.Keep, want.Tokens.Keep = true, true // which no variable sets, for OIDC_REFRESH_SCOPES
	client, err := oidcrp.New(got)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Metadata(t.Context()); err != nil {
		t.Errorf("the provider's certificate is not trusted: %v", err)
	}
	keys, certificates := got.Registration.ClientKeys, got.Registration.ClientCertificates
	got.Provider.RootCAs, got.Registration.ClientKeys, got.Registration.ClientCertificates = nil, nil, nil
	want.Issuer, want.ClientID, want.ClientSecret, want.BaseURL = provider.Issuer(), "app", "a=b c\"", "https://app.example"
	want.TrustedOrigins = []string{"https://www.example", "https://a.example", "https://b.example"}
	want.Scopes, want.ResponseMode = []string{"openid", "email", "uid"}, "form_post"
	want.Login = oidcrp.AuthOptions{Prompt: "login", MaxAge: new(5 * time.Minute),
		ACRValues: []string{"eidas1"}, RequireACR: []string{"eidas1", "eidas2"}}
	want.Registration = oidcrp.Registration{
		RedirectURI: "https://app.example/back", PostLogoutRedirectURI: "https://app.example/bye",
		TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlg: "ES256",
		RequirePushedAuthorizationRequests: true,
		IDTokenSignedResponseAlg:           "ES256", UserInfoSignedResponseAlg: "RS256",
		IDTokenEncryptedResponseAlg: "ECDH-ES", IDTokenEncryptedResponseEnc: "A128GCM",
		UserInfoEncryptedResponseAlg: "dir", UserInfoEncryptedResponseEnc: "A256GCM",
	}
	want.Provider.UserInfoTokenInBody, want.Provider.AllowPrivateNetwork = true, true
	want.Provider.LogoutTokenSigningAlg, want.Provider.LogoutWithoutHint = "ES384", true
	want.Provider.MetadataURL, want.Provider.NoPKCE = provider.Endpoint(oidctest.EndpointDiscovery), true
	want.Provider.AssertionAudience, want.Provider.AssertionThumbprint = "token_endpoint", true
	want.Provider.JWKS = []byte(keysOf(t, provider))
	want.Provider.AcceptedIssuers = []string{"https://a.example/v2.0", "https://b.example/v2.0"}
	want.Provider.TrustedAudiences = []string{"api", "project"}
	want.Tokens.Extra = url.Values{"resource": {"https://api.example"}, "audience": {"api"}}
	want.Tokens.RefreshScopes = []string{"openid", "api"}
	want.Provider.EndSessionURL = "?client_id={client_id}&logout_uri={post_logout_redirect_uri}"
	want.Provider.InsecureHTTPHosts = []string{"keycloak", "op.internal"}
	want.Provider.RevocationWithoutHint, want.Provider.FrontchannelLogoutWithoutIssuer = true, true
	want.CookieKeys = oidcrp.Keys(testKey(1), testKey(2))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the configuration is\n%+v\nwant\n%+v", got, want)
	}
	if len(keys) != 1 || !testKeys().P256.Equal(keys[0].Key) {
		t.Errorf("there are %d client keys, or they are others", len(keys))
	}
	if len(certificates) != 1 || !testKeys().P256.Equal(certificates[0].PrivateKey) {
		t.Errorf("there are %d client certificates, or they are others", len(certificates))
	}
}

// OIDC_LOGOUT_HINT_REQUIRED contradicts the variables that leave the hint out.
func TestConfigFromEnv_LogoutHintRequired(t *testing.T) {
	setEnv(t, soundEnv(map[string]string{"OIDC_LOGOUT_HINT_REQUIRED": "1"}))
	if cfg, err := oidcrp.ConfigFromEnv(); err != nil || !cfg.Provider.LogoutHintRequired {
		t.Errorf("it is %v, error %v", cfg.Provider.LogoutHintRequired, err)
	}
	setEnv(t, soundEnv(map[string]string{"OIDC_LOGOUT_HINT_REQUIRED": "1", "OIDC_LOGOUT_WITHOUT_HINT": "1"}))
	cfg, err := oidcrp.ConfigFromEnv()
	if err == nil {
		_, err = oidcrp.New(cfg)
	}
	const want = "OIDC_LOGOUT_HINT_REQUIRED (Provider.LogoutHintRequired) contradicts OIDC_LOGOUT_WITHOUT_HINT (Provider.LogoutWithoutHint)"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// OIDC_NO_USERINFO contradicts the variables about UserInfo.
func TestConfigFromEnv_ReadsNoUserInfo(t *testing.T) {
	setEnv(t, soundEnv(map[string]string{"OIDC_NO_USERINFO": "1"}))
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil || !cfg.Provider.NoUserInfo {
		t.Errorf("NoUserInfo is %t, %v", cfg.Provider.NoUserInfo, err)
	}
	setEnv(t, soundEnv(map[string]string{"OIDC_NO_USERINFO": "1", "OIDC_USERINFO_TOKEN_IN_BODY": "1"}))
	cfg, err = oidcrp.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	const want = "OIDC_NO_USERINFO (Provider.NoUserInfo) contradicts OIDC_USERINFO_TOKEN_IN_BODY (Provider.UserInfoTokenInBody)"
	if _, err := oidcrp.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v", err)
	}
}

func TestConfigFromEnv_AnEmptyVariableCountsAsNotSet(t *testing.T) {
	vars := map[string]string{"OIDC_UNKNOWN": ""}
	for _, name := range oidcrp.KnownVariables() {
		vars[name] = ""
	}
	want := emptyEnvConfig(t)
	setEnv(t, vars)
	got, err := oidcrp.ConfigFromEnv()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the configuration is %+v, %v", got, err)
	}
}

func TestConfigFromEnv_NamesEveryMistake(t *testing.T) {
	const value = "s3cr3t-value"
	setEnv(t, map[string]string{
		"OIDC_ISSUER_URL":             value,
		"OIDC_CLIENT_KEY_FILE":        "/does/not/exist/" + value,
		"OIDC_COOKIE_KEYS":            base64Keys(testKey(1)) + "," + value + "!",
		"OIDC_PROVIDER_CA_FILE":       tempFile(t, []byte(value)),
		"OIDC_CLIENTID":               value,
		"OIDC_CLIENT_CERT_FILE":       tempFile(t, pkcs8(t, testKeys().P256)),
		"OIDC_USERINFO_TOKEN_IN_BODY": value,
		"OIDC_ALLOW_PRIVATE_NETWORK":  value,
		"OIDC_MAX_AGE":                value,
		"OIDC_CLIENT_SECRET":          value,
		"OIDC_BASE_URL":               "app.example",
	})
	want := "OIDC_ALLOW_PRIVATE_NETWORK is neither 1 nor 0\n" +
		"OIDC_CLIENTID is not known: do you mean OIDC_CLIENT_ID?\n" +
		"OIDC_CLIENT_CERT_FILE holds no PEM certificate with its private key\n" +
		"OIDC_CLIENT_KEY_FILE cannot be read: no such file or directory\n" +
		"OIDC_COOKIE_KEYS key 2 is not base64\n" +
		"OIDC_ISSUER_URL is not known: do you mean OIDC_ISSUER?\n" +
		"OIDC_MAX_AGE is not a number of seconds\n" +
		"OIDC_PROVIDER_CA_FILE holds no PEM certificate\n" +
		"OIDC_USERINFO_TOKEN_IN_BODY is neither 1 nor 0\n" +
		// What New would say in the next round. Without a value it says nothing, since
		// the app may still set that field.
		`OIDC_BASE_URL (BaseURL) "app.example" must be an absolute URL without user, query and fragment`
	got, err := oidcrp.ConfigFromEnv()
	if text := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); text != want {
		t.Errorf("error is\n%s\nwant\n%s", text, want)
	}
	if !reflect.DeepEqual(got, oidcrp.Config{}) {
		t.Errorf("beside the error there is %+v", got)
	}
	if strings.Contains(err.Error(), value) {
		t.Errorf("the value of a variable is in %v", err)
	}
}

// base64Keys returns keys as OIDC_COOKIE_KEYS takes them.
func base64Keys(keys ...[]byte) string {
	var texts []string
	for _, key := range keys {
		texts = append(texts, base64.StdEncoding.EncodeToString(key))
	}
	return strings.Join(texts, ",")
}

// soundEnv are variables that make a Config that New accepts, with changes made
// to them.
func soundEnv(changes map[string]string) map[string]string {
	vars := map[string]string{
		"OIDC_ISSUER": "https://op.example", "OIDC_CLIENT_ID": "app", "OIDC_BASE_URL": "https://app.example",
		"OIDC_CLIENT_SECRET": "a-client-secret-that-is-32-bytes", "OIDC_COOKIE_KEYS": base64Keys(testKey(1)),
	}
	maps.Copy(vars, changes)
	return vars
}

// wrongVariables are mistakes, and what New says about them.
var wrongVariables = []struct {
	vars map[string]string
	want string
}{
	{map[string]string{"OIDC_ISSUER": ""}, "OIDC_ISSUER (Issuer) is empty"},
	{map[string]string{"OIDC_ISSUER": "http://op.example"}, `OIDC_ISSUER (Issuer) "http://op.example"` + wantHTTPS},
	{map[string]string{"OIDC_ISSUER": "https://u53r:p455@op.example"}, `OIDC_ISSUER (Issuer) "…@op.example"` + wantURL},
	{map[string]string{"OIDC_CLIENT_ID": ""}, "OIDC_CLIENT_ID (ClientID) is empty"},
	{map[string]string{"OIDC_CLIENT_ID": "app "}, `OIDC_CLIENT_ID (ClientID) "app " begins or ends with white space: remove it`},
	{map[string]string{"OIDC_CLIENT_SECRET": "s3cr3t\n"}, "OIDC_CLIENT_SECRET (ClientSecret) begins or ends with white space: remove it"},
	{map[string]string{"OIDC_SCOPES": "openid,email profile"},
		`OIDC_SCOPES (Scopes) "openid openid,email profile" contains a comma: separate scopes by spaces`},
	{map[string]string{"OIDC_CLIENT_SECRET": ""},
		`OIDC_CLIENT_SECRET (ClientSecret) is empty (for a public client, set OIDC_CLIENT_AUTH (Registration.TokenEndpointAuthMethod) to "none")`},
	{map[string]string{"OIDC_BASE_URL": "app.example"}, `OIDC_BASE_URL (BaseURL) "app.example"` + wantURL},
	{map[string]string{"OIDC_REDIRECT_URI": "https://other.example/cb"},
		`OIDC_REDIRECT_URI (Registration.RedirectURI) "https://other.example/cb"` + wantOrigin},
	{map[string]string{"OIDC_POST_LOGOUT_REDIRECT_URI": "https://app.example/auth/login"},
		`OIDC_POST_LOGOUT_REDIRECT_URI (Registration.PostLogoutRedirectURI) "https://app.example/auth/login"` + wantPath},
	{map[string]string{"OIDC_CLIENT_AUTH": "private_key_jwt"},
		"OIDC_CLIENT_KEY_FILE (Registration.ClientKeys) is empty, and private_key_jwt needs a key"},
	{map[string]string{"OIDC_CLIENT_AUTH": "tls_client_auth"},
		"OIDC_CLIENT_CERT_FILE (Registration.ClientCertificates) is empty, and tls_client_auth needs a certificate"},
	{map[string]string{"OIDC_CLIENT_AUTH": "client_secret_jwt", "OIDC_CLIENT_AUTH_SIGNING_ALG": "RS256"},
		`OIDC_CLIENT_AUTH_SIGNING_ALG (Registration.TokenEndpointAuthSigningAlg) "RS256" cannot be used: ` +
			"client_secret_jwt is signed with HS256, HS384 or HS512"},
	{map[string]string{"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "none"},
		`OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG (Registration.IDTokenSignedResponseAlg) "none" is not supported`},
	{map[string]string{"OIDC_USERINFO_SIGNED_RESPONSE_ALG": "HS512"},
		"OIDC_USERINFO_SIGNED_RESPONSE_ALG (Registration.UserInfoSignedResponseAlg) HS512 needs OIDC_CLIENT_SECRET (ClientSecret) to have 64 bytes or more"},
	{map[string]string{"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": "RSA1_5"},
		`OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG (Registration.IDTokenEncryptedResponseAlg) "RSA1_5" is not supported`},
	{map[string]string{"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC": "A128GCM"},
		"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC (Registration.IDTokenEncryptedResponseEnc) is set without an Alg"},
	{map[string]string{"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG": "RSA-OAEP"},
		"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG (Registration.UserInfoEncryptedResponseAlg) RSA-OAEP needs a key that fits it in OIDC_CLIENT_KEY_FILE (Registration.ClientKeys)"},
	{map[string]string{"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG": "dir", "OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC": "A128CTR"},
		`OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC (Registration.UserInfoEncryptedResponseEnc) "A128CTR" is not supported`},
	{map[string]string{"OIDC_RESPONSE_MODE": "fragment"},
		`OIDC_RESPONSE_MODE (ResponseMode) "fragment" is not supported (query, form_post)`},
	{map[string]string{"OIDC_PROMPT": "logn"},
		`OIDC_PROMPT (Login.Prompt) holds "logn": do you mean "login"?`},
	{map[string]string{"OIDC_PROMPT": "none login"}, `OIDC_PROMPT (Login.Prompt) "none" cannot be combined with others`},
	{map[string]string{"OIDC_COOKIE_KEYS": ""},
		"OIDC_COOKIE_KEYS (CookieKeys) is empty: set it to a key made by openssl rand -base64 32, or OIDC_COOKIE_KEYS_FILE to a file of such keys"},
	{map[string]string{"OIDC_COOKIE_KEYS": base64Keys([]byte("s3cr3t"))},
		"OIDC_COOKIE_KEYS (CookieKeys) key 1 has 6 bytes: a key is 32 random bytes"},
}

func TestConfigFromEnv_NewNamesTheVariableAndTheField(t *testing.T) {
	for _, tt := range wrongVariables {
		setEnv(t, soundEnv(tt.vars))
		cfg, err := oidcrp.ConfigFromEnv()
		if err != nil {
			t.Errorf("%v: %v", tt.vars, err)
			continue
		}
		_, err = oidcrp.New(cfg)
		if err == nil {
			t.Errorf("no error, want: %s", tt.want)
			continue
		}
		if got := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); got != tt.want {
			t.Errorf("error is\n%s\nwant\n%s", got, tt.want)
		}
	}
}

func TestConfigFromEnv_NewNamesTheFieldAloneWithoutAVariable(t *testing.T) {
	setEnv(t, soundEnv(nil))
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oidcrp.New(cfg); err != nil {
		t.Errorf("the variables that the mistakes are made in: %v", err)
	}
	cfg.Sessions.Lifetime, cfg.Issuer = -1, "op.example"
	_, err = oidcrp.New(cfg)
	want := `OIDC_ISSUER (Issuer) "op.example"` + wantURL + "\nSessions.Lifetime -1ns is negative"
	if got := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); got != want {
		t.Errorf("error is\n%s\nwant\n%s", got, want)
	}
}

func TestConfigFromEnv_RefusesTwoSourcesOfCookieKeys(t *testing.T) {
	key := base64Keys(randomKey())
	setEnv(t, soundEnv(map[string]string{"OIDC_COOKIE_KEYS": key, "OIDC_COOKIE_KEYS_FILE": tempFile(t, []byte(key))}))
	_, err := oidcrp.ConfigFromEnv()
	const want = "OIDC_COOKIE_KEYS_FILE and OIDC_COOKIE_KEYS are both set: use one"
	if got := wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error(); got != want {
		t.Errorf("error is %s, want %s", got, want)
	}
}

func TestConfigFromEnv_ReadsCookieKeysInEveryBase64(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb}, 32) // with the two digits that differ
	for what, value := range map[string]string{
		"standard":                  base64.StdEncoding.EncodeToString(key),
		"standard without padding":  base64.RawStdEncoding.EncodeToString(key),
		"URL-safe":                  base64.URLEncoding.EncodeToString(key),
		"URL-safe without padding":  base64.RawURLEncoding.EncodeToString(key),
		"with spaces and line ends": " " + base64.StdEncoding.EncodeToString(key) + "\n",
	} {
		setEnv(t, map[string]string{"OIDC_COOKIE_KEYS": value + " , " + value})
		cfg, err := oidcrp.ConfigFromEnv()
		if err != nil || !reflect.DeepEqual(cfg.CookieKeys, oidcrp.Keys(key, key)) {
			t.Errorf("%s: the keys are others (%v)", what, err)
		}
	}
}

func TestConfigFromEnv_ReadsTheFileOfClientKeys(t *testing.T) {
	for _, tt := range clientKeyFiles(t) {
		setEnv(t, map[string]string{"OIDC_CLIENT_KEY_FILE": tempFile(t, tt.file)})
		cfg, err := oidcrp.ConfigFromEnv()
		if tt.err != "" {
			if want := "OIDC_CLIENT_KEY_FILE " + tt.err; err == nil || wantCode(t, err, oidcrp.CodeConfigInvalid).Err.Error() != want {
				t.Errorf("%s: error is %v, want %s", tt.what, err, want)
			}
			continue
		}
		if keys := cfg.Registration.ClientKeys; err != nil || len(keys) != 1 || !sameKey(t, keys[0], tt.want) {
			t.Errorf("%s: the keys are others (%v)", tt.what, err)
		}
	}
}

// selfSigned returns a certificate and its private key as PEM.
func selfSigned(t testing.TB) []byte {
	t.Helper()
	key := testKeys().P256
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return append(pemOf(t, "CERTIFICATE", der, err), pkcs8(t, key)...)
}

// Kubernetes sets variables for each Service; those of other programs are nobody's
// mistake either, but worth a line in the log.
func TestConfigFromEnv_VariablesThatItDoesNotKnow(t *testing.T) {
	for name, want := range map[string]string{
		"OIDC_ISUER": "OIDC_ISSUER", "OIDC_ISSUER_URI": "OIDC_ISSUER", "OIDC_CLIENTSECRET": "OIDC_CLIENT_SECRET",
		"OIDC_CLIENT_SECRET_FILE": "OIDC_CLIENT_SECRET", "OIDC_SECRET": "OIDC_CLIENT_SECRET", "OIDC_SCOPE": "OIDC_SCOPES",
		"OIDC_REDIRECT_URL": "OIDC_REDIRECT_URI", "OIDC_COOKIE_KEY": "OIDC_COOKIE_KEYS",
	} {
		setEnv(t, soundEnv(map[string]string{name: "x"}))
		if _, err := oidcrp.ConfigFromEnv(); err == nil || !strings.Contains(err.Error(), name+" is not known: do you mean "+want+"?") {
			t.Errorf("%s: %v, want a question about %s", name, err, want)
		}
	}
	links := map[string]string{
		"OIDC_PORT": "tcp://10.0.0.1:80", "OIDC_SERVICE_HOST": "10.0.0.1", "OIDC_SERVICE_PORT": "80", "OIDC_SERVICE_PORT_HTTPS": "443",
		"OIDC_PORT_80_TCP": "x", "OIDC_PORT_80_TCP_PROTO": "tcp", "OIDC_PORT_443_UDP_ADDR": "x", "OIDC_PROVIDER_PORT_80_TCP": "x",
		"OIDC_PROVIDER_SERVICE_HOST": "x", "OIDC_MY_PROVIDER_2_PORT_80_TCP_PORT": "80", "OIDC_OPERATOR_MODE": "x", "OIDC_PORTAL": "x",
		"OIDC_ISSUER_PORT": "tcp://10.0.0.1:443", "OIDC_ISSUER_SERVICE_HOST": "x", // of a Service named oidc-issuer
	}
	setEnv(t, soundEnv(links))
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	log := new(testLog)
	cfg.Logger = slog.New(slog.NewJSONHandler(log, nil))
	if _, err := oidcrp.New(cfg); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, `"names":"OIDC_OPERATOR_MODE OIDC_PORTAL"`) || strings.Count(got, "\n") != 1 {
		t.Errorf("the log says\n%s", got)
	}
}

// What an operator has set as a variable is named so when the provider does not take
// it, too.
func TestConfigFromEnv_ARefusalAtRunTimeNamesTheVariable(t *testing.T) {
	for _, tt := range []struct {
		provider oidctest.Config
		set      map[string]string
		want     string
	}{
		{oidctest.Config{AutoLogin: "alice"}, map[string]string{"OIDC_CLIENT_SECRET": "not-the-right-one-at-all-0123456789"},
			"because OIDC_CLIENT_AUTH (Registration.TokenEndpointAuthMethod) is not set"},
		{oidctest.Config{AutoLogin: "alice", NoRefreshToken: true}, nil, "add the scope offline_access to OIDC_SCOPES (Scopes)"},
		{oidctest.Config{AutoLogin: "alice", Metadata: map[string]any{"response_modes_supported": []string{"query"}}},
			map[string]string{"OIDC_RESPONSE_MODE": "form_post"}, "OIDC_RESPONSE_MODE (ResponseMode)"},
		{oidctest.Config{AutoLogin: "alice", Metadata: map[string]any{"token_endpoint_auth_methods_supported": []string{"private_key_jwt"}}},
			nil, "set OIDC_CLIENT_AUTH (Registration.TokenEndpointAuthMethod) to"},
	} {
		app := newTestApp(t, setup{provider: tt.provider, config: func(c *oidcrp.Config) {
			vars := map[string]string{"OIDC_ISSUER": c.Issuer, "OIDC_CLIENT_ID": c.ClientID,
				"OIDC_CLIENT_SECRET": c.ClientSecret, "OIDC_BASE_URL": c.BaseURL}
			for name, value := range tt.set {
				vars[name] = value
			}
			setEnv(t, vars)
			cfg, err := oidcrp.ConfigFromEnv()
			if err != nil {
				t.Fatal(err)
			}
			cfg.CookieKeys, cfg.Provider, cfg.Logger, cfg.Now = c.CookieKeys, c.Provider, c.Logger, c.Now
			cfg.Tokens = oidcrp.Tokens{Keep: true, RefreshBefore: time.Minute}
			*c = cfg
		}})
		get(t, app.provider.Browser(), app.URL+"/me")
		if len(app.linesWith(tt.want)) != 1 {
			t.Errorf("%v: the log does not have %q\n%s", tt.set, tt.want, app.log)
		}
	}
}
