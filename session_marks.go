package oidcrp

// This file ends sessions from outside: a mark says that every session of a
// provider's session, or of a person, that began before it is over. Marks work
// for sealed cookies too, which nobody can delete from a browser.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
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
	store  *storage
	now    func() time.Time
	local  bool        // store is this process's own
	used   atomic.Bool // a mark has been set in it
	recent recently
}

func newMarks(store *storage, local bool, now func() time.Time, delay time.Duration) *marks {
	return &marks{store: store, now: now, local: local, recent: recently{delay: delay}}
}

// set marks key: every session of it that began before now is over. The mark
// stays for ttl, the longest that such a session can last.
func (m *marks) set(ctx context.Context, key markKey, ttl time.Duration) error {
	value := binary.BigEndian.AppendUint64(nil, uint64(m.now().UnixMilli()))
	if err := m.store.set(ctx, key.String(), value, ttl); err != nil {
		return err
	}
	m.used.Store(true)
	m.recent.forget()
	return nil
}

// idle reports whether there can be no mark at all.
func (m *marks) idle() bool { return m.local && !m.used.Load() }

// due returns the keys of the marks to look up for a session, nil when it was
// found without a mark a moment ago.
func (m *marks) due(keys sessionMarks) []string {
	if m.idle() || m.recent.has(keys.session(), m.now()) {
		return nil
	}
	return keys.names()
}

// over reports whether a logout has ended s.
func (m *marks) over(ctx context.Context, s *Session) (bool, error) {
	keys := m.due(s.markKeys())
	if keys == nil {
		return false, nil
	}
	turn := m.recent.turn()
	values, err := m.store.getMany(ctx, keys)
	if err != nil {
		return false, err
	}
	return m.judge(s, values, turn), nil
}

// judge reports whether one of values, the marks about s, ends it. If none does,
// they are not looked up again for a moment.
func (m *marks) judge(s *Session, values [][]byte, turn uint64) bool {
	for _, value := range values {
		// A value of another form counts for nothing: taken for a mark, it
		// would end each new login too, and send the person round and round.
		if len(value) == 8 && s.created.UnixMilli() <= int64(binary.BigEndian.Uint64(value)) {
			return true
		}
	}
	m.recent.add(s.markKeys().session(), m.now(), turn)
	return false
}

// first reports whether the token named by issuer and jti has not been seen
// within ttl, and takes note of it.
func (m *marks) first(ctx context.Context, issuer, jti string, ttl time.Duration) (bool, error) {
	return m.store.add(ctx, newMarkKey("jti", issuer, jti).String(), []byte(randomText()), ttl)
}

// forget takes back what first noted, so that the provider can try again.
func (m *marks) forget(ctx context.Context, issuer, jti string) {
	_ = m.store.delete(context.WithoutCancel(ctx), newMarkKey("jti", issuer, jti).String())
}

// sessionMarks are the keys of all marks that can end one session: those about
// its person, about the provider's session, and about itself.
type sessionMarks [3]markKey

func (s *Session) markKeys() sessionMarks {
	keys := sessionMarks{s.marks[0], s.marks[1]}
	copy(keys[2][:], s.id)
	return keys
}

func (k sessionMarks) session() markKey { return k[2] }

func (k sessionMarks) names() []string {
	names := make([]string, 0, len(k))
	for _, key := range k {
		if key != (markKey{}) {
			names = append(names, key.String())
		}
	}
	return names
}

// String returns the keys as text for a cookie; they tell nothing to whoever
// does not know the session anyway.
func (k sessionMarks) String() string {
	return base64.RawURLEncoding.EncodeToString(slices.Concat(k[0][:], k[1][:], k[2][:]))
}

// parseSessionMarks reads what String wrote.
func parseSessionMarks(text string) (k sessionMarks, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(k)*len(k[0]) {
		return sessionMarks{}, false
	}
	for i := range k {
		copy(k[i][:], raw[i*len(k[i]):])
	}
	return k, true
}

// recently knows the sessions that were found without a mark within delay.
type recently struct {
	delay time.Duration

	mu         sync.Mutex
	young, old map[markKey]time.Time // guarded by mu
	since      time.Time             // when young was begun; guarded by mu
	turns      uint64                // how often all was forgotten; guarded by mu
}

func (r *recently) has(key markKey, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.young[key]
	if !ok {
		at, ok = r.old[key]
	}
	since := now.Sub(at)
	return ok && since >= 0 && since < r.delay
}

// turn is to be asked for before a look-up, and given to add after it: what was
// looked up before a mark was set here must not hide the mark.
func (r *recently) turn() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.turns
}

func (r *recently) add(key markKey, now time.Time, turn uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if turn != r.turns || r.delay <= 0 {
		return
	}
	// Two maps in turn, so that what is too old goes without being looked for.
	if since := now.Sub(r.since); r.young == nil || since < 0 || since >= r.delay {
		r.old, r.young, r.since = r.young, make(map[markKey]time.Time), now
	}
	r.young[key] = now
}

func (r *recently) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young, r.old = nil, nil
	r.turns++
}

// RevokeSubject ends every session of a person that began before now, on every
// replica that shares the [Store], whether it is kept there or in cookies;
// without a Store, in this process. A login that comes after it is not affected,
// as far as the clocks of the replicas agree. The provider does not hear of it,
// and may sign the person in again without a word: take their access away first.
//
// It returns an [*Error]: [CodeInvalidRequest] if issuer is not [Config.Issuer]
// or subject is empty, or [ErrStoreUnavailable].
func (c *Client) RevokeSubject(ctx context.Context, issuer, subject string) error {
	if issuer != c.cfg.Issuer || subject == "" {
		return failf("revoke", CodeInvalidRequest, "no subject of %s", c.cfg.Issuer)
	}
	return c.revoke(ctx, subjectMark(issuer, subject), c.cfg.SessionLifetime)
}

// RevokeSession ends the session with that [Session.ID] as RevokeSubject ends
// all of a person's. A session that is over already is no error. It returns an
// [*Error]: [CodeInvalidRequest] if id is no session's, or [ErrStoreUnavailable].
func (c *Client) RevokeSession(ctx context.Context, id string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(raw) != len(markKey{}) {
		return failf("revoke", CodeInvalidRequest, "not the id of a session")
	}
	return c.revoke(ctx, markKey(raw), c.cfg.SessionLifetime)
}

func (c *Client) revoke(ctx context.Context, key markKey, ttl time.Duration) error {
	if err := c.marks.set(ctx, key, ttl); err != nil {
		return err
	}
	c.cfg.Logger.InfoContext(ctx, "sessions revoked", "mark", key.String())
	return nil
}

// endCookie takes note that the session in r's cookies is over, unless next is of
// the same person: the cookies are deleted, but the answer to an earlier request
// that is still on its way may set them once more, and somebody may have copied
// them.
func (c *Client) endCookie(r *http.Request, next *Session) error {
	s, err := c.loadCookie(r)
	now := c.now()
	if err != nil || s == nil || c.ended(s, now) != "" || next != nil && s.marks[0] == next.marks[0] {
		return err
	}
	return c.marks.set(r.Context(), s.markKeys().session(), s.ExpiresAt().Sub(now))
}
