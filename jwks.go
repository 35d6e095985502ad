package oidcrp

// This file fetches the provider's keys (RFC 7517) and verifies signatures with
// them (RFC 7515).

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp/internal/fetch"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// The bounds of what is read and kept.
const (
	maxTokenSize  = 64 << 10 // bytes of a token in compact serialisation
	maxKeys       = 200      // keys in a set
	maxCandidates = 16       // keys tried for a token without kid
	maxAbsent     = 128      // kids remembered as absent
	maxKidSize    = 256      // bytes of such a kid
	minRSABits    = 2048
)

// How long keys are used and how often they are fetched.
const (
	// keysPatience: a set this long past its age is waited for rather than
	// used, so that a key withdrawn while nobody signed in is not accepted once
	// more.
	keysPatience = time.Minute
	// keysMaxStale is how long past their age keys are used while the provider
	// does not answer. After that a compromised key would outlive its
	// withdrawal for too long.
	keysMaxStale = 24 * time.Hour
	// renewEvery is the least time between two fetches for unknown kids.
	renewEvery = time.Minute
	// absentFor is how long a kid that a fetch did not bring is not asked for
	// again, so that the next fetch is left to other kids.
	absentFor = 2 * time.Minute
)

// keyTypes says which type of key an algorithm takes (RFC 7518 section 3.1,
// RFC 8037 section 3.1, RFC 9864 section 2.2). What is not listed is not
// supported.
var keyTypes = map[string]string{
	"RS256": "RSA", "RS384": "RSA", "RS512": "RSA",
	"PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
	"ES256": "P-256", "ES384": "P-384", "ES512": "P-521",
	"EdDSA": "Ed25519", "Ed25519": "Ed25519",
	"HS256": "oct", "HS384": "oct", "HS512": "oct",
}

// macSizes are the least sizes of the key in bytes (RFC 7518 section 3.2).
var macSizes = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}

// keySet verifies signatures with the provider's keys.
type keySet struct {
	provider *provider
	http     *fetch.Client
	events   *events
	now      func() time.Time
	secret   []byte
	document fetch.Document[keys]

	mu     sync.Mutex           // guards absent
	absent map[string]time.Time // kids that a fetch did not bring; believed until then
}

// newKeySet returns a keySet for p. secret is the client secret, the key of the
// HS algorithms; may be empty. It does no I/O.
func newKeySet(p *provider, f *fetch.Client, ev *events, now func() time.Time, secret string) *keySet {
	k := &keySet{
		provider: p, http: f, events: ev, now: now,
		secret: []byte(secret),
		absent: make(map[string]time.Time),
	}
	k.document.Load = k.load
	k.document.Now = now
	k.document.Patience = keysPatience
	k.document.MaxStale = keysMaxStale
	k.document.RenewEvery = renewEvery
	return k
}

// verify checks the signature of compact, a JWS in compact serialisation, and
// returns its payload and header. token names it in errors; algs are the
// algorithms that are accepted.
//
// A token that does not hold is a [*TokenError]. If its key cannot be had, the
// error is an [*Error] with [CodeProviderUnavailable] or [CodeProviderInvalid]:
// nothing is known about the token then.
func (k *keySet) verify(
	ctx context.Context, token, compact string, algs []string,
) (payload []byte, header *joseHeader, err error) {
	jws, err := parseJWS(token, compact, algs)
	if err != nil {
		return nil, nil, err
	}
	if keyTypes[jws.header.Alg] == "oct" {
		payload, err = k.verifyMAC(token, jws)
	} else {
		payload, err = k.verifySignature(ctx, token, jws)
	}
	if err != nil {
		return nil, nil, err
	}
	return payload, &jws.header, nil
}

