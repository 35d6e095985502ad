package oidcrp

// This file lets one replica at a time refresh a session's tokens: a provider
// that rotates refresh tokens takes the second use of an old one for theft, and
// revokes all of them.

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"
)

const (
	// refreshLease is how long a replica that dies during a refresh blocks the
	// others. A replica that lives renews its lease before that.
	refreshLease = 10 * time.Second
	// refreshPoll is how often a replica looks for the result of another one.
	refreshPoll = 50 * time.Millisecond
)

// lease waits until no other replica refreshes k. If another replica has done so
// meanwhile, newer is its result. Unless there is an error, the caller must call
// release.
func (f *refresher) lease(ctx context.Context, k kept) (release func(), newer *Session, err error) {
	key := tokenKey(k.session).String()
	owner := []byte(randomText())
	length := refreshLease
	if !f.shared.canTouch() {
		length = f.timeout // it cannot be renewed
	}
	for {
		asked := time.Now()
		leased, err := f.shared.add(ctx, key, owner, length)
		if err != nil {
			return nil, nil, err
		}
		release := func() {}
		if leased {
			release = f.holdLease(ctx, key, owner, length, asked)
		}
		newer, err := f.sessions.keeper.updated(ctx, k)
		if err != nil {
			release()
			return nil, nil, err
		}
		if leased || newer != nil {
			return release, newer, nil
		}
		select {
		case <-time.After(refreshPoll):
		case <-ctx.Done():
			return nil, nil, failf("refresh", CodeStoreUnavailable, "another replica holds the lease: %w", ctx.Err())
		}
	}
}

// holdLease renews the lease that began at since until release is called. release
// deletes the lease if it is certainly still ours: a Store that was emptied or
// unreachable may have given it to another replica.
func (f *refresher) holdLease(ctx context.Context, key string, owner []byte, length time.Duration, since time.Time) (release func()) {
	ours := func(ctx context.Context, since time.Time) bool {
		value, err := f.shared.get(ctx, key)
		return err == nil && bytes.Equal(value, owner) && time.Since(since) < length/2
	}
	var renewed atomic.Pointer[time.Time]
	renewed.Store(&since)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil { // in the Store; net/http recovers for a request's goroutine only
				f.log.Error("panic while a lease was renewed", "panic", p)
			}
		}()
		for {
			select {
			case <-time.After(length / 3):
			case <-ctx.Done():
				return
			}
			if !ours(ctx, *renewed.Load()) {
				return
			}
			asked := time.Now()
			if ok, err := f.shared.touch(ctx, key, length); ok && err == nil {
				renewed.Store(&asked)
			}
		}
	}()
	return func() {
		stop()
		<-done
		if ctx := context.WithoutCancel(ctx); ours(ctx, *renewed.Load()) {
			_ = f.shared.delete(ctx, key) // otherwise it ends by itself
		}
	}
}
