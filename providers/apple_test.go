package providers_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/providers"
)

// appleKey is a key as Apple issues it, and its public half.
func appleKey(t testing.TB) (providers.AppleKey, *ecdsa.PublicKey) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := oidcrp.ParseClientKeys(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return providers.AppleKey{TeamID: "TEAM123456", KeyID: "KEY1234567", ClientID: oidctest.ClientID, Key: keys[0]}, &private.PublicKey
}

// checkSecret returns what Apple finds wrong with a client secret.
func checkSecret(secret string, key *ecdsa.PublicKey, now time.Time) error {
	jws, err := jose.ParseSignedCompact(secret, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return err
	}
	var claims struct {
		Iss, Sub string
		Aud      string
		Iat, Exp int64
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err
	}
	const sixMonths = 15_777_000
	switch unix := now.Unix(); {
	case jws.Signatures[0].Header.KeyID != "KEY1234567", claims.Iss != "TEAM123456", claims.Sub != oidctest.ClientID,
		claims.Aud != "https://appleid.apple.com":
		return fmt.Errorf("kid %q and %+v", jws.Signatures[0].Header.KeyID, claims)
	case claims.Iat > unix, claims.Exp <= unix, claims.Exp > unix+sixMonths:
		return fmt.Errorf("at %d: %+v", unix, claims)
	}
	return nil
}

// atApple is a transport that checks the client secret as Apple does, and puts oidctest's
// in its place.
type atApple struct {
	t     *testing.T
	key   *ecdsa.PublicKey
	token string // the token endpoint
	seen  []string
}

func (a *atApple) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != a.token {
		return http.DefaultTransport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	a.seen = append(a.seen, form.Get("client_secret"))
	if err := checkSecret(form.Get("client_secret"), a.key, time.Now()); err != nil {
		a.t.Error(err)
	}
	form.Set("client_secret", oidctest.ClientSecret)
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form.Encode())), int64(len(form.Encode()))
	return http.DefaultTransport.RoundTrip(r)
}

func TestAppleKey_SignsTheClientIn(t *testing.T) {
	t.Parallel()
	key, public := appleKey(t)
	secret, err := key.ClientSecret()
	if err != nil {
		t.Fatal(err)
	}
	provider := oidctest.NewServer(t, oidctest.Config{})
	apple := &atApple{t: t, key: public, token: provider.Endpoint(oidctest.EndpointToken)}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	var log bytes.Buffer
	client, err := oidcrp.New(oidcrp.Config{
		Issuer: provider.Issuer(), ClientID: oidctest.ClientID, ClientSecretFunc: secret, BaseURL: server.URL,
		CookieKeys:   oidcrp.Keys(randomKey()),
		Registration: oidcrp.Registration{TokenEndpointAuthMethod: "client_secret_post"},
		Provider:     oidcrp.Provider{Transport: apple},
		Logger:       slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	handler = client.Middleware(client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := oidcrp.SessionFromContext(r.Context())
		io.WriteString(w, s.Subject())
	})))
	for range 2 {
		browser := provider.SignIn(t, server.URL+"/", "alice")
		res, err := browser.Get(server.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != "alice" {
			t.Errorf("%q is signed in, %v\n%s", body, err, &log)
		}
	}
	if len(apple.seen) != 2 || apple.seen[0] == apple.seen[1] {
		t.Errorf("the secrets are %q, want two", apple.seen)
	}
	if strings.Contains(log.String(), apple.seen[0]) {
		t.Error("the secret is in the log")
	}
}

func randomKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

func TestAppleKey_TheSecretIsOfItsTime(t *testing.T) {
	t.Parallel()
	key, public := appleKey(t)
	now := time.Unix(1_800_000_000, 0)
	key.Now = func() time.Time { return now }
	secret, err := key.ClientSecret()
	if err != nil {
		t.Fatal(err)
	}
	first, err := secret(t.Context())
	if err != nil || checkSecret(first, public, now) != nil {
		t.Errorf("%v, %v", err, checkSecret(first, public, now))
	}
	now = now.Add(365 * 24 * time.Hour)
	second, err := secret(t.Context())
	if err != nil || checkSecret(second, public, now) != nil || checkSecret(first, public, now) == nil {
		t.Errorf("a year later: %v, %v", err, checkSecret(second, public, now))
	}
}

func TestAppleKey_NamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	sound, _ := appleKey(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*providers.AppleKey){
		"TeamID is empty":                  func(a *providers.AppleKey) { a.TeamID = "" },
		"KeyID is empty":                   func(a *providers.AppleKey) { a.KeyID = "" },
		"ClientID is empty, or begins":     func(a *providers.AppleKey) { a.ClientID += "\n" },
		"Key is not a private P-256 key":   func(a *providers.AppleKey) { a.Key = a.Key.Public() },
		"Key is not a private P-256 key: ": func(a *providers.AppleKey) { a.Key.Key = rsaKey },
	} {
		key := sound
		change(&key)
		if _, err := key.ClientSecret(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}

func TestAppleKey_ShowsNoKey(t *testing.T) {
	t.Parallel()
	key, _ := appleKey(t)
	private := key.Key.Key.(*ecdsa.PrivateKey)
	raw, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		text := fmt.Sprintf(format, key)
		if strings.Contains(text, fmt.Sprintf("%x", raw)) || strings.Contains(text, fmt.Sprint(raw[0], raw[1], raw[2])) || len(text) > 200 {
			t.Errorf("%s: %s", format, text)
		}
	}
}
