package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

// A server is the HTTP server that Start opens.
type server struct {
	http *http.Server
	cert *x509.Certificate // nil without TLS
	done chan error
}

func serve(listener net.Listener, h http.Handler, secure bool) (*server, error) {
	s := &server{done: make(chan error, 1)}
	s.http = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		// Some tests make the client abort a handshake on purpose.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	if secure {
		pair, cert, err := selfSigned()
		if err != nil {
			return nil, err
		}
		s.cert = cert
		listener = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{pair},
			ClientAuth:   tls.RequestClientCert, // for tls_client_auth
			NextProtos:   []string{"http/1.1"},
		})
	}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

func (s *server) close() error {
	err := s.http.Close()
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	s.done <- http.ErrServerClosed // for a second call of close
	return err
}

// selfSigned creates a certificate for 127.0.0.1 and localhost.
func selfSigned() (tls.Certificate, *x509.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("oidctest: creating a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "oidctest"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(7 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		DNSNames:              []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("oidctest: creating a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("oidctest: creating a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, cert, nil
}

// Certificate returns in PEM the certificate of a server started with Config.TLS, which
// the relying party must trust. It returns nil without TLS.
func (p *Provider) Certificate() []byte {
	if p.server == nil || p.server.cert == nil {
		return nil
	}
	return pemEncode("CERTIFICATE", p.server.cert.Raw)
}

// HTTPClient returns a new http.Client that trusts the server's certificate, for the
// relying party. For the user, see [Provider.Browser].
func (p *Provider) HTTPClient() *http.Client {
	return &http.Client{Transport: p.transport()}
}

func (p *Provider) transport() *http.Transport {
	transport := &http.Transport{ForceAttemptHTTP2: false}
	if p.server != nil && p.server.cert != nil {
		roots := x509.NewCertPool()
		roots.AddCert(p.server.cert)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return transport
}
