package oidctest

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
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// A token is a JWS about to be signed. The faults change its parts, which is why it
// is put together here and not by a library that would refuse to make a bad one.
type token struct {
	p      *Provider
	client *Client

	alg    string
	key    *key           // nil with an HMAC algorithm and with "none"
	secret []byte         // of the HMAC algorithms
	header map[string]any // alg, and kid when the key has one
	claims map[string]any

	editPayload   func([]byte) []byte                            // nil: the claims as JSON
	editSignature func([]byte) []byte                            // nil: as signed
	serialize     func(header, payload, signature string) string // nil: compact
}

// newToken returns a token for the client, to be signed with alg.
func (p *Provider) newToken(client *Client, alg string, claims map[string]any) *token {
	t := &token{p: p, client: client, alg: alg, claims: claims, header: map[string]any{"alg": alg}}
	if strings.HasPrefix(alg, "HS") {
		t.secret = []byte(client.Secret)
		return t
	}
	if t.key = p.keys.current[alg]; t.key != nil {
		t.header["kid"] = t.key.kid
	}
	return t
}

// signWith makes k the signing key, and its kid and alg the header's.
func (t *token) signWith(k *key) {
	t.key, t.alg, t.secret = k, k.alg, nil
	t.header["alg"], t.header["kid"] = k.alg, k.kid
}

// sign returns the token in its serialization.
func (t *token) sign() (string, error) {
	header, err := json.Marshal(t.header)
	if err != nil {
		return "", fmt.Errorf("oidctest: the header does not encode: %w", err)
	}
	payload, err := json.Marshal(t.claims)
	if err != nil {
		return "", fmt.Errorf("oidctest: the claims do not encode: %w", err)
	}
	if t.editPayload != nil {
		payload = t.editPayload(payload)
	}
	h := base64.RawURLEncoding.EncodeToString(header)
	b := base64.RawURLEncoding.EncodeToString(payload)
	signature, err := t.signature(h + "." + b)
	if err != nil {
		return "", err
	}
	if t.editSignature != nil {
		signature = t.editSignature(signature)
	}
	s := base64.RawURLEncoding.EncodeToString(signature)
	if t.serialize != nil {
		return t.serialize(h, b, s), nil
	}
	return h + "." + b + "." + s, nil
}

