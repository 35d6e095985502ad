package oidcrp

// This file handles the authentication response.

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Callback takes the provider's response in r, exchanges the code, verifies the
// ID Token, calls UserInfo, runs [Config.OnLogin] and returns the resulting
// session. Nothing is sent to the browser: call [Client.StartSession] next, or
// [Client.RecoverLogin] with the error.
//
// The same response may arrive twice, from a double click or a reload: the code
// is exchanged once, and both calls return the same session. ctx limits only the
// wait: the exchange continues, because a reload may be waiting for it.
//
// It returns an [*Error]: [CodeTransactionLost] when this browser has no such
// login, [CodeProviderError] or [CodeClientRefused] with a [*ProviderError] when the provider refused,
// [CodeTokenRefused] with a [*TokenError], [CodeProviderUnavailable] when the
// provider failed during the exchange, [CodeLoginRefused] when OnLogin refused
// the login, [CodeSessionTooLarge] when the session cannot be saved, and others.
func (c *Client) Callback(ctx context.Context, r *http.Request) (*Session, error) {
	pending, err := c.logins.read(r)
	if err != nil {
		return nil, err
	}
	return pending.complete(ctx, r)
}

// StartSession signs a person in with a session that [Client.Callback]
// returned: it sets its cookies on w, ends the session that r may have carried, in a
// [Group] at any member, and forgets the login that led here. It returns an [*Error]:
// [CodeStoreUnavailable], [CodeCookieKeysUnavailable], [CodeSessionTooLarge]
// naming the largest claims, or [CodeNoSession] for a nil s.
func (c *Client) StartSession(w http.ResponseWriter, r *http.Request, s *Session) error {
	if s == nil {
		return &Error{Op: "session", Code: CodeNoSession}
	}
	login := s.login
	if login == nil { // not from Callback
		return c.start(w, r, s)
	}
	login.forget(w)
	if err := c.start(w, r, s); err != nil {
		if codeOf(err) != CodeCanceled { // a reload may still succeed
			c.events.loginRefused(r.Context(), login.event.Login, err)
		}
		return err
	}
	login.report.Do(func() { c.events.loginSucceeded(r.Context(), login.event) })
	return nil
}

// start keeps s, which replaces the sessions of r.
func (c *Client) start(w http.ResponseWriter, r *http.Request, s *Session) error {
	if err := c.sessions.start(w, r, s); err != nil {
		return err
	}
	c.endOthers(w, r)
	return nil
}

// RecoverLogin handles an error that [Client.Callback] returned for r. If the person can
// go on, it returns where to send the browser. A login that was lost, because its cookie
// is gone or it was finished before, leads a person who is signed in to their page, and
// anybody else to a new login, once. So does an error of the provider: a person whose
// session meets what the login was for goes to their page, and if the provider's page
// had expired, the login starts again, once. Otherwise it forgets the login and returns
// the error to report.
func (c *Client) RecoverLogin(w http.ResponseWriter, r *http.Request, cause error) (string, error) {
	pending, err := c.logins.read(r)
	if err != nil {
		c.logins.forgetUnread(w, r, err)
		c.events.loginRefused(r.Context(), "", cause)
		return "", cause
	}
	return c.recoverLogin(w, r, pending, cause)
}

func (c *Client) recoverLogin(
	w http.ResponseWriter, r *http.Request, pending *pendingLogin, cause error,
) (string, error) {
	switch codeOf(cause) {
	case CodeCanceled:
		return "", cause // the exchange goes on for a reload
	case CodeTransactionLost:
	default:
		pending.forget(w)
		c.events.loginRefused(r.Context(), pending.id(), cause)
		if page := c.silentlyFailed(r, pending, cause); page != "" {
			return page, nil
		}
		return c.afterProviderError(w, r, pending, cause)
	}
	params, ticket := pending.response.params, pending.ticket
	if pending.response.posted && c.flow.formPost() && pending.ours {
		// A post from the provider's site arrives without SameSite=Lax cookies.
		// A page load has them, so repeat the response as one.
		again, err := c.repeated(params)
		if err != nil {
			c.events.loginRefused(r.Context(), pending.id(), err)
			return "", err
		}
		return c.absolute(c.paths.callback) + "?" + again.Encode(), nil
	}
	_, err := c.anySession(r)
	switch {
	case err == nil:
		switch {
		case pending.response.err != nil:
			c.log.InfoContext(r.Context(), "a lost login failed; the person is signed in", "error", cause)
		case !pending.ours: // of another Client on the same paths, perhaps
			c.log.InfoContext(r.Context(), "callback for a login that this client did not start")
		}
		return c.absolute(c.returnTo(ticket.ReturnTo)), nil
	case ticket.Silent:
		c.events.loginRefused(r.Context(), pending.id(), cause)
		if page := c.silentlyFailed(r, pending, cause); page != "" {
			return page, nil
		}
		return "", cause
	case outage(err):
		cause = quote(err, pending.response.err)
	case pending.ours && !ticket.Restart && !params.Has("error"):
		// The code is not used.
		location, err := c.beginLogin(w, r, &AuthOptions{ReturnTo: ticket.ReturnTo}, true)
		return location, err // begin has reported the error
	}
	c.events.loginRefused(r.Context(), pending.id(), cause)
	return "", cause
}

