package oidcrp

// This file uses the refresh token (OIDC Core 12).

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oidcrp/oidcrp/internal/once"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// Tokens says whether the access and refresh tokens are kept and refreshed. The
// zero value drops them after the login.
type Tokens struct {
	// Keep keeps the access and refresh tokens in the session, for apps that
	// call an API with them. If false, they are dropped after login.
	Keep bool
	// RefreshBefore makes Middleware refresh the tokens of a session in use when
	// its access token expires within that time. It needs a refresh token, and an
	// expires_in from the provider. If zero, only [Client.Refresh] and
	// [Session.HTTPClient] refresh.
	RefreshBefore time.Duration
	// RefreshUserInfo makes a refresh by Middleware or HTTPClient fetch UserInfo
	// again, as Client.Refresh always does. If false, the claims stay as they
	// are, and a role that the provider takes away stays until the next login.
	RefreshUserInfo bool
	// RefreshFailure is how Middleware treats a session that it cannot
	// refresh. The zero value is KeepSession.
	RefreshFailure RefreshFailure
	// RevokeAtLogout makes a logout revoke the kept refresh token, or else the access
	// token (RFC 7009), before the browser goes to the provider's end_session_endpoint.
	// Some providers, such as Keycloak, end their own session with it, and the logout
	// then reaches neither the other apps nor a provider behind them. If false, tokens
	// are revoked only where the provider has no end_session_endpoint.
	RevokeAtLogout bool
	// Extra are parameters that only this provider knows, sent with every request for
	// tokens: AD FS's resource, an audience. It may not name one that this package sends
	// itself. If nil, none.
	Extra url.Values `json:"-"`
	// RefreshScopes is the scope parameter of a refresh (RFC 6749 section 6), for a provider
	// that gives the access token of one API at a time, such as Entra. It needs Keep. If
	// nil, the parameter is not sent, and the scopes are those of the login.
	RefreshScopes []string
}

// refresher owns the refreshes: one at a time for each session, on all
// replicas.
type refresher struct {
	flow     *flow
	sessions *sessions
	shared   *storage // for leases; nil without a Store
	settings Tokens
	timeout  time.Duration // of a refresh in all
	events   *events
	log      *slog.Logger
	now      func() time.Time

	running   once.Group[refreshed]     // by the session's tokens
	downUntil atomic.Pointer[time.Time] // no automatic refresh before this time; nil: any time
	failing   recently                  // sessions that the provider would not refresh
	rejecting recently                  // sessions whose refreshed ID Token was refused
}

// refreshed is the result of a refresh that brought new tokens.
type refreshed struct {
	session  *Session // with the new tokens; if rejected is set, with the new refresh token only
	userInfo bool     // its UserInfo claims are new too
	unsaved  error    // why it is not in the Store; nil if it is
	stale    error    // why its claims are still the old ones, if new ones were requested
	refused  error    // why the new claims cannot be used; the session keeps its old ones
	rejected error    // why the ID Token cannot be used; the access token beside it is not used either
}

// settled reports whether nothing went wrong after the provider issued the
// tokens.
func (r refreshed) settled() bool { return r.err() == nil }

// err returns what went wrong after the provider issued the tokens.
func (r refreshed) err() error {
	for _, err := range []error{r.rejected, r.unsaved, r.stale, r.refused} {
		if err != nil {
			return err
		}
	}
	return nil
}

// together refreshes the tokens of k, and then its claims from UserInfo if
// userInfo is set: each once for all callers with the same old tokens, at the same
// time or a moment later. After an error, k keeps its tokens.
func (f *refresher) together(ctx context.Context, k kept, userInfo bool) (refreshed, error) {
	s := k.session
	if s.tokens == nil || s.tokens.RefreshToken == "" {
		return refreshed{}, failf("refresh", CodeLoginRequired, "the session has no refresh token")
	}
	key := tokenKey(s).String()
	next, err := f.share(ctx, key, func(ctx context.Context) (refreshed, error) {
		next, err := f.alone(ctx, k)
		if err == nil && userInfo && next.settled() {
			next, err = f.renewUserInfo(ctx, k, next)
		}
		f.report(ctx, s, next, err)
		return next, err
	})
	if err == nil && next.unsaved != nil {
		next, err = f.saveLate(ctx, k, next)
	}
	if err != nil || !userInfo || next.userInfo || !next.settled() {
		return next, err
	}
	// Another caller had the tokens refreshed without UserInfo.
	return f.share(ctx, key+" and UserInfo", func(ctx context.Context) (refreshed, error) {
		renewed, err := f.renewUserInfo(ctx, k, next)
		f.report(ctx, s, renewed, err)
		return renewed, err
	})
}