// signature implements the algorithms of RFC 7518 section 3 and RFC 8037.
func (t *token) signature(input string) ([]byte, error) {
	if t.alg == "none" {
		return nil, nil
	}
	hash := hashOf(t.alg)
	if t.secret != nil {
		mac := hmac.New(hash.New, t.secret)
		mac.Write([]byte(input))
		return mac.Sum(nil), nil
	}
	if t.key == nil {
		return nil, fmt.Errorf("oidctest: no key for algorithm %q", t.alg)
	}
	if t.alg == "EdDSA" {
		return t.key.private.Sign(rand.Reader, []byte(input), crypto.Hash(0))
	}
	digest := hash.New()
	digest.Write([]byte(input))
	sum := digest.Sum(nil)
	switch private := t.key.private.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(t.alg, "PS") {
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
	return nil, fmt.Errorf("oidctest: no key for algorithm %q", t.alg)
}

// fixedWidth returns R and S side by side, as RFC 7518 section 3.4 has them.
func fixedWidth(r, s *big.Int, size int) []byte {
	signature := make([]byte, 2*size)
	r.FillBytes(signature[:size])
	s.FillBytes(signature[size:])
	return signature
}

// hashOf returns the hash an algorithm name stands for; EdDSA hashes with SHA-512.
func hashOf(alg string) crypto.Hash {
	switch {
	case strings.HasSuffix(alg, "384"):
		return crypto.SHA384
	case strings.HasSuffix(alg, "512"), alg == "EdDSA":
		return crypto.SHA512
	}
	return crypto.SHA256
}

// halfHash returns the at_hash of an access token (OIDC Core 3.1.3.6).
func halfHash(alg, accessToken string) string {
	digest := hashOf(alg).New()
	digest.Write([]byte(accessToken))
	sum := digest.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// SignClaims returns a compact JWS over the claims, made with the provider's current
// key for alg. The members of header are added to alg and kid, and win over them; a
// nil value removes one. An HMAC algorithm takes the secret of the client that the
// claim "aud" names, or of the first one; "none" leaves the signature empty.
//
// It is for crafting what no provider sends. It panics when alg has no key, which is
// a mistake in the test.
func (p *Provider) SignClaims(alg string, claims, header map[string]any) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	audience, _ := claims["aud"].(string)
	client := p.client(audience)
	if client == nil {
		client = &p.clients[0]
	}
	return mustSign(p.newToken(client, alg, claims), header)
}

// ForgedToken returns a compact JWS over the claims that is signed by a key the
// provider never had, under the key id kid: an unknown one, or one of the JWK Set.
// The algorithm must be asymmetric.
func (p *Provider) ForgedToken(alg, kid string, claims map[string]any) string {
	t := &token{alg: alg, claims: claims, header: map[string]any{}}
	t.signWith(stranger(alg, kid))
	return mustSign(t, nil)
}

func mustSign(t *token, header map[string]any) string {
	maps.Copy(t.header, header)
	maps.DeleteFunc(t.header, func(_ string, v any) bool { return v == nil })
	compact, err := t.sign()
	if err != nil {
		panic(err.Error())
	}
	return compact
}

// encrypt wraps a payload for the client (RFC 7516): with a key of its JWK Set, or
// for the symmetric algorithms with one made from its secret (OIDC Core 10.2).
func encrypt(payload string, client *Client, alg, enc, contentType string) (string, error) {
	if enc == "" {
		enc = string(jose.A128CBC_HS256)
	}
	recipient, err := recipientOf(client, jose.KeyAlgorithm(alg), jose.ContentEncryption(enc))
	if err != nil {
		return "", err
	}
	options := (&jose.EncrypterOptions{}).WithContentType(jose.ContentType(contentType))
	encrypter, err := jose.NewEncrypter(jose.ContentEncryption(enc), recipient, options)
	if err != nil {
		return "", fmt.Errorf("oidctest: encrypting for client %q: %w", client.ID, err)
	}
	object, err := encrypter.Encrypt([]byte(payload))
	if err != nil {
		return "", fmt.Errorf("oidctest: encrypting for client %q: %w", client.ID, err)
	}
	return object.CompactSerialize()
}

func recipientOf(client *Client, alg jose.KeyAlgorithm, enc jose.ContentEncryption) (
	jose.Recipient, error) {
	if size := symmetricKeySize(alg, enc); size > 0 {
		digest := crypto.SHA256
		switch {
		case size > 48:
			digest = crypto.SHA512
		case size > 32:
			digest = crypto.SHA384
		}
		h := digest.New()
		h.Write([]byte(client.Secret))
		return jose.Recipient{Algorithm: alg, Key: h.Sum(nil)[:size]}, nil
	}
	for _, k := range client.JWKS.Keys {
		fits := k.Algorithm == "" || k.Algorithm == string(alg)
		if _, isEC := k.Public().Key.(*ecdsa.PublicKey); k.Use != "sig" && fits &&
			isEC == strings.HasPrefix(string(alg), "ECDH-ES") {
			return jose.Recipient{Algorithm: alg, Key: k.Public().Key, KeyID: k.KeyID}, nil
		}
	}
	return jose.Recipient{}, fmt.Errorf("oidctest: client %q has no key for %s", client.ID, alg)
}

// symmetricKeySize returns the bytes of key that a symmetric algorithm takes, and 0
// for the others.
func symmetricKeySize(alg jose.KeyAlgorithm, enc jose.ContentEncryption) int {
	switch alg {
	case jose.A128KW, jose.A128GCMKW:
		return 16
	case jose.A192KW, jose.A192GCMKW:
		return 24
	case jose.A256KW, jose.A256GCMKW:
		return 32
	case jose.DIRECT:
		return map[jose.ContentEncryption]int{
			jose.A128GCM: 16, jose.A192GCM: 24, jose.A256GCM: 32,
			jose.A128CBC_HS256: 32, jose.A192CBC_HS384: 48, jose.A256CBC_HS512: 64,
		}[enc]
	}
	return 0
}

func pemEncode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
