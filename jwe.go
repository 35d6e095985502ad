package oidcrp

// This file opens what the provider encrypted for this client (RFC 7516, OIDC
// Core 10.2), and publishes the client's own public keys (RFC 7517 section 5).

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// maxEncryptedSize bounds a JWE: a token of the largest size, encoded once more.
const maxEncryptedSize = 2 * maxTokenSize

// keyManagement says what kind of key each JWE algorithm takes (RFC 7518
// section 4.1). RSA1_5 and PBES2 are left out: the one can be broken by asking
// often enough, the other makes the reader work as hard as the writer likes.
var keyManagement = map[string]string{
	"RSA-OAEP": "RSA", "RSA-OAEP-256": "RSA",
	"ECDH-ES": "EC", "ECDH-ES+A128KW": "EC", "ECDH-ES+A192KW": "EC", "ECDH-ES+A256KW": "EC",
	"A128KW": "oct", "A192KW": "oct", "A256KW": "oct",
	"A128GCMKW": "oct", "A192GCMKW": "oct", "A256GCMKW": "oct",
	"dir": "oct",
}

// contentKeySizes are the content encryption algorithms and the sizes of their
// keys in bytes (RFC 7518 section 5.1).
var contentKeySizes = map[string]int{
	"A128CBC-HS256": 32, "A192CBC-HS384": 48, "A256CBC-HS512": 64,
	"A128GCM": 16, "A192GCM": 24, "A256GCM": 32,
}

// defaultEnc is what a registration means that names an alg alone (OpenID
// Connect Registration 2).
const defaultEnc = "A128CBC-HS256"

// isEncrypted reports whether compact is a JWE: five parts, where a JWS has
// three.
func isEncrypted(compact string) bool { return strings.Count(compact, ".") == 4 }

// decrypt returns what is inside compact. alg and enc are those of the
// registration; the token has no say. An empty alg means that nothing is
// encrypted, and compact is returned as it is.
func (c *Client) decrypt(token, compact, alg, enc string) (string, error) {
	if alg == "" {
		if isEncrypted(compact) {
			return "", refuse(token, "alg", "a token that is not encrypted", "")
		}
		return compact, nil
	}
	if !isEncrypted(compact) {
		return "", refuse(token, "alg", "a token encrypted with "+alg, "")
	}
	enc = cmp.Or(enc, defaultEnc)
	if len(compact) > maxEncryptedSize {
		return "", refuse(token, "format", fmt.Sprintf("at most %d bytes", maxEncryptedSize), "")
	}
	jwe, err := jose.ParseEncryptedCompact(compact,
		[]jose.KeyAlgorithm{jose.KeyAlgorithm(alg)}, []jose.ContentEncryption{jose.ContentEncryption(enc)})
	if err != nil {
		return "", refuse(token, "alg", "a JWE with "+alg+" and "+enc, "")
	}
	for _, key := range c.decryptionKeys(alg, enc, jwe.Header.KeyID) {
		if plaintext, err := jwe.Decrypt(key); err == nil {
			return string(plaintext), nil
		}
	}
	return "", refuse(token, "encryption", "one that a key of this client opens", "")
}

// decryptionKeys returns the keys that may open a token: the one that kid
// names, else all of the right kind.
func (c *Client) decryptionKeys(alg, enc, kid string) []any {
	if keyManagement[alg] == "oct" {
		return []any{secretKey(c.cfg.ClientSecret, secretKeySize(alg, enc))}
	}
	var keys, named []any
	for _, key := range c.cfg.ClientKeys {
		if !decrypts(key, alg) {
			continue
		}
		keys = append(keys, key.Key)
		if kid != "" && key.KeyID == kid {
			named = append(named, key.Key)
		}
	}
	if named != nil {
		return named
	}
	return keys
}

// decrypts reports whether key may open tokens encrypted with alg.
func decrypts(key jose.JSONWebKey, alg string) bool {
	if key.Use == "sig" || key.Algorithm != "" && key.Algorithm != alg {
		return false
	}
	switch key.Key.(type) {
	case *rsa.PrivateKey:
		return keyManagement[alg] == "RSA"
	case *ecdsa.PrivateKey:
		return keyManagement[alg] == "EC"
	}
	return false
}

