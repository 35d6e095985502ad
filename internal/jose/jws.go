// Package jose reads signed tokens (JWS, RFC 7515), verifies them with keys (JWK,
// RFC 7517), and opens encrypted ones (JWE, RFC 7516). It is a strict layer over
// go-jose: the caller says which algorithm is expected and the token has no say,
// a token has one spelling only, and everything that is read is bounded.
//
// The package is pure: it has no network, no clock and no state. A [KeySet] may
// be used by several goroutines at once.
package jose

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// MaxTokenSize bounds a JWS in compact serialization, in bytes.
const MaxTokenSize = 64 << 10

// Header is what is read of a JOSE header (RFC 7515 section 4.1). The parameters
// that say where a key can be found (jku, jwk, x5u, x5c) are not: keys come from
// the provider's jwks_uri alone.
type Header struct {
	Alg string
	Kid string // empty when absent
	Typ string // empty when absent
	Cty string // empty when absent
	// KeyIssuer is not the header's: it is the issuer member of the key with which
	// [KeySet.Verify] has verified the token, empty without one.
	KeyIssuer string
}

// JWS is a signed token that [ParseJWS] has read: its form and its header are
// valid, its signature has not been verified yet.
type JWS struct {
	Header Header
	parsed *gojose.JSONWebSignature
}

// ParseJWS reads a JWS in compact serialization. algs are the algorithms that
// are accepted; those that this package does not support are ignored. What
// ParseJWS accepts has one spelling only, and the Header that it returns is the
// one that go-jose acts on.
//
// Its errors are [*Error].
func ParseJWS(compact string, algs []string) (*JWS, error) {
	if len(compact) > MaxTokenSize {
		return nil, refuse("format", fmt.Sprintf("at most %d bytes", MaxTokenSize), "")
	}
	first, rest, _ := strings.Cut(compact, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || !isBase64URL(first) || !isBase64URL(payload) || !isBase64URL(signature) {
		return nil, refuse("format", "a JWS in compact serialization", "")
	}
	header, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	if !Supported(header.Alg) || !slices.Contains(algs, header.Alg) {
		return nil, refuse("alg", oneOf(algs), header.Alg)
	}
	pin := []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(header.Alg)}
	parsed, err := gojose.ParseSignedCompact(compact, pin)
	if err != nil {
		return nil, refuse("format", "a JWS whose header is valid", "")
	}
	return &JWS{Header: header, parsed: parsed}, nil
}

// parseHeader reads a decoded header. Extensions that must be understood are
// refused, since none is (RFC 7515 section 4.1.11), and so is b64, which would
// change what was signed (RFC 7797).
func parseHeader(raw []byte) (header Header, err error) {
	members, err := strictjson.Object(raw)
	if err != nil {
		return header, refuse("format", "a JOSE header", err.Error())
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := members[name]; ok {
			return header, refuse(name, "a header without it", "")
		}
	}
	for _, member := range []struct {
		name  string
		value *string
	}{{"alg", &header.Alg}, {"kid", &header.Kid}, {"typ", &header.Typ}, {"cty", &header.Cty}} {
		if *member.value, _, err = members.String(member.name); err != nil {
			return header, refuse(member.name, "a string", "")
		}
	}
	return header, nil
}

// VerifyMAC verifies a token whose key is the client secret (OIDC Core 10.1) and
// returns its payload. Its errors are [*Error]: for alg if the token has a
// signature of another kind or the secret is too short for it, else for
// signature.
func (j *JWS) VerifyMAC(secret []byte) (payload []byte, err error) {
	need := MinSecret(j.Header.Alg)
	if need == 0 {
		return nil, refuse("alg", "HS256, HS384 or HS512", j.Header.Alg)
	}
	if len(secret) < need {
		return nil, refuse("alg", fmt.Sprintf("a client secret of %d bytes or more", need), j.Header.Alg)
	}
	payload, err = j.parsed.Verify(secret)
	if err != nil {
		return nil, refuse("signature", "one made with the client secret", "")
	}
	return payload, nil
}

// base64URL is the alphabet of RFC 4648 section 5.
const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// isBase64URL reports whether s, not empty, is base64url without padding in its
// one canonical spelling (RFC 7515 section 2). Go's decoder skips line breaks
// and, by default, ignores trailing bits that encode nothing.
func isBase64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	if s == "" {
		return false
	}
	last := strings.IndexByte(base64URL, s[len(s)-1])
	switch len(s) % 4 {
	case 0:
		return true
	case 2:
		return last%16 == 0
	case 3:
		return last%4 == 0
	}
	return false
}