// share runs a step of a refresh once for all its callers.
func (f *refresher) share(
	ctx context.Context, key string, step func(context.Context) (refreshed, error),
) (refreshed, error) {
	// A step that refreshed the tokens is not repeated: the old refresh token may
	// no longer work.
	keep := func(err error) bool { return err == nil || errors.Is(err, CodeLoginRequired) }
	next, err := f.running.Do(ctx, key, f.now(), keep, func() (refreshed, error) {
		// The step must not end when the first caller gives up: others wait for it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
		defer cancel()
		return step(ctx)
	})
	switch {
	case err != nil && gaveUp(ctx):
		return refreshed{}, fail("refresh", CodeCanceled, err)
	case errors.Is(err, once.ErrPanic):
		return refreshed{}, fail("refresh", CodeInternal, err)
	}
	return next, err
}

func (f *refresher) report(ctx context.Context, s *Session, next refreshed, err error) {
	ev := SessionEvent{Issuer: s.Issuer(), SessionID: s.ID(), Subject: s.Subject(), Err: err}
	if err == nil {
		ev.Err = next.err()
		ev.Rotated = next.session.tokens.RefreshToken != s.tokens.RefreshToken
	}
	f.events.sessionRefreshed(ctx, ev)
}

// saveLate saves the result of a refresh of k, for which the Store had failed.
// Only this process has the new tokens, and the old refresh token may no longer
// work.
func (f *refresher) saveLate(ctx context.Context, k kept, next refreshed) (refreshed, error) {
	newer, err := f.updated(ctx, k)
	if err == nil && newer == nil {
		err = f.sessions.keeper.update(ctx, k, next.session)
	}
	switch {
	case errors.Is(err, CodeNoSession):
		return refreshed{}, err
	case newer != nil:
		return refreshed{session: newer}, nil
	}
	next.unsaved = err
	return next, nil
}

// updated returns the session with newer tokens than k's that somebody else has
// saved, nil if there is none. Its error is [CodeNoSession] if k has ended.
func (f *refresher) updated(ctx context.Context, k kept) (*Session, error) {
	newer, err := f.sessions.keeper.updated(ctx, k)
	if err != nil || newer == nil || tokenKey(newer) == tokenKey(k.session) {
		return nil, err
	}
	return newer, nil
}

// alone refreshes k while no other replica does, or returns the result of another
// replica.
func (f *refresher) alone(ctx context.Context, k kept) (refreshed, error) {
	if f.shared == nil {
		return f.refresh(ctx, k)
	}
	release, newer, err := f.lease(ctx, k)
	if err != nil {
		return refreshed{}, err
	}
	defer release()
	if newer == nil {
		next, err := f.refresh(ctx, k)
		if !errors.Is(err, CodeLoginRequired) {
			return next, err
		}
		// If the Store cannot hold a lease, two replicas may have asked at the same
		// time, and the provider accepted only the other one's refresh token.
		if newer, _ = f.updated(ctx, k); newer == nil {
			return refreshed{}, err
		}
	}
	if newer.tokens.RefreshToken == "" {
		return refreshed{}, failf("refresh", CodeLoginRequired, "the provider did not accept the refresh token")
	}
	return refreshed{session: newer}, nil
}

