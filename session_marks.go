package oidcrp

// This file ends sessions without access to the browser. A mark says that the
// sessions of a provider's session or of a person that began before it are over, or
// that copies of one session are. The clocks of the replicas may differ by
// Provider.ClockSkew: a session that began within that time after a mark, at a login
// that did not find it, may end too. Marks end sessions in sealed cookies too.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A markKey is the hash of what a mark is about.
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

func (s *Session) accountMarks() [2]markKey { return accountMarks(s.Issuer(), s.Subject(), s.SID()) }

// supersededMark is the key of the copies of a session that a refresh or a later
// login replaced.
func supersededMark(s *Session) markKey { return newMarkKey("superseded", s.id, "") }

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
	store    *storage
	now      func() time.Time
	skew     time.Duration // by which the clocks of the replicas may differ
	local    bool          // store is this process's own
	inCookie bool          // sessions are in cookies, so there may be several copies of one
	used     atomic.Bool   // a mark has been set in it
	recent   recently
}

// A mark is when a session must have begun, or must have been refreshed, not to be
// over.
type mark struct {
	at      uint64  // in milliseconds
	subject markKey // whose sessions it ends; zero: anybody's
}

// readMark reads what set wrote. A value of another form is no mark: it would end
// each new login, and the person could never sign in.
func readMark(value []byte) (mk mark, ok bool) {
	switch len(value) {
	case 8 + len(mk.subject):
		copy(mk.subject[:], value[8:])
	case 8:
	default:
		return mark{}, false
	}
	return mark{at: binary.BigEndian.Uint64(value), subject: mk.subject}, true
}

func (mk mark) bytes() []byte {
	value := binary.BigEndian.AppendUint64(nil, mk.at)
	if mk.subject != (markKey{}) {
		value = append(value, mk.subject[:]...)
	}
	return value
}

// set marks key: every session of it that began before now is over. If subject is
// not zero, that is so only for that person's. The mark stays for ttl, the longest
// that such a session can last.
func (m *marks) set(ctx context.Context, key, subject markKey, ttl time.Duration) error {
	if subject != (markKey{}) && key != subject {
		// A mark of the same key for somebody else must not come to an end.
		old, ok, err := m.get(ctx, key)
		if err != nil {
			return err
		}
		if ok && old.subject != subject {
			subject = markKey{}
		}
	}
	return m.put(ctx, key, mark{at: m.millis(), subject: subject}, ttl)
}

func (m *marks) millis() uint64 { return uint64(max(m.now().UnixMilli(), 0)) }

// supersedes reports whether supersede does anything. A session in the Store has no
// copies, and without a Store the other copies would be looked for in this process
// only.
func (m *marks) supersedes() bool { return m.inCookie && !m.local }

// supersede marks the copies of s that were refreshed before at as over. Its error is
// [CodeNoSession] if a later login has replaced s altogether: then the mark stays.
func (m *marks) supersede(ctx context.Context, s *Session, at uint64, ttl time.Duration) error {
	if !m.supersedes() {
		return nil
	}
	key := supersededMark(s)
	old, ok, err := m.get(ctx, key)
	switch {
	case err != nil:
		return err
	case !ok || old.at <= at:
		return m.put(ctx, key, mark{at: at}, ttl)
	case old.at == replaced:
		return errReplaced()
	}
	return nil // a later refresh has superseded more
}

// superseded returns the time of the refresh before which the copies of s are over, 0 if
// there was none. Its error is [CodeNoSession] if a later login has replaced s altogether.
func (m *marks) superseded(ctx context.Context, s *Session) (at uint64, err error) {
	mk, _, err := m.get(ctx, supersededMark(s))
	if err == nil && mk.at == replaced {
		err = errReplaced()
	}
	return mk.at, err
}

func errReplaced() error { return failf("session", CodeNoSession, "replaced by a later login") }

// replaced is the time that supersedes every copy of a session.
const replaced = math.MaxInt64

// get returns the mark of key; ok is false if there is none.
func (m *marks) get(ctx context.Context, key markKey) (mk mark, ok bool, err error) {
	value, err := m.store.get(ctx, key.String())
	if errors.Is(err, ErrNotFound) {
		return mark{}, false, nil
	}
	if err != nil {
		return mark{}, false, err
	}
	mk, ok = readMark(value)
	return mk, ok, nil
}

func (m *marks) put(ctx context.Context, key markKey, mk mark, ttl time.Duration) error {
	value := mk.bytes()
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
	values [][]byte // of keys.names(), and of supersededMark; nil: not read
	turn   uint64   // of recent, before they were read
}

