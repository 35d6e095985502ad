package oidcrp

// This file holds the keys that seal the cookies, which may change while the app
// runs.

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oidcrp/oidcrp/internal/seal"
)

const (
	// keyAge is how old the keys of a KeySource may be before they are read
	// again, and keyPause how long it is left alone after it was asked.
	keyAge   = time.Minute
	keyPause = time.Second
)

// cookieKeys is the ring of the keys in use.
type cookieKeys struct {
	source  func(context.Context) ([][]byte, error) // nil: the keys stay as they are
	timeout time.Duration                           // of one call of source
	now     func() time.Time
	log     *slog.Logger

	current atomic.Pointer[keysRead]
	mu      sync.Mutex // held while source is asked
	askedAt time.Time  // guarded by mu
	err     error      // why there are no keys yet; guarded by mu
}

// keysRead are the keys that were read at one time.
type keysRead struct {
	ring *seal.Ring
	at   time.Time
}

func newCookieKeys(cfg *Config) (*cookieKeys, error) {
	k := &cookieKeys{source: cfg.KeySource, timeout: cfg.ProviderTimeout, now: cfg.now, log: cfg.Logger}
	if k.source != nil {
		return k, nil
	}
	ring, err := seal.NewRing(cfg.CookieKeys...)
	if err != nil {
		return nil, err
	}
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

// open returns what seal was given. A key that is not known may be one that
// another replica has read already.
func (k *cookieKeys) open(text string, associated []byte) ([]byte, error) {
	ring, err := k.ring()
	if err != nil {
		return nil, err
	}
	plain, err := ring.OpenString(text, associated)
	if k.source == nil || !errors.Is(err, seal.ErrUnknownKey) {
		return plain, err
	}
	k.read()
	return k.current.Load().ring.OpenString(text, associated)
}

// ring returns the keys in use, and has them read again when they are old: only
// the first time does anybody wait for that.
func (k *cookieKeys) ring() (*seal.Ring, error) {
	keys := k.current.Load()
	if keys == nil {
		if err := k.read(); err != nil {
			return nil, fail("session", CodeStoreUnavailable, err)
		}
		return k.current.Load().ring, nil
	}
	if k.source != nil && k.now().Sub(keys.at) >= keyAge && k.mu.TryLock() {
		go func() {
			defer k.mu.Unlock()
			k.readLocked()
		}()
	}
	return keys.ring, nil
}

// read asks source, unless it was asked a moment ago, and returns an error if
// there are no keys even so.
func (k *cookieKeys) read() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.readLocked()
	if k.current.Load() != nil {
		return nil
	}
	return k.err
}

// readLocked is read with mu held. It has a limit of its own in time, since
// others wait for it as well as the request that came first.
func (k *cookieKeys) readLocked() {
	now := k.now()
	if since := now.Sub(k.askedAt); since >= 0 && since < keyPause && !k.askedAt.IsZero() {
		return
	}
	k.askedAt = now
	ctx, cancel := context.WithTimeout(context.Background(), k.timeout)
	defer cancel()
	keys, err := k.source(ctx)
	var ring *seal.Ring
	if err == nil {
		ring, err = seal.NewRing(keys...)
	}
	if err != nil {
		k.err = fmt.Errorf("KeySource: %w", err)
		k.log.WarnContext(ctx, "could not read the cookie keys", "error", err)
		return
	}
	k.current.Store(&keysRead{ring: ring, at: now})
}

// KeyFile returns a [Config.KeySource] that reads keys from a file: 32 bytes each
// as base64, newest first, separated by commas or white space. To rotate them
// without signing anybody out, write a new key behind the others; a minute
// later, when all replicas have read it, move it to the front; and drop the old
// one a [Config.SessionLifetime] later. Put a new file in the old one's place by
// renaming it, so that nobody reads half of one.
func KeyFile(path string) func(context.Context) ([][]byte, error) {
	return func(context.Context) ([][]byte, error) {
		data, err := readFileOf(path)
		if err != nil {
			return nil, fmt.Errorf("the file %w", err)
		}
		return parseKeyFile(data)
	}
}

func parseKeyFile(data []byte) ([][]byte, error) {
	return parseCookieKeys(strings.Join(strings.Fields(string(data)), ","))
}

// parseCookieKeys reads base64 of either alphabet, with padding or without,
// separated by commas.
func parseCookieKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for i, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		item = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSpace(item)), "=")
		key, err := base64.RawStdEncoding.DecodeString(item)
		if err != nil {
			return nil, fmt.Errorf("key %d is not base64", i+1)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
