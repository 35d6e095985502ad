package jose

// This file is about the client's own keys: what they are good for, how they are
// named, and how they are read from a file.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"

	gojose "github.com/go-jose/go-jose/v4"
)

// SigningAlgs returns the algorithms that key can sign with: its own alg if it
// has one, else those of its type, the usual one first. A public key and a key
// for encryption have none.
func SigningAlgs(key gojose.JSONWebKey) []string {
	var algs []string
	switch k := key.Key.(type) {
	case *rsa.PrivateKey:
		algs = []string{"RS256", "PS256", "RS384", "PS384", "RS512", "PS512"}
	case ed25519.PrivateKey:
		algs = []string{"EdDSA"}
	case *ecdsa.PrivateKey:
		switch k.Curve {
		case elliptic.P256():
			algs = []string{"ES256"}
		case elliptic.P384():
			algs = []string{"ES384"}
		case elliptic.P521():
			algs = []string{"ES512"}
		}
	}
	return slices.DeleteFunc(algs, func(alg string) bool {
		return key.Use == "enc" || key.Algorithm != "" && key.Algorithm != alg
	})
}

// Decrypts reports whether key, a private key, may open tokens encrypted with
// alg.
func Decrypts(key gojose.JSONWebKey, alg string) bool {
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

// NameKeys gives a key id to every key in keys that has none: its thumbprint (RFC
// 7638), so that the provider can tell the keys apart.
func NameKeys(keys []gojose.JSONWebKey) {
	for i := range keys {
		if keys[i].KeyID != "" || !keys[i].Valid() {
			continue
		}
		if sum, err := keys[i].Thumbprint(crypto.SHA256); err == nil {
			keys[i].KeyID = base64.RawURLEncoding.EncodeToString(sum)
		}
	}
}

// CertificateKey returns the JWK by which a provider knows a self-signed
// certificate (RFC 8705 section 2.2.2). Its use is "sig": nothing may be
// encrypted to it, since [Decrypt] is not given its private key.
func CertificateKey(leaf *x509.Certificate) gojose.JSONWebKey {
	sum := sha256.Sum256(leaf.Raw)
	return gojose.JSONWebKey{
		Key:          leaf.PublicKey,
		KeyID:        base64.RawURLEncoding.EncodeToString(sum[:]),
		Use:          "sig",
		Certificates: []*x509.Certificate{leaf},
	}
}

var (
	errNoKey        = errors.New("holds neither a JWK nor a PEM key")
	errPublicKey    = errors.New("holds a JWK without its private part")
	errNoPrivateKey = errors.New("holds no RSA, EC or Ed25519 private key")
)

// ParsePrivateKeys reads the client's private keys from data: a JWK, a JWK Set,
// or PEM in the forms that openssl writes, of which the first private key is
// taken, with its certificate if data has that too. A public key and a key of another
// type are errors.
//
// The errors have no subject ("holds no …"), so that the caller can put the name
// of the setting in front, and quote nothing of data.
func ParsePrivateKeys(data []byte) ([]gojose.JSONWebKey, error) {
	keys := parseJWKs(data)
	if keys == nil {
		key, err := parsePEMKey(data)
		if err != nil {
			return nil, err
		}
		keys = []gojose.JSONWebKey{{Key: key, Certificates: certificatesOf(key, data)}}
	}
	for _, key := range keys {
		if key.IsPublic() {
			return nil, errPublicKey
		}
		if !isPrivateKey(key.Key) {
			return nil, errNoPrivateKey
		}
	}
	return keys, nil
}

// parseJWKs returns the keys of a JWK or a JWK Set, nil if data is neither.
func parseJWKs(data []byte) []gojose.JSONWebKey {
	var key gojose.JSONWebKey
	if key.UnmarshalJSON(data) == nil {
		return []gojose.JSONWebKey{key}
	}
	var set gojose.JSONWebKeySet
	if json.Unmarshal(data, &set) == nil && len(set.Keys) > 0 {
		return set.Keys
	}
	return nil
}

// parsePEMKey returns the first private key in data; other blocks, such as the
// parameters of a curve or a certificate, may come before it.
func parsePEMKey(data []byte) (any, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errNoKey
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if key := parsePrivateKey(block.Bytes); key != nil {
			return key, nil
		}
	}
	return nil, errNoPrivateKey
}

// certificatesOf returns the first certificate of key in data, nil if there is none.
func certificatesOf(key any, data []byte) []*x509.Certificate {
	signer, _ := key.(crypto.Signer)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || signer == nil {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(leaf.PublicKey) {
			return []*x509.Certificate{leaf}
		}
	}
	return nil
}

// parsePrivateKey reads PKCS #8, SEC 1 or PKCS #1. It returns nil if der is none
// of them, or holds a key of another type.
func parsePrivateKey(der []byte) any {
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil && isPrivateKey(key) {
		return key
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key
	}
	return nil
}

func isPrivateKey(key any) bool {
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return true
	}
	return false
}
