package oidcrp

// This file holds the keys that seal the cookies, which may change while the app
// runs.

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oidcrp/oidcrp/internal/seal"
)

const (
	// keyAge is the age at which the keys of a KeySource are read again, keyPause
	// the least time between two reads, and keyTimeout the time limit of a read.
	keyAge     = time.Minute
	keyPause   = time.Second
	keyTimeout = 10 * time.Second
)

// A KeySource provides the keys that seal the cookies: 32 random bytes each,
// newest first. The first one seals, all of them open. [Keys] and [KeyFile]
// make the usual ones; a key service needs one of its own.
//
// Keys that can be guessed, such as a text, zeros or another pattern, are refused
// unless BaseURL is on a loopback host, where the log has a warning: whoever has a key can make sessions.
//
// To rotate the keys without signing anybody out, add the new key behind the
// others; when all replicas have it, move it to the front; and remove the old
// one a session lifetime later. One key is good for four billion cookies.
type KeySource interface {
	// CookieKeys returns the keys. It is called when a key is first needed, then
	// about once a minute while requests arrive, and, at most once a second, when
	// a cookie names an unknown key. When it fails, the previous keys stay in
	// use; if there are none yet, what needs a key answers 503. It must honour
	// ctx.
	CookieKeys(ctx context.Context) ([][]byte, error)
}

// Keys returns a KeySource of fixed keys, newest first. [New] refuses a key
// that does not have 32 bytes, and one that can be guessed.
func Keys(keys ...[]byte) KeySource {
	copies := make([][]byte, len(keys))
	for i, key := range keys {
		copies[i] = append([]byte(nil), key...)
	}
	return &fixedKeys{&copies}
}

// fixedKeys is a pointer to a pointer. In a private field fmt does not call Format,
// and follows one pointer where the verb does not suit it, as with %s, but not two.
type fixedKeys struct{ keys *[][]byte }

func (k *fixedKeys) CookieKeys(context.Context) ([][]byte, error) { return *k.keys, nil }

// Format hides the keys, whatever the verb.
func (k *fixedKeys) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Keys(%d hidden)", len(*k.keys)) }

// MarshalJSON hides the keys.
func (k *fixedKeys) MarshalJSON() ([]byte, error) { return []byte(`"hidden"`), nil }

// check returns what is wrong with the keys themselves. public is that of
// [cookieKeys].
func (k *fixedKeys) check(public bool) []error {
	var problems []error
	if len(*k.keys) == 0 {
		problems = append(problems, errors.New("has no key: give at least one of 32 random bytes"))
	}
	for i, key := range *k.keys {
		if len(key) != seal.KeySize {
			problems = append(problems, fmt.Errorf("key %d has %d bytes: a key is %d random bytes", i+1, len(key), seal.KeySize))
		} else if public {
			problems = append(problems, checkGuessable(i, key)...)
		}
	}
	return problems
}

// checkGuessable returns an error if the i-th key can be guessed. It does not show
// the key.
func checkGuessable(i int, key []byte) []error {
	why := guessable(key)
	if why == "" {
		return nil
	}
	return []error{fmt.Errorf("key %d can be guessed, since it %s: make one with openssl rand -base64 32", i+1, why)}
}

// guessable returns in what a key does not look random, "" if it does. Of a billion
// random keys, about one is taken for a text.
func guessable(key []byte) string {
	const (
		minDistinct = 12 // random keys have about 30 different bytes
		maxPeriod   = seal.KeySize / 2
	)
	for period := 1; period <= maxPeriod; period++ {
		if bytes.Equal(key[period:], key[:len(key)-period]) {
			return "repeats a short pattern"
		}
	}
	distinct := make(map[byte]bool)
	counts := true
	for i, b := range key {
		distinct[b] = true
		counts = counts && b-key[0] == byte(i)*(key[1]-key[0])
	}
	switch {
	case counts:
		return "counts up or down"
	case len(distinct) < minDistinct:
		return "has few different bytes"
	case isText(string(key)):
		return "is a text"
	}
	// A text that was put where the base64 belongs. Its last character holds four bits
	// of the key only.
	encoded := base64.RawStdEncoding.EncodeToString(key)[:42]
	if strings.ToLower(encoded) == encoded || strings.ToUpper(encoded) == encoded {
		return "is a text in base64"
	}
	return ""
}

