package oidcrp

// This file implements OpenID Connect Back-Channel Logout 1.0: the provider
// notifies the app, server to server, that a session has ended.

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"time"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
)

// BackchannelLogout handles r, the provider's request to end sessions: one of its own
// sessions for a Logout Token with sid, only that person's for one with sub too; else
// every session of its sub. They end on every replica that shares the [Store], whether
// they are kept there or in cookies; without a Store, in this process. The clocks of the
// replicas may differ by [Provider.ClockSkew]: a session that began within that time
// after now, at a login that did not find this record, may end too. A later login is not
// affected.
//
// At once and in each [Sessions.Lifetime], a provider can have 250,000 records of
// logouts kept by this process, one or two for each token; beyond that, its tokens are
// refused. [Client.RevokeSubject] and [Client.RevokeSession] are not limited.
//
// It returns an [*Error]: [CodeInvalidRequest] for any other request,
// [CodeTokenRefused] with a [*TokenError], [CodeStoreUnavailable], or
// [CodeProviderUnavailable] when the keys cannot be fetched.
func (c *Client) BackchannelLogout(ctx context.Context, r *http.Request) error {
	var token logoutToken
	raw, err := readLogoutRequest(r)
	if err == nil {
		token, err = c.flow.verifyLogoutToken(ctx, raw)
	}
	if err == nil {
		err = c.endSessions(ctx, token)
	}
	c.events.backChannelReceived(ctx, BackchannelEvent{
		Issuer: token.issuer, Subject: token.subject, SID: token.sid, JTI: token.jti, Err: err})
	return err
}

// handleBackchannelLogout answers exactly 200 or 400 (Back-Channel Logout 2.8):
// a logout that failed for another reason than its token is a failure too.
func (c *Client) handleBackchannelLogout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	err := c.BackchannelLogout(r.Context(), r)
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

// marks returns the keys of the marks that t asks for, and whose sessions they end; zero:
// anybody's.
func (t *logoutToken) marks() (keys []markKey, subject markKey) {
	if t.subject != "" {
		subject = subjectMark(t.issuer, t.subject)
	}
	switch {
	case t.sid == "":
		keys = []markKey{subject}
	case t.subject == "":
		keys = []markKey{sessionMark(t.issuer, t.sid)}
	default:
		keys = []markKey{sessionMark(t.issuer, t.sid), namelessMark(t.issuer, t.subject)}
	}
	return keys, subject
}

// endSessions sets the marks that the token asks for, unless it was seen before, or
// there are too many.
func (c *Client) endSessions(ctx context.Context, t logoutToken) error {
	keys, subject := t.marks()
	if !c.sessions.allowMarks(ctx, len(keys)) {
		limit := c.sessions.limit
		return fail("backchannel", CodeTokenRefused, tooManyLogouts(limit.max, limit.span))
	}
	// The longest time for which a token can be valid, and a moment more.
	remember := maxLogoutTokenAge + 2*c.flow.rules.skew + time.Second
	first, err := c.sessions.marks.first(ctx, t.issuer, t.jti, remember)
	if err != nil || !first {
		c.sessions.limit.giveBack(len(keys))
	}
	if err != nil {
		return err
	}
	if !first {
		c.events.tokenReplayed(ctx, BackchannelEvent{Issuer: t.issuer, Subject: t.subject, SID: t.sid, JTI: t.jti})
		return fail("backchannel", CodeTokenRefused, refuseToken(logoutTokenName, "jti", "one not seen before", t.jti))
	}
	for _, key := range keys {
		if err := c.sessions.revoke(ctx, key, subject); err != nil {
			c.sessions.marks.forget(ctx, t.issuer, t.jti)
			return err
		}
	}
	return nil
}
