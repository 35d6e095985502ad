package oidcrp

// This file stands between the rest of the package and a Store: every call is
// bounded in time, every failure is told from "not there", and a Store that
// hangs does not make each request wait for it.

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A Store keeps sessions on the server.
type Store interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Delete(ctx context.Context, key string) error
}

// SharedStore is interim.
type SharedStore interface {
	Store
	Touch(ctx context.Context, key string, ttl time.Duration) error
	Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error)
	GetMany(ctx context.Context, keys []string) ([][]byte, error)
}

// ErrNotFound is what a [Store] returns for a key that it does not hold.
var ErrNotFound = errors.New("oidcrp: not found")

// storage is a Store as this package uses it. Its errors are ErrNotFound and,
// for anything else, an [*Error] with CodeStoreUnavailable.
type storage struct {
	store   Store
	timeout time.Duration
	breaker breaker
}

func newStorage(store Store, timeout time.Duration, now func() time.Time) *storage {
	return &storage{store: store, timeout: timeout, breaker: breaker{now: now}}
}

func (s *storage) do(ctx context.Context, call func(context.Context) error) error {
	probe, ok := s.breaker.admit()
	if !ok {
		return fail("session", CodeStoreUnavailable, errStoreHangs)
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := call(bounded)
	if ctx.Err() == nil { // a caller that went away says nothing about the Store
		s.breaker.settle(probe, err != nil && bounded.Err() != nil)
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		return err
	}
	if gaveUp(ctx) {
		return fail("session", CodeCanceled, err)
	}
	return fail("session", CodeStoreUnavailable, err)
}

// canTouch reports whether touch can do it.
func (s *storage) canTouch() bool {
	_, ok := s.store.(SharedStore)
	return ok
}

func (s *storage) get(ctx context.Context, key string) (value []byte, err error) {
	err = s.do(ctx, func(ctx context.Context) (err error) {
		value, err = s.store.Get(ctx, key)
		return err
	})
	return value, err
}

// getMany returns the values of keys, nil for each that is not there: in one
// round trip if the Store can do that.
func (s *storage) getMany(ctx context.Context, keys []string) (values [][]byte, err error) {
	err = s.do(ctx, func(ctx context.Context) (err error) {
		if many, ok := s.store.(SharedStore); ok {
			values, err = many.GetMany(ctx, keys)
			switch {
			case errors.Is(err, ErrNotFound):
				err = errors.New("GetMany returned ErrNotFound, where it has nil for that")
			case err == nil && len(values) != len(keys):
				err = errors.New("GetMany returned another number of values than it was given keys")
			}
			return err
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

// readsMany reports whether getMany is one round trip.
func (s *storage) readsMany() bool {
	_, ok := s.store.(SharedStore)
	return ok
}

func (s *storage) set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.do(ctx, func(ctx context.Context) error { return s.store.Set(ctx, key, value, ttl) })
}

// touch reports false if the Store cannot do it.
func (s *storage) touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	store, ok := s.store.(SharedStore)
	if !ok {
		return false, nil
	}
	return true, s.do(ctx, func(ctx context.Context) error { return store.Touch(ctx, key, ttl) })
}

// add is AddStore's Add. With a Store that cannot do it in one step, two that
// call at the same moment may both be told that they were first.
func (s *storage) add(ctx context.Context, key string, value []byte, ttl time.Duration) (added bool, err error) {
	err = s.do(ctx, func(ctx context.Context) (err error) {
		if store, ok := s.store.(SharedStore); ok {
			added, err = store.Add(ctx, key, value, ttl)
			return err
		}
		_, err = s.store.Get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			added = true
			return s.store.Set(ctx, key, value, ttl)
		}
		return err
	})
	return added, err
}

func (s *storage) delete(ctx context.Context, key string) error {
	return s.do(ctx, func(ctx context.Context) error { return s.store.Delete(ctx, key) })
}

const (
	// hangsBeforeOpen is after how many calls in a row that took too long a
	// Store counts as hanging, and breakerPause how long it is then left alone.
	hangsBeforeOpen = 3
	breakerPause    = time.Second
)

var errStoreHangs = errors.New("the store does not answer in time; it is asked again in a moment")

// A breaker keeps requests from waiting, one after the other, for a Store that
// hangs: after some that did, it lets one through a second, until one comes
// back in time. Failures that come at once cost nothing and do not count.
type breaker struct {
	now func() time.Time

	mu      sync.Mutex
	hangs   int       // in a row; guarded by mu
	retryAt time.Time // when the next call may try; guarded by mu
}

// admit reports whether a call may go ahead, and whether it is the one that
// finds out if the Store is back.
func (b *breaker) admit() (probe, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hangs < hangsBeforeOpen {
		return false, true
	}
	if now := b.now(); !now.Before(b.retryAt) {
		b.retryAt = now.Add(breakerPause)
		return true, true
	}
	return false, false
}

func (b *breaker) settle(probe, hung bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !hung && (probe || b.hangs < hangsBeforeOpen):
		b.hangs = 0
	case hung:
		if b.hangs++; b.hangs >= hangsBeforeOpen {
			b.retryAt = b.now().Add(breakerPause)
		}
	}
}
