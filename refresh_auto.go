package oidcrp

// This file refreshes tokens without being asked: for the requests that come
// through the middleware, and for calls to an API.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

// RefreshFailure says what becomes of a session whose tokens [Client.Middleware]
// cannot refresh.
type RefreshFailure int

const (
	// KeepSession lets the session go on until the access token ends. Then, if the
	// provider refused, the person signs in again; while the provider is down,
	// protected routes answer 503.
	KeepSession RefreshFailure = iota
	// SignInAgain ends the session as soon as the provider answers with an error,
	// whichever: some answer 500 when their own session is over. A provider that
	// does not answer, or says that it cannot for now (429, 502, 503, 504), is
	// treated as by KeepSession.
	SignInAgain
	// FailRequest answers requests for protected routes with the error, and tries
	// again with the next one. The session stays.
	FailRequest
)

// refreshPause is how long a provider that is down is left alone by refreshes
// that nobody asked for.
const refreshPause = 10 * time.Second

// refreshDue reports whether the access token of s ends within d.
func (c *Client) refreshDue(s *Session, d time.Duration) bool {
	return s.tokens != nil && s.tokens.RefreshToken != "" && !s.tokens.Expiry.IsZero() &&
		s.tokens.Expiry.Sub(c.now()) <= d
}

// tokenEnded reports whether the access token of s is of no use any more.
func (c *Client) tokenEnded(s *Session) bool {
	return !s.tokens.Expiry.IsZero() && !c.now().Before(s.tokens.Expiry)
}

// renew refreshes the session of a request if its tokens are about to end, and
// deals with a failure as Config.RefreshFailure says.
func (c *Client) renew(w http.ResponseWriter, r *http.Request, found *requestSession) {
	s := found.session
	if c.cfg.RefreshBefore <= 0 || !c.refreshDue(s, c.cfg.RefreshBefore) {
		return
	}
	next, err := c.refreshUnlessDown(r.Context(), s, found.handle)
	if next != nil {
		// New tokens are good even if the claims could not be had.
		found.session, err = next, nil
		if !c.stored() {
			err = c.saveCookie(w, r, next)
		}
	}
	if err == nil || r.Context().Err() != nil {
		return
	}
	var answer *fetch.Error
	var refusal *ProviderError
	answered := errors.As(err, &refusal) || errors.As(err, &answer) && answer.StatusCode == http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrNoSession):
		found.session, found.err = nil, err
	case c.cfg.RefreshFailure == FailRequest:
		found.err = err
	case c.cfg.RefreshFailure == SignInAgain && (answered || errors.Is(err, ErrLoginRequired)):
		if endErr := c.EndSession(w, r); endErr != nil {
			c.cfg.Logger.WarnContext(r.Context(), "could not delete a stored session", "error", endErr)
		}
		found.session, found.err = nil, err
	case !errors.Is(err, ErrProviderUnavailable) && !errors.Is(err, ErrStoreUnavailable):
		c.endWithToken(w, r, found, err)
	case c.tokenEnded(s):
		found.err = err
	}
}

// endWithToken lets the session of found, whose refresh token is of no use, end
// with its access token.
func (c *Client) endWithToken(w http.ResponseWriter, r *http.Request, found *requestSession, cause error) {
	if c.tokenEnded(found.session) {
		found.session, found.err = nil, cause
		return
	}
	last := found.session.copy()
	tokens := *last.tokens
	tokens.RefreshToken = ""
	last.tokens = &tokens
	if last.ExpiresAt().After(tokens.Expiry) {
		last.ceiling = tokens.Expiry
	}
	var err error
	if c.stored() {
		err = c.replaceStored(r.Context(), last, found.handle)
	} else {
		err = c.saveCookie(w, r, last)
	}
	if err != nil {
		c.cfg.Logger.WarnContext(r.Context(), "could not save a session", "error", err)
	}
	found.session = last
}

