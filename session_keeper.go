package oidcrp

// This file holds the owner of the sessions: how long they last, what ends them,
// and the contract of a keeper.

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/internal/seal"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// Sessions says how long sessions last and where they are kept. With the zero
// value, a session ends after 12 hours, or after 1 hour without use.
type Sessions struct {
	// Lifetime is the longest time that a session lasts; if zero, 12 hours.
	Lifetime time.Duration
	// IdleTimeout ends a session that is not used; if zero, 1 hour.
	IdleTimeout time.Duration
	// InCookies keeps the sessions in sealed cookies even if there is a Store,
	// which then holds only what all replicas must know: logouts, Logout Tokens
	// that have arrived, and refreshes. If false, sessions are kept in the Store
	// if there is one.
	InCookies bool
	// StoreTimeout bounds one call of the Store; if zero, 2 seconds. After that,
	// protected routes answer 503, and public ones are served without the
	// session.
	StoreTimeout time.Duration
	// RevocationDelay is how long this replica may take to notice a logout
	// handled by another: after it looked for logouts of a session, it does not
	// look again for that long. If zero, 1 second; if negative, it looks at every
	// request.
	RevocationDelay time.Duration
	// KeepClaims names the claims about the person that are kept: those that the app
	// reads, and those that its requirements such as [Claim] need (of a JSON Pointer, the
	// first name). If nil, all are.
	// Fewer claims make smaller cookies. Those about the authentication, such as sub,
	// acr and auth_time, are always kept.
	KeepClaims []string
	// MaxCookieBytes bounds the cookies of one session, with their names and
	// attributes. If zero, 3,000 bytes: the response that ends a login then has less
	// than 4 KiB of headers, which every proxy accepts. At most 16,384; more than
	// about 7,000 needs proxies and servers that accept larger requests than usual.
	// A session that is too large is compressed, and loses the ID Token's signature,
	// so that it is no hint at the logout. If it still does not fit, the login fails
	// with [CodeSessionTooLarge].
	MaxCookieBytes int
	// CacheBytes bounds the memory of the sessions that were opened lately: a request with
	// a cookie that was seen before then costs a look-up. Whether a session has ended is
	// checked all the same. If zero, 8 MiB, which is room for about 2,000 people; with less
	// than 128 KiB, most sessions find none. If negative, every request opens its session.
	CacheBytes int
	// EndWithIDToken ends a session when its ID Token expires, or the one that
	// arrived with the last refresh. If false, the ID Token's exp only limits
	// its use for a login.
	EndWithIDToken bool
}

const (
	defaultLifetime       = 12 * time.Hour
	defaultIdleTimeout    = time.Hour
	defaultMaxCookieBytes = 3000
	minMaxCookieBytes     = 1000
)

// sessions owns the sessions: how long they last, what ends them, and the
// keeper that keeps them.
type sessions struct {
	keeper     keeper
	marks      *marks
	opened     *openedCache
	endings    *endings
	limit      *markLimit
	refusals   recently // that were logged
	cookies    *cookies
	settings   Sessions // with its defaults filled in
	words      *vocabulary
	accepts    func(issuer string) bool // nil: there is one issuer only
	keepTokens bool
	events     *events
	now        func() time.Time
}

// newSessions makes the owner of the sessions. shared is nil without a Store. skew is
// how far clocks may differ.
func newSessions(
	settings Sessions, keepTokens bool, skew time.Duration, shared *storage, c *cookies, ev *events, now func() time.Time,
) *sessions {
	m := &sessions{
		cookies: c, settings: settings, words: newVocabulary(ev.issuer, c.clientID), keepTokens: keepTokens, events: ev, now: now}
	m.opened = newOpenedCache(settings.CacheBytes, now)
	m.endings = &endings{log: ev.log}
	m.refusals.delay = time.Minute
	m.limit = &markLimit{max: maxProviderMarks, span: settings.Lifetime, now: now}
	store := shared
	if shared == nil { // for the marks alone
		store = newStorage(newMemoryStore(0, now), settings.StoreTimeout, now).inSpaceOf(ev.issuer)
	}
	m.marks = &marks{
		store: store, now: now, skew: skew, local: shared == nil, inCookie: shared == nil || settings.InCookies,
		recent: recently{delay: settings.RevocationDelay},
	}
	if !m.marks.inCookie {
		m.keeper = &storeKeeper{sessions: m, store: shared, log: ev.log}
	} else {
		m.keeper = &cookieKeeper{sessions: m, shared: shared}
	}
	return m
}

