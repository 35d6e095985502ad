package oidcrp

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/oidctest"
)

// certificateFor returns a certificate that key signed for itself.
func certificateFor(t testing.TB, key crypto.Signer, name string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// registeredFor is a client that is known by its certificate.
func registeredFor(t testing.TB, method string, certificate tls.Certificate) oidctest.Client {
	t.Helper()
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	client := oidctest.Client{ID: oidctest.ClientID, TokenEndpointAuthMethod: method}
	if method == "tls_client_auth" {
		client.TLSClientAuthSubjectDN = leaf.Subject.String()
	} else {
		client.JWKS.Keys = []jose.JSONWebKey{{Key: leaf.PublicKey, Certificates: []*x509.Certificate{leaf}}}
	}
	return client
}

// mtlsApp is an app whose provider answers clients with a certificate on
// another port, too.
type mtlsApp struct {
	*testApp
	aliases *url.URL
}

// newMTLSApp starts one. aliased are the endpoints that the provider's
// mtls_endpoint_aliases name.
func newMTLSApp(t *testing.T, client oidctest.Client, aliased []string, s setup) *mtlsApp {
	t.Helper()
	var provider atomic.Pointer[oidctest.Provider]
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		provider.Load().ServeHTTP(w, r)
	}))
	other.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	other.StartTLS()
	t.Cleanup(other.Close)
	paths := map[string]string{
		"token_endpoint": "/token", "userinfo_endpoint": "/userinfo", "revocation_endpoint": "/token/revocation",
		"pushed_authorization_request_endpoint": "/request",
	}
	aliases := make(map[string]any)
	for _, name := range aliased {
		aliases[name] = other.URL + paths[name]
	}
	if len(aliases) > 0 {
		s.provider.Metadata = map[string]any{"mtls_endpoint_aliases": aliases}
	}
	s.provider.TLS, s.provider.Clients = true, []oidctest.Client{client}
	change := s.config
	s.config = func(c *Config) {
		c.Provider.Transport.(*http.Transport).TLSClientConfig.RootCAs.AddCert(other.Certificate())
		c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", client.TokenEndpointAuthMethod
		c.Tokens.Keep = true
		change(c)
	}
	app := &mtlsApp{testApp: newTestApp(t, s)}
	provider.Store(app.provider)
	app.aliases, _ = url.Parse(other.URL)
	return app
}

// wantHost fails the test unless every request to the endpoint, of which there
// must be some, went to that host.
func (a *mtlsApp) wantHost(t *testing.T, endpoint, host string) {
	t.Helper()
	requests := a.provider.RequestsTo(endpoint)
	if len(requests) == 0 {
		t.Errorf("nobody asked the %s endpoint", endpoint)
	}
	for _, r := range requests {
		if r.Host != host {
			t.Errorf("the %s endpoint was asked at %s, want %s", endpoint, r.Host, host)
		}
	}
}

var allAliases = []string{
	"token_endpoint", "userinfo_endpoint", "revocation_endpoint", "pushed_authorization_request_endpoint",
}

func TestMutualTLSAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"tls_client_auth", "self_signed_tls_client_auth"} {
		for name, key := range map[string]crypto.Signer{"RSA": testKeys().RSA, "EC": testKeys().P256, "Ed25519": testKeys().Ed} {
			for _, aliased := range [][]string{nil, allAliases} {
				t.Run(fmt.Sprintf("%s %s %d aliases", method, name, len(aliased)), func(t *testing.T) {
					t.Parallel()
					certificate := certificateFor(t, key, "the client")
					app := newMTLSApp(t, registeredFor(t, method, certificate), aliased, setup{
						provider: oidctest.Config{RequirePAR: true},
						config:   func(c *Config) { c.Registration.ClientCertificates = []tls.Certificate{certificate} },
					})
					browser := app.signIn(t)
					app.logsOut(t, browser, "/auth/logout")

					issuer, _ := url.Parse(app.provider.Issuer())
					host := issuer.Host
					if aliased != nil {
						host = app.aliases.Host
					}
					for _, endpoint := range []string{
						oidctest.EndpointToken, oidctest.EndpointPAR, oidctest.EndpointRevocation, oidctest.EndpointUserInfo,
					} {
						app.wantHost(t, endpoint, host)
					}
					for _, endpoint := range []string{
						oidctest.EndpointDiscovery, oidctest.EndpointJWKS, oidctest.EndpointAuthorization,
					} {
						app.wantHost(t, endpoint, issuer.Host)
					}
					checkNoOtherProof(t, app.testApp)
				})
			}
		}
	}
}

// checkNoOtherProof fails the test if the client showed anything but its id
// beside the certificate, or was refused.
func checkNoOtherProof(t *testing.T, app *testApp) {
	t.Helper()
	for _, r := range app.provider.Requests() {
		if r.Status >= 400 {
			t.Errorf("the %s endpoint answered %d", r.Endpoint, r.Status)
		}
		switch r.Endpoint {
		case oidctest.EndpointToken, oidctest.EndpointPAR, oidctest.EndpointRevocation:
		default:
			continue
		}
		if got := r.Form.Get("client_id"); got != oidctest.ClientID || r.URL.RawQuery != "" {
			t.Errorf("client_id in the body for %s is %q, and the query %q", r.Endpoint, got, r.URL.RawQuery)
		}
		for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
			if r.Form.Has(name) {
				t.Errorf("%s was sent to the %s endpoint", name, r.Endpoint)
			}
		}
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("the %s endpoint got an Authorization header: %s", r.Endpoint, got)
		}
	}
}

