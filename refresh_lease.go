package oidcrp

// This file lets one replica at a time refresh a session's tokens: a provider
// that rotates refresh tokens takes the second use of an old one for theft, and
// revokes all of them.

import (
	"bytes"
	"context"
	"log/slog"
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
		newer, err := f.updated(ctx, k)
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

// holdLease renews the lease that began at since until release is called, which
// deletes it.
func (f *refresher) holdLease(
	ctx context.Context, key string, owner []byte, length time.Duration, since time.Time,
) (release func()) {
	l := &heldLease{store: f.shared, log: f.log, key: key, owner: owner, length: length, renewed: since}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.keep(ctx)
	}()
	return func() {
		stop()
		<-done
		l.release(context.WithoutCancel(ctx))
	}
}

// A heldLease is a lease that this replica took.
type heldLease struct {
	store   *storage
	log     *slog.Logger
	key     string
	owner   []byte // the lease's value: random, so that it tells the replicas apart
	length  time.Duration
	renewed time.Time // when it was last taken or renewed; used by keep, and then by release
}

// ours reports whether the lease is certainly still ours: a Store that was emptied
// or unreachable may have given it to another replica.
func (l *heldLease) ours(ctx context.Context) bool {
	value, err := l.store.get(ctx, l.key)
	return err == nil && bytes.Equal(value, l.owner) && time.Since(l.renewed) < l.length/2
}

// keep renews the lease until ctx ends or the lease is lost.
func (l *heldLease) keep(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil { // in the Store; net/http recovers for a request's goroutine only
			logPanic(l.log, "the Store, while a lease was renewed", p)
		}
	}()
	for {
		select {
		case <-time.After(l.length / 3):
		case <-ctx.Done():
			return
		}
		if !l.ours(ctx) {
			return
		}
		asked := time.Now()
		if ok, err := l.store.touch(ctx, l.key, l.length); ok && err == nil {
			l.renewed = asked
		}
	}
}

func (l *heldLease) release(ctx context.Context) {
	if l.ours(ctx) {
		_ = l.store.delete(ctx, l.key) // otherwise it ends by itself
	}
}
