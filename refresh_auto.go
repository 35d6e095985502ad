package oidcrp

// This file refreshes tokens automatically: for requests through the middleware,
// and for calls to an API.

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

// RefreshFailure is how [Client.Middleware] treats a session whose tokens it cannot
// refresh.
type RefreshFailure int

const (
	// KeepSession keeps the session until the access token expires. Then, if the
	// provider refused the refresh or its ID Token cannot be used, the person signs
	// in again; if the provider is down, protected routes answer 503.
	KeepSession RefreshFailure = iota
	// SignInAgain ends the session as soon as the provider answers with an error.
	// Status 500 counts as such: some providers send it when their own session is
	// over. If the provider does not answer, or is not available for now (429, 502,
	// 503, 504), the session is kept as with KeepSession.
	SignInAgain
	// FailRequest answers requests for protected routes with the error, and tries
	// again ten seconds later. The session stays. When the provider issued new
	// tokens and only UserInfo was refused, one request fails; the session then
	// keeps its old claims until the next refresh. When the new ID Token was
	// refused, one request fails every ten seconds, the others go on with the old
	// access token, and after that has expired the person must sign in again.
	FailRequest
)

// refreshPause is how long automatic refreshes pause when the provider is down, or
// its ID Token was refused.
const refreshPause = 10 * time.Second

// due reports whether the access token of s expires within d, or within half
// its life if that is shorter: the provider chooses how long it lives. While the
// access token is good, a refresh that was refused its ID Token waits for a moment.
func (f *refresher) due(s *Session, d time.Duration) bool {
	if s.tokens == nil || s.tokens.RefreshToken == "" || s.tokens.Expiry.IsZero() {
		return false
	}
	if !f.tokenExpired(s) && f.rejecting.has(tokenKey(s), f.now()) {
		return false
	}
	return s.tokens.Expiry.Sub(f.now()) <= min(d, s.tokens.Expiry.Sub(s.tokensAt)/2)
}

// tokenExpired reports whether the access token of s can no longer be used.
func (f *refresher) tokenExpired(s *Session) bool {
	return !s.tokens.Expiry.IsZero() && !f.now().Before(s.tokens.Expiry)
}

// renew refreshes the session of a request if its tokens are about to expire,
// and handles a failure as Tokens.RefreshFailure says.
func (f *refresher) renew(w http.ResponseWriter, r *http.Request, found *requestSession) {
	s := found.session.Load()
	if f.settings.RefreshBefore <= 0 || !f.due(s, f.settings.RefreshBefore) {
		return
	}
	k := kept{session: s, handle: found.handle}
	next, err := f.unlessDown(r.Context(), k)
	if err == nil && (next.rejected != nil || !f.tokenExpired(next.session)) {
		// New tokens are good even if the claims are stale, and even if only this
		// process has them for now. A new refresh token is needed in any case.
		found.session.Store(next.session)
		found.response.record(f.sessions.keeper.deliver(next.session))
		if next.refused == nil && next.rejected == nil {
			return
		}
		k.session = next.session
	}
	if err == nil {
		err = next.err() // the new token has already expired, or something was refused
	}
	if err != nil && r.Context().Err() == nil {
		f.failed(w, r, found, k, err)
	}
}

// failed applies Tokens.RefreshFailure to the session of a request.
func (f *refresher) failed(w http.ResponseWriter, r *http.Request, found *requestSession, k kept, err error) {
	refused, rejected := providerRefused(err), errors.Is(err, CodeTokenRefused)
	switch {
	case errors.Is(err, CodeNoSession):
		found.lose(err)
	case f.settings.RefreshFailure == FailRequest && rejected && f.tokenExpired(k.session):
		found.blocked = &Error{Op: "refresh", Code: CodeLoginRequired, Err: err} // or it would go on for ever
	case f.settings.RefreshFailure == FailRequest:
		found.blocked = err
	case f.settings.RefreshFailure == SignInAgain && refused:
		if endErr := f.sessions.end(w, r); endErr != nil {
			f.log.WarnContext(r.Context(), "could not delete a stored session", "error", endErr)
		}
		found.lose(err)
	case rejected && !f.tokenExpired(k.session):
		// The access token is still good, and the next refresh may be.
	case refused && !errors.Is(err, CodeProviderUnavailable):
		f.endWithToken(r.Context(), found, k, err)
	case f.tokenExpired(k.session):
		found.blocked = err
	}
}

// providerRefused reports whether the provider answered a refresh with an error
// about the session, and not that it is unavailable. Status 500 counts as such an
// error: some providers send it when their own session is over. A fault in this
// program, such as a panic, is not the provider's answer.
func providerRefused(err error) bool {
	if codeOf(err) == CodeInternal || outage(err) || errors.Is(err, CodeNoSession) || errors.Is(err, CodeCanceled) {
		return false
	}
	var answer *fetch.Error
	var refusal *ProviderError
	return !errors.Is(err, CodeProviderUnavailable) ||
		errors.As(err, &answer) && answer.StatusCode == http.StatusInternalServerError ||
		errors.As(err, &refusal) && refusal.StatusCode == http.StatusInternalServerError
}

// endWithToken lets a session whose refresh token was refused end with its
// access token.
func (f *refresher) endWithToken(ctx context.Context, found *requestSession, k kept, cause error) {
	if f.tokenExpired(k.session) {
		found.lose(cause)
		return
	}
	last := k.session.copy()
	tokens := *last.tokens
	tokens.RefreshToken = ""
	last.tokens = &tokens
	if !tokens.Expiry.IsZero() && last.ExpiresAt().After(tokens.Expiry) {
		last.ceiling = tokens.Expiry
	}
	d, err := f.sessions.keeper.rewrite(ctx, k, last)
	if err != nil {
		f.log.WarnContext(ctx, "could not save a session", "error", err)
	}
	found.response.record(d)
	found.session.Store(last)
}

