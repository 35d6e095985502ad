package app

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"html"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest"
)

// If this variable is set, the test program is the webapp, so that the tests below run
// the whole program in its own process.
const asProgram = "WEBAPP_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		Main(nil)
		return
	}
	os.Exit(m.Run())
}

// startProcess starts the program with env and nothing else in its environment, and
// returns the base URL that it logs. The program must exit with 0 at the end of the test.
func startProcess(t *testing.T, env map[string]string) (origin string) {
	t.Helper()
	program := exec.Command(os.Args[0])
	program.Env = []string{asProgram + "=1", "LISTEN=127.0.0.1:0"}
	for name, value := range env {
		program.Env = append(program.Env, name+"="+value)
	}
	log, err := program.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	var logged []string
	for origin == "" && lines.Scan() {
		logged = append(logged, lines.Text())
		var line struct {
			BaseURL string `json:"base_url"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil {
			origin = line.BaseURL
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, log)
	}()
	t.Cleanup(func() {
		program.Process.Signal(syscall.SIGTERM)
		<-done
		if err := program.Wait(); err != nil && origin != "" {
			t.Errorf("the program ended with %v", err)
		}
	})
	if origin == "" {
		t.Fatalf("the program does not listen:\n%s", strings.Join(logged, "\n"))
	}
	return origin
}

// identity returns a self-signed certificate and its key.
func identity(t *testing.T, name string) (leaf *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return leaf, key
}

// pemFile writes a certificate and a key, either of which may be nil, into a file.
func pemFile(t *testing.T, leaf *x509.Certificate, key crypto.Signer) string {
	t.Helper()
	var text []byte
	if leaf != nil {
		text = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	}
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	return textFile(t, text)
}

func textFile(t *testing.T, text []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// browserFor returns a browser that trusts the app and the provider.
func browserFor(t *testing.T, app *x509.Certificate, provider *oidctest.Provider) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(app)
	roots.AppendCertsFromPEM(provider.Certificate())
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)" data-oidctest="form_post">`)
	formInput  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// open opens a page, and submits the form of the form_post response mode.
func open(t *testing.T, browser *http.Client, page string) (int, string) {
	t.Helper()
	status, body := do(t, browser, http.MethodGet, page, http.Header{"Accept": {"text/html"}})
	form := formAction.FindStringSubmatch(body)
	if form == nil {
		return status, body
	}
	fields := make(url.Values)
	for _, input := range formInput.FindAllStringSubmatch(body, -1) {
		fields.Add(html.UnescapeString(input[1]), html.UnescapeString(input[2]))
	}
	res, err := browser.PostForm(html.UnescapeString(form[1]), fields)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// A variant is a registration of the client, and the environment that matches it.
type variant struct {
	name   string
	client oidctest.Client
	env    map[string]string
}

func variants(t *testing.T) []variant {
	secret := oidctest.ClientSecret
	leaf, key := identity(t, "client")
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}}
	certified := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: leaf.PublicKey, Certificates: []*x509.Certificate{leaf}},
	}}
	certificate := map[string]string{"OIDC_CLIENT_CERT_FILE": pemFile(t, leaf, key)}
	keyFile := map[string]string{"OIDC_CLIENT_KEY_FILE": pemFile(t, nil, key)}
	list := []variant{
		{"client_secret_basic", oidctest.Client{Secret: secret}, nil},
		{"client_secret_post", oidctest.Client{Secret: secret}, nil},
		{"client_secret_jwt", oidctest.Client{Secret: secret}, nil},
		{"private_key_jwt", oidctest.Client{JWKS: keys}, keyFile},
		{"tls_client_auth", oidctest.Client{TLSClientAuthSubjectDN: "CN=client"}, certificate},
		{"self_signed_tls_client_auth", oidctest.Client{JWKS: certified}, certificate},
		{"none", oidctest.Client{}, nil},
	}
	for i := range list {
		list[i].client.TokenEndpointAuthMethod = list[i].name
		list[i].env = with(list[i].env, "OIDC_CLIENT_AUTH", list[i].name)
	}
	posted := list[4]
	posted.name, posted.env = "tls_client_auth, form_post", with(posted.env, "OIDC_RESPONSE_MODE", "form_post")
	return append(list, posted,
		variant{"encrypted with the secret", oidctest.Client{
			Secret: secret, IDTokenEncryptedResponseAlg: "dir", IDTokenEncryptedResponseEnc: "A256GCM",
			UserInfoEncryptedResponseAlg: "A256GCMKW",
		}, map[string]string{
			"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": "dir", "OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ENC": "A256GCM",
			"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG": "A256GCMKW",
		}},
		variant{"encrypted to a key, signed, form_post", oidctest.Client{
			Secret: secret, JWKS: keys, IDTokenSignedResponseAlg: "ES256", UserInfoSignedResponseAlg: "ES256",
			IDTokenEncryptedResponseAlg: "ECDH-ES+A256KW", UserInfoEncryptedResponseAlg: "ECDH-ES", UserInfoEncryptedResponseEnc: "A128GCM",
		}, map[string]string{
			"OIDC_CLIENT_KEY_FILE": keyFile["OIDC_CLIENT_KEY_FILE"], "OIDC_RESPONSE_MODE": "form_post",
			"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "ES256", "OIDC_USERINFO_SIGNED_RESPONSE_ALG": "ES256",
			"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": "ECDH-ES+A256KW",
			"OIDC_USERINFO_ENCRYPTED_RESPONSE_ALG": "ECDH-ES", "OIDC_USERINFO_ENCRYPTED_RESPONSE_ENC": "A128GCM",
		}})
}