// isText reports whether s holds printable characters and white space only.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) && !unicode.IsSpace(r)
	})
}

// KeyFile returns a KeySource that reads the keys from a file: 32 bytes each as
// base64, newest first, separated by commas or white space. The file is read
// again about once a minute. Replace it by renaming a new file over it, so that
// no half-written file is read. [New] does not read the file; while it is missing,
// what needs a key answers 503.
func KeyFile(path string) KeySource { return keyFile(path) }

type keyFile string

func (f keyFile) CookieKeys(context.Context) ([][]byte, error) {
	data, err := readFile(string(f))
	if err != nil {
		return nil, fmt.Errorf("%s %w", string(f), err)
	}
	keys, err := parseCookieKeys(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", string(f), err)
	}
	return keys, nil
}

// cookieKeys is the ring of the keys in use.
type cookieKeys struct {
	source KeySource // nil: the keys stay as they are
	public bool      // not a loopback host's: keys that can be guessed are refused
	now    func() time.Time
	log    *slog.Logger

	current   atomic.Pointer[keysRead]
	guessable sync.Once     // the warning about keys that can be guessed
	reading   chan struct{} // holds a token while the source is called
	askedAt   time.Time     // when it last was; guarded by reading
	err       error         // why there are no keys yet; guarded by reading
}

// keysRead are the keys that were read at one time.
type keysRead struct {
	ring *seal.Ring
	at   time.Time
}

func newCookieKeys(source KeySource, public bool, now func() time.Time, log *slog.Logger) (*cookieKeys, error) {
	k := &cookieKeys{source: source, public: public, now: now, log: log, reading: make(chan struct{}, 1)}
	fixed, ok := source.(*fixedKeys)
	if !ok {
		return k, nil
	}
	ring, err := seal.NewRing((*fixed.keys)...)
	if err != nil {
		return nil, err
	}
	if err := k.judge(*fixed.keys); err != nil {
		return nil, err
	}
	k.source = nil
	k.current.Store(&keysRead{ring: ring})
	return k, nil
}

// seal returns plain sealed with the newest key.
func (k *cookieKeys) seal(plain, associated []byte) (string, error) {
	ring, err := k.ring()
	if err != nil {
		return "", err
	}
	return ring.SealString(plain, associated), nil
}

// open returns what seal was given.
func (k *cookieKeys) open(text string, associated []byte) ([]byte, error) {
	plain, _, err := k.openBy(text, associated)
	return plain, err
}

// openBy is open, and returns the keys that did it. An unknown key may be one that
// another replica has already read, so it is looked for in the source.
func (k *cookieKeys) openBy(text string, associated []byte) (plain []byte, by *seal.Ring, err error) {
	return k.openWith(func(ring *seal.Ring) ([]byte, error) { return ring.OpenString(text, associated) })
}

func (k *cookieKeys) openWith(open func(*seal.Ring) ([]byte, error)) (plain []byte, by *seal.Ring, err error) {
	if by, err = k.ring(); err != nil {
		return nil, nil, err
	}
	plain, err = open(by)
	if k.source != nil && errors.Is(err, seal.ErrUnknownKey) {
		k.read()
		by = k.current.Load().ring
		plain, err = open(by)
	}
	return plain, by, err
}

// sealUnder is seal with keys that secret is a part of, as bytes.
func (k *cookieKeys) sealUnder(secret string, plain, associated []byte) ([]byte, error) {
	ring, err := k.ring()
	if err != nil {
		return nil, err
	}
	if ring, err = derived(ring, secret); err != nil {
		return nil, err
	}
	return ring.Seal(plain, associated), nil
}

// openUnder returns what sealUnder was given, the keys that opened it, and whether it
// was sealed with the newest.
func (k *cookieKeys) openUnder(
	secret string, sealed, associated []byte,
) (plain []byte, by *seal.Ring, newest bool, err error) {
	plain, by, err = k.openWith(func(ring *seal.Ring) ([]byte, error) {
		ring, err := derived(ring, secret)
		if err != nil {
			return nil, err
		}
		newest = ring.Newest(sealed)
		return ring.Open(sealed, associated)
	})
	return plain, by, newest, err
}