// due reports whether the marks of a session must be looked up. They need not if it
// was found without one within RevocationDelay.
func (m *marks) due(recent markKey) bool {
	return !m.idle() && !m.recent.has(recent, m.now())
}

// recentKey names s in recent: of a session in a cookie, one copy.
func (m *marks) recentKey(s *Session) (key markKey) {
	copy(key[:], s.id)
	if m.inCookie {
		binary.BigEndian.PutUint64(key[8:], binary.BigEndian.Uint64(key[8:])^s.renewed)
	}
	return key
}

// readWith returns the Store's entry for key, nil when there is none. If the
// Store can read several keys in one round trip and cookie names the session's
// marks, those are read with it.
func (m *marks) readWith(ctx context.Context, key string, cookie handleCookie) ([]byte, lookup, error) {
	l := lookup{keys: cookie.hint, turn: m.recent.turn()}
	var names []string
	if cookie.hinted && m.store.readsMany() && m.due(cookie.hint.session()) {
		names = cookie.hint.names()
	}
	if names == nil {
		value, err := m.store.get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			value, err = nil, nil
		}
		return value, l, err
	}
	values, err := m.store.getMany(ctx, append([]string{key}, names...))
	if err != nil {
		return nil, lookup{}, err
	}
	l.values = values[1:]
	return values[0], l, nil
}

// over returns why a mark ends s, "" if none does. It reads the Store, unless read
// holds the answer or s was found without a mark within RevocationDelay.
func (m *marks) over(ctx context.Context, s *Session, read lookup) (reason string, err error) {
	recent := m.recentKey(s)
	if read.values == nil || read.keys != s.markKeys() {
		if !m.due(recent) {
			return "", nil
		}
		if read, err = m.look(ctx, s); err != nil {
			return "", err
		}
	}
	if reason := m.verdict(s, read.values); reason != "" {
		return reason, nil
	}
	m.recent.add(recent, m.now(), read.turn)
	return "", nil
}

// look reads the marks of s.
func (m *marks) look(ctx context.Context, s *Session) (lookup, error) {
	l := lookup{keys: s.markKeys(), turn: m.recent.turn()}
	names := l.keys.names()
	if m.supersedes() {
		names = append(names, supersededMark(s).String())
	}
	var err error
	l.values, err = m.store.getMany(ctx, names)
	return l, err
}

// verdict returns why one of the marks with these values ends s.
func (m *marks) verdict(s *Session, values [][]byte) string {
	for i, value := range values {
		mk, ok := readMark(value)
		switch {
		case !ok:
		case i == len(s.before): // of this session alone: it ends whatever the clocks are
			return reasonLoggedOut
		case i > len(s.before):
			if s.renewed < mk.at {
				return reasonSuperseded
			}
		case m.ends(mk, s, s.before[i]):
			return reasonLoggedOut
		}
	}
	return ""
}

// ends reports whether mk, of the person or of the provider's session, ends s. The
// mark that was there at the login does not, so that a person can sign in again at
// once. Any other may come from a replica whose clock is behind.
func (m *marks) ends(mk mark, s *Session, before uint64) bool {
	if mk.at == before || mk.subject != (markKey{}) && mk.subject != s.accountMarks()[0] {
		return false
	}
	return s.created.UnixMilli() <= int64(mk.at)+m.skew.Milliseconds()
}

// earlier returns the marks that were set before s began, as far as the clocks can
// tell: one from between its beginning and now is of a logout during the login.
func (m *marks) earlier(ctx context.Context, s *Session) (before [2]uint64, err error) {
	if m.idle() {
		return before, nil
	}
	read, err := m.look(ctx, s)
	for i := range min(len(before), len(read.values)) {
		mk, ok := readMark(read.values[i])
		if !ok {
			continue
		}
		if during := uint64(s.created.UnixMilli()) <= mk.at && mk.at <= m.millis(); !during {
			before[i] = mk.at
		}
	}
	return before, err
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

// sessionMarks are the keys of the marks that can end one session: those about
// its person, about the provider's session, and about its line.
type sessionMarks [3]markKey

func (s *Session) markKeys() sessionMarks {
	account := s.accountMarks()
	keys := sessionMarks{account[0], account[1]}
	copy(keys[2][:], s.line)
	return keys
}

func (k sessionMarks) session() markKey { return k[2] }

func (k sessionMarks) names() []string {
	names := make([]string, len(k), len(k)+1)
	for i, key := range k {
		names[i] = key.String()
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
	raw := make([]byte, len(k)*len(k[0]))
	if !decodesTo(raw, text) {
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

// first adds key, and reports whether it was not there.
func (r *recently) first(key markKey, now time.Time) bool {
	if r.has(key, now) {
		return false
	}
	r.add(key, now, r.turn())
	return true
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
