package fetch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// The authorities that a server names are a hint: it may know this client
// without them.
func TestWithCertificates_ShowsOneThatTheServerDoesNotNameAnAuthorityFor(t *testing.T) {
	t.Parallel()
	first, second := selfSigned(t, "first"), selfSigned(t, "second")
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
		{"no authority", nil, "first"},
		{"the second one's", authority(second), "second"},
		{"the first one's", authority(first), "first"},
		{"another", authority(selfSigned(t, "another")), "first"},
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
		client := New(WithCertificates(server.Client().Transport, []tls.Certificate{first, second}), 0)
		res, err := client.Do(t.Context(), Request{URL: server.URL})
		if err != nil || string(res.Body) != tt.want {
			t.Errorf("a server that names %s got %q, %v, want %q", tt.what, res.Body, err, tt.want)
		}
	}
}

// selfSigned returns a certificate whose subject is name.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
