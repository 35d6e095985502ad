package oidcrp

// This file defines what a Store promises, and stands between a Store and the rest
// of the package: it bounds every call in time, tells an outage from a key that
// does not exist, and does not let every request wait for a Store that hangs.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrNotFound is what a [Store] returns for a key that it does not hold.
var ErrNotFound = errors.New("oidcrp: not found")

// A Store keeps sessions on the server. A key is the hash of a secret that only the
// browser holds, and the value is sealed with that secret and the cookie keys: reading
// a Store reveals nothing about the people in it and does not let the reader sign in as
// any of them, and writing to it makes no session.
//
// Keys are at most 43 characters of A-Z, a-z, 0-9, "-", "_" and ".", and are
// case-sensitive. The first 12 characters are a hash of the issuer, 11 characters, and
// ".": all entries of the Clients of one issuer begin with them, and no others. A value
// is about 1 KiB of binary data, and at most 256 KiB and 64 bytes.
//
// An implementation must be safe for concurrent use, and what one replica has
// written must be visible to every other at once: a person whose session is not
// found is not signed in. It must return when ctx ends, or a slow Store holds up the
// app. Any error other than [ErrNotFound] counts as an outage; protected pages then
// answer 503, and nobody is signed out.
//
// Package storetest tests an implementation. One that several replicas share should
// be a [SharedStore].
type Store interface {
	// Get returns the value of key, which neither the caller nor the Store modifies. For a key that
	// was never set, was deleted or has expired it returns an error that matches
	// [ErrNotFound] with [errors.Is].
	Get(ctx context.Context, key string) ([]byte, error)
	// Set stores value under key and replaces any earlier value and expiry. The entry
	// expires after ttl: not before, and at most a few seconds later. Set must copy
	// value if it keeps it in memory.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Delete removes key. It returns nil if key does not exist.
	Delete(ctx context.Context, key string) error
}

// A SharedStore is a [Store] for apps that run as several replicas. They can use a
// plain Store too, with these weaknesses:
//
//   - Without Touch, a session in use is extended by writing its value again, so of
//     two requests that change the session at the same moment one may be lost.
//   - Without Add, two replicas that refresh the tokens of one session at the same
//     moment may both ask the provider. If it issues a new refresh token each time,
//     it may take the second request for theft and end the session. Two replicas
//     that receive the same Logout Token at the same moment may both accept it.
//   - Without GetMany, a session and the logouts that could have ended it take a
//     round trip each.
type SharedStore interface {
	Store
	// Touch makes key expire after ttl from now and leaves its value. It returns nil
	// if key does not exist.
	Touch(ctx context.Context, key string, ttl time.Duration) error
	// Add stores value under key for ttl and returns true, in one step that no other
	// call can interrupt. If key exists, Add changes nothing and returns false.
	//
	// A Store that retries after a lost response may find its own value. It then
	// returns true: callers never add the same value twice, unless both mean the same.
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error)
	// GetMany returns the values of keys in their order, nil for a key that does not
	// exist, in one round trip if possible. An empty value is not nil.
	GetMany(ctx context.Context, keys []string) ([][]byte, error)
}

// storage is a Store as the rest of the package uses it. Its errors are
// ErrNotFound and, for every other failure, an [*Error]: with CodeCanceled if the
// caller gave up, with CodeStoreUnavailable otherwise.
type storage struct {
	store   Store
	shared  SharedStore // store, if it is one; else nil
	space   string      // how all keys begin; see inSpaceOf
	timeout time.Duration
	instant bool // no call waits for anything
	breaker breaker
}

func newStorage(store Store, timeout time.Duration, now func() time.Time) *storage {
	shared, _ := store.(SharedStore)
	_, instant := store.(*memoryStore)
	return &storage{store: store, shared: shared, timeout: timeout, instant: instant, breaker: breaker{now: now}}
}

// inSpaceOf makes all keys of s begin with a hash of issuer, so that a Store can tell
// the entries of several issuers apart. It must be called before s is used.
func (s *storage) inSpaceOf(issuer string) *storage {
	sum := sha256.Sum256([]byte("oidcrp issuer\x00" + issuer))
	s.space = base64.RawURLEncoding.EncodeToString(sum[:8]) + "."
	return s
}

// keys returns keys as the Store has them. They are parts of one string: a request of
// a signed-in person asks for four.
func (s *storage) keys(keys []string) []string {
	size := len(keys) * len(s.space)
	for _, key := range keys {
		size += len(key)
	}
	text := make([]byte, 0, size)
	for _, key := range keys {
		text = append(append(text, s.space...), key...)
	}
	all, stored := string(text), make([]string, len(keys))
	for i, key := range keys {
		end := len(s.space) + len(key)
		stored[i], all = all[:end], all[end:]
	}
	return stored
}

