package oidcrp

// This file lets one replica at a time refresh a session's tokens, and hands the
// result to the others: a provider that gives a new refresh token each time takes
// the second use of an old one for theft, and ends the session.

import (
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
			release = c.holdLease(ctx, key, length, asked)
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
			return nil, nil, fail("refresh", CodeProviderUnavailable, ctx.Err())
		}
	}
}

// holdLease renews the lease that began at since until the function it returns
// is called, which gives it back if it is surely still ours.
func (c *Client) holdLease(ctx context.Context, key string, length time.Duration, since time.Time) (release func()) {
	var renewed atomic.Pointer[time.Time]
	renewed.Store(&since)
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-time.After(length / 3):
			case <-ctx.Done():
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
		if time.Since(*renewed.Load()) < length/2 {
			// Otherwise it ends by itself.
			_ = c.store.delete(context.WithoutCancel(ctx), key)
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
	return c.store.set(ctx, name, []byte(sealed), once.Memory)
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
