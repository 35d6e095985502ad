package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/oidctest/internal/wire"
)

// newToken returns a token for the client, to be signed with alg.
func (p *Provider) newToken(client *Client, alg string, claims map[string]any) *wire.Token {
	t := &wire.Token{Site: p.site, ClientID: client.ID, Alg: alg, Claims: claims,
		Header: map[string]any{"alg": alg}}
	if strings.HasPrefix(alg, "HS") {
		t.Secret = []byte(client.Secret)
		return t
	}
	if t.Key = p.site.Keys.Current[alg]; t.Key != nil {
		t.Header["kid"] = t.Key.KID
	}
	return t
}

// SignClaims returns a compact JWS over the claims, signed with the provider's current
// key for alg. The members of header are added to alg and kid and take precedence; a
// nil value removes a member. An HMAC algorithm uses the secret of the client that the
// claim "aud" names, or of the first client. With "none" the signature is empty.
//
// Use it for tokens that no fault produces. It panics if the provider has no key for
// alg.
func (p *Provider) SignClaims(alg string, claims, header map[string]any) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	audience, _ := claims["aud"].(string)
	client := p.client(audience)
	if client == nil {
		client = &p.clients[0]
	}
	t := p.newToken(client, alg, claims)
	maps.Copy(t.Header, header)
	maps.DeleteFunc(t.Header, func(_ string, v any) bool { return v == nil })
	return t.MustSign()
}

// ForgedToken returns a compact JWS over the claims, signed with a key that the
// provider never had. Its kid is unknown or one of the JWK Set, as the caller chooses.
// The algorithm must be asymmetric; otherwise ForgedToken panics.
func (p *Provider) ForgedToken(alg, kid string, claims map[string]any) string {
	t := &wire.Token{Alg: alg, Claims: claims, Header: map[string]any{}}
	t.SignWith(wire.StrangerKey(alg, kid))
	return t.MustSign()
}

// encrypt encrypts a payload for the client (RFC 7516) with a key of its JWK Set, or for
// the symmetric algorithms with a key derived from its secret (OIDC Core 10.2).
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

// symmetricKeySize returns the key size of a symmetric algorithm in bytes, and 0 for
// any other algorithm.
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
