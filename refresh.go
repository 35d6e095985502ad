package oidcrp

// This file uses the refresh token (OIDC Core 12).

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Refresh uses the refresh token of the session that r carries, fetches
// UserInfo again, and saves the session that follows from that on w. It
// returns the new session.
//
// Requests of one session that come together share one refresh: in this process
// always, on all replicas if they share a [Store]. The session's own lifetime is
// not extended, and it continues as the same session: a refreshed ID Token must be
// about the same person and login.
//
// It returns an [*Error]: [ErrNoSession]; [ErrLoginRequired] when there is no
// refresh token ([Config.KeepTokens] is off, or the provider gave none) or the
// provider does not take it any more; [ErrProviderUnavailable], after which the
// old session is still good. If the provider failed only after it had answered
// with new tokens, those are saved all the same, since the old refresh token may
// be spent.
func (c *Client) Refresh(w http.ResponseWriter, r *http.Request) (*Session, error) {
	s, handle, err := c.loadSession(r)
	if err != nil {
		return nil, err
	}
	refreshed, err := c.refreshTogether(r.Context(), s, handle, true)
	if refreshed != nil && !c.stored() {
		err = cmp.Or(err, c.saveCookie(w, r, refreshed))
	}
	if err != nil {
		return nil, fail("refresh", CodeProviderUnavailable, err)
	}
	return refreshed, nil
}

// refreshTogether refreshes the tokens of s, and then its claims from UserInfo if
// userInfo is set, each once for all who ask at the same time or with the same old
// tokens a moment later. What follows is in the Store already if sessions are kept
// there; a session beside an error is the old one with new tokens.
func (c *Client) refreshTogether(ctx context.Context, s *Session, handle string, userInfo bool) (*Session, error) {
	if s.tokens == nil || s.tokens.RefreshToken == "" {
		return nil, failf("refresh", CodeLoginRequired, "the session has no refresh token")
	}
	key := refreshKey(s).String()
	next, err := c.refreshOnce(ctx, key, func(ctx context.Context) (*Session, error) {
		next, err := c.refreshAlone(ctx, s, handle)
		if err == nil && userInfo {
			next, err = c.renewUserInfo(ctx, s, next, handle)
		}
		c.refreshHappened(ctx, s, next, err)
		return next, err
	})
	var unsaved *unsavedError
	if errors.As(err, &unsaved) {
		next, err = c.saveLate(ctx, s, next, handle)
	}
	if err != nil || !userInfo || next.withUserInfo {
		return next, err
	}
	// Somebody had the tokens refreshed who did not want UserInfo.
	return c.refreshOnce(ctx, key+" and UserInfo", func(ctx context.Context) (*Session, error) {
		renewed, err := c.renewUserInfo(ctx, s, next, handle)
		c.refreshHappened(ctx, s, renewed, err)
		return renewed, err
	})
}

// refreshOnce does a step of a refresh once for all who wait for it.
func (c *Client) refreshOnce(
	ctx context.Context, key string, step func(context.Context) (*Session, error),
) (*Session, error) {
	keep := func(err error) bool {
		var unsaved *unsavedError
		return err == nil || errors.Is(err, ErrLoginRequired) || errors.As(err, &unsaved)
	}
	return c.refreshes.Do(ctx, key, c.now(), keep, func() (*Session, error) {
		// One that waits longer must not be cut off by one that has gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.refreshTime())
		defer cancel()
		return step(ctx)
	})
}

func (c *Client) refreshHappened(ctx context.Context, s, next *Session, err error) {
	ev := SessionRefreshedEvent{Subject: s.Subject(), Err: err}
	if err == nil {
		ev.Rotated = next.tokens.RefreshToken != s.tokens.RefreshToken
	}
	c.events.sessionRefreshed(ctx, ev)
}

// unsavedError says that the Store did not take new tokens: only this process has
// them, and it must not ask for others with the spent refresh token.
type unsavedError struct{ cause error }

func (e *unsavedError) Error() string { return e.cause.Error() }
func (e *unsavedError) Unwrap() error { return e.cause }

// saveLate puts away what a refresh made of s, for which the Store had failed.
func (c *Client) saveLate(ctx context.Context, s, next *Session, handle string) (*Session, error) {
	newer, err := c.newerSession(ctx, s, handle)
	if err == nil && newer == nil {
		err = c.keepRefreshed(ctx, s, next, handle)
	}
	switch {
	case errors.Is(err, ErrNoSession):
		return nil, err
	case newer != nil:
		return newer, nil
	}
	return next, err
}

// refreshTime is how long a refresh may take in all.
func (c *Client) refreshTime() time.Duration { return 4 * c.cfg.ProviderTimeout }

// refreshKey names the refresh of s. The access token is in it because some
// providers let the refresh token stay the same, and the next refresh must ask
// again.
func refreshKey(s *Session) markKey {
	return newMarkKey("refresh", s.id, s.tokens.AccessToken+"\x00"+s.tokens.RefreshToken)
}