// refreshUnlessDown is refreshTogether for a refresh that nobody asked for: it
// does not keep request after request waiting for a provider that is down.
func (c *Client) refreshUnlessDown(ctx context.Context, s *Session, handle string) (*Session, error) {
	now := c.now()
	if down := c.downUntil.Load(); down != nil && now.Before(*down) {
		return nil, failf("refresh", CodeProviderUnavailable, "the provider was down a moment ago")
	}
	next, err := c.refreshTogether(ctx, s, handle, c.cfg.RefreshUserInfo)
	if errors.Is(err, ErrProviderUnavailable) && ctx.Err() == nil {
		c.downUntil.Store(new(c.now().Add(refreshPause)))
	}
	return next, err
}

// HTTPClient returns a client for calls to an API on the person's behalf: its
// requests carry the access token (RFC 6750 section 2.1). It needs
// [Config.KeepTokens], and as ctx the context of the request that the session
// came with, or one made from it.
//
// A token about to end is refreshed first: before each request if sessions are
// kept in a [Store]; else only here, so call HTTPClient before you write the
// answer, which has to carry the session's new cookie. When that fails, requests
// go on with the old token until it ends, and then return an [*Error]:
// [ErrLoginRequired] or [ErrProviderUnavailable].
//
// The token goes to whatever URL a request is for: name only APIs that may have
// it. It does not follow a redirect to another origin. The client has no limit in
// time; set Timeout, or give requests a context.
func (s *Session) HTTPClient(ctx context.Context) *http.Client {
	t := &tokenTransport{base: http.DefaultTransport}
	t.session.Store(s)
	found, ok := ctx.Value(sessionKey{}).(*requestSession)
	if ok && found.session != nil && found.session.id == s.id {
		t.client, t.handle = found.client, found.handle
		t.session.Store(found.session)
		if !t.client.stored() {
			t.early = found.refreshCookie(ctx)
			t.session.Store(found.session)
		}
	}
	return &http.Client{Transport: t, CheckRedirect: sameOriginRedirect}
}

// refreshCookie is what HTTPClient can do for a session in cookies while their
// answer has not begun.
func (c *Client) refreshCookie(ctx context.Context, w http.ResponseWriter, r *http.Request, found *requestSession) error {
	if !c.refreshDue(found.session, max(apiTokenLeft, c.cfg.RefreshBefore)) {
		return nil
	}
	next, err := c.refreshUnlessDown(ctx, found.session, found.handle)
	if next == nil {
		return err
	}
	found.session = next
	return c.saveCookie(w, r, next)
}

// sameOriginRedirect keeps a token from going where it was not sent.
func sameOriginRedirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	if r.URL.Scheme != first.Scheme || r.URL.Host != first.Host {
		return errors.New("oidcrp: the redirect leads to another origin, which the access token is not for")
	}
	if len(via) >= 10 {
		return errors.New("oidcrp: stopped after 10 redirects")
	}
	return nil
}

// tokenTransport adds the access token of a session to requests.
type tokenTransport struct {
	base    http.RoundTripper
	client  *Client // nil: nobody to refresh with
	handle  string
	early   error // why the refresh of a cookie session failed
	session atomic.Pointer[Session]
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
	s, c := t.session.Load(), t.client
	if s.tokens == nil {
		return "", failf("token", CodeLoginRequired, "the session has no tokens: Config.KeepTokens is off")
	}
	if c == nil {
		return s.tokens.AccessToken, nil
	}
	err := t.early
	if c.stored() && c.refreshDue(s, max(apiTokenLeft, c.cfg.RefreshBefore)) {
		var next *Session
		if next, err = c.refreshUnlessDown(ctx, s, t.handle); next != nil {
			t.session.Store(next)
			return next.tokens.AccessToken, nil
		}
	}
	if !c.tokenEnded(s) {
		return s.tokens.AccessToken, nil
	}
	if err == nil {
		err = fmt.Errorf("the access token has ended")
	}
	return "", fail("token", CodeLoginRequired, err)
}
