package jose

// This file opens what the provider encrypted for this client (RFC 7516, OIDC
// Core 10.2).

import (
	"cmp"
	"crypto"
	"fmt"
	"strings"

	gojose "github.com/go-jose/go-jose/v4"
)

// MaxEncryptedSize bounds a JWE in compact serialization, in bytes: a token of
// the largest size, encoded a second time.
const MaxEncryptedSize = 2 * MaxTokenSize

// keyManagement says what type of key each JWE algorithm takes (RFC 7518 section
// 4.1). RSA1_5 and PBES2 are left out: the first can be broken with enough
// queries, the second lets the sender decide how much work the reader does.
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

// defaultEnc is the enc of a registration that names only an alg (OpenID Connect
// Registration 2).
const defaultEnc = "A128CBC-HS256"

// EncryptionKeyType returns the kty of the key that the JWE algorithm alg takes
// (RFC 7518 section 6.1): "RSA" or "EC", or "oct" for a key that is made from the
// client secret. It is empty if alg is not supported.
func EncryptionKeyType(alg string) string { return keyManagement[alg] }

// SupportsEncryption reports whether [Decrypt] takes alg and enc, its arguments.
// An empty enc means A128CBC-HS256. An empty alg is not supported.
func SupportsEncryption(alg, enc string) bool {
	return keyManagement[alg] != "" && contentKeySizes[cmp.Or(enc, defaultEnc)] != 0
}

// IsEncrypted reports whether compact is a JWE: five parts, where a JWS has
// three.
func IsEncrypted(compact string) bool { return strings.Count(compact, ".") == 4 }

// Decrypt returns what is inside compact, a JWE in compact serialization. alg and
// enc are those of the client's registration; the token has no say. An empty enc
// means A128CBC-HS256. An empty alg means that nothing is encrypted: a JWE is
// refused, and anything else is returned as it is.
//
// keys are the client's private keys; secret is the client secret, for the
// algorithms whose [EncryptionKeyType] is "oct". Neither can replace the other.
//
// Its errors are [*Error].
func Decrypt(compact, alg, enc string, keys []gojose.JSONWebKey, secret string) (plaintext string, err error) {
	if alg == "" {
		if IsEncrypted(compact) {
			return "", refuse("alg", "a token that is not encrypted", "")
		}
		return compact, nil
	}
	enc = cmp.Or(enc, defaultEnc)
	if !SupportsEncryption(alg, enc) {
		return "", refuse("alg", "an encryption that is supported", alg+" with "+enc)
	}
	if !IsEncrypted(compact) {
		return "", refuse("alg", "a token encrypted with "+alg, "")
	}
	if len(compact) > MaxEncryptedSize {
		return "", refuse("format", fmt.Sprintf("at most %d bytes", MaxEncryptedSize), "")
	}
	jwe, err := gojose.ParseEncryptedCompact(compact,
		[]gojose.KeyAlgorithm{gojose.KeyAlgorithm(alg)}, []gojose.ContentEncryption{gojose.ContentEncryption(enc)})
	if err != nil {
		return "", refuse("alg", "a JWE with "+alg+" and "+enc, "")
	}
	for _, key := range decryptionKeys(alg, enc, jwe.Header.KeyID, keys, secret) {
		if plaintext, err := jwe.Decrypt(key); err == nil {
			return string(plaintext), nil
		}
	}
	return "", refuse("encryption", "one that a key of this client opens", "")
}

// decryptionKeys returns the keys that may open a token: the ones that kid names,
// else all of the right type.
func decryptionKeys(alg, enc, kid string, keys []gojose.JSONWebKey, secret string) []any {
	if keyManagement[alg] == "oct" {
		if secret == "" {
			return nil // its hash is known to everybody
		}
		return []any{secretKey(secret, secretKeySize(alg, enc))}
	}
	var fit, named []any
	for _, key := range keys {
		if !Decrypts(key, alg) {
			continue
		}
		fit = append(fit, key.Key)
		if kid != "" && key.KeyID == kid {
			named = append(named, key.Key)
		}
	}
	if named != nil {
		return named
	}
	return fit
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

// secretKey makes a symmetric key from the client secret: the left part of its
// hash, by the shortest SHA-2 that is long enough (OIDC Core 10.2).
func secretKey(secret string, size int) []byte {
	hash := crypto.SHA256
	switch {
	case size > crypto.SHA384.Size():
		hash = crypto.SHA512
	case size > crypto.SHA256.Size():
		hash = crypto.SHA384
	}
	return digest(hash, secret)[:size]
}
