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
	"strconv"
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

// refreshTogether refreshes the tokens of s, and its claims from UserInfo if
// userInfo is set, once for all who ask at the same time. What follows is in the
// Store already if sessions are kept there; a session beside an error is the old
// one with new tokens.
func (c *Client) refreshTogether(ctx context.Context, s *Session, handle string, userInfo bool) (*Session, error) {
	if s.tokens == nil || s.tokens.RefreshToken == "" {
		return nil, failf("refresh", CodeLoginRequired, "the session has no refresh token")
	}
	keep := func(err error) bool { return err == nil || errors.Is(err, ErrLoginRequired) }
	key := refreshKey(s).String() + strconv.FormatBool(userInfo)
	return c.refreshes.Do(ctx, key, c.now(), keep, func() (*Session, error) {
		// One that waits longer must not be cut off by one that has gone.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.refreshTime())
		defer cancel()
		next, err := c.refreshAlone(ctx, s, handle, userInfo)
		ev := SessionRefreshedEvent{Subject: s.Subject(), Err: err}
		if err == nil {
			ev.Rotated = next.tokens.RefreshToken != s.tokens.RefreshToken
		}
		c.events.sessionRefreshed(ctx, ev)
		return next, err
	})
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
func (c *Client) refreshAlone(ctx context.Context, s *Session, handle string, userInfo bool) (*Session, error) {
	if c.cfg.Store == nil {
		return c.refresh(ctx, s, handle, userInfo)
	}
	release, newer, err := c.leaseRefresh(ctx, s, handle)
	if err != nil {
		return nil, err
	}
	defer release()
	switch {
	case newer == nil:
		next, err := c.refresh(ctx, s, handle, userInfo)
		if !errors.Is(err, ErrLoginRequired) {
			return next, err
		}
		// Where the Store cannot hold a lease, two may have asked at once, and the
		// provider took the refresh token from the other one.
		if newer, _ = c.newerSession(ctx, s, handle); newer == nil {
			return nil, err
		}
	case newer.tokens.RefreshToken == "":
		return nil, failf("refresh", CodeLoginRequired, "the provider did not take the refresh token")
	}
	if !userInfo || c.cfg.RefreshUserInfo {
		return newer, nil
	}
	m, err := c.effectiveMetadata(ctx)
	if err != nil {
		return nil, err
	}
	return c.renewUserInfo(ctx, m, s, newer, handle)
}

// refresh asks the provider and checks what it answers. A session beside an
// error is the old one with new tokens, to be saved.
func (c *Client) refresh(ctx context.Context, s *Session, handle string, userInfo bool) (*Session, error) {
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
	next.tokens = tokens.token()
	next.seen = c.now().Truncate(time.Second)
	renewed := next.copy()
	err = c.renewIDToken(ctx, m, renewed, tokens)
	if errors.Is(err, ErrProviderUnavailable) {
		return next, cmp.Or(err, c.keepRefreshed(ctx, s, next, handle))
	}
	if err != nil {
		return nil, err
	}
	// The provider may have spent the old refresh token, so the new one is put
	// away before anything else can go wrong.
	if err := c.keepRefreshed(ctx, s, renewed, handle); err != nil || !userInfo {
		return renewed, err
	}
	return c.renewUserInfo(ctx, m, s, renewed, handle)
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
	if end := token.sessionExpiry; !end.IsZero() && end.Before(s.ExpiresAt()) {
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
func (c *Client) renewUserInfo(ctx context.Context, m *Metadata, s, next *Session, handle string) (*Session, error) {
	userInfo, err := c.userInfo(ctx, m, next.tokens.AccessToken, next.Subject())
	if errors.Is(err, ErrProviderUnavailable) {
		return next, err
	}
	if err != nil {
		return nil, err
	}
	renewed := next.copy()
	renewed.userInfo = userInfo
	return renewed, c.keepRefreshed(ctx, s, renewed, handle)
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