func derived(ring *seal.Ring, secret string) (*seal.Ring, error) {
	ring, err := ring.Derive([]byte(secret), "oidcrp stored session")
	if err != nil {
		return nil, fail("session", CodeInternal, err)
	}
	return ring, nil
}

// ring returns the keys in use. When they are old, it starts a read in the
// background. Callers wait only if there are no keys yet.
func (k *cookieKeys) ring() (*seal.Ring, error) {
	keys := k.current.Load()
	if keys == nil {
		if err := k.read(); err != nil {
			return nil, failf("session", CodeCookieKeysUnavailable, "%w", err)
		}
		return k.current.Load().ring, nil
	}
	if k.source != nil && k.now().Sub(keys.at) >= keyAge {
		select {
		case k.reading <- struct{}{}:
			go k.readInBackground()
		default: // it is being read
		}
	}
	return keys.ring, nil
}

// readInBackground is readLocked for a goroutine of its own, which holds the
// token of reading.
func (k *cookieKeys) readInBackground() {
	defer func() { <-k.reading }()
	defer func() {
		if p := recover(); p != nil { // net/http recovers for a request's goroutine only
			logPanic(k.log, "KeySource", p)
		}
	}()
	k.readLocked()
}

// read calls the source, unless that was done less than keyPause ago, and returns
// an error if there are still no keys.
func (k *cookieKeys) read() error {
	k.reading <- struct{}{}
	defer func() { <-k.reading }()
	k.readLocked()
	if k.current.Load() != nil {
		return nil
	}
	return k.err
}

// readLocked is read with the token of reading held. It has its own time limit and not that of a
// request, since other requests wait for it too.
func (k *cookieKeys) readLocked() {
	now := k.now()
	if since := now.Sub(k.askedAt); since >= 0 && since < keyPause && !k.askedAt.IsZero() {
		return
	}
	// Callers that waited use this result, even if it is an error.
	defer func() { k.askedAt = k.now() }()
	if k.current.Load() == nil {
		k.err = errors.New("KeySource: panicked") // until it has returned
	}
	ctx, cancel := context.WithTimeout(context.Background(), keyTimeout)
	defer cancel()
	ring, err := k.ask(ctx)
	if err != nil {
		k.err = fmt.Errorf("KeySource: %w", err)
		k.log.WarnContext(ctx, "could not read the cookie keys", "error", clean(err.Error(), maxErrorText))
		return
	}
	if old := k.current.Load(); old != nil && old.ring.Equal(ring) {
		ring = old.ring // what it opened stays open
	}
	k.current.Store(&keysRead{ring: ring, at: now})
}

// ask returns the keys that the source has now.
func (k *cookieKeys) ask(ctx context.Context) (*seal.Ring, error) {
	keys, err := k.source.CookieKeys(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := seal.NewRing(keys...)
	if err == nil {
		err = k.judge(keys)
	}
	return ring, err
}

// judge refuses keys that can be guessed. On a loopback host it warns of them once: the
// same configuration does not start elsewhere.
func (k *cookieKeys) judge(keys [][]byte) error {
	var problems []error
	for i, key := range keys {
		problems = append(problems, checkGuessable(i, key)...)
	}
	err := errors.Join(problems...)
	if err == nil || k.public {
		return err
	}
	k.guessable.Do(func() {
		k.log.Warn("cookie keys that can be guessed are for loopback hosts only", "error", clean(err.Error(), maxErrorText))
	})
	return nil
}

// readFile reads a file that a setting names. The error does not repeat its
// name.
func readFile(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	var detail *fs.PathError
	if errors.As(err, &detail) {
		err = detail.Err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return data, nil
}

// parseCookieKeys reads base64 of either alphabet, with padding or without,
// separated by commas or white space.
func parseCookieKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for i, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		item = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(item), "=")
		key, err := base64.RawStdEncoding.DecodeString(item)
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64", i+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
