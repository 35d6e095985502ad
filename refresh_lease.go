package oidcrp

// This file lets one replica at a time refresh a session's tokens, and hands the
// result to the others: a provider that gives a new refresh token each time takes
// the second use of an old one for theft, and ends the session.

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/oidcrp/oidcrp/internal/once"
)

const (
	// refreshLease is how long a replica that dies in the middle keeps the others
	// from refreshing. One that lives renews its lease before that.
	refreshLease = 10 * time.Second
	// refreshPoll is how often a replica looks for what another one is making.
	refreshPoll = 50 * time.Millisecond
)

// leaseRefresh waits until nobody else refreshes s. If somebody else has done so
// by then, newer is what came of it; release must be called otherwise as well,
// and may be.
func (c *Client) leaseRefresh(ctx context.Context, s *Session, handle string) (release func(), newer *Session, err error) {
	key := refreshKey(s).String()
	owner := []byte(randomText())
	length := refreshLease
	if _, ok := c.store.store.(TouchStore); !ok {
		length = c.refreshTime() // it cannot be renewed
	}
	for {
		asked := time.Now()
		leased, err := c.store.add(ctx, key, owner, length)
		if err != nil {
			return nil, nil, err
		}
		release := func() {}
		if leased {
			release = c.holdLease(ctx, key, owner, length, asked)
		}
		newer, err := c.newerSession(ctx, s, handle)
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

// holdLease renews the lease that began at since until the function it returns
// is called, which gives it back if it is surely still ours: a Store that was
// emptied or away for long may have given it to somebody else.
func (c *Client) holdLease(ctx context.Context, key string, owner []byte, length time.Duration, since time.Time) (release func()) {
	ours := func(ctx context.Context, since time.Time) bool {
		value, err := c.store.get(ctx, key)
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
				c.cfg.Logger.Error("panic while a lease was renewed", "panic", p)
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
			if ok, err := c.store.touch(ctx, key, length); ok && err == nil {
				renewed.Store(&asked)
			}
		}
	}()
	return func() {
		stop()
		<-done
		if ctx := context.WithoutCancel(ctx); ours(ctx, *renewed.Load()) {
			_ = c.store.delete(ctx, key) // otherwise it ends by itself
		}
	}
}

// newerSession returns what another replica has made of s; nil if nothing.
func (c *Client) newerSession(ctx context.Context, s *Session, handle string) (*Session, error) {
	if !c.stored() {
		return c.handedOver(ctx, s)
	}
	current, err := c.getStored(ctx, handle)
	switch {
	case err != nil:
		return nil, err
	case current == nil || current.id != s.id || current.tokens == nil:
		return nil, failf("session", CodeNoSession, "ended in the meantime")
	case refreshKey(current) == refreshKey(s):
		return nil, nil
	}
	return current, nil
}

// keepRefreshed puts away what a refresh made of s: in the Store, or where the
// other replicas look for it before they refresh s themselves.
func (c *Client) keepRefreshed(ctx context.Context, s, next *Session, handle string) error {
	switch {
	case c.stored():
		return c.replaceStored(ctx, next, handle)
	case c.cfg.Store == nil:
		return nil
	}
	name := handoverName(s)
	sealed, err := c.ring.seal(next.marshal(), c.associated(name))
	if err != nil {
		return err
	}
	// The answer to an earlier request may still set the old cookie once more.
	keep := max(once.Memory, next.tokens.Expiry.Sub(c.now()))
	return c.store.set(ctx, name, []byte(sealed), min(keep, c.cfg.SessionLifetime))
}

// handedOver returns what keepRefreshed put away for s; nil if nothing.
func (c *Client) handedOver(ctx context.Context, s *Session) (*Session, error) {
	name := handoverName(s)
	sealed, err := c.store.get(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	plain, err := c.ring.open(string(sealed), c.associated(name))
	if err != nil {
		c.events.sessionRefused(ctx, err.Error())
		return nil, nil
	}
	next, err := c.unmarshalSession(plain)
	if err != nil || next.id != s.id || next.tokens == nil {
		return nil, nil
	}
	return next, nil
}

func handoverName(s *Session) string {
	return newMarkKey("refreshed", s.id, refreshKey(s).String()).String()
}
