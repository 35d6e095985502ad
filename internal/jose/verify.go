package jose

// This file verifies a signature over the text of a token as it was sent (RFC 7515
// section 5.2). go-jose would first write that text again from its parts.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"math/big"
	"strings"
)

// signedBy reports whether key made the signature of j. The key is of the type that
// keyTypes names for the algorithm.
func (j *JWS) signedBy(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return j.signedByRSA(key)
	case *ecdsa.PublicKey:
		return j.signedByECDSA(key)
	case ed25519.PublicKey:
		return ed25519.Verify(key, []byte(j.signed), j.signature)
	case []byte:
		mac := hmac.New(hashOf(j.Header.Alg).New, key)
		mac.Write([]byte(j.signed))
		return hmac.Equal(mac.Sum(nil), j.signature)
	}
	return false
}

// signedByRSA is RFC 7518 sections 3.3 and 3.5.
func (j *JWS) signedByRSA(key *rsa.PublicKey) bool {
	hash := hashOf(j.Header.Alg)
	sum := digest(hash, j.signed)
	if strings.HasPrefix(j.Header.Alg, "PS") {
		return rsa.VerifyPSS(key, hash, sum, j.signature, nil) == nil
	}
	return rsa.VerifyPKCS1v15(key, hash, sum, j.signature) == nil
}

// signedByECDSA is RFC 7518 section 3.4: two numbers of the size of the curve's.
func (j *JWS) signedByECDSA(key *ecdsa.PublicKey) bool {
	size := (key.Params().BitSize + 7) / 8
	if len(j.signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(j.signature[:size]), new(big.Int).SetBytes(j.signature[size:])
	return ecdsa.Verify(key, digest(hashOf(j.Header.Alg), j.signed), r, s)
}

// hashOf returns the hash of a signature algorithm, of EdDSA that of its curve.
func hashOf(alg string) crypto.Hash {
	switch {
	case strings.HasSuffix(alg, "384"):
		return crypto.SHA384
	case strings.HasSuffix(alg, "512"), alg == "EdDSA", alg == "Ed25519":
		return crypto.SHA512
	}
	return crypto.SHA256
}
