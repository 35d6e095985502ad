package oidcrp

// This file reads the client's own keys and publishes their public halves (RFC
// 7517 section 5).

import (
	"crypto/tls"
	"encoding/json"
	"net/http"

	"github.com/go-jose/go-jose/v4"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
)

// ParseClientKeys reads private keys for [Registration.ClientKeys]: a JWK, a JWK
// Set, or a PEM file in the forms that openssl writes, which may hold the key's
// certificate too. Its error is an [*Error] with [CodeConfigInvalid].
func ParseClientKeys(data []byte) ([]jose.JSONWebKey, error) {
	keys, err := josekit.ParsePrivateKeys(data)
	if err != nil {
		return nil, &Error{Op: "client keys", Code: CodeConfigInvalid, Err: err}
	}
	return keys, nil
}

// ParseClientCertificate reads a certificate for
// [Registration.ClientCertificates]: a PEM file with the certificate, its chain
// if it has one, and its private key. Its error is an [*Error] with
// [CodeConfigInvalid].
func ParseClientCertificate(data []byte) (tls.Certificate, error) {
	certificate, err := tls.X509KeyPair(data, data)
	if err != nil {
		return tls.Certificate{}, failf("client certificate", CodeConfigInvalid,
			"holds no PEM certificate with its private key")
	}
	return certificate, nil
}

// handleJWKS answers with the public halves of the client's keys, for a provider
// that has this URL as the client's jwks_uri. It answers 404 if there are none.
func (c *Client) handleJWKS(w http.ResponseWriter, r *http.Request) {
	if !c.registration.hasKeys() {
		http.NotFound(w, r)
		return
	}
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	var set jose.JSONWebKeySet
	for _, key := range c.registration.ClientKeys {
		public := key.Public()
		public.Use = c.registration.useOf(key)
		set.Keys = append(set.Keys, public)
	}
	for _, certificate := range c.registration.ClientCertificates {
		set.Keys = append(set.Keys, josekit.CertificateKey(certificate.Leaf))
	}
	josekit.NameKeys(set.Keys)
	body, err := json.Marshal(set)
	if err != nil {
		c.problem(w, r, fail("jwks", CodeInternal, err))
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(body)
}