func TestMutualTLSUsesTheAliasesThereAre(t *testing.T) {
	t.Parallel()
	certificate := certificateFor(t, testKeys().P256, "the client")
	app := newMTLSApp(t, registeredFor(t, "tls_client_auth", certificate), []string{"token_endpoint"}, setup{
		config: func(c *Config) { c.Registration.ClientCertificates = []tls.Certificate{certificate} },
	})
	app.signIn(t)
	issuer, _ := url.Parse(app.provider.Issuer())
	app.wantHost(t, oidctest.EndpointToken, app.aliases.Host)
	app.wantHost(t, oidctest.EndpointUserInfo, issuer.Host)
	m, err := app.client.Metadata(t.Context())
	if err != nil || m.TokenEndpoint != app.provider.Endpoint(oidctest.EndpointToken) {
		t.Errorf("Metadata says %q, %v: not what the provider says", m.TokenEndpoint, err)
	}
}

func TestAliasesAreForClientsWithACertificate(t *testing.T) {
	t.Parallel()
	client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: "client_secret_post"}
	app := newMTLSApp(t, client, allAliases, setup{
		config: func(c *Config) { c.ClientSecret = oidctest.ClientSecret },
	})
	app.signIn(t)
	issuer, _ := url.Parse(app.provider.Issuer())
	app.wantHost(t, oidctest.EndpointToken, issuer.Host)
	app.wantHost(t, oidctest.EndpointUserInfo, issuer.Host)
}

func TestMutualTLSWithAnotherCertificate(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"tls_client_auth", "self_signed_tls_client_auth"} {
		known := certificateFor(t, testKeys().P256, "the client")
		app := newMTLSApp(t, registeredFor(t, method, known), allAliases, setup{
			config: func(c *Config) {
				c.Registration.ClientCertificates = []tls.Certificate{certificateFor(t, testKeys().Other, "another")}
			},
		})
		res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if page := readBody(t, res); res.StatusCode != http.StatusBadGateway || !strings.Contains(app.log.String(), "invalid_client") {
			t.Errorf("%s: %s\n%s", method, res.Status, page)
		}
		if n := app.provider.Count(oidctest.EndpointToken); n != 1 {
			t.Errorf("%s: %d requests to the token endpoint, want 1", method, n)
		}
	}
}

func TestCertificatesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	sound := certificateFor(t, testKeys().P256, "the client")
	for _, tt := range []struct {
		want        string
		certificate tls.Certificate
		transport   http.RoundTripper
	}{
		{"[0] lacks its certificate or its private key", tls.Certificate{Certificate: sound.Certificate}, nil},
		{"[0] lacks its certificate or its private key", tls.Certificate{PrivateKey: sound.PrivateKey}, nil},
		{"[0] cannot be read", tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: sound.PrivateKey}, nil},
		{"[0] does not belong to its private key", tls.Certificate{Certificate: sound.Certificate, PrivateKey: testKeys().Other}, nil},
		{"[0] does not belong to its private key", tls.Certificate{Certificate: sound.Certificate, PrivateKey: "not a key"}, nil},
		{"Provider.Transport must be an *http.Transport", sound, roundTripper(nil)},
	} {
		_, err := New(soundConfig(func(c *Config) {
			c.ClientSecret, c.Registration.TokenEndpointAuthMethod = "", "tls_client_auth"
			c.Registration.ClientCertificates = []tls.Certificate{tt.certificate}
			if tt.transport != nil {
				c.Provider.Transport = tt.transport
			}
		}))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error is %v, want that it %s", err, tt.want)
		}
	}
}

// The transport may be in use elsewhere, for requests that show no certificate.
func TestMutualTLSLeavesTheTransportAlone(t *testing.T) {
	t.Parallel()
	transport := new(http.Transport)
	mustNew(t, func(c *Config) {
		c.Provider.Transport = transport
		c.Registration.ClientCertificates = []tls.Certificate{certificateFor(t, testKeys().P256, "the client")}
	})
	if config := transport.TLSClientConfig; config != nil && (config.Certificates != nil || config.GetClientCertificate != nil) {
		t.Error("the certificate is in the caller's transport")
	}
}

// The authorities that a server names are a hint: it may know this client
// without them.
func TestCertificatesOfAuthoritiesThatTheServerDoesNotName(t *testing.T) {
	t.Parallel()
	rsa, ec := certificateFor(t, testKeys().RSA, "RSA"), certificateFor(t, testKeys().P256, "EC")
	authority := func(certificate tls.Certificate) []*x509.Certificate {
		leaf, err := x509.ParseCertificate(certificate.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return []*x509.Certificate{leaf}
	}
	for _, tt := range []struct {
		what  string
		named []*x509.Certificate
		want  string
	}{
		{"no authority", nil, "RSA"},
		{"the second one's", authority(ec), "EC"},
		{"the first one's", authority(rsa), "RSA"},
		{"another", authority(certificateFor(t, testKeys().Other, "another")), "RSA"},
	} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, leaf := range r.TLS.PeerCertificates {
				fmt.Fprint(w, leaf.Subject.CommonName)
			}
		}))
		server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: x509.NewCertPool()}
		for _, leaf := range tt.named {
			server.TLS.ClientCAs.AddCert(leaf)
		}
		server.StartTLS()
		t.Cleanup(server.Close)
		client := fetch.New(fetch.WithCertificates(server.Client().Transport, []tls.Certificate{rsa, ec}), 0)
		res, err := client.Do(t.Context(), fetch.Request{URL: server.URL})
		if err != nil || string(res.Body) != tt.want {
			t.Errorf("a server that names %s got %q, %v, want %q", tt.what, res.Body, err, tt.want)
		}
	}
}
