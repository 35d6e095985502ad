package jose

import (
	"crypto"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"slices"
	"strings"
)

// keyTypes says which type of key a signature algorithm takes (RFC 7518 section
// 3.1, RFC 8037 section 3.1, RFC 9864 section 2.2). An algorithm that is not
// listed is not supported.
var keyTypes = map[string]string{
	"RS256": "RSA", "RS384": "RSA", "RS512": "RSA",
	"PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
	"ES256": "P-256", "ES384": "P-384", "ES512": "P-521",
	"EdDSA": "Ed25519", "Ed25519": "Ed25519",
	"HS256": "oct", "HS384": "oct", "HS512": "oct",
}

// macSizes are the least sizes of the key in bytes (RFC 7518 section 3.2).
var macSizes = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}

// Supported reports whether this package verifies the signature algorithm alg.
func Supported(alg string) bool { return keyTypes[alg] != "" }

// IsMAC reports whether the key of alg is a shared secret: HS256, HS384 or
// HS512.
func IsMAC(alg string) bool { return keyTypes[alg] == "oct" }

// IsAsymmetric reports whether alg needs no shared secret and is supported.
func IsAsymmetric(alg string) bool { return Supported(alg) && !IsMAC(alg) }

// MinSecret returns the least number of bytes of the key of HS256, HS384 or
// HS512, and 0 for every other algorithm. A shorter secret would make the HMAC
// weaker than its name (RFC 7518 section 3.2).
func MinSecret(alg string) int { return macSizes[alg] }

// oneOf returns the supported ones among algs, each of them once, in words. A
// list from a provider's metadata may be long; the text is not.
func oneOf(algs []string) string {
	var names []string
	for _, alg := range algs {
		if Supported(alg) && !slices.Contains(names, alg) {
			names = append(names, alg)
		}
	}
	return strings.Join(names, " or ")
}

// HalfHash returns the left half of the hash of value, in base64url: what
// at_hash must be for an access token, and c_hash for a code, in an ID Token
// signed with alg (OIDC Core 3.1.3.8, 3.3.2.10).
func HalfHash(alg, value string) string {
	// Ed25519 hashes with SHA-512, and providers use it for at_hash too.
	sum := digest(hashOf(alg), value)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

func digest(hash crypto.Hash, value string) []byte {
	if hash == crypto.SHA256 { // the usual one, without the state of a hash
		sum := sha256.Sum256([]byte(value))
		return sum[:]
	}
	h := hash.New()
	h.Write([]byte(value))
	return h.Sum(nil)
}
