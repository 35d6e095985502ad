package jose

// This file reads the provider's keys (RFC 7517) and verifies signatures with
// them.

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// The bounds of a set and its keys.
const (
	maxKeys       = 200 // keys in a set
	maxCandidates = 16  // keys tried for one token
	minRSABits    = 2048
	maxRSABits    = 4096 // the time of a verification grows with the square
)

// KeySet is a JWK Set (RFC 7517 section 5), reduced to the keys that can verify
// a signature.
type KeySet struct {
	usable []publicKey
	byKid  map[string][]publicKey
	// unusable are the kids of the keys that were skipped.
	unusable map[string]bool
}

// publicKey is one key and what it may be used for.
type publicKey struct {
	kid     string // may be empty
	alg     string // the only algorithm it is for; if empty, any of its type
	issuer  string // the only issuer whose tokens it verifies; if empty, any
	keyType string // as in keyTypes
	key     any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// suits reports whether the key may verify alg.
func (p publicKey) suits(alg string) bool {
	return p.keyType == keyTypes[alg] && (p.alg == "" || p.alg == alg ||
		p.keyType == "Ed25519" && keyTypes[p.alg] == "Ed25519") // two names of one algorithm
}

// ParseKeySet reads a JWK Set. Keys that are not understood or not usable are
// skipped (RFC 7517 section 5): one of them must not cost the others. Errors are
// about the set, and quote nothing of it.
func ParseKeySet(body []byte) (*KeySet, error) {
	members, err := strictjson.Object(body)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if !members.Has("keys") || json.Unmarshal(members["keys"], &list) != nil {
		return nil, errors.New("keys is not an array")
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	set := &KeySet{byKid: make(map[string][]publicKey), unusable: make(map[string]bool)}
	for _, raw := range list {
		key, ok := parseKey(raw)
		switch {
		case !ok && key.kid != "":
			set.unusable[key.kid] = true
		case ok:
			set.usable = append(set.usable, key)
			if key.kid != "" {
				set.byKid[key.kid] = append(set.byKid[key.kid], key)
			}
		}
	}
	return set, nil
}

// Empty reports whether no key of the set can verify a signature.
func (s *KeySet) Empty() bool { return len(s.usable) == 0 }

// Kids returns the ids of the usable keys, sorted, each of them once. They come
// from the provider, and are not cleaned or bounded for a log.
func (s *KeySet) Kids() []string {
	return slices.Sorted(maps.Keys(s.byKid))
}

// A Verdict is what a [KeySet] says about a token.
type Verdict int

const (
	// NoKey: the set does not hold the token's key. A newer set may.
	NoKey Verdict = iota
	// Unsuitable: the set holds the token's key, but that key is not for the
	// token's algorithm or not for signatures.
	Unsuitable
	// Forged: the set holds the token's key, and another key made the signature.
	Forged
	// Verified: the signature is valid.
	Verified
)

// Verify looks for the key that signed j, and returns the payload if the verdict
// is [Verified]. A kid names the key; without one, every key that suits is tried
// (OIDC Core 10.1), and if none fits the set may just be too old. It records the
// issuer member of the key, which Microsoft Entra publishes, in j's Header: the caller
// must compare it.
func (s *KeySet) Verify(j *JWS) (payload []byte, v Verdict) {
	kid, alg := j.Header.Kid, j.Header.Alg
	candidates := s.usable
	if kid != "" {
		candidates = s.byKid[kid]
		if candidates == nil && !s.unusable[kid] {
			return nil, NoKey
		}
	}
	tried := 0
	for _, candidate := range candidates {
		if !candidate.suits(alg) || tried == maxCandidates {
			continue
		}
		tried++
		if j.signedBy(candidate.key) {
			j.Header.KeyIssuer = candidate.issuer
			return j.payload, Verified
		}
	}
	switch {
	case kid == "":
		return nil, NoKey
	case tried == 0:
		return nil, Unsuitable
	}
	return nil, Forged
}

// secretMembers are those of private and symmetric keys (RFC 7518 section 6,
// RFC 8037 section 2). A key that was published with one of them is compromised.
var secretMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseKey reads one JWK. If the key cannot be used for verifying, ok is false
// and key holds the kid alone.
func parseKey(raw json.RawMessage) (key publicKey, ok bool) {
	members, err := strictjson.Object(raw)
	if err != nil {
		return key, false
	}
	if key.kid, _, err = members.String("kid"); err != nil {
		return key, false
	}
	if key.alg, _, err = members.String("alg"); err != nil {
		return key, false
	}
	if key.issuer, _, err = members.String("issuer"); err != nil {
		return key, false
	}
	if slices.ContainsFunc(secretMembers, members.Has) {
		return key, false
	}
	use, present, err := members.String("use")
	if err != nil || present && use != "sig" {
		return key, false
	}
	ops, present, err := members.Strings("key_ops")
	if err != nil || present && !slices.Contains(ops, "verify") {
		return key, false
	}
	key.key, key.keyType = parsePublicKey(members)
	return key, key.key != nil
}

// parsePublicKey has go-jose read the members that make up the key itself.
// Certificates and their thumbprints are left out: they add no trust here, and
// a broken one would cost the key.
func parsePublicKey(members strictjson.Members) (key any, keyType string) {
	material := make(strictjson.Members)
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
		if members.Has(name) {
			material[name] = members[name]
		}
	}
	var jwk gojose.JSONWebKey
	if err := jwk.UnmarshalJSON(material.AppendJSON(nil)); err != nil {
		return nil, ""
	}
	return acceptKey(jwk.Key)
}

// acceptKey returns a key that may verify, and its type; nil for any other. The
// bounds are our own: those of go-jose are variables of its package.
func acceptKey(key any) (accepted any, keyType string) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if soundRSA(key) {
			return key, "RSA"
		}
	case *ecdsa.PublicKey:
		return key, key.Params().Name
	case ed25519.PublicKey:
		return key, "Ed25519"
	}
	return nil, ""
}

// soundRSA bounds the modulus and the exponent. A verification with an exponent as
// large as the modulus takes a thousand times as long as with the usual 65537.
func soundRSA(key *rsa.PublicKey) bool {
	bits := key.N.BitLen()
	return bits >= minRSABits && bits <= maxRSABits && key.E > 2 && key.E <= math.MaxInt32 && key.E%2 == 1
}
