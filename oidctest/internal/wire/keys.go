package wire

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
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// A Key is one signing key and its entry in the JWK Set.
type Key struct {
	KID     string
	Alg     string // the only algorithm it signs with
	Private crypto.Signer
}

// JWK returns the public key as it appears in the JWK Set.
func (k *Key) JWK() map[string]any {
	return PublicJWK(k.Private.Public(), k.KID, k.Alg, "sig")
}

// PEM returns the public key in PEM, the text that an algorithm confusion attack uses
// as an HMAC secret.
func (k *Key) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Private.Public())
	if err != nil {
		panic("oidctest: encoding a public key: " + err.Error())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// PublicJWK returns the members of a public JWK. An empty kid, alg or use is left out.
func PublicJWK(public crypto.PublicKey, kid, alg, use string) map[string]any {
	b, err := json.Marshal(jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: alg, Use: use})
	if err != nil {
		panic("oidctest: encoding a public key: " + err.Error())
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		panic("oidctest: decoding a public key: " + err.Error())
	}
	return members
}

// A KeyRing holds a provider's keys. The provider's mutex guards it.
type KeyRing struct {
	Algs    []string
	Current map[string]*Key // the signing keys by algorithm

	generation int
	published  []*Key // the keys in the JWK Set
	all        []*Key // every key ever used: an id_token_hint may be old
}

// NewKeyRing returns a key ring with one key for each algorithm.
func NewKeyRing(algs []string) (*KeyRing, error) {
	ring := &KeyRing{Algs: algs}
	return ring, ring.Rotate(false)
}

// Rotate creates a new key for every algorithm. If keepOld is set, the JWK Set still
// lists the previous keys.
func (ring *KeyRing) Rotate(keepOld bool) error {
	ring.generation++
	if !keepOld {
		ring.published = nil
	}
	ring.Current = make(map[string]*Key, len(ring.Algs))
	fresh := make([]*Key, 0, len(ring.Algs))
	for _, alg := range ring.Algs {
		private, err := newPrivateKey(alg, ring.generation)
		if err != nil {
			return err
		}
		// Real key ids contain colons too.
		kid := fmt.Sprintf("oidctest:%s:%d", alg, ring.generation)
		k := &Key{KID: kid, Alg: alg, Private: private}
		ring.Current[alg] = k
		fresh = append(fresh, k)
	}
	ring.published = append(fresh, ring.published...)
	ring.all = append(ring.all, fresh...)
	return nil
}

// MustRotate is Rotate for a ring made by NewKeyRing, which accepted the algorithms.
func (ring *KeyRing) MustRotate(keepOld bool) {
	if err := ring.Rotate(keepOld); err != nil {
		panic(err.Error())
	}
}

// ByKID returns the current or earlier key with that key id, or nil.
func (ring *KeyRing) ByKID(kid string) *Key {
	for _, k := range slices.Backward(ring.all) {
		if k.KID == kid {
			return k
		}
	}
	return nil
}

// Other returns a current key of another type than alg's.
func (ring *KeyRing) Other(alg string) *Key {
	if strings.HasPrefix(alg, "ES") {
		return ring.Current["RS256"]
	}
	return ring.Current["ES256"]
}

// JWKS returns the keys of the JWK Set.
func (ring *KeyRing) JWKS() []any {
	keys := make([]any, 0, len(ring.published))
	for _, k := range ring.published {
		keys = append(keys, k.JWK())
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
	return nil, fmt.Errorf("oidctest: unsupported signing algorithm %q", alg)
}

// An rsaKeys shares RSA keys between the providers of one process. Generating one
// takes a tenth of a second or more, and a test suite starts hundreds of providers.
type rsaKeys struct {
	mu   sync.Mutex
	keys map[int]*rsa.PrivateKey // guarded by mu
}

var rsaPool = &rsaKeys{keys: make(map[int]*rsa.PrivateKey)}

// Generations start at 1, so these numbers of the pool belong to no provider.
const (
	strangerRSA = 0  // a key outside every JWK Set
	spareRSA    = -1 // the first of the keys that sign nothing; the others are below it
)

func (pool *rsaKeys) get(n int) (*rsa.PrivateKey, error) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	if private := pool.keys[n]; private != nil {
		return private, nil
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("oidctest: generating an RSA key: %w", err)
	}
	pool.keys[n] = private
	return private, nil
}

func mustKey(alg string, generation int) crypto.Signer {
	private, err := newPrivateKey(alg, generation)
	if err != nil {
		panic(err.Error())
	}
	return private
}

// StrangerKey returns a key for alg that no provider has.
func StrangerKey(alg, kid string) *Key {
	return &Key{KID: kid, Alg: alg, Private: mustKey(alg, strangerRSA)}
}

// SpareKey returns a public key for alg that signs nothing. Different n, from 0, give
// different keys.
func SpareKey(alg string, n int) crypto.PublicKey { return mustKey(alg, spareRSA-n).Public() }

// OddKeys returns the kinds of keys that the JWK Sets of real providers and of the
// conformance suite contain beside the one in use. No token verifies with any of them,
// and a relying party must skip them all (RFC 7517 section 5).
func OddKeys() []any {
	ec := SpareKey("ES256", 0)
	private := PublicJWK(ec, "odd:private", "ES256", "sig")
	private["d"] = RandomString(32)
	return []any{
		PublicJWK(SpareKey("RS256", 0), "odd:rsa:enc", "RSA-OAEP", "enc"),
		PublicJWK(ec, "odd:ec:enc", "ECDH-ES", "enc"),
		PublicJWK(SpareKey("EdDSA", 0), "odd:ed25519", "EdDSA", "sig"),
		map[string]any{"kty": "EC", "crv": "secp256k1", "use": "sig", "kid": "odd:secp256k1",
			"x": RandomString(32), "y": RandomString(32)},
		map[string]any{"kty": "OKP", "crv": "Ed448", "use": "sig", "kid": "odd:ed448",
			"x": RandomString(57)},
		map[string]any{"kty": "oct", "use": "sig", "kid": "odd:oct", "k": RandomString(32)},
		map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "kid": "odd:future", "pub": RandomString(64)},
		private,
		PublicJWK(ec, "", "", "sig"),
	}
}

// RandomString returns n random bytes in base64url.
func RandomString(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}
