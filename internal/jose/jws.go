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
	// signed is the text that was signed, the header and the payload as they were sent.
	signed             string
	payload, signature []byte
}

// ParseJWS reads a JWS in compact serialization. algs are the algorithms that
// are accepted; those that this package does not support are ignored. What
// ParseJWS accepts has one spelling only, and go-jose reads the same in it.
//
// Its errors are [*Error].
func ParseJWS(compact string, algs []string) (*JWS, error) {
	if len(compact) > MaxTokenSize {
		return nil, refuse("format", fmt.Sprintf("at most %d bytes", MaxTokenSize), "")
	}
	first, rest, _ := strings.Cut(compact, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	var parts [3][]byte
	for i, part := range []string{first, payload, signature} {
		var ok bool
		if parts[i], ok = decodePart(part); !ok {
			return nil, refuse("format", "a JWS in compact serialization", "")
		}
	}
	header, more, err := parseHeader(parts[0])
	if err != nil {
		return nil, err
	}
	if !Supported(header.Alg) || !slices.Contains(algs, header.Alg) {
		return nil, refuse("alg", oneOf(algs), header.Alg)
	}
	if more { // go-jose checks them, such as certificates
		pin := []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(header.Alg)}
		if _, err := gojose.ParseSignedCompact(compact, pin); err != nil {
			return nil, refuse("format", "a JWS whose header is valid", "")
		}
	}
	return &JWS{
		Header: header, signed: compact[:len(first)+len(".")+len(payload)], payload: parts[1], signature: parts[2],
	}, nil
}

// parseHeader reads a decoded header; more says that it has parameters that Header has
// not. Extensions that must be understood are refused, since none is (RFC 7515 section
// 4.1.11), and so is b64, which would change what was signed (RFC 7797).
func parseHeader(raw []byte) (header Header, more bool, err error) {
	members, err := strictjson.Object(raw)
	if err != nil {
		return header, false, refuse("format", "a JOSE header", err.Error())
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := members[name]; ok {
			return header, false, refuse(name, "a header without it", "")
		}
	}
	known := 0
	for _, member := range []struct {
		name  string
		value *string
	}{{"alg", &header.Alg}, {"kid", &header.Kid}, {"typ", &header.Typ}, {"cty", &header.Cty}} {
		if *member.value, _, err = members.String(member.name); err != nil {
			return header, false, refuse(member.name, "a string", "")
		}
		if _, ok := members[member.name]; ok {
			known++
		}
	}
	return header, len(members) > known, nil
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
	if !j.signedBy(secret) {
		return nil, refuse("signature", "one made with the client secret", "")
	}
	return j.payload, nil
}

// strictBase64URL refuses trailing bits that encode nothing (RFC 4648 section 3.5).
var strictBase64URL = base64.RawURLEncoding.Strict()

// decodePart decodes base64url without padding, not empty, in its one canonical spelling
// (RFC 7515 section 2).
func decodePart(part string) ([]byte, bool) {
	if part == "" || strings.ContainsAny(part, "\r\n") { // Go's decoder skips line breaks
		return nil, false
	}
	decoded, err := strictBase64URL.DecodeString(part)
	return decoded, err == nil
}
