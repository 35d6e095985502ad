package oidcrp

// This file ends sessions without access to the browser. A mark says that the
// sessions of a provider's session or of a person that began before it are over.
// Marks end sessions in sealed cookies too.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A markKey is the hash of what a mark is about. A session contains its two keys,
// so that a lookup of marks needs no decoding.
type markKey [16]byte

// sessionMark is the key of a session of the provider, subjectMark that of a
// person's sessions.
func sessionMark(issuer, sid string) markKey { return newMarkKey("sid", issuer, sid) }
func subjectMark(issuer, sub string) markKey { return newMarkKey("sub", issuer, sub) }

// namelessMark is the key of a person's sessions whose ID Token had no sid. A
// logout of any sid of the person may mean one of these, so it ends them.
func namelessMark(issuer, sub string) markKey { return newMarkKey("sub without sid", issuer, sub) }

// accountMarks returns the two marks by which a provider can end a session: that
// of the person, and that of its own session.
func accountMarks(issuer, sub, sid string) [2]markKey {
	if sid == "" {
		return [2]markKey{subjectMark(issuer, sub), namelessMark(issuer, sub)}
	}
	return [2]markKey{subjectMark(issuer, sub), sessionMark(issuer, sid)}
}

func newMarkKey(kind, issuer, value string) markKey {
	sum := sha256.Sum256([]byte("oidcrp mark\x00" + kind + "\x00" + issuer + "\x00" + value))
	return markKey(sum[:16])
}

// tokenKey names the tokens of s. The access token is part of it because some
// providers return the same refresh token, and the next refresh must have another
// key.
func tokenKey(s *Session) markKey {
	return newMarkKey("refresh", s.id, s.tokens.AccessToken+"\x00"+s.tokens.RefreshToken)
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

// A lookup is what was read of the marks about one session. The zero value
// holds nothing.
type lookup struct {
	keys   sessionMarks
	values [][]byte // of keys.names(), in their order; nil: not read
	turn   uint64   // of recent, before they were read
}

// due returns the keys of the marks to look up for a session, nil if it was found
// without a mark within RevocationDelay.
func (m *marks) due(keys sessionMarks) []string {
	if m.idle() || m.recent.has(keys.session(), m.now()) {
		return nil
	}
	return keys.names()
}

// readWith returns the Store's entry for key, nil when there is none. If the
// Store can read several keys in one round trip and cookie names the session's
// marks, those are read with it.
func (m *marks) readWith(ctx context.Context, key string, cookie handleCookie) ([]byte, lookup, error) {
	l := lookup{keys: cookie.hint, turn: m.recent.turn()}
	var names []string
	if cookie.hinted && m.store.readsMany() {
		names = m.due(cookie.hint)
	}
	values, err := m.store.getMany(ctx, append([]string{key}, names...))
	if err != nil {
		return nil, lookup{}, err
	}
	if names != nil {
		l.values = values[1:]
	}
	return values[0], l, nil
}

// over reports whether a logout has ended s. It reads the Store, unless read holds
// the answer or s was found without a mark within RevocationDelay.
func (m *marks) over(ctx context.Context, s *Session, read lookup) (bool, error) {
	keys := s.markKeys()
	if read.values == nil || read.keys != keys {
		names := m.due(keys)
		if names == nil {
			return false, nil
		}
		read = lookup{keys: keys, turn: m.recent.turn()}
		var err error
		if read.values, err = m.store.getMany(ctx, names); err != nil {
			return false, err
		}
	}
	if read.ends(s) {
		return true, nil
	}
	m.recent.add(keys.session(), m.now(), read.turn)
	return false, nil
}

// ends reports whether one of the marks ends s.
func (l lookup) ends(s *Session) bool {
	for i, value := range l.values {
		// A value of another form is ignored: as a mark it would end each new
		// login, and the person could never sign in.
		if len(value) != 8 {
			continue
		}
		// A mark about this one session ends it, whatever the clocks are.
		own := i == len(l.values)-1 && s.id != ""
		if own || s.created.UnixMilli() <= int64(binary.BigEndian.Uint64(value)) {
			return true
		}
	}
	return false
}

// first records the token with this issuer and jti for ttl, and reports whether it
// was not recorded before.
func (m *marks) first(ctx context.Context, issuer, jti string, ttl time.Duration) (bool, error) {
	return m.store.add(ctx, newMarkKey("jti", issuer, jti).String(), []byte(randomText()), ttl)
}

// forget deletes the record of first, so that the provider can try again.
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

// String returns the keys as text for a cookie. They are hashes and reveal nothing
// about the session.
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

// recently remembers keys for delay: those of the sessions that were found without a
// mark.
type recently struct {
	delay time.Duration

	mu         sync.Mutex
	young, old map[markKey]time.Time // guarded by mu
	since      time.Time             // when young was begun; guarded by mu
	turns      uint64                // how often forget was called; guarded by mu
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

// turn must be called before a lookup, and its result passed to add after it:
// what was looked up before a mark was set here must not hide the mark.
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
	// Two maps take turns, so that old entries are dropped without a search.
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
