// Package seal encrypts and authenticates small values that this program hands out
// and later gets back: cookies, transactions, stored sessions.
//
// A sealed value is
//
//	version (1 byte, 0x01) | key id (4 bytes) | nonce (12 bytes) | AES-256-GCM ciphertext and tag
//
// and, as text, the base64url form of that without padding. The associated data
// binds a value to its purpose. It is not stored, and a value opens only with the
// same associated data.
//
// The nonce is random, so one key should seal fewer than 2^32 values (NIST SP
// 800-38D section 8.3): at a thousand a second, a new key every month.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

const (
	version    = 1
	keyIDSize  = 4
	headerSize = 1 + keyIDSize
)

// Errors of Open. They are for the log: the sender of a value must not see a
// difference between them.
var (
	ErrFormat     = errors.New("not a sealed value")
	ErrVersion    = errors.New("sealed in an unknown format version")
	ErrUnknownKey = errors.New("sealed with an unknown key")
	ErrTampered   = errors.New("altered, or sealed for another purpose")
)

// strictText refuses a second spelling of a value.
var strictText = base64.RawURLEncoding.Strict()

// A Ring seals with its first key and opens with any. It is safe for
// concurrent use.
type Ring struct {
	keys []key
}

type key struct {
	id     [keyIDSize]byte
	aead   cipher.AEAD
	secret []byte
}

// NewRing makes a Ring of keys, newest first, KeySize bytes each.
func NewRing(keys ...[]byte) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key")
	}
	r := &Ring{keys: make([]key, len(keys))}
	for i, k := range keys {
		if len(k) != KeySize {
			return nil, fmt.Errorf("key %d has %d bytes, not %d", i, len(k), KeySize)
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		// The id is a hash: it distinguishes the keys of a ring and reveals nothing.
		sum := sha256.Sum256(append([]byte("oidcrp key id\x00"), k...))
		r.keys[i] = key{id: [keyIDSize]byte(sum[:keyIDSize]), aead: aead, secret: slices.Clone(k)}
	}
	return r, nil
}

// Equal reports whether r and other have the same keys in the same order.
func (r *Ring) Equal(other *Ring) bool {
	return slices.EqualFunc(r.keys, other.keys, func(a, b key) bool {
		return subtle.ConstantTimeCompare(a.secret, b.secret) == 1
	})
}

// Seal returns plaintext sealed with the newest key.
func (r *Ring) Seal(plaintext, associated []byte) []byte {
	k := &r.keys[0]
	out := make([]byte, headerSize, headerSize+len(plaintext)+k.aead.Overhead())
	out[0] = version
	copy(out[1:], k.id[:])
	return k.aead.Seal(out, nil, plaintext, associated)
}

// Open returns what Seal was given.
func (r *Ring) Open(sealed, associated []byte) ([]byte, error) {
	if len(sealed) < headerSize {
		return nil, ErrFormat
	}
	if sealed[0] != version {
		return nil, ErrVersion
	}
	err := ErrUnknownKey
	for i := range r.keys {
		k := &r.keys[i]
		// Two keys may have the same id by chance, so try all of them.
		if [keyIDSize]byte(sealed[1:headerSize]) != k.id {
			continue
		}
		body := sealed[headerSize:]
		plaintext, openErr := k.aead.Open(nil, nil, body, associated)
		if openErr == nil {
			return plaintext, nil
		}
		err = ErrTampered
	}
	return nil, err
}

// Newest reports whether sealed, which Open has opened, was sealed with the newest key.
func (r *Ring) Newest(sealed []byte) bool {
	return len(sealed) >= headerSize && [keyIDSize]byte(sealed[1:headerSize]) == r.keys[0].id
}

// SealString is Seal as base64url text.
func (r *Ring) SealString(plaintext, associated []byte) string {
	return base64.RawURLEncoding.EncodeToString(r.Seal(plaintext, associated))
}

// StringSize returns how long the text of SealString is for a plaintext of size
// bytes.
func StringSize(size int) int {
	const overhead = 12 + 16 // the nonce and the tag of AES-GCM
	return base64.RawURLEncoding.EncodedLen(headerSize + size + overhead)
}

// OpenString opens what SealString returned.
func (r *Ring) OpenString(text string, associated []byte) ([]byte, error) {
	sealed, err := strictText.DecodeString(text)
	// The decoder ignores line ends, which would give a value a second spelling.
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, ErrFormat
	}
	return r.Open(sealed, associated)
}

// Derive returns a Ring whose keys are made by HKDF-SHA-256 (RFC 5869) from those of r,
// and from secret, for the purpose named by label. Who does not know both can neither
// open nor seal.
func (r *Ring) Derive(secret []byte, label string) (*Ring, error) {
	derived := make([][]byte, len(r.keys))
	for i, k := range r.keys {
		var err error
		if derived[i], err = hkdf.Key(sha256.New, slices.Concat(k.secret, secret), nil, label, KeySize); err != nil {
			return nil, err
		}
	}
	return NewRing(derived...)
}