// verifyMAC checks a token whose key is the client secret (OIDC Core 10.1).
func (k *keySet) verifyMAC(token string, jws *compactJWS) ([]byte, error) {
	if need := macSizes[jws.header.Alg]; len(k.secret) < need {
		return nil, refuse(token, "alg",
			fmt.Sprintf("a client secret of %d bytes or more", need), jws.header.Alg)
	}
	payload, err := jws.parsed.Verify(k.secret)
	if err != nil {
		return nil, refuse(token, "signature", "one made with the client secret", "")
	}
	return payload, nil
}

// verifySignature checks a token whose key is one of the provider's.
func (k *keySet) verifySignature(
	ctx context.Context, token string, jws *compactJWS,
) ([]byte, error) {
	set, err := k.document.Get(ctx)
	if err != nil {
		return nil, failFetch("jwks", err)
	}
	payload, found := set.verify(jws)
	kid := jws.header.Kid
	if found == noKey && k.worthAsking(kid) {
		if payload, found, err = k.verifyRenewed(ctx, set, jws); err != nil {
			return nil, failFetch("jwks", err)
		}
	}
	switch found {
	case verified:
		return payload, nil
	case forged:
		return nil, refuse(token, "signature", "one made with the provider's key", kid)
	case unsuitable:
		return nil, refuse(token, "kid", "a key of the provider for "+jws.header.Alg, kid)
	}
	return nil, refuse(token, "kid", "a key of the provider", kid)
}

// verifyRenewed verifies with newer keys than those of set, if there are any. It
// asks twice, since what came first may have been on its way when the key was
// not there yet; document lets it fetch once at most.
func (k *keySet) verifyRenewed(
	ctx context.Context, set *keys, jws *compactJWS,
) (payload []byte, found verdict, err error) {
	for range 2 {
		renewed, err := k.document.Renew(ctx, set)
		if err != nil || renewed == set {
			return nil, noKey, err
		}
		set = renewed
		if payload, found = set.verify(jws); found != noKey {
			return payload, found, nil
		}
		k.remember(jws.header.Kid)
	}
	return nil, noKey, nil
}

// worthAsking reports whether a fetch may bring a key that the set lacks.
func (k *keySet) worthAsking(kid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	until, ok := k.absent[kid]
	return !ok || !k.now().Before(until)
}