// afterProviderError returns where the browser goes although the login failed with
// cause, if the provider reported that: to their page a person who is signed in, as
// after a login in another tab, unless this login was to make the session meet more;
// else, once, to a new login, if the page of the provider had expired.
func (c *Client) afterProviderError(
	w http.ResponseWriter, r *http.Request, pending *pendingLogin, cause error,
) (string, error) {
	t := pending.transaction
	var refusal *ProviderError
	if t == nil || pending.response.err == nil || !errors.As(cause, &refusal) {
		return "", cause
	}
	if s, err := c.Session(r); err == nil && c.settles(s, t) {
		c.log.InfoContext(r.Context(), "the provider refused a login; the person is signed in", "error", cause)
		return c.absolute(c.returnTo(t.ReturnTo)), nil
	}
	if !refusal.expired() || pending.ticket.Restart || t.Final {
		return "", cause
	}
	c.log.InfoContext(r.Context(), "the provider's page had expired; the login starts again", "error", cause)
	location, err := c.beginLogin(w, r, t.options(), true)
	return location, err // begin has reported the error
}

// settles reports whether s makes the login t unnecessary. A session from before a login
// that a page asked for does not: the page had found it wanting, and would do so again,
// without end. Nor does it before a login that asked for scopes of its own.
func (c *Client) settles(s *Session, t *transaction) bool {
	if (t.Asked || len(t.Scopes) > 0) && s.created.Unix() < t.Started {
		return false
	}
	switch {
	case t.ACR != nil && !slices.Contains(t.ACR, s.ACR()):
		return false
	case t.MaxAge != nil && !MaxAge(time.Duration(*t.MaxAge)*time.Second+1).Met(s, c.now()):
		return false
	}
	return c.demands.metBy(s, t.StepUp, c.now())
}

// repeated returns the parameters of a posted response that a page load repeats,
// with a mark that they were posted.
// If the login's cookie is SameSite=None and still did not arrive, it is lost.
// The code is then useless and is left out, because URLs are logged.
func (c *Client) repeated(params url.Values) (url.Values, error) {
	again := make(url.Values)
	for _, name := range []string{"state", "iss", "error", "error_description"} {
		if params.Has(name) {
			again.Set(name, params.Get(name))
		}
	}
	if c.logins.sameSite != http.SameSiteLaxMode || !params.Has("code") {
		return again, nil
	}
	mark, err := c.cookies.seal(c.logins.postedPurpose(), postedMark(params))
	if err != nil {
		return nil, fail("callback", CodeInternal, err)
	}
	again.Set("code", params.Get("code"))
	again.Set(postedParameter, mark)
	return again, nil
}

func (c *Client) handleCallback(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	pending, err := c.logins.read(r)
	if err != nil {
		c.logins.forgetUnread(w, r, err)
		c.events.loginRefused(r.Context(), "", err)
		c.problem(w, r, err)
		return
	}
	// The exchange runs in this goroutine even if the browser goes away, since a
	// reload may be waiting for it.
	session, err := pending.complete(context.WithoutCancel(r.Context()), r)
	if err != nil {
		location, err := c.recoverLogin(w, r, pending, err)
		if err != nil {
			c.problem(w, r, err)
			return
		}
		c.redirect(w, r, location)
		return
	}
	if err := c.StartSession(w, r, session); err != nil {
		if page := c.silentlyFailed(r, pending, err); page != "" {
			c.redirect(w, r, page)
			return
		}
		c.problem(w, r, err)
		return
	}
	c.redirect(w, r, c.absolute(session.ReturnTo()))
}