// ready returns an error if the Store does not answer.
func (m *sessions) ready(ctx context.Context) error {
	if m.marks.local {
		return nil
	}
	_, err := m.marks.store.get(ctx, markKey{}.String())
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// A keeper keeps sessions: in sealed cookies, or in a Store behind a handle in
// a cookie.
type keeper interface {
	// load returns the session that r carries; kept.session is nil when there is
	// none that can be used. A refused cookie is an event and no error; kept.refused
	// says why.
	load(r *http.Request) (kept, error)
	// fits returns [CodeSessionTooLarge] if start cannot keep s for its size.
	fits(s *Session) error
	// start keeps a new session and sets its cookies on w.
	start(w http.ResponseWriter, r *http.Request, s *Session) error
	// touch records that k is in use, at most once every touchInterval, and returns
	// what the response must say about it.
	touch(r *http.Request, k kept) *delivery
	// rewrite replaces k by s, and returns what the response must say about it.
	rewrite(ctx context.Context, k kept, s *Session) (*delivery, error)
	// end ends the session that r carries, and copies of it; next is the session
	// that replaces it, if any.
	end(r *http.Request, next *Session) error

	// update saves next, the result of a refresh of k, where other requests and
	// replicas find it before they refresh k themselves. Its error is
	// [CodeNoSession] if k has ended in the meantime.
	update(ctx context.Context, k kept, next *Session) error
	// updated returns what update saved for k if it is newer than k, else nil. Its
	// error is [CodeNoSession] if k has ended in the meantime.
	updated(ctx context.Context, k kept) (*Session, error)
	// deliver returns what the response must say about an updated session.
	deliver(s *Session) *delivery
	// onServer reports whether the sessions are kept in the Store: they can then
	// change after a response has begun, and an idle one ends with its entry.
	onServer() bool
}

// A delivery is what the response to a request must say about its session. nil is
// nothing.
type delivery struct {
	// necessary is whether the session is lost, or ends too early, without it.
	// Otherwise a response that shared caches may store goes without it, and a later
	// one has it.
	necessary bool
	put       func(http.ResponseWriter, *http.Request) error // sets the cookies
}

// on sets the cookies of d on w, the response to r.
func (d *delivery) on(w http.ResponseWriter, r *http.Request) error {
	if d == nil {
		return nil
	}
	return d.put(w, r)
}

// kept is a session and where it is kept.
type kept struct {
	session *Session
	handle  string    // in a Store
	touched time.Time // when the use was last recorded, of a session in the Store
	lookup  lookup    // the marks that were read with it, if any
	newer   bool      // than what the cookie holds
	oldKey  bool      // sealed with another key than the newest
	refused string    // why the request's session cannot be used; "" if it can, or has none
}

// stale returns the response's part about a session that is refused for good, nil for
// any other: its cookies are deleted, so that the browser does not send them again.
// Another replica may still read what this one cannot, and a session of the future, and
// of two values one may be good. Nothing depends on it.
//
// Only a page load deletes them: while a script waits for its response, the browser may
// get a new session with the response to another request.
func (m *sessions) stale(reason string) *delivery {
	switch reason {
	case reasonExpired, reasonIdle, reasonLoggedOut, reasonTampered, reasonIncomplete, reasonSuperseded:
	default:
		return nil
	}
	refused := m.now()
	return &delivery{put: func(w http.ResponseWriter, r *http.Request) error {
		if m.now().Sub(refused) < staleDelay {
			m.cookies.dropSession(w, r)
		}
		return nil
	}}
}

// staleDelay is how late a response may still delete the cookies of a refused session:
// the person may have signed in during the request.
const staleDelay = 2 * time.Second

// create makes the session of a login. stepUp and returnTo are those of the login.
func (m *sessions) create(a *authenticated, stepUp, returnTo string) *Session {
	id := make([]byte, 16)
	rand.Read(id)
	token := a.idToken
	s := &Session{
		id:    string(id),
		line:  string(id),
		words: m.words,
		// The session begins with the exchange of the code, so that a logout by the
		// provider during the exchange ends this session too.
		created:  a.started.Truncate(time.Millisecond),
		seen:     m.now().Truncate(time.Second),
		stepUp:   stepUp,
		returnTo: returnTo,
		lifetime: m.settings.Lifetime,
		keep:     m.settings.KeepClaims,
		ceiling:  token.sessionExpiry,
	}
	s.setIDToken(token, m.userClaims(token.members, a.userInfo))
	if m.settings.EndWithIDToken {
		s.tokenEnd = token.expiry
	}
	if m.keepTokens {
		s.tokens, s.tokensAt = a.tokens.token(), m.now()
	}
	return s
}

// place relates s, the session of the login that r ends, to what was before it: the
// marks that do not concern it, and the session of the same person that it replaces.
// After an error, s begins a line, and any mark of the time around its beginning ends
// it.
func (m *sessions) place(ctx context.Context, r *http.Request, s *Session) (err error) {
	if s.before, err = m.marks.earlier(ctx, s); err != nil {
		return err
	}
	if previous := m.previous(ctx, r, s); previous != nil {
		s.line = previous.line
	}
	return nil
}

// previous returns the session in r's cookies that s replaces, if it is the same
// person's. Deleting its cookies does not end copies of them; a logout of their line
// does.
func (m *sessions) previous(ctx context.Context, r *http.Request, s *Session) *Session {
	if !m.marks.inCookie {
		return nil
	}
	k, err := m.keeper.load(r)
	previous := k.session
	if err != nil || previous == nil || previous.accountMarks()[0] != s.accountMarks()[0] || m.ended(previous) != "" {
		return nil
	}
	read, err := m.marks.look(ctx, previous)
	// Of a line that has ended, s would be over at once. A superseded session's line goes
	// on: another tab may have signed in a moment ago.
	if err != nil || m.marks.verdict(previous, read.values) == reasonLoggedOut {
		return nil
	}
	return previous
}

// userClaims returns what a session keeps of a UserInfo response, which may be nil,
// beside an ID Token with these claims. Both have been checked.
func (m *sessions) userClaims(idToken strictjson.Members, userInfo []byte) userClaims {
	members, _ := strictjson.Object(userInfo)
	return newUserClaims(idToken, members, m.settings.KeepClaims)
}

// withUserInfo returns s with another UserInfo response.
func (m *sessions) withUserInfo(s *Session, userInfo []byte) *Session {
	next := s.copy()
	next.setUser(m.userClaims(s.claims.byName(), userInfo).renew(s.user()))
	return next
}

// withIDToken returns s with the ID Token of a refresh.
func (m *sessions) withIDToken(s *Session, token *idToken) *Session {
	next := s.copy()
	next.sid = ""
	if token.sid == "" { // else a logout by the provider will name this one
		next.sid = s.SID()
	}
	next.setIDToken(token, newUserClaims(token.members, s.userMembers(), m.settings.KeepClaims).renew(s.user()))
	if end := token.sessionExpiry; !end.IsZero() && (next.ceiling.IsZero() || end.Before(next.ceiling)) {
		next.ceiling = end
	}
	if m.settings.EndWithIDToken {
		next.tokenEnd = token.expiry
	}
	return next
}

// load returns the session that r carries. Its errors are [CodeNoSession], and
// those of an outage.
func (m *sessions) load(r *http.Request) (kept, error) {
	k, err := m.keeper.load(r)
	if err != nil {
		return kept{}, err
	}
	if k.session == nil {
		return kept{refused: k.refused}, &Error{Op: "session", Code: CodeNoSession}
	}
	reason, err := m.over(r.Context(), k)
	if reason == reasonSuperseded {
		var newest kept
		if newest, err = m.newest(r.Context(), k); newest.session != nil {
			return newest, nil
		}
	}
	if err != nil {
		return kept{}, err
	}
	if reason != "" {
		m.refuse(r.Context(), SessionEvent{
			Issuer: k.session.Issuer(), SessionID: k.session.ID(), Subject: k.session.Subject(), Reason: reason})
		return kept{refused: reason}, failf("session", CodeNoSession, "the session is %s", strings.ReplaceAll(reason, "_", " "))
	}
	return k, nil
}

// over returns why k can no longer be used, "" if it can.
func (m *sessions) over(ctx context.Context, k kept) (string, error) {
	if reason := m.ended(k.session); reason != "" {
		return reason, nil
	}
	return m.marks.over(ctx, k.session, k.lookup)
}

// newest returns the newest form of k, which a refresh superseded. The request with k
// may have left the browser before the new cookie arrived there.
func (m *sessions) newest(ctx context.Context, k kept) (kept, error) {
	s, err := m.keeper.updated(ctx, k)
	if errors.Is(err, CodeNoSession) { // replaced by a login
		return kept{}, nil
	}
	if err != nil || s == nil {
		return kept{}, err
	}
	newest := kept{session: s, newer: true}
	if reason, err := m.over(ctx, newest); reason != "" || err != nil {
		return kept{}, err
	}
	return newest, nil
}

// unmarshal reads what [Session.marshal] wrote. The session is of this Client and its
// issuer: the seal is tied to both.
func (m *sessions) unmarshal(plain []byte) (*Session, error) {
	s, err := unmarshalSession(plain, m.words, m.settings.Lifetime)
	if err != nil {
		return nil, err
	}
	if iss := s.Issuer(); m.accepts != nil && iss != "" && !m.accepts(iss) {
		return nil, errOtherIssuer // which is accepted no more
	}
	s.keep = m.settings.KeepClaims
	return s, nil
}

// ended returns why s can no longer be used now, "" if it can.
func (m *sessions) ended(s *Session) string {
	now := m.now()
	switch {
	case !now.Before(s.ExpiresAt()):
		return reasonExpired
	case !m.keeper.onServer() && now.Sub(s.seen) >= m.settings.IdleTimeout:
		return reasonIdle
	case s.created.After(now.Add(5 * time.Minute)):
		return reasonFuture
	}
	return ""
}

// start signs a person in. It ends the old session first: a new login never
// continues one (session fixation).
func (m *sessions) start(w http.ResponseWriter, r *http.Request, s *Session) error {
	switch {
	case s.login != nil && *s.words != *m.words:
		// Its stored form would say that the person is one of this Client's issuer.
		return failf("session", CodeInternal, "a login of another Client: start the session with the Client whose Callback returned it")
	case s.login == nil: // not of a login: of NewSession, perhaps
		s = s.copy()
		s.words = m.words
		if err := m.place(r.Context(), r, s); err != nil && m.keeper.onServer() {
			return err
		}
	}
	if err := m.keeper.end(r, s); err != nil {
		return err
	}
	return m.keeper.start(w, r, s)
}

// end signs the person out of this app: it ends the session that r carries, and
// copies of it, and deletes its cookies on w. If it fails, it is tried again for a
// while: the browser can no longer ask for it.
func (m *sessions) end(w http.ResponseWriter, r *http.Request) error {
	m.cookies.dropSession(w, r)
	err := m.keeper.end(r, nil)
	if err != nil {
		m.endLater(r, "", "")
	}
	return err
}

// revoke ends the sessions that key names, on all replicas; if subject is not zero,
// only those of that person.
func (m *sessions) revoke(ctx context.Context, key, subject markKey) error {
	return m.marks.set(ctx, key, subject, m.settings.Lifetime)
}

// renewal is when a refresh changes s now: later than any before, whatever the clocks
// of the replicas are.
func (m *sessions) renewal(s *Session) uint64 { return max(m.marks.millis(), s.renewed+1) }

// refuseCookie reports a session cookie that cannot be used, and returns why.
func (m *sessions) refuseCookie(ctx context.Context, err error) (reason string) {
	reason = refusalReason(err)
	m.refuse(ctx, SessionEvent{Reason: reason, Err: err})
	return reason
}

// refuse reports a session that cannot be used. A browser repeats it at every request,
// so the log has the same reason and session once a minute.
func (m *sessions) refuse(ctx context.Context, ev SessionEvent) {
	logged := m.refusals.first(newMarkKey("refused", ev.Reason, ev.SessionID), m.now())
	m.events.sessionRefused(ctx, ev, logged)
}

// refusalReason names why a cookie or a stored value cannot be read.
func refusalReason(err error) string {
	var chunks *chunkError
	switch {
	case errors.As(err, &chunks):
		return chunks.reason
	case errors.Is(err, seal.ErrUnknownKey):
		return reasonUnknownKey
	case errors.Is(err, seal.ErrTampered):
		return reasonTampered
	}
	return reasonMalformed
}

// touchInterval is how often the use of a session is recorded: once a minute, or
// more often if the idle timeout is short.
func (s *Sessions) touchInterval() time.Duration { return min(time.Minute, s.IdleTimeout/4) }
