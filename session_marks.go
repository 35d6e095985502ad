package oidcrp

// This file ends sessions from outside: a mark says that every session of a
// provider's session, or of a person, that began before it is over. Marks work
// for sealed cookies too, which nobody can delete from a browser.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A markKey is the hash of what a mark is about. A session carries its own two,
// so that looking for marks takes no decoding.
type markKey [16]byte

// sessionMark is the key of a session of the provider, subjectMark that of a
// person's sessions.
func sessionMark(issuer, sid string) markKey { return newMarkKey("sid", issuer, sid) }
func subjectMark(issuer, sub string) markKey { return newMarkKey("sub", issuer, sub) }

// namelessMark is the key of a person's sessions whose ID Token had no sid: the
// end of any one of them may be the end of these.
func namelessMark(issuer, sub string) markKey { return newMarkKey("sub without sid", issuer, sub) }

func newMarkKey(kind, issuer, value string) markKey {
	sum := sha256.Sum256([]byte("oidcrp mark\x00" + kind + "\x00" + issuer + "\x00" + value))
	return markKey(sum[:16])
}

func (k markKey) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

// marks keeps the marks and the Logout Tokens seen: in the Store, where all
// replicas find them, else in memory.
type marks struct {
	store Store
	now   func() time.Time
	local bool        // store is this process's own
	used  atomic.Bool // a mark has been set in it
}

func newMarks(store Store, now func() time.Time) *marks {
	if store == nil {
		return &marks{store: &MemoryStore{now: now}, now: now, local: true}
	}
	return &marks{store: store, now: now}
}

// set marks key: every session of it that began before now is over. The mark
// stays for ttl, the longest that such a session can last.
func (m *marks) set(ctx context.Context, key markKey, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	value := binary.BigEndian.AppendUint64(nil, uint64(m.now().UnixMilli()))
	if err := m.store.Set(ctx, key.String(), value, ttl); err != nil {
		return fail("session", CodeStoreUnavailable, err)
	}
	m.used.Store(true)
	return nil
}

// after reports whether one of keys was marked when or after a session began.
func (m *marks) after(ctx context.Context, began time.Time, keys ...markKey) (bool, error) {
	if m.local && !m.used.Load() {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for _, key := range keys {
		if key == (markKey{}) {
			continue
		}
		value, err := m.store.Get(ctx, key.String())
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return false, fail("session", CodeStoreUnavailable, err)
		case len(value) == 8 && began.UnixMilli() <= int64(binary.BigEndian.Uint64(value)):
			// A value of another form counts for nothing: taken for a mark, it
			// would end each new login too, and send the person round and round.
			return true, nil
		}
	}
	return false, nil
}

// first reports whether the token named by issuer and jti has not been seen
// within ttl, and takes note of it.
func (m *marks) first(ctx context.Context, issuer, jti string, ttl time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	key := newMarkKey("jti", issuer, jti).String()
	if store, ok := m.store.(AddStore); ok {
		added, err := store.Add(ctx, key, []byte{1}, ttl)
		if err != nil {
			return false, fail("session", CodeStoreUnavailable, err)
		}
		return added, nil
	}
	_, err := m.store.Get(ctx, key)
	if err == nil {
		return false, nil
	}
	if errors.Is(err, ErrNotFound) {
		err = m.store.Set(ctx, key, []byte{1}, ttl)
	}
	if err != nil {
		return false, fail("session", CodeStoreUnavailable, err)
	}
	return true, nil
}

// forget takes back what first noted, so that the provider can try again.
func (m *marks) forget(ctx context.Context, issuer, jti string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	_ = m.store.Delete(ctx, newMarkKey("jti", issuer, jti).String())
}

// endedCookies are the ids of sessions in cookies that were logged out. Their
// cookies are deleted, but the answer to an earlier request that is still on its
// way may set them once more. The zero value is empty.
type endedCookies struct {
	mu      sync.RWMutex
	ids     map[string]time.Time // until when the session could last; guarded by mu
	sweepAt int                  // guarded by mu
}

func (e *endedCookies) add(id string, until, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids == nil {
		e.ids, e.sweepAt = make(map[string]time.Time), minSweep
	}
	e.ids[id] = until
	if len(e.ids) >= e.sweepAt {
		maps.DeleteFunc(e.ids, func(_ string, until time.Time) bool { return !now.Before(until) })
		e.sweepAt = max(minSweep, 2*len(e.ids))
	}
}

func (e *endedCookies) has(id string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, ok := e.ids[id]
	return ok
}

// endCookie takes note that the session in r's cookies is over, unless next is of
// the same person. With a Store there is no need: the entry is deleted.
func (c *Client) endCookie(r *http.Request, next *Session) {
	if c.cfg.Store != nil {
		return
	}
	s, err := c.loadCookie(r)
	if err != nil || s == nil || c.ended(s, c.now()) != "" || next != nil && s.marks[0] == next.marks[0] {
		return
	}
	c.loggedOut.add(s.id, s.ExpiresAt(), c.now())
}
