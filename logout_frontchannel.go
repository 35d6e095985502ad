package oidcrp

// This file implements OpenID Connect Front-Channel Logout 1.0: the provider's
// logout page loads a page of this app in a frame.

import (
	"net/http"
)

// handleFrontchannelLogout ends the session of the browser that loads it, if iss
// and sid are those of the session (Front-Channel Logout 3). This works only if
// the browser sends this app's cookies from a frame in the provider's page. The
// response is always the same, and any site may frame it. A request without iss and
// sid changes nothing, or any site could log people out. It is the sid that no other site
// knows: [Provider.FrontchannelLogoutWithoutIssuer] does without the iss. While
// sessions cannot be read, it is done later, without deleting the browser's cookies.
func (c *Client) handleFrontchannelLogout(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	query := r.URL.Query()
	iss, sid := query["iss"], query["sid"]
	switch {
	case len(sid) != 1 || sid[0] == "":
	case len(iss) == 1 && iss[0] != "":
		c.frontChannelLogout(w, r, iss[0], sid[0])
	case len(iss) == 0 && c.logoutRules.withoutIssuer:
		c.frontChannelLogout(w, r, "", sid[0])
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write([]byte("<!doctype html><title>-</title>"))
}

// frontChannelLogout is handleFrontchannelLogout without its answer. iss is empty if the
// provider sends none.
func (c *Client) frontChannelLogout(w http.ResponseWriter, r *http.Request, iss, sid string) {
	if iss != "" && !c.flow.rules.accepts(iss) {
		return
	}
	s, err := c.Session(r)
	if outage(err) {
		// The provider does not ask again, and whether the sid is that of the session
		// will be seen when it can be read.
		c.log.WarnContext(r.Context(), "could not read a session that the provider ends", "error", err)
		c.sessions.endLater(r, iss, sid)
	}
	if err != nil || !s.isOf(iss, sid) {
		return
	}
	if err := c.EndSession(w, r); err != nil {
		c.log.WarnContext(r.Context(), "could not delete a stored session", "error", err)
	}
	// The other sessions of the provider's session end too, unless it ends too many,
	// which is logged.
	key, subject := sessionMark(s.Issuer(), sid), subjectMark(s.Issuer(), s.Subject())
	if !c.sessions.allowMarks(r.Context(), 1) {
		c.log.DebugContext(r.Context(), "the other sessions of a sid were not ended", "sid", sid)
	} else if err := c.sessions.revoke(r.Context(), key, subject); err != nil {
		c.log.WarnContext(r.Context(), "could not mark a session as over", "error", err)
		c.sessions.revokeLater(key, subject)
	}
	c.events.loggedOut(r.Context(), SessionEvent{
		Issuer: s.Issuer(), SessionID: s.ID(), Subject: s.Subject(), AtProvider: true})
}