// refresh uses the refresh token, checks the response, and saves the result.
func (f *refresher) refresh(ctx context.Context, k kept) (refreshed, error) {
	s := k.session
	m, err := f.flow.provider.metadata(ctx)
	if err != nil {
		return refreshed{}, err
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.tokens.RefreshToken}}
	addValues(form, "scope", []string{joined(f.settings.RefreshScopes)})
	tokens, err := f.flow.requestTokens(ctx, m, form)
	if err != nil {
		return refreshed{}, asLoginRequired(err)
	}
	if tokens.refreshToken == "" { // RFC 6749 section 6: the old one stays
		tokens.refreshToken = s.tokens.RefreshToken
	}
	next := refreshed{session: s.copy()}
	next.session.tokens, next.session.tokensAt = tokens.token(), f.now()
	next.session.seen, next.session.renewed = f.now().Truncate(time.Second), f.sessions.renewal(s)
	renewed, err := f.renewIDToken(ctx, m, next.session, tokens)
	switch {
	case errors.Is(err, CodeProviderUnavailable):
		next.stale = err
	case err != nil:
		return f.keepRotated(ctx, k, tokens, err)
	default:
		next.session = renewed
	}
	if err := f.fit(&next, s); err != nil {
		return refreshed{}, err
	}
	// The old refresh token may no longer work, so the new one is saved before
	// anything else can fail.
	err = f.sessions.keeper.update(ctx, k, next.session)
	if errors.Is(err, CodeNoSession) {
		return refreshed{}, err
	}
	next.unsaved = err
	return next, nil
}

// fit makes sure that the session of next, a refresh of s, can be kept. If it is too
// large, it keeps what s says about the person: the new tokens are needed in any case.
func (f *refresher) fit(next *refreshed, s *Session) error {
	err := f.sessions.keeper.fits(next.session)
	if err == nil {
		return nil
	}
	smaller := s.copy()
	smaller.tokens, smaller.tokensAt = next.session.tokens, next.session.tokensAt
	smaller.seen, smaller.renewed = next.session.seen, next.session.renewed
	smaller.ceiling, smaller.tokenEnd, smaller.sid = next.session.ceiling, next.session.tokenEnd, next.session.SID()
	if f.sessions.keeper.fits(smaller) != nil {
		return err
	}
	next.session, next.refused = smaller, err
	return nil
}

// keepRotated returns the result of a refresh of k whose ID Token was refused for
// cause. The session stays what it was, but the old refresh token may be spent:
// if the provider has issued another one, the next refresh needs that. One that came
// with an ID Token about another person is not taken.
func (f *refresher) keepRotated(ctx context.Context, k kept, got *tokenResponse, cause error) (refreshed, error) {
	if got.refreshToken == k.session.tokens.RefreshToken || f.namesAnother(got.idToken, cause, k.session) {
		return refreshed{}, cause
	}
	next := k.session.copy()
	tokens := *next.tokens
	tokens.RefreshToken = got.refreshToken
	next.tokens, next.renewed = &tokens, f.sessions.renewal(next)
	if f.sessions.keeper.fits(next) != nil {
		return refreshed{}, cause
	}
	err := f.sessions.keeper.update(ctx, k, next)
	if errors.Is(err, CodeNoSession) {
		return refreshed{}, err
	}
	return refreshed{session: next, rejected: cause, unsaved: err}, nil
}

// namesAnother reports whether an ID Token that was refused for cause names another
// person than s, as far as it can be read. It was not verified, which does not matter
// here: it can only make the client stricter.
func (f *refresher) namesAnother(raw string, cause error, s *Session) bool {
	var refused *TokenError
	if errors.As(cause, &refused) && refused.Check == "sub" {
		return true
	}
	_, payload, _ := splitJWS(raw)
	members, err := strictjson.Object(payload)
	if err != nil {
		return false
	}
	iss, _, _ := members.String("iss")
	sub, _, _ := members.String("sub")
	// An iss that this client does not accept is that of nobody here.
	return sub != s.Subject() || iss != s.Issuer() && f.flow.rules.accepts(iss)
}

// renewIDToken returns s with the ID Token of tokens in place of its own, or s if
// tokens has none.
func (f *refresher) renewIDToken(ctx context.Context, m *Metadata, s *Session, tokens *tokenResponse) (*Session, error) {
	if tokens.idToken == "" {
		return s, nil
	}
	token, err := f.flow.verifyIDToken(ctx, m, tokens.idToken, &expectedIDToken{accessToken: tokens.accessToken})
	if err != nil {
		return nil, err
	}
	if err := checkSameLogin(token, s); err != nil {
		return nil, fail("refresh", CodeTokenRefused, err)
	}
	return f.sessions.withIDToken(s, token), nil
}

