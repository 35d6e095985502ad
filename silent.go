package oidcrp

// This file signs in people who have a session at the provider, without a click.

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// The values of the silent sign-in's cookie. No access depends on it, so it is not
// sealed. The first page load only shows that the browser keeps cookies: without them,
// the way back from the provider would lead to an error page, or to the provider again.
const (
	silentReady = "0" // cookies are kept, and nothing was tried yet
	silentDone  = "1" // tried, or not to be tried
)

// silentPatience bounds what a public page waits for the provider's metadata.
const silentPatience = 3 * time.Second

// SignInSilently wraps a public page, and signs a person who has a session at the
// provider in without a click: the page load goes to the provider with prompt=none (OIDC
// Core 3.1.2.1) and comes back. It tries once in a browser session, at the second page
// load, since the first one shows whether the browser keeps cookies; not after a sign-in,
// also at another member of a [Group], or a logout, so that a logout lasts; and for page
// loads only, by their Fetch Metadata: not for scripts, frames, prefetches, posts or
// programs. If the provider does not know the person, wants to ask something
// (login_required, interaction_required, consent_required, account_selection_required),
// or anything else fails, next serves the page, to a person who is not signed in.
// [Trace.LoginRefused] runs then too.
//
// The login asks for what [Config.Login] says, with "none" as its Prompt. Wrap the app
// with [Client.Middleware], which brings the person back. It panics if [Config.Validate]
// refuses that prompt, as package proconnect does together with hints or levels.
func (c *Client) SignInSilently(next http.Handler) http.Handler {
	if err := c.validateSilent(); err != nil {
		panic("oidcrp: SignInSilently: " + strings.TrimPrefix(err.Error(), "oidcrp: "))
	}
	c.silent.Store(true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		if location := c.trySilently(w, r); location != "" {
			c.redirect(w, r, location)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// trySilently returns where to send the browser for a silent sign-in, "" if none is to be
// tried now.
func (c *Client) trySilently(w http.ResponseWriter, r *http.Request) string {
	state := c.cookies.read(r, c.cookies.silent)
	_, err := c.anySession(r) // a login would end one at another member of the Group
	_, elsewhere := SessionFromContext(r.Context())
	switch {
	case state == silentDone:
	case err == nil, elsewhere: // signed in
		c.putSilent(w, silentDone)
	case codeOf(err) != CodeNoSession: // in an outage, the person may well be signed in
	case !loadsDocument(r):
	case state != silentReady:
		c.putSilent(w, silentReady)
	default:
		c.putSilent(w, silentDone)
		ctx, cancel := context.WithTimeout(r.Context(), silentPatience)
		defer cancel()
		asked := &AuthOptions{Prompt: "none", ReturnTo: requestPath(r), silent: true}
		if location, err := c.BeginLogin(w, r.WithContext(ctx), asked); err == nil {
			return location
		}
	}
	return ""
}

// putSilent sets the silent sign-in's cookie for a browser session. It must come back
// with the provider's response, as a login's own cookie must.
func (c *Client) putSilent(w http.ResponseWriter, value string) {
	c.cookies.put(w, c.cookies.silent, value, 0, c.logins.sameSite)
	w.Header().Set("Cache-Control", "no-store")
}

// endSilence lets no silent sign-in follow a logout, at any member of the Client's Group.
func (c *Client) endSilence(w http.ResponseWriter) {
	for _, member := range c.withOthers() {
		if member.silent.Load() {
			member.putSilent(w, silentDone)
		}
	}
}

// loadsDocument reports whether r is a page load of a person, by its Fetch Metadata. Where
// a service worker sends it again, its destination is empty.
func loadsDocument(r *http.Request) bool {
	dest := r.Header.Get("Sec-Fetch-Dest")
	return kindOf(r) == navigation && (dest == "document" || dest == "empty")
}

// silentlyFailed returns the page to go back to if the login that failed with cause was a
// silent one, "" if it was not, or if the page would send the browser to the provider
// again.
func (c *Client) silentlyFailed(r *http.Request, pending *pendingLogin, cause error) string {
	if !pending.ours || !pending.ticket.Silent || c.cookies.read(r, c.cookies.silent) != silentDone {
		return ""
	}
	if codeOf(cause) == CodeLoginRequired {
		c.log.DebugContext(r.Context(), "a silent sign-in signed nobody in", "error", cause)
	} else {
		c.log.WarnContext(r.Context(), "a silent sign-in failed", "error", cause)
	}
	page := pending.ticket.ReturnTo
	if t := pending.transaction; t != nil {
		page = t.ReturnTo
	}
	return c.absolute(c.returnTo(page))
}