// with returns env with one more variable.
func with(env map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for name, value := range env {
		more[name] = value
	}
	return more
}

// TestProgram_DrivenByAnother runs the program as a runner of conformance tests does:
// configured by the environment only, with https on both sides.
func TestProgram_DrivenByAnother(t *testing.T) {
	app, appKey := identity(t, "app")
	for _, v := range variants(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			v.client.ID = oidctest.ClientID
			provider := oidctest.NewServer(t, oidctest.Config{
				TLS: true, Issuer: "/test/a/", AutoLogin: "alice", Clients: []oidctest.Client{v.client},
			})
			env := map[string]string{
				"LISTEN_CERT_FILE": pemFile(t, app, appKey), "OIDC_PROVIDER_CA_FILE": textFile(t, provider.Certificate()),
				"OIDC_ISSUER": provider.Issuer(), "OIDC_CLIENT_ID": v.client.ID, "OIDC_CLIENT_SECRET": v.client.Secret,
				"KEEP_TOKENS": "1",
			}
			for name, value := range v.env {
				env[name] = value
			}
			origin := startProcess(t, env)
			if !strings.HasPrefix(origin, "https://127.0.0.1:") {
				t.Fatalf("its base URL is %s", origin)
			}
			browser := browserFor(t, app, provider)
			drive(t, browser, provider, origin)
			for _, r := range provider.Requests() {
				if r.Status >= 400 {
					t.Errorf("%s %s was answered with %d", r.Method, r.URL.Path, r.Status)
				}
			}
		})
	}
}

// drive signs in, refreshes, and is signed out.
func drive(t *testing.T, browser *http.Client, provider *oidctest.Provider, origin string) {
	t.Helper()
	status, body := open(t, browser, origin+"/me")
	if status != http.StatusOK || !strings.Contains(body, `"email":"alice@example.org"`) {
		t.Fatalf("/me answered %d\n%s", status, body)
	}
	if status, body := do(t, browser, http.MethodPost, origin+"/refresh", nil); status != http.StatusOK {
		t.Errorf("/refresh answered %d\n%s", status, body)
	}
	if status, body := do(t, browser, http.MethodPost, origin+"/auth/logout", nil); status != http.StatusOK {
		t.Errorf("/auth/logout ended with %d\n%s", status, body)
	}
	if n := provider.Count(oidctest.EndpointEndSession); n != 1 {
		t.Errorf("%d requests to end the provider's session", n)
	}
	if status, _ := do(t, browser, http.MethodGet, origin+"/api/me", http.Header{"Accept": {"*/*"}}); status != http.StatusUnauthorized {
		t.Errorf("signed out, /api/me answers %d", status)
	}
}

func TestProgram_DoesNotStartWithABadConfiguration(t *testing.T) {
	leaf, key := identity(t, "app")
	_, other := identity(t, "other")
	for what, env := range map[string]map[string]string{
		"no such file":                  {"LISTEN_CERT_FILE": filepath.Join(t.TempDir(), "none")},
		"a certificate alone":           {"LISTEN_CERT_FILE": pemFile(t, leaf, nil)},
		"a key alone":                   {"LISTEN_CERT_FILE": pemFile(t, nil, key)},
		"a key of another certificate":  {"LISTEN_CERT_FILE": pemFile(t, leaf, other)},
		"a client's certificate alone":  {"OIDC_CLIENT_CERT_FILE": pemFile(t, leaf, nil)},
		"mTLS without a certificate":    {"OIDC_CLIENT_AUTH": "tls_client_auth"},
		"a variable that is not known":  {"OIDC_CLIENT_CERT": "x"},
		"encryption without a key":      {"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": "ECDH-ES"},
		"encryption that can be broken": {"OIDC_ID_TOKEN_ENCRYPTED_RESPONSE_ALG": "RSA1_5"},
	} {
		program := exec.Command(os.Args[0])
		program.Env = []string{
			asProgram + "=1", "LISTEN=127.0.0.1:0",
			"OIDC_ISSUER=https://op.example", "OIDC_CLIENT_ID=a", "OIDC_CLIENT_SECRET=b",
		}
		for name, value := range env {
			program.Env = append(program.Env, name+"="+value)
		}
		out, err := program.CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "webapp cannot run") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if strings.Contains(string(out), "PRIVATE KEY") {
			t.Errorf("%s: a key is in the log", what)
		}
	}
}
