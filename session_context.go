package oidcrp

// This file puts the session of a request into the request's context.

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// sessionKey is the context key of a [requestSession]: without a refresher of the last
// one, with a refresher of its one, if another Client has put its own over that.
type sessionKey struct{ of *refresher }

// requestSession is the result of a request's session lookup.
type requestSession struct {
	session atomic.Pointer[Session]
	handle  string    // of a session in the Store
	touched time.Time // its use was last recorded
	none    error     // why there is no session
	newer   bool      // than what the request's cookie holds
	oldKey  bool      // the session is sealed with another key than the newest
	blocked error     // an outage: protected routes must fail, since there may be a session
	refused string    // why the session that the request carries cannot be used

	refresher *refresher    // of the Client that looked it up; nil for ContextWithSession
	response  sessionWriter // of the request
	chosenBy  any           // the Group for which this is the session that counts, if any

	renews bool       // HTTPClient may refresh the tokens of this session in cookies
	mu     sync.Mutex // held by renewEarly
}

// lose ends the request's session.
func (found *requestSession) lose(why error) {
	found.session.Store(nil)
	found.response.pending.Store(nil)
	found.none = why
}

// renewEarly refreshes the tokens of a session in cookies if they are about to
// expire. The session's new cookies are lost on a response that has begun.
func (found *requestSession) renewEarly(ctx context.Context) error {
	if !found.renews {
		return nil
	}
	found.mu.Lock()
	defer found.mu.Unlock()
	f, s := found.refresher, found.session.Load()
	if found.response.begun() || !f.due(s, max(apiTokenLeft, f.settings.RefreshBefore)) {
		return nil
	}
	next, err := f.unlessDown(ctx, kept{session: s, handle: found.handle})
	if err != nil {
		return err
	}
	found.session.Store(next.session)
	found.response.record(f.sessions.keeper.deliver(next.session))
	return nil
}

// SessionFromContext returns the session of the request that ctx belongs to:
// pass the request's own context, also where a framework has another one.
// It is nil, and false, when nobody is signed in or when the request did not
// pass through [Client.Middleware], [Client.RequireLogin] or [Client.Require], or
// those of a [Group]. A request that passed through those of several Clients has the session of the
// last one; [Client.Session] works for any of them.
func SessionFromContext(ctx context.Context) (*Session, bool) {
	found, ok := ctx.Value(sessionKey{}).(*requestSession)
	if !ok {
		return nil, false
	}
	s := found.session.Load()
	return s, s != nil
}

// ContextWithSession returns a context with a session in it, for tests of an
// app's handlers: see [NewSession]. For every Client, it is the session of a
// request with this context, whatever cookies the request has. Requirements are
// checked as usual. A nil s means that nobody is signed in.
func ContextWithSession(ctx context.Context, s *Session) context.Context {
	found := &requestSession{none: &Error{Op: "session", Code: CodeNoSession}}
	found.session.Store(s)
	return context.WithValue(ctx, sessionKey{}, found)
}

// found returns the result of the session lookup, if this Client, or a test, has
// put it into ctx.
func (f *refresher) found(ctx context.Context) (*requestSession, bool) {
	found, ok := ctx.Value(sessionKey{}).(*requestSession)
	if ok && found.refresher != nil && found.refresher != f {
		found, ok = ctx.Value(sessionKey{f}).(*requestSession)
	}
	return found, ok
}

// in returns ctx with the result of a session lookup as the last one.
func (found *requestSession) in(ctx context.Context) context.Context {
	last, ok := ctx.Value(sessionKey{}).(*requestSession)
	if last == found {
		return ctx
	}
	if ok && last.refresher != nil {
		ctx = context.WithValue(ctx, sessionKey{last.refresher}, last)
	}
	return context.WithValue(ctx, sessionKey{}, found)
}

// attach looks up r's session, once for each request and Client, and returns r
// with the result in its context. With touch, it refreshes the session if
// necessary and records its use.
//
// The sessionWriter is for the next handler; the caller must finish it afterwards. It
// is nil if the session was looked up before.
func (f *refresher) attach(
	w http.ResponseWriter, r *http.Request, touch bool,
) (*http.Request, *requestSession, *sessionWriter) {
	ctx := r.Context()
	if found, ok := f.found(ctx); ok {
		if next := found.in(ctx); next != ctx {
			r = r.WithContext(next)
		}
		return r, found, nil
	}
	found := f.lookUp(r)
	response := &found.response
	response.ResponseWriter, response.request, response.cookies, response.log = w, r, f.sessions.cookies, f.log
	if s := found.session.Load(); s != nil && touch {
		if found.newer {
			response.record(f.sessions.keeper.deliver(s))
		}
		f.renew(w, r, found)
		if s := found.session.Load(); s != nil {
			response.record(f.sessions.keeper.touch(r, kept{session: s, handle: found.handle, touched: found.touched, oldKey: found.oldKey}))
			found.renews = !f.sessions.keeper.onServer()
		}
	}
	return r.WithContext(found.in(ctx)), found, response
}

// lookUp looks up r's session.
func (f *refresher) lookUp(r *http.Request) *requestSession {
	k, err := f.sessions.load(r)
	found := &requestSession{
		refresher: f, handle: k.handle, touched: k.touched, newer: k.newer, oldKey: k.oldKey, none: err, refused: k.refused,
	}
	if err != nil && !errors.Is(err, CodeNoSession) {
		found.blocked = err // the person may be signed in
	}
	found.session.Store(k.session)
	return found
}
