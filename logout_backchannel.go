package oidcrp

// This file implements OpenID Connect Back-Channel Logout 1.0: the provider
// notifies the app, server to server, that a session has ended.

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
	"github.com/oidcrp/oidcrp/internal/strictjson"
)

const (
	logoutTokenName  = "Logout Token"
	logoutTokenType  = "logout+jwt"
	logoutTokenEvent = "http://schemas.openid.net/event/backchannel-logout"
	// maxLogoutTokenAge is how old a Logout Token's iat may be. Its jti is stored
	// for longer than that, so that no token works twice.
	maxLogoutTokenAge = 10 * time.Minute
)

// BackChannelLogout handles r, the provider's request to end sessions: one of its
// own sessions for a Logout Token with sid, else every session of its sub. They
// end on every replica that shares the [Store], whether they are kept there or in
// cookies; without a Store, in this process. A session that begins later is not
// affected.
//
// It returns an [*Error]: [CodeInvalidRequest] for any other request,
// [CodeTokenRefused] with a [*TokenError], [CodeStoreUnavailable], or
// [CodeProviderUnavailable] when the keys cannot be fetched.
func (c *Client) BackChannelLogout(ctx context.Context, r *http.Request) error {
	var token logoutToken
	raw, err := readLogoutRequest(r)
	if err == nil {
		token, err = c.verifyLogoutToken(ctx, raw)
	}
	if err == nil {
		err = c.endSessions(ctx, token)
	}
	c.events.backChannelReceived(ctx, BackChannelEvent{
		Subject: token.subject, SID: token.sid, JTI: clean(token.jti, 100), Err: err})
	return err
}

// handleBackChannelLogout answers exactly 200 or 400 (Back-Channel Logout 2.8):
// a logout that failed for another reason than its token is a failure too.
func (c *Client) handleBackChannelLogout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	err := c.BackChannelLogout(r.Context(), r)
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	body, _ := json.Marshal(map[string]string{"error": "invalid_request", "error_description": string(codeOf(err))})
	w.Write(body)
}

// readLogoutRequest returns the token of a request. Other parameters are
// ignored (Back-Channel Logout 2.5).
func readLogoutRequest(r *http.Request) (string, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || err != nil || media != "application/x-www-form-urlencoded" {
		return "", failf("backchannel", CodeInvalidRequest, "not a posted form")
	}
	r.Body = http.MaxBytesReader(nil, r.Body, josekit.MaxEncryptedSize+maxForm)
	if err := r.ParseForm(); err != nil {
		return "", failf("backchannel", CodeInvalidRequest, "the form cannot be read")
	}
	return oneLogoutToken(r.PostForm)
}

func oneLogoutToken(form url.Values) (string, error) {
	if tokens := form["logout_token"]; len(tokens) == 1 {
		return tokens[0], nil
	}
	return "", failf("backchannel", CodeInvalidRequest, "there must be one logout_token")
}

// logoutToken is what a verified Logout Token says.
type logoutToken struct {
	issuer, subject, sid, jti string
}

// verifyLogoutToken is Back-Channel Logout 2.6, with the keys, the algorithm
// pin and, where ID Tokens are encrypted, the encryption of an ID Token.
func (c *Client) verifyLogoutToken(ctx context.Context, raw string) (logoutToken, error) {
	refused := func(err error) (logoutToken, error) {
		return logoutToken{}, fail("backchannel", CodeTokenRefused, err)
	}
	m, err := c.provider.metadata(ctx)
	if err != nil {
		return logoutToken{}, err
	}
	_, payload, header, err := c.flow.openIDToken(ctx, m, logoutTokenName, raw)
	if err != nil {
		return refused(err)
	}
	// Explicit typing is recommended, but not required (Back-Channel Logout 2.4,
	// 4.1). Many providers send the type JWT. The claims decide whether it is a
	// Logout Token.
	if typ := header.Typ; typ != "" && !strings.EqualFold(typ, "JWT") && typ != logoutTokenType {
		return refused(refuse(logoutTokenName, "typ", logoutTokenType+", JWT or none", typ))
	}
	claims, err := readIDToken(payload)
	if err != nil {
		return refused(renameToken(err))
	}
	jti, err := c.flow.rules.logoutToken(payload, claims)
	if err != nil {
		return refused(renameToken(err))
	}
	return logoutToken{issuer: claims.issuer, subject: claims.subject, sid: claims.sid, jti: jti}, nil
}

