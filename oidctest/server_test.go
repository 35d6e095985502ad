package oidctest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestCertificate_IsTheServers(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{TLS: true})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(p.Certificate()) {
		t.Fatalf("not PEM: %s", p.Certificate())
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	res, err := (&http.Client{Transport: transport}).Get(p.Endpoint(oidctest.EndpointDiscovery))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if plain := oidctest.NewServer(t, oidctest.Config{}).Certificate(); plain != nil {
		t.Errorf("without TLS there is a certificate: %s", plain)
	}
}
