package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
)

// installed returns what interop/run has put into the cache of the person who runs the tests, which
// outlives a clone.
func installed(t testing.TB, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "oidcrp-interop", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("this test needs %s: %v; `bash interop/run` installs it", name, err)
	}
	return path
}

// realProvider is a provider that the tests of one function share.
type realProvider struct {
	product    product
	register   func(t testing.TB, client map[string]any) (id, secret string) // RFC 7591 metadata
	signIn     func(login *page) *page
	asks       func(p *page) bool // is this the login page?
	newBrowser func(t testing.TB) *browser
	issuer     string
	scopes     []string
	more       map[string]any // more metadata of every client
}

// setupOf says how an app departs from a client with a secret, whose sessions are cookies without
// tokens.
type setupOf struct {
	registration oidcrp.Registration
	more         map[string]any       // more metadata of the client
	config       func(*oidcrp.Config) // more of the app's configuration
	acr          string               // what /admin wants
	guarded      bool                 // it has the transport of its own, and nothing is recorded
	keeps        bool                 // tokens, which need a store: JWTs do not fit into a cookie
	front        bool                 // sign-outs reach it by the front channel, not the back one
}

// newApp registers an app with what its own configuration says, and starts it.
func (p *realProvider) newApp(t testing.TB, s setupOf) *testApp {
	t.Helper()
	a := newTestApp(t)
	if s.acr != "" {
		a.acr = s.acr
	}
	r := s.registration
	r.RedirectURI = a.base + "/auth/callback"
	r.PostLogoutRedirectURI = a.base + "/auth/logout/callback"
	if s.front {
		r.FrontchannelLogoutURI = a.base + "/auth/frontchannel-logout"
	} else {
		r.BackchannelLogoutURI = a.base + "/auth/backchannel-logout"
	}
	if len(r.ClientKeys) > 0 {
		r.JWKSURI = a.base + "/auth/jwks"
	}
	id, secret := p.register(t, p.metadataOf(t, r, s.more))
	a.connect(t, p.issuer, id, func(cfg *oidcrp.Config) {
		cfg.Registration, cfg.ClientSecret, cfg.Scopes = r, secret, p.scopes
		if !s.guarded {
			cfg.Provider.Transport = a.seen.transport(http.DefaultTransport)
		}
		if s.keeps {
			cfg.Tokens.Keep, cfg.Store = true, oidcrp.NewMemoryStore(0)
		}
		if s.config != nil {
			s.config(cfg)
		}
	})
	return a
}

// metadataOf is the client metadata of a registration, as its MarshalJSON writes it.
func (p *realProvider) metadataOf(t testing.TB, r oidcrp.Registration, more map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	client := map[string]any{
		"client_name": t.Name(),
		"grant_types": []string{"authorization_code", "refresh_token"},
	}
	if r.FrontchannelLogoutURI != "" {
		client["frontchannel_logout_session_required"] = true
	} else {
		client["backchannel_logout_session_required"] = true
	}
	if err := json.Unmarshal(text, &client); err != nil {
		t.Fatal(err)
	}
	for _, all := range []map[string]any{p.more, more} {
		for name, value := range all {
			client[name] = value
		}
	}
	return client
}

// send calls a provider's administration, and decodes the answer into v unless it is nil.
func send(t testing.TB, client *http.Client, method, address, token string, body, v any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s answered %d %v\n%s", method, address, res.StatusCode, err, answer)
	}
	if v != nil {
		if err := json.Unmarshal(answer, v); err != nil {
			t.Fatalf("%s answered %v\n%s", address, err, answer)
		}
	}
}

// loopbackJar keeps Secure cookies of plain http on loopback, as browsers do and Go's jar does not.
type loopbackJar struct{ http.CookieJar }

func (j loopbackJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	if u.Scheme == "http" && net.ParseIP(u.Hostname()).IsLoopback() {
		for i, cookie := range cookies {
			plain := *cookie
			plain.Secure = false
			cookies[i] = &plain
		}
	}
	j.CookieJar.SetCookies(u, cookies)
}

// newLoopbackBrowser is newBrowser with a loopbackJar, which trusts roots if they are not nil.
func newLoopbackBrowser(t testing.TB, roots *x509.CertPool) *browser {
	t.Helper()
	b := newBrowser(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.client.Jar = loopbackJar{jar}
	b.client.Transport = trusting(roots)
	return b
}

// trusting returns a transport that trusts roots, or the system's if they are nil.
func trusting(roots *x509.CertPool) *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
}

// signingKey makes a key pair for private_key_jwt.
func signingKey(t testing.TB) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: "ES256", Use: "sig"}
}

// newCertificate makes one that signs itself, for a server on loopback and for a client of that name.
func newCertificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// writePEM writes a certificate and its key to two files of a folder.
func writePEM(t testing.TB, dir string, certificate tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, certificate.Leaf.Subject.CommonName)
	for file, block := range map[string]*pem.Block{
		name + ".crt.pem": {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]},
		name + ".key.pem": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return name + ".crt.pem", name + ".key.pem"
}

// wantBack: the person came back to the app from a sign-out, and has no session at either.
func (p *realProvider) wantBack(t testing.TB, a *testApp, b *browser, out *page) {
	t.Helper()
	if out.Status != http.StatusOK || !strings.HasPrefix(out.URL.String(), a.base+"/auth/logout/callback?state=") {
		t.Errorf("ended on %s with %d\n%s", out.URL, out.Status, out.Body)
	}
	if a.signedIn(b) {
		t.Error("still signed in at the app")
	}
	if again := b.open(a.base + "/me"); !p.asks(again) {
		t.Errorf("still signed in at the provider: %s\n%s", again.URL, again.Body)
	}
}

// tab is the address of /me in one of several tabs.
func (a *testApp) tab(i int) string { return fmt.Sprintf("%s/me?tab=%d", a.base, i) }
