package oidcrp

// This file uses the refresh token (OIDC Core 12).

import (
	"cmp"
	"context"
	"crypto/sha256"
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
// Requests of one session that come together in this process share one refresh.
// The session's own lifetime is not extended, and it continues as the same
// session: a refreshed ID Token must be about the same person and login.
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
	if s.tokens == nil || s.tokens.RefreshToken == "" {
		return nil, failf("refresh", CodeLoginRequired, "the session has no refresh token")
	}
	// The access token is in the key because some providers let the refresh
	// token stay the same, and the next refresh must ask again.
	sum := sha256.Sum256([]byte(s.id + s.tokens.AccessToken + s.tokens.RefreshToken))
	keep := func(err error) bool { return err == nil || errors.Is(err, ErrLoginRequired) }
	ctx := r.Context()
	refreshed, err := c.refreshes.Do(ctx, string(sum[:]), c.now(), keep, func() (*Session, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*c.cfg.ProviderTimeout)
		defer cancel()
		next, err := c.refresh(ctx, s)
		if next != nil && c.stored() {
			// The provider may have spent the old refresh token, so the new
			// one is put away even if nobody waits for it any more.
			err = cmp.Or(err, c.replaceStored(ctx, next, handle))
		}
		ev := SessionRefreshedEvent{Subject: s.Subject(), Err: err}
		if err == nil {
			ev.Rotated = next.tokens.RefreshToken != s.tokens.RefreshToken
		}
		c.events.sessionRefreshed(ctx, ev)
		return next, err
	})
	if refreshed != nil && !c.stored() {
		err = cmp.Or(err, c.saveCookie(w, r, refreshed))
	}
	if err != nil {
		return nil, fail("refresh", CodeProviderUnavailable, err)
	}
	return refreshed, nil
}

// refresh asks the provider and checks what it answers. A session beside an
// error is the old one with new tokens, to be saved.
func (c *Client) refresh(ctx context.Context, s *Session) (*Session, error) {
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
	err = c.renewClaims(ctx, m, renewed, tokens)
	if errors.Is(err, ErrProviderUnavailable) {
		return next, err
	}
	if err != nil {
		return nil, err
	}
	return renewed, nil
}

// renewClaims replaces the claims of s by those that tokens lead to.
func (c *Client) renewClaims(ctx context.Context, m *Metadata, s *Session, tokens *tokenResponse) error {
	if tokens.idToken != "" {
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
	}
	userInfo, err := c.userInfo(ctx, m, tokens.accessToken, s.Subject())
	if err != nil {
		return err
	}
	s.userInfo = userInfo
	return nil
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