// refreshAlone refreshes s while no other replica does, or takes what another
// has just made of it.
func (c *Client) refreshAlone(ctx context.Context, s *Session, handle string) (*Session, error) {
	if c.cfg.Store == nil {
		return c.refresh(ctx, s, handle)
	}
	release, newer, err := c.leaseRefresh(ctx, s, handle)
	if err != nil {
		return nil, err
	}
	defer release()
	if newer == nil {
		next, err := c.refresh(ctx, s, handle)
		if !errors.Is(err, ErrLoginRequired) {
			return next, err
		}
		// Where the Store cannot hold a lease, two may have asked at once, and the
		// provider took the refresh token from the other one.
		if newer, _ = c.newerSession(ctx, s, handle); newer == nil {
			return nil, err
		}
	}
	if newer.tokens.RefreshToken == "" {
		return nil, failf("refresh", CodeLoginRequired, "the provider did not take the refresh token")
	}
	return newer, nil
}

// refresh asks the provider and checks what it answers. A session beside an
// error is the old one with new tokens, to be saved.
func (c *Client) refresh(ctx context.Context, s *Session, handle string) (*Session, error) {
	m, err := c.effectiveMetadata(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := c.requestTokens(ctx, m, url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {s.tokens.RefreshToken},
	})
	if err != nil {
		return nil, refreshRefusal(err)
	}
	if tokens.refreshToken == "" { // RFC 6749 section 6: the old one stays
		tokens.refreshToken = s.tokens.RefreshToken
	}
	next := s.copy()
	next.tokens, next.tokensAt = tokens.token(), c.now()
	next.seen = c.now().Truncate(time.Second)
	renewed := next.copy()
	err = c.renewIDToken(ctx, m, renewed, tokens)
	down := errors.Is(err, ErrProviderUnavailable)
	if err != nil && !down {
		return nil, err
	}
	if down {
		renewed = next
	}
	// The provider may have spent the old refresh token, so the new one is put
	// away before anything else can go wrong.
	saveErr := c.keepRefreshed(ctx, s, renewed, handle)
	switch {
	case errors.Is(saveErr, ErrNoSession):
		return nil, saveErr
	case saveErr != nil:
		return renewed, &unsavedError{saveErr}
	}
	return renewed, err
}

// renewIDToken puts the ID Token of tokens, if there is one, in the place of s's.
func (c *Client) renewIDToken(ctx context.Context, m *Metadata, s *Session, tokens *tokenResponse) error {
	if tokens.idToken == "" {
		return nil
	}
	token, err := c.verifyIDToken(ctx, m, tokens.idToken, &expectedIDToken{accessToken: tokens.accessToken})
	if err != nil {
		return err
	}
	if err := checkSameLogin(token, s); err != nil {
		return fail("refresh", CodeTokenRefused, err)
	}
	s.idToken = splitJWS(token.raw)
	s.decodeLater()
	if token.sid != "" { // a logout by the provider will name this one
		s.marks[1] = sessionMark(token.issuer, token.sid)
	}
	if end := token.sessionExpiry; !end.IsZero() && (s.ceiling.IsZero() || end.Before(s.ceiling)) {
		s.ceiling = end
	}
	if c.cfg.EndWithIDToken {
		s.tokenEnd = token.expiry
	}
	return nil
}

// renewUserInfo returns next, which a refresh has made of s and which is put away,
// with new claims from UserInfo; next itself beside an error that says nothing
// about it.
func (c *Client) renewUserInfo(ctx context.Context, s, next *Session, handle string) (*Session, error) {
	m, err := c.effectiveMetadata(ctx)
	if err != nil {
		return next, err
	}
	userInfo, err := c.userInfo(ctx, m, next.tokens.AccessToken, next.Subject())
	if errors.Is(err, ErrProviderUnavailable) {
		return next, err
	}
	if err != nil {
		return nil, err
	}
	renewed := next.copy()
	renewed.userInfo, renewed.withUserInfo = userInfo, true
	if err := c.keepRefreshed(ctx, s, renewed, handle); errors.Is(err, ErrNoSession) {
		return nil, err
	} else if err != nil {
		return next, err
	}
	return renewed, nil
}

// refreshRefusal turns a spent refresh token into what callers branch on.
func refreshRefusal(err error) error {
	var refusal *ProviderError
	if errors.As(err, &refusal) && refusal.ErrorCode == "invalid_grant" {
		return &Error{Op: "refresh", Code: CodeLoginRequired, Err: refusal}
	}
	return err
}

// checkSameLogin is OIDC Core 12.2: a refreshed ID Token continues the login
// that the session came from. Its iss and aud have been checked already.
func checkSameLogin(token *idToken, s *Session) error {
	first, err := readIDToken(s.idToken.payload)
	if err != nil {
		return err
	}
	slices.Sort(first.audience)
	audience := slices.Sorted(slices.Values(token.audience))
	switch {
	case token.subject != first.subject:
		return refuse(idTokenName, "sub", "the first ID Token's", token.subject)
	case !slices.Equal(audience, first.audience):
		return refuse(idTokenName, "aud", "the first ID Token's", fmt.Sprint(audience))
	case token.azp != first.azp:
		return refuse(idTokenName, "azp", "the first ID Token's", token.azp)
	case !token.authTime.IsZero() && !first.authTime.IsZero() && !token.authTime.Equal(first.authTime):
		return refuseTime(idTokenName, "auth_time", "the first ID Token's", token.authTime)
	case token.nonce != "" && token.nonce != first.nonce:
		return refuse(idTokenName, "nonce", "the first ID Token's or none", "")
	}
	return nil
}