// logoutToken checks the claims of a Logout Token and returns its jti.
func (ru *rules) logoutToken(payload []byte, claims *idToken) (jti string, err error) {
	for _, rule := range []func(*idToken, *expectedIDToken) error{
		ru.checkIssuer, ru.checkAudience, ru.checkLogoutTimes,
	} {
		if err := rule(claims, nil); err != nil {
			return "", err
		}
	}
	return checkLogoutClaims(payload, claims)
}

// renameToken makes an error of an ID Token's rule one of a Logout Token.
func renameToken(err error) error {
	var refused *TokenError
	if errors.As(err, &refused) {
		refused.Token = logoutTokenName
	}
	return err
}

// checkLogoutTimes bounds the token's age by its iat. exp is checked if present:
// the specification requires it, but some providers do not send it.
func (ru *rules) checkLogoutTimes(t *idToken, _ *expectedIDToken) error {
	now, skew := ru.now(), ru.skew
	switch {
	case t.issuedAt.IsZero():
		return refuse(logoutTokenName, "iat", "one", "")
	case t.issuedAt.After(now.Add(skew)), t.issuedAt.Before(now.Add(-maxLogoutTokenAge - skew)):
		return refuseTime(logoutTokenName, "iat", "a time of the last 10 minutes", t.issuedAt)
	case !t.expiry.IsZero() && !now.Add(-skew).Before(t.expiry):
		return refuseTime(logoutTokenName, "exp", "a time to come", t.expiry)
	}
	return nil
}

// checkLogoutClaims checks what makes a token a Logout Token and nothing else,
// and returns its jti.
func checkLogoutClaims(payload []byte, t *idToken) (jti string, err error) {
	members, err := strictjson.Object(payload)
	if err != nil {
		return "", refuse(logoutTokenName, "claims", "one strict JSON object", err.Error())
	}
	events, eventsErr := strictjson.Object(members["events"])
	_, eventErr := strictjson.Object(events[logoutTokenEvent])
	jti, _, jtiErr := members.String("jti")
	_, hasNonce := members["nonce"]
	switch {
	case eventsErr != nil || eventErr != nil:
		return "", refuse(logoutTokenName, "events", "the back-channel logout event", "")
	case hasNonce:
		// "MUST NOT": a Logout Token must never pass for an ID Token.
		return "", refuse(logoutTokenName, "nonce", "none", "")
	case jtiErr != nil || jti == "":
		return "", refuse(logoutTokenName, "jti", "one", "")
	case t.subject == "" && t.sid == "":
		return "", refuse(logoutTokenName, "sub", "sub or sid", "")
	}
	return jti, nil
}

// endSessions sets the mark that the token asks for, unless it was seen before.
func (c *Client) endSessions(ctx context.Context, t logoutToken) error {
	// The longest time for which a token can be valid, and a moment more.
	remember := maxLogoutTokenAge + 2*c.flow.rules.skew + time.Second
	first, err := c.sessions.marks.first(ctx, t.issuer, t.jti, remember)
	if err != nil {
		return err
	}
	if !first {
		c.events.tokenReplayed(ctx, BackChannelEvent{Subject: t.subject, SID: t.sid, JTI: clean(t.jti, 100)})
		return fail("backchannel", CodeTokenRefused, refuse(logoutTokenName, "jti", "one not seen before", t.jti))
	}
	keys := []markKey{subjectMark(t.issuer, t.subject)}
	if t.sid != "" {
		keys = []markKey{sessionMark(t.issuer, t.sid), namelessMark(t.issuer, t.subject)}
	}
	for _, key := range keys {
		if err := c.sessions.revoke(ctx, key); err != nil {
			c.sessions.marks.forget(ctx, t.issuer, t.jti)
			return err
		}
	}
	return nil
}