// remember takes note of a kid that a fetch did not bring. A token without kid
// says nothing about other such tokens.
func (k *keySet) remember(kid string) {
	if kid == "" || len(kid) > maxKidSize {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	maps.DeleteFunc(k.absent, func(_ string, until time.Time) bool { return !now.Before(until) })
	if len(k.absent) < maxAbsent {
		k.absent[kid] = now.Add(absentFor)
	}
}

func (k *keySet) load(ctx context.Context) (*keys, time.Duration, error) {
	m, err := k.provider.metadata(ctx)
	if err != nil {
		return nil, 0, err
	}
	start := k.now()
	set, lifetime, err := k.fetch(ctx, m.JWKSURI)
	k.events.keysFetched(ctx, FetchEvent{URL: m.JWKSURI, Duration: k.now().Sub(start), Err: err})
	if old := k.document.Peek(); err == nil && old != nil {
		added, removed := missing(set.kids(), old.kids()), missing(old.kids(), set.kids())
		if len(added)+len(removed) > 0 {
			k.events.keysRotated(ctx, KeysRotatedEvent{Added: shown(added), Removed: shown(removed)})
		}
	}
	return set, lifetime, err
}

func (k *keySet) fetch(ctx context.Context, uri string) (*keys, time.Duration, error) {
	res, err := k.http.Do(ctx, fetch.Request{
		URL:            uri,
		Accept:         "application/jwk-set+json, application/json",
		MediaTypes:     []string{"application/json", "text/json", "+json"},
		FollowSameHost: true,
	})
	if err != nil {
		return nil, 0, failFetch("jwks", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, 0, failf("jwks", CodeProviderInvalid,
			"%s answered with status %d", uri, res.StatusCode)
	}
	set, err := parseKeys(res.Body)
	if err != nil {
		return nil, 0, failf("jwks", CodeProviderInvalid, "the keys at %s: %w", uri, err)
	}
	return set, res.Lifetime(), nil
}

// shown makes key ids fit for an event and a log line.
func shown(kids []string) []string {
	for i, kid := range kids {
		kids[i] = clean(kid, 100)
	}
	return kids
}

// missing returns what is in a but not in b.
func missing(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// keys is a JWK Set (RFC 7517 section 5), reduced to what can verify.
type keys struct {
	usable []publicKey
	byKid  map[string][]publicKey
	// unusable are the kids of the keys that were passed over.
	unusable map[string]bool
}

// publicKey is one key and what it may be used for.
type publicKey struct {
	kid     string // may be empty
	alg     string // the only algorithm it is for; if empty, any of its type
	keyType string // as in keyTypes
	key     any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// suits reports whether the key may verify alg.
func (p publicKey) suits(alg string) bool {
	return p.keyType == keyTypes[alg] && (p.alg == "" || p.alg == alg ||
		p.keyType == "Ed25519" && keyTypes[p.alg] == "Ed25519") // two names of one algorithm
}

// kids returns the ids of the usable keys.
func (s *keys) kids() []string {
	return slices.Sorted(maps.Keys(s.byKid))
}

// A verdict is what a set of keys says about a token.
type verdict int

const (
	noKey      verdict = iota // the set does not hold the token's key
	unsuitable                // it does, but the key is not for the token's algorithm
	forged                    // the key is there, and it did not make the signature
	verified
)

// verify looks for the key that signed jws. A kid names it; without one, every
// key that suits is tried (OIDC Core 10.1), and if none fits the set may just be
// too old.
func (s *keys) verify(jws *compactJWS) ([]byte, verdict) {
	kid, alg := jws.header.Kid, jws.header.Alg
	candidates := s.usable
	if kid != "" {
		candidates = s.byKid[kid]
		if candidates == nil && !s.unusable[kid] {
			return nil, noKey
		}
	}
	tried := 0
	for _, candidate := range candidates {
		if !candidate.suits(alg) || tried == maxCandidates {
			continue
		}
		tried++
		if payload, err := jws.parsed.Verify(candidate.verifier(alg)); err == nil {
			return payload, verified
		}
	}
	switch {
	case kid == "":
		return nil, noKey
	case tried == 0:
		return nil, unsuitable
	}
	return nil, forged
}

// verifier returns what go-jose takes for verifying alg with p.
func (p publicKey) verifier(alg string) any {
	if key, ok := p.key.(ed25519.PublicKey); ok && alg == "Ed25519" {
		return ed25519Verifier(key)
	}
	return p.key
}

// ed25519Verifier verifies EdDSA under its fully specified name (RFC 9864
// section 2.2), which go-jose does not know.
type ed25519Verifier ed25519.PublicKey

func (v ed25519Verifier) VerifyPayload(payload, signature []byte, _ jose.SignatureAlgorithm) error {
	if !ed25519.Verify(ed25519.PublicKey(v), payload, signature) {
		return errors.New("oidcrp: the signature does not hold")
	}
	return nil
}

// parseKeys reads a JWK Set. Keys that are not understood or not usable are
// passed over (RFC 7517 section 5): one of them must not cost the others.
func parseKeys(body []byte) (*keys, error) {
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
	set := &keys{byKid: make(map[string][]publicKey), unusable: make(map[string]bool)}
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

// secretMembers are those of private and symmetric keys (RFC 7518 section 6,
// RFC 8037 section 2). Whoever publishes one has lost the key.
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
	raw, err := json.Marshal(material)
	if err != nil {
		return nil, ""
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return nil, ""
	}
	switch key := jwk.Key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= minRSABits {
			return key, "RSA"
		}
	case *ecdsa.PublicKey:
		return key, key.Params().Name
	case ed25519.PublicKey:
		return key, "Ed25519"
	}
	return nil, ""
}

// joseHeader is what is read of a JOSE header (RFC 7515 section 4.1). The
// members that say where a key might be found (jku, jwk, x5u, x5c) are not: keys
// come from the provider's jwks_uri alone.
type joseHeader struct {
	Alg string
	Kid string // empty when absent
	Typ string // empty when absent
	Cty string // empty when absent
}

// compactJWS is a JWS of which the form and the header have been checked, but
// not yet the signature.
type compactJWS struct {
	header joseHeader
	parsed *jose.JSONWebSignature
}

// parseJWS reads a JWS in compact serialisation. What it accepts has one
// spelling only, and the header that it returns is the one that go-jose acts on.
func parseJWS(token, compact string, algs []string) (*compactJWS, error) {
	if len(compact) > maxTokenSize {
		return nil, refuse(token, "format", fmt.Sprintf("at most %d bytes", maxTokenSize), "")
	}
	parts := strings.SplitN(compact, ".", 4)
	if len(parts) != 3 || !isBase64URL(parts[0]) || !isBase64URL(parts[1]) || !isBase64URL(parts[2]) {
		return nil, refuse(token, "format", "a JWS in compact serialisation", "")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return nil, refuse(token, "format", "a JWS in compact serialisation", "")
	}
	header, err := parseJOSEHeader(token, raw)
	if err != nil {
		return nil, err
	}
	if _, supported := keyTypes[header.Alg]; !supported || !slices.Contains(algs, header.Alg) {
		return nil, refuse(token, "alg", strings.Join(algs, " or "), header.Alg)
	}
	pin := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(header.Alg)}
	parsed, err := jose.ParseSignedCompact(compact, pin)
	if err != nil {
		return nil, refuse(token, "format", "a JWS whose header is valid", "")
	}
	return &compactJWS{header: *header, parsed: parsed}, nil
}

// parseJOSEHeader reads a decoded header. Extensions that must be understood
// are refused, since none is (RFC 7515 section 4.1.11), and so is b64, which
// would change what was signed (RFC 7797).
func parseJOSEHeader(token string, raw []byte) (*joseHeader, error) {
	members, err := strictjson.Object(raw)
	if err != nil {
		return nil, refuse(token, "format", "a JOSE header", err.Error())
	}
	for _, name := range []string{"crit", "b64"} {
		if _, ok := members[name]; ok {
			return nil, refuse(token, name, "a header without it", "")
		}
	}
	header := new(joseHeader)
	for _, member := range []struct {
		name  string
		value *string
	}{{"alg", &header.Alg}, {"kid", &header.Kid}, {"typ", &header.Typ}, {"cty", &header.Cty}} {
		if *member.value, _, err = members.String(member.name); err != nil {
			return nil, refuse(token, member.name, "a string", "")
		}
	}
	return header, nil
}

// base64URL is the alphabet of RFC 4648 section 5.
const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// isBase64URL reports whether s, not empty, is base64url without padding in its
// one canonical spelling (RFC 7515 section 2). Go's decoder skips line breaks
// and, unless told otherwise, ignores trailing bits that stand for nothing.
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

// KeySet returns the provider's keys as a key set for go-oidc, for apps that
// verify other tokens of this provider, such as access tokens that are JWTs:
//
//	verifier := oidc.NewVerifier(issuer, client.KeySet(), &oidc.Config{ClientID: audience})
//
// It takes the signature algorithms that an ID Token may have, follows the
// provider's key rotation, and fetches keys no more often than this package
// does, however many forged tokens come.
func (c *Client) KeySet() oidc.KeySet { return clientKeySet{c} }

type clientKeySet struct{ client *Client }

// VerifySignature implements [oidc.KeySet].
func (k clientKeySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	m, err := k.client.effectiveMetadata(ctx)
	if err != nil {
		return nil, err
	}
	payload, _, err := k.client.keys.verify(ctx, "token", jwt, k.client.idTokenAlgs(m))
	return payload, err
}
