package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash
	_ "crypto/sha512" // for crypto.Hash
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// A Token is a JWS before it is signed. It is assembled here and not by a library,
// which would refuse to produce the invalid tokens that faults ask for.
type Token struct {
	Site     *Site
	ClientID string

	Alg    string
	Key    *Key           // nil for the HMAC algorithms and for "none"
	Secret []byte         // for the HMAC algorithms
	Header map[string]any // alg, and kid if the key has one
	Claims map[string]any

	EditPayload   func([]byte) []byte                            // nil: the claims as JSON
	EditSignature func([]byte) []byte                            // nil: the signature as computed
	Serialize     func(header, payload, signature string) string // nil: compact serialization
}

// SignWith makes k the signing key and puts its kid and alg in the header.
func (t *Token) SignWith(k *Key) {
	t.Key, t.Alg, t.Secret = k, k.Alg, nil
	t.Header["alg"], t.Header["kid"] = k.Alg, k.KID
}

// Sign returns the signed token in its serialization.
func (t *Token) Sign() (string, error) {
	header, err := json.Marshal(t.Header)
	if err != nil {
		return "", fmt.Errorf("oidctest: encoding the token header: %w", err)
	}
	payload, err := json.Marshal(t.Claims)
	if err != nil {
		return "", fmt.Errorf("oidctest: encoding the token claims: %w", err)
	}
	if t.EditPayload != nil {
		payload = t.EditPayload(payload)
	}
	h := base64.RawURLEncoding.EncodeToString(header)
	b := base64.RawURLEncoding.EncodeToString(payload)
	signature, err := t.signature(h + "." + b)
	if err != nil {
		return "", err
	}
	if t.EditSignature != nil {
		signature = t.EditSignature(signature)
	}
	s := base64.RawURLEncoding.EncodeToString(signature)
	if t.Serialize != nil {
		return t.Serialize(h, b, s), nil
	}
	return h + "." + b + "." + s, nil
}

// MustSign is Sign for tokens crafted by a test. It panics on an error.
func (t *Token) MustSign() string {
	signed, err := t.Sign()
	if err != nil {
		panic(err.Error())
	}
	return signed
}

// signature implements the algorithms of RFC 7518 section 3 and RFC 8037.
func (t *Token) signature(input string) ([]byte, error) {
	if t.Alg == "none" {
		return nil, nil
	}
	hash := hashOf(t.Alg)
	if t.Secret != nil {
		mac := hmac.New(hash.New, t.Secret)
		mac.Write([]byte(input))
		return mac.Sum(nil), nil
	}
	if t.Key == nil {
		return nil, fmt.Errorf("oidctest: no key for algorithm %q", t.Alg)
	}
	if t.Alg == "EdDSA" {
		return t.Key.Private.Sign(rand.Reader, []byte(input), crypto.Hash(0))
	}
	digest := hash.New()
	digest.Write([]byte(input))
	sum := digest.Sum(nil)
	switch private := t.Key.Private.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(t.Alg, "PS") {
			return private.Sign(rand.Reader, sum,
				&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
		}
		return private.Sign(rand.Reader, sum, hash)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, sum)
		if err != nil {
			return nil, fmt.Errorf("oidctest: signing: %w", err)
		}
		return fixedWidth(r, s, (private.Curve.Params().BitSize+7)/8), nil
	}
	return nil, fmt.Errorf("oidctest: no key for algorithm %q", t.Alg)
}

// fixedWidth concatenates R and S (RFC 7518 section 3.4).
func fixedWidth(r, s *big.Int, size int) []byte {
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature
}

// hashOf returns the hash of an algorithm; EdDSA with Ed25519 uses SHA-512.
func hashOf(alg string) crypto.Hash {
	switch {
	case strings.HasSuffix(alg, "384"):
		return crypto.SHA384
	case strings.HasSuffix(alg, "512"), alg == "EdDSA":
		return crypto.SHA512
	}
	return crypto.SHA256
}

// HalfHash returns the at_hash of an access token (OIDC Core 3.1.3.6).
func HalfHash(alg, accessToken string) string {
	digest := hashOf(alg).New()
	digest.Write([]byte(accessToken))
	sum := digest.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