// renewUserInfo returns next, the saved result of a refresh of k, with new claims
// from UserInfo.
func (f *refresher) renewUserInfo(ctx context.Context, k kept, next refreshed) (refreshed, error) {
	m, err := f.flow.provider.metadata(ctx)
	if err != nil {
		next.stale = err
		return next, nil
	}
	userInfo, err := f.flow.userInfo(
		ctx, m, next.session.tokens.AccessToken, next.session.Issuer(), next.session.Subject())
	if errors.Is(err, CodeProviderUnavailable) {
		next.stale = err
		return next, nil
	}
	if err != nil {
		next.refused = err
		return next, nil
	}
	renewed := next.session.copy()
	if userInfo != nil { // else the provider has no UserInfo endpoint any more
		renewed = f.sessions.withUserInfo(renewed, userInfo)
	}
	renewed.renewed = f.sessions.renewal(renewed)
	if err := f.sessions.keeper.fits(renewed); err != nil { // the new tokens are good all the same
		next.refused = err
		return next, nil
	}
	if err := f.sessions.keeper.update(ctx, k, renewed); errors.Is(err, CodeNoSession) {
		return refreshed{}, err
	} else if err != nil {
		next.stale = err
		return next, nil
	}
	return refreshed{session: renewed, userInfo: true}, nil
}

// asLoginRequired returns CodeLoginRequired for a refresh token that the provider
// no longer accepts, and any other error unchanged.
func asLoginRequired(err error) error {
	var refusal *ProviderError
	if errors.As(err, &refusal) && (refusal.ErrorCode == "invalid_grant" || blamesRefreshToken(refusal)) {
		return &Error{Op: "refresh", Code: CodeLoginRequired, Err: refusal}
	}
	return err
}

// blamesRefreshToken reports whether an invalid_request says that the refresh token
// is dead, which is invalid_grant by RFC 6749 section 5.2. Dex answers so.
func blamesRefreshToken(e *ProviderError) bool {
	text := strings.ReplaceAll(strings.ToLower(e.ErrorDescription), "_", " ")
	return e.ErrorCode == "invalid_request" && strings.Contains(text, "refresh token") &&
		slices.ContainsFunc([]string{"invalid", "claimed", "expired", "revoked", "already", "unknown", "not found"},
			func(word string) bool { return strings.Contains(text, word) })
}

// checkSameLogin is OIDC Core 12.2: a refreshed ID Token continues the login
// that the session came from. Its iss and aud are ones that this client accepts.
//
// A later auth_time is accepted within the same session of the provider, although
// the specification has the first one repeated: the person has authenticated again
// there, for another app perhaps.
func checkSameLogin(token *idToken, s *Session) error {
	first, err := readIDToken([]byte(s.claims.text))
	if err != nil {
		return err
	}
	slices.Sort(first.audience)
	audience := slices.Sorted(slices.Values(token.audience))
	switch {
	case token.issuer != first.issuer:
		return refuseToken(idTokenName, "iss", "the first ID Token's", token.issuer)
	case token.subject != first.subject:
		return refuseToken(idTokenName, "sub", "the first ID Token's", token.subject)
	case !slices.Equal(audience, first.audience):
		return refuseToken(idTokenName, "aud", "the first ID Token's", fmt.Sprint(audience))
	case token.azp != first.azp:
		return refuseToken(idTokenName, "azp", "the first ID Token's", token.azp)
	case token.issuedAt.Before(first.issuedAt):
		return refuseTokenTime(idTokenName, "iat", "that of the ID Token before it or later", token.issuedAt)
	case !continuesAuthTime(token, first):
		return refuseTokenTime(idTokenName, "auth_time", "the first ID Token's", token.authTime)
	case token.nonce != "" && token.nonce != first.nonce:
		return refuseToken(idTokenName, "nonce", "the first ID Token's or none", "")
	}
	return nil
}

func continuesAuthTime(token, first *idToken) bool {
	switch {
	case token.authTime.IsZero(), first.authTime.IsZero(), token.authTime.Equal(first.authTime):
		return true
	}
	return token.authTime.After(first.authTime) && token.sid == first.sid
}