func (s *storage) do(ctx context.Context, call func(context.Context) error) error {
	if s.instant {
		return call(ctx) // which returns nil or ErrNotFound
	}
	turn, ok := s.breaker.admit()
	if !ok {
		return fail("session", CodeStoreUnavailable, errStoreHangs)
	}
	watched := ctx
	if turn.probe {
		// The next one is a breakerPause away, so it must not end with the request
		// that happened to make it: somebody could cancel every one.
		watched = context.WithoutCancel(ctx)
	}
	bounded, cancel := context.WithTimeout(watched, s.timeout)
	defer cancel()
	err := call(bounded)
	if watched.Err() == nil { // a caller that has gone away says nothing about the Store
		s.breaker.settle(turn, err != nil && bounded.Err() != nil)
	}
	switch {
	case err == nil || errors.Is(err, ErrNotFound):
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return fail("session", CodeCanceled, err)
	}
	return fail("session", CodeStoreUnavailable, err)
}

func (s *storage) get(ctx context.Context, key string) (value []byte, err error) {
	key = s.space + key
	err = s.do(ctx, func(ctx context.Context) (err error) {
		value, err = s.store.Get(ctx, key)
		return err
	})
	return value, err
}

// getMany returns the values of keys, nil for each that does not exist. With a plain
// Store it makes one call for each key, within the time limit of one.
func (s *storage) getMany(ctx context.Context, keys []string) (values [][]byte, err error) {
	keys = s.keys(keys)
	err = s.do(ctx, func(ctx context.Context) (err error) {
		if s.shared != nil {
			values, err = s.shared.GetMany(ctx, keys)
			return checkMany(keys, values, err)
		}
		values = make([][]byte, len(keys))
		for i, key := range keys {
			if values[i], err = s.store.Get(ctx, key); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
	return values, err
}

// checkMany returns the error of a GetMany that returned values and err for keys. An
// implementation's mistake must not look like keys that do not exist.
func checkMany(keys []string, values [][]byte, err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return errors.New("GetMany returned ErrNotFound, but must return nil values for keys that do not exist")
	case err == nil && len(values) != len(keys):
		return fmt.Errorf("GetMany returned %d values for %d keys", len(values), len(keys))
	}
	return err
}

// readsMany reports whether getMany is one round trip.
func (s *storage) readsMany() bool { return s.shared != nil }

func (s *storage) set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	key = s.space + key
	return s.do(ctx, func(ctx context.Context) error { return s.store.Set(ctx, key, value, ttl) })
}

// canTouch reports whether touch does anything.
func (s *storage) canTouch() bool { return s.shared != nil }

// touch is Touch of a SharedStore. It reports false if the Store is not one.
func (s *storage) touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if s.shared == nil {
		return false, nil
	}
	key = s.space + key
	return true, s.do(ctx, func(ctx context.Context) error { return s.shared.Touch(ctx, key, ttl) })
}

// add is Add of a SharedStore. With a plain Store, two calls at the same moment may
// both return true.
func (s *storage) add(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	key = s.space + key
	err = s.do(ctx, func(ctx context.Context) (err error) {
		if s.shared != nil {
			added, err = s.shared.Add(ctx, key, value, ttl)
			return err
		}
		_, err = s.store.Get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			err = s.store.Set(ctx, key, value, ttl)
			added = err == nil
		}
		return err
	})
	return added, err
}

func (s *storage) delete(ctx context.Context, key string) error {
	key = s.space + key
	return s.do(ctx, func(ctx context.Context) error { return s.store.Delete(ctx, key) })
}

const (
	// hangsBeforeOpen is the number of consecutive calls that must time out before
	// the breaker opens, and breakerPause the time between the calls that it then
	// lets through.
	hangsBeforeOpen = 3
	breakerPause    = time.Second
)

var errStoreHangs = errors.New("the store does not answer in time; it will be tried again in a moment")

// A breaker keeps requests from waiting, one after the other, for a Store that
// hangs: it opens after some timeouts in a row and then lets one call through per
// breakerPause, a probe, until one returns in time. An error that comes at once costs
// nothing and does not count; a panic does not count either.
type breaker struct {
	now func() time.Time

	mu      sync.Mutex
	hangs   int       // in a row; guarded by mu
	retryAt time.Time // when the next call may try; guarded by mu
	changes int       // how often it opened or closed; guarded by mu
}

// A breakerTurn is the leave to make one call. Pass it to settle.
type breakerTurn struct {
	probe   bool // finds out whether the Store is back
	changes int  // of the breaker, before the call
}

// admit reports whether a call may go ahead.
func (b *breaker) admit() (breakerTurn, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hangs < hangsBeforeOpen {
		return breakerTurn{changes: b.changes}, true
	}
	now := b.now()
	if wait := b.retryAt.Sub(now); wait > 0 && wait <= breakerPause { // longer: the clock was set back
		return breakerTurn{}, false
	}
	b.retryAt = now.Add(breakerPause)
	return breakerTurn{probe: true, changes: b.changes}, true
}

// settle records how a call ended, unless the breaker has opened or closed since it
// began: a late answer says nothing about the Store of now.
func (b *breaker) settle(turn breakerTurn, hung bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case turn.changes != b.changes:
	case !hung:
		if turn.probe {
			b.changes++
		}
		b.hangs = 0
	case turn.probe:
		b.retryAt = b.now().Add(breakerPause)
	default:
		if b.hangs++; b.hangs >= hangsBeforeOpen {
			b.changes++
			b.retryAt = b.now().Add(breakerPause)
		}
	}
}
