package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// A key is one signing key with its place in the JWK Set.
type key struct {
	kid     string
	alg     string // the only algorithm it signs with
	private crypto.Signer
}

// jwk returns the public half as it stands in the JWK Set.
func (k *key) jwk() map[string]any {
	return publicJWK(k.private.Public(), k.kid, k.alg, "sig")
}

func publicJWK(public crypto.PublicKey, kid, alg, use string) map[string]any {
	b, err := json.Marshal(jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: alg, Use: use})
	if err != nil {
		panic("oidctest: a key of our own does not encode: " + err.Error())
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		panic("oidctest: a key of our own does not decode: " + err.Error())
	}
	return members
}

// A keyRing holds the keys a provider has, had and publishes. Guarded by Provider.mu.
type keyRing struct {
	algs       []string
	generation int
	current    map[string]*key // by alg; signs
	published  []*key          // stand in the JWK Set
	all        []*key          // every key there ever was: an id_token_hint may be old
}

// rotate makes a new key for every algorithm. With keepOld the JWK Set goes on
// listing the ones before.
func (ring *keyRing) rotate(keepOld bool) error {
	ring.generation++
	if !keepOld {
		ring.published = nil
	}
	ring.current = make(map[string]*key, len(ring.algs))
	fresh := make([]*key, 0, len(ring.algs))
	for _, alg := range ring.algs {
		private, err := newPrivateKey(alg, ring.generation)
		if err != nil {
			return err
		}
		// The colons are there because real key ids hold them.
		kid := fmt.Sprintf("oidctest:%s:%d", alg, ring.generation)
		k := &key{kid: kid, alg: alg, private: private}
		ring.current[alg] = k
		fresh = append(fresh, k)
	}
	ring.published = append(fresh, ring.published...)
	ring.all = append(ring.all, fresh...)
	return nil
}

// byKID returns the key with that kid, current or not, or nil.
func (ring *keyRing) byKID(kid string) *key {
	for _, k := range slices.Backward(ring.all) {
		if k.kid == kid {
			return k
		}
	}
	return nil
}

// other returns a current key of another kind than alg's.
func (ring *keyRing) other(alg string) *key {
	if strings.HasPrefix(alg, "ES") {
		return ring.current["RS256"]
	}
	return ring.current["ES256"]
}

// jwks returns the public keys of the set.
func (ring *keyRing) jwks() []any {
	keys := make([]any, 0, len(ring.published))
	for _, k := range ring.published {
		keys = append(keys, k.jwk())
	}
	return keys
}

func newPrivateKey(alg string, generation int) (crypto.Signer, error) {
	switch {
	case strings.HasPrefix(alg, "RS"), strings.HasPrefix(alg, "PS"):
		return rsaPool.get(generation)
	case alg == "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case alg == "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case alg == "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case alg == "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("oidctest: no key can be made for algorithm %q", alg)
}

// An rsaKeys shares RSA keys between the providers of one process: making one takes
// a tenth of a second or more, and a test suite starts hundreds of providers.
type rsaKeys struct {
	mu   sync.Mutex
	keys map[int]*rsa.PrivateKey // guarded by mu
}

var rsaPool = &rsaKeys{keys: make(map[int]*rsa.PrivateKey)}

// Numbers in the pool below 1 are no generation of any provider.
const (
	strangerRSA = 0  // a key that no JWK Set holds
	spareRSA    = -1 // fills the place of keys that are not to be used
)

func (pool *rsaKeys) get(n int) (*rsa.PrivateKey, error) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if private := pool.keys[n]; private != nil {
		return private, nil
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("oidctest: making an RSA key: %w", err)
	}
	pool.keys[n] = private
	return private, nil
}

// mustKey returns a new key for alg, or one of the pool.
func mustKey(alg string, generation int) crypto.Signer {
	private, err := newPrivateKey(alg, generation)
	if err != nil {
		panic(err.Error())
	}
	return private
}

// stranger returns a key for alg that the provider does not have.
func stranger(alg, kid string) *key {
	return &key{kid: kid, alg: alg, private: mustKey(alg, strangerRSA)}
}

// oddKeys returns what the JWK Sets of real and of conformance providers hold beside
// the key that is needed: none of it verifies a token, and a relying party has to step
// over all of it (RFC 7517 section 5).
func oddKeys() []any {
	rsaKey := mustKey("RS256", spareRSA)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic("oidctest: making an EC key: " + err.Error())
	}
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic("oidctest: making an Ed25519 key: " + err.Error())
	}
	private := publicJWK(ecKey.Public(), "odd:private", "ES256", "sig")
	private["d"] = randomString(32)
	return []any{
		publicJWK(rsaKey.Public(), "odd:rsa:enc", "RSA-OAEP", "enc"),
		publicJWK(ecKey.Public(), "odd:ec:enc", "ECDH-ES", "enc"),
		publicJWK(edKey, "odd:ed25519", "EdDSA", "sig"),
		map[string]any{"kty": "EC", "crv": "secp256k1", "use": "sig", "kid": "odd:secp256k1",
			"x": randomString(32), "y": randomString(32)},
		map[string]any{"kty": "OKP", "crv": "Ed448", "use": "sig", "kid": "odd:ed448",
			"x": randomString(57)},
		map[string]any{"kty": "oct", "use": "sig", "kid": "odd:oct", "k": randomString(32)},
		map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "kid": "odd:future", "pub": randomString(64)},
		private,
		publicJWK(ecKey.Public(), "", "", "sig"),
	}
}

// randomString returns n random bytes in base64url.
func randomString(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

// oddCharacters are those that every encoding on the way has to cope with.
const oddCharacters = " \"#%&'+/<=>?\\^`{|}~"

// randomValue returns a random string of n bytes, and with Config.OddValues one that
// ends in five odd characters.
func (p *Provider) randomValue(n int) string {
	value := randomString(n)
	if p.cfg.OddValues {
		b := make([]byte, 5)
		rand.Read(b)
		for _, c := range b {
			value += string(oddCharacters[int(c)%len(oddCharacters)])
		}
	}
	return value
}

// publicPEM returns the key as the PEM text that an algorithm-confusion attack takes
// for an HMAC secret.
func publicPEM(public crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic("oidctest: a key of our own does not encode: " + err.Error())
	}
	return pemEncode("PUBLIC KEY", der)
}
