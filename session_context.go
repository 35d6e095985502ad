package oidcrp

// This file puts the session of a request into the request's context.

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
)

// sessionKey is the context key of a [requestSession].
type sessionKey struct{}

// requestSession is the result of a request's session lookup.
type requestSession struct {
	session atomic.Pointer[Session]
	handle  string // of a session in the Store
	none    error  // why there is no session
	newer   bool   // than what the request's cookie holds
	blocked error  // an outage: protected routes must fail, since there may be a session

	refresher *refresher // of the Client that looked it up; nil for ContextWithSession

	// renewOn refreshes the tokens of a session in cookies, if they are about to
	// expire, and sets its cookies on the response to the request. It is nil for
	// other sessions.
	renewOn func(context.Context) error
	mu      sync.Mutex // held by renewOn
}

// lose ends the request's session.
func (found *requestSession) lose(why error) {
	found.session.Store(nil)
	found.none = why
}

// renewEarly refreshes a session in cookies, which must happen before the response
// begins.
func (found *requestSession) renewEarly(ctx context.Context) error {
	if found.renewOn == nil {
		return nil
	}
	found.mu.Lock()
	defer found.mu.Unlock()
	return found.renewOn(ctx)
}

// SessionFromContext returns the session of the request that ctx belongs to:
// pass the request's own context, also where a framework has another one.
// It is nil, and false, when nobody is signed in or when the request did not
// pass through [Client.Middleware], [Client.RequireLogin] or [Client.Require].
// A request that passed through those of several Clients has the session of the
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
	if !ok || found.refresher != nil && found.refresher != f {
		return nil, false
	}
	return found, true
}

// attach looks up r's session, once for each request and Client, and returns r
// with the result in its context. With touch, it refreshes the session if
// necessary and records its use.
func (f *refresher) attach(w http.ResponseWriter, r *http.Request, touch bool) (*http.Request, *requestSession) {
	if found, ok := f.found(r.Context()); ok {
		return r, found
	}
	found := f.lookUp(r)
	if s := found.session.Load(); s != nil && touch {
		if found.newer {
			if err := f.sessions.keeper.deliver(w, r, s); err != nil {
				f.log.WarnContext(r.Context(), "could not save a session", "error", err)
			}
		}
		f.renew(w, r, found)
		if s := found.session.Load(); s != nil {
			f.sessions.keeper.touch(w, r, kept{session: s, handle: found.handle})
		}
		if !f.sessions.keeper.onServer() {
			found.renewOn = func(ctx context.Context) error { return f.renewCookie(ctx, w, r, found) }
		}
	}
	return r.WithContext(context.WithValue(r.Context(), sessionKey{}, found)), found
}

// lookUp looks up r's session.
func (f *refresher) lookUp(r *http.Request) *requestSession {
	k, err := f.sessions.load(r)
	found := &requestSession{refresher: f, handle: k.handle, newer: k.newer, none: err}
	if err != nil && !errors.Is(err, CodeNoSession) {
		found.blocked = err // the person may be signed in
	}
	found.session.Store(k.session)
	return found
}

// renewCookie refreshes a session in cookies for HTTPClient. The caller holds
// found.mu.
func (f *refresher) renewCookie(ctx context.Context, w http.ResponseWriter, r *http.Request, found *requestSession) error {
	s := found.session.Load()
	if !f.due(s, max(apiTokenLeft, f.settings.RefreshBefore)) {
		return nil
	}
	next, err := f.unlessDown(ctx, kept{session: s, handle: found.handle})
	if err != nil {
		return err
	}
	found.session.Store(next.session)
	return f.sessions.keeper.deliver(w, r, next.session)
}