// secretKeySize returns the size of the key, in bytes, that alg takes; for dir
// it is the content key itself.
func secretKeySize(alg, enc string) int {
	switch {
	case alg == "dir":
		return contentKeySizes[enc]
	case strings.HasPrefix(alg, "A128"):
		return 16
	case strings.HasPrefix(alg, "A192"):
		return 24
	}
	return 32
}

// secretKey makes a symmetric key of the client secret: the left part of its
// hash, by the shortest SHA-2 that is long enough (OIDC Core 10.2).
func secretKey(secret string, size int) []byte {
	h := crypto.SHA256
	switch {
	case size > crypto.SHA384.Size():
		h = crypto.SHA512
	case size > crypto.SHA256.Size():
		h = crypto.SHA384
	}
	digest := h.New()
	digest.Write([]byte(secret))
	return digest.Sum(nil)[:size]
}

// checkEncryption checks the registration's encryption against the keys.
func checkEncryption(cfg *Config, wrong func(string, string, ...any)) {
	for _, field := range []struct{ name, alg, enc string }{
		{"IDTokenEncryptedResponse", cfg.IDTokenEncryptedResponseAlg, cfg.IDTokenEncryptedResponseEnc},
		{"UserInfoEncryptedResponse", cfg.UserInfoEncryptedResponseAlg, cfg.UserInfoEncryptedResponseEnc},
	} {
		kind := keyManagement[field.alg]
		switch {
		case field.alg == "" && field.enc != "":
			wrong(field.name+"Enc", "is set without %sAlg", field.name)
		case field.alg != "" && kind == "":
			wrong(field.name+"Alg", "%q is not supported", field.alg)
		case field.enc != "" && contentKeySizes[field.enc] == 0:
			wrong(field.name+"Enc", "%q is not supported", field.enc)
		case kind == "oct" && cfg.ClientSecret == "":
			wrong(field.name+"Alg", "%s needs a ClientSecret", field.alg)
		case (kind == "RSA" || kind == "EC") && !slices.ContainsFunc(cfg.ClientKeys, func(key jose.JSONWebKey) bool {
			return decrypts(key, field.alg)
		}):
			wrong(field.name+"Alg", "%s needs one of ClientKeys to fit it", field.alg)
		}
	}
}

// nameKeys gives a key id to every key that has none, its thumbprint (RFC
// 7638), so that the provider can tell the keys apart. A key that is alone needs
// none, and may be registered without.
func nameKeys(keys []jose.JSONWebKey) {
	if len(keys) < 2 {
		return
	}
	for i := range keys {
		if keys[i].KeyID != "" || !keys[i].Valid() {
			continue
		}
		if sum, err := keys[i].Thumbprint(crypto.SHA256); err == nil {
			keys[i].KeyID = base64.RawURLEncoding.EncodeToString(sum)
		}
	}
}

// certificateKey returns the JWK by which a provider knows a self-signed
// certificate (RFC 8705 section 2.2.2). It is not to be encrypted to: decrypt
// knows the ClientKeys alone.
func certificateKey(certificate tls.Certificate) jose.JSONWebKey {
	sum := sha256.Sum256(certificate.Leaf.Raw)
	return jose.JSONWebKey{
		Key:          certificate.Leaf.PublicKey,
		KeyID:        base64.RawURLEncoding.EncodeToString(sum[:]),
		Use:          "sig",
		Certificates: []*x509.Certificate{certificate.Leaf},
	}
}

// handleJWKS answers with the public halves of the client's keys, for a
// provider that was given this URL as the client's jwks_uri. Without keys
// there is nothing at this path.
func (c *Client) handleJWKS(w http.ResponseWriter, r *http.Request) {
	if len(c.cfg.ClientKeys)+len(c.cfg.ClientCertificates) == 0 {
		http.NotFound(w, r)
		return
	}
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	var set jose.JSONWebKeySet
	for _, key := range c.cfg.ClientKeys {
		set.Keys = append(set.Keys, key.Public())
	}
	for _, certificate := range c.cfg.ClientCertificates {
		set.Keys = append(set.Keys, certificateKey(certificate))
	}
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