// unlessDown is together for automatic refreshes. It returns an error at once if
// the provider was down, or failed for this session, a moment ago.
func (f *refresher) unlessDown(ctx context.Context, k kept) (refreshed, error) {
	now, key := f.now(), tokenKey(k.session)
	if f.rejecting.has(key, now) {
		return refreshed{}, failf("refresh", CodeTokenRefused, "the refreshed ID Token was refused a moment ago")
	}
	if down := f.downUntil.Load(); down != nil && now.Before(*down) || f.failing.has(key, now) {
		return refreshed{}, failf("refresh", CodeProviderUnavailable, "the provider failed a moment ago")
	}
	next, err := f.together(ctx, k, f.settings.RefreshUserInfo)
	if ctx.Err() == nil {
		f.pause(k, next, err)
	}
	return next, err
}

// pause makes the next automatic refreshes wait if the refresh of k failed.
func (f *refresher) pause(k kept, next refreshed, err error) {
	now := f.now()
	switch {
	case err == nil && next.rejected != nil:
		f.rejecting.add(tokenKey(next.session), now, f.rejecting.turn())
	case errors.Is(err, CodeTokenRefused):
		f.rejecting.add(tokenKey(k.session), now, f.rejecting.turn())
	case !errors.Is(err, CodeProviderUnavailable): // it succeeded, or waiting does not help
	case providerRefused(err):
		f.failing.add(tokenKey(k.session), now, f.failing.turn())
	default:
		f.downUntil.Store(new(now.Add(refreshPause)))
	}
}

// HTTPClient returns a client for calls to an API on the person's behalf: its
// requests carry the access token (RFC 6750 section 2.1). It needs
// [Tokens.Keep], and as ctx the context of the request that the session came
// with, or one derived from it.
//
// A token that is about to expire is refreshed first. If sessions are kept in a
// [Store], this happens before each request. If they are kept in cookies, it
// happens only here, and only as long as the response has not begun and its handler
// has not returned: the header of the response carries the session's new cookie. If
// the token is not refreshed, requests use the old one until it expires, and then
// return an [*Error]: [CodeLoginRequired], [CodeProviderUnavailable],
// [CodeStoreUnavailable] or [CodeNoSession]. With another ctx, the token is not
// refreshed.
//
// HTTPClient may be called on any goroutine. It does not touch the response:
// Middleware sets the cookie when the handler writes the header or returns. If that
// happens during the refresh, the response goes without the cookie, and the next
// request in this process gets the same tokens for a minute; with a Store, on any
// replica.
//
// The token is sent to the URL of every request: call only APIs that may have it.
// The client does not follow a redirect to another origin. It has no timeout; set
// one, or give requests a context.
func (s *Session) HTTPClient(ctx context.Context) *http.Client {
	t := &tokenTransport{base: http.DefaultTransport}
	t.session.Store(s)
	found, ok := ctx.Value(sessionKey{}).(*requestSession)
	if ok && s != nil && found.refresher != nil {
		if current := found.session.Load(); current != nil && current.id == s.id {
			t.refresher, t.handle = found.refresher, found.handle
			t.early = found.renewEarly(ctx)
			t.session.Store(found.session.Load())
		}
	}
	return &http.Client{Transport: t, CheckRedirect: sameOriginRedirect}
}

// sameOriginRedirect prevents that a token is sent to another origin.
func sameOriginRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if r.URL.Scheme != first.Scheme || r.URL.Host != first.Host {
		return errors.New("oidcrp: the redirect leads to another origin, to which the access token is not sent")
	}
	if len(via) >= 10 {
		return errors.New("oidcrp: stopped after 10 redirects")
	}
	return nil
}

// tokenTransport adds the access token of a session to requests.
type tokenTransport struct {
	base      http.RoundTripper
	refresher *refresher // nil: tokens are not refreshed
	handle    string
	early     error // why the refresh of a cookie session failed
	session   atomic.Pointer[Session]
}

// RoundTrip sends r with the access token.
func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := t.token(r.Context())
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return t.base.RoundTrip(r)
}

// apiTokenLeft is how long an access token must be good for to be sent.
const apiTokenLeft = 10 * time.Second

func (t *tokenTransport) token(ctx context.Context) (string, error) {
	s, f := t.session.Load(), t.refresher
	if s == nil || s.tokens == nil {
		return "", failf("token", CodeLoginRequired, "the session has no tokens: set Tokens.Keep")
	}
	if f == nil {
		return s.tokens.AccessToken, nil
	}
	err := t.early
	if f.sessions.keeper.onServer() && f.due(s, max(apiTokenLeft, f.settings.RefreshBefore)) {
		var next refreshed
		if next, err = f.unlessDown(ctx, kept{session: s, handle: t.handle}); err == nil {
			t.session.Store(next.session)
			if next.rejected == nil {
				return next.session.tokens.AccessToken, nil
			}
			s, err = next.session, next.rejected
		}
	}
	if !f.tokenExpired(s) {
		return s.tokens.AccessToken, nil
	}
	switch {
	case err == nil:
		return "", failf("token", CodeLoginRequired, "the access token has expired")
	case errors.Is(err, CodeTokenRefused):
		return "", &Error{Op: "token", Code: CodeLoginRequired, Err: err}
	}
	return "", fail("token", CodeProviderUnavailable, err)
}
