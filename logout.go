package oidcrp

// This file implements OpenID Connect RP-Initiated Logout 1.0, and revocation
// (RFC 7009) of the tokens that a session kept.

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

const (
	// logoutLifetime is how long the way through the provider's logout may take.
	logoutLifetime = 15 * time.Minute
	// logoutPatience bounds each request to the provider before that: someone
	// who wants to leave does not wait for a provider that is down.
	logoutPatience = 3 * time.Second
)

// A logoutState is what the return from the provider is checked against.
type logoutState struct {
	State    string `json:"s"`
	ReturnTo string `json:"r,omitempty"`
	Started  int64  `json:"t"`
}

// Logout signs the person out, here and at the provider, and sends the browser
// on: see [Client.BeginLogout]. The middleware's logout path is Logout with
// return_to, for requests that are sure to come from the app itself.
func (c *Client) Logout(w http.ResponseWriter, r *http.Request, returnTo string) {
	c.redirect(w, r, c.BeginLogout(w, r, returnTo))
}

// BeginLogout ends the session that r carries, on w, and returns the URL to send
// the browser to: the provider's end_session_endpoint, so that the person is
// signed out there too, or returnTo, a local path, when the provider has none
// or there was no session. It must be a browser redirect: the provider's own
// session is in the browser's cookies.
//
// The session is gone before the browser leaves, whatever becomes of the rest.
// A failing provider is no error, and neither is a failing [Store]: both are
// logged.
func (c *Client) BeginLogout(w http.ResponseWriter, r *http.Request, returnTo string) string {
	ctx := r.Context()
	s, err := c.Session(r)
	if endErr := c.EndSession(w, r); endErr != nil {
		c.cfg.Logger.WarnContext(ctx, "could not delete a stored session", "error", endErr)
	}
	local := c.absolute(c.returnTo(returnTo))
	if returnTo == "" {
		local = c.absolute(c.paths.logoutCallback) // the page that says so
	}
	if err != nil {
		return local
	}
	location := local
	metadataCtx, cancel := context.WithTimeout(ctx, logoutPatience)
	defer cancel()
	if m, err := c.effectiveMetadata(metadataCtx); err == nil {
		c.revokeTokens(ctx, m, s)
		if m.EndSessionEndpoint != "" {
			location = c.endSessionURL(w, m, s, returnTo)
		}
	}
	c.events.loggedOut(ctx, LoggedOutEvent{Subject: s.Subject(), AtProvider: location != local})
	return location
}

// endSessionURL is RP-Initiated Logout 2. The state is sealed in a cookie and
// compared when the browser comes back.
func (c *Client) endSessionURL(w http.ResponseWriter, m *Metadata, s *Session, returnTo string) string {
	endpoint, err := url.Parse(m.EndSessionEndpoint)
	if err != nil {
		return c.absolute(c.paths.logoutCallback)
	}
	state := logoutState{State: randomText(), Started: c.now().Unix()}
	if returnTo != "" {
		state.ReturnTo = c.returnTo(returnTo)
	}
	plain, _ := json.Marshal(state) // strings and a number
	// Without its cookie, the way back ends on the signed-out page all the same.
	if sealed, err := c.ring.seal(plain, c.associated(c.cookies.logout)); err == nil {
		c.setCookie(w, &http.Cookie{
			Name: c.cookies.logout, Value: sealed, MaxAge: int(logoutLifetime / time.Second),
		})
	}
	query := url.Values{
		"id_token_hint":            {s.IDToken()},
		"client_id":                {c.cfg.ClientID},
		"post_logout_redirect_uri": {c.cfg.PostLogoutRedirectURI},
		"state":                    {state.State},
	}
	if endpoint.RawQuery != "" {
		endpoint.RawQuery += "&"
	}
	endpoint.RawQuery += query.Encode()
	return endpoint.String()
}

// revokeTokens revokes the refresh token, or the access token when there is no
// other. It is a courtesy to the provider and never stands in the way.
func (c *Client) revokeTokens(ctx context.Context, m *Metadata, s *Session) {
	if s.tokens == nil || m.RevocationEndpoint == "" {
		return
	}
	form := url.Values{"token": {s.tokens.AccessToken}, "token_type_hint": {"access_token"}}
	if s.tokens.RefreshToken != "" {
		form = url.Values{"token": {s.tokens.RefreshToken}, "token_type_hint": {"refresh_token"}}
	}
	header := make(http.Header)
	err := c.authenticate(m, form, header)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutPatience)
		defer cancel()
		var answer *fetch.Response
		answer, err = c.http.Do(ctx, fetch.Request{
			Method: http.MethodPost, URL: m.RevocationEndpoint, Header: header, Form: form, Accept: "application/json",
		})
		if err == nil && answer.StatusCode != http.StatusOK {
			err = errorAnswer("revocation", answer)
		}
	}
	if err != nil {
		c.cfg.Logger.WarnContext(ctx, "could not revoke the tokens of a session", "error", err)
	}
}

// handleLogout logs out at once when the request is sure to come from the app
// itself: a POST that is not cross-origin, or a GET that the browser says is a
// page load from the same origin. Anything else gets a page with a button: a
// link on another site, or an image that somebody put into a page of the app.
func (c *Client) handleLogout(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	returnTo := localPath(formValue(r, "return_to"))
	sure := r.Header.Get("Sec-Fetch-Site") == "same-origin" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if r.Method == http.MethodPost {
		var protection http.CrossOriginProtection
		sure = protection.Check(r) == nil
	}
	if !sure {
		c.confirmLogoutPage(w, r, returnTo)
		return
	}
	c.Logout(w, r, returnTo)
}

// handleLogoutCallback takes the browser back from the provider. The session
// is long gone, so a state that does not match changes only where this leads.
func (c *Client) handleLogoutCallback(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	state, ok := c.openLogoutState(r)
	if ok {
		c.deleteCookie(w, c.cookies.logout, 0)
	}
	got := r.URL.Query().Get("state")
	same := subtle.ConstantTimeCompare([]byte(got), []byte(state.State)) == 1
	if !same && got != "" {
		c.cfg.Logger.InfoContext(r.Context(), "return from logout with another state")
	}
	if same && state.ReturnTo != "" {
		c.redirect(w, r, c.absolute(c.returnTo(state.ReturnTo)))
		return
	}
	c.signedOutPage(w, r)
}

func (c *Client) openLogoutState(r *http.Request) (state logoutState, ok bool) {
	cookie, err := r.Cookie(c.cookies.logout)
	if err != nil {
		return logoutState{}, false
	}
	plain, err := c.ring.open(cookie.Value, c.associated(c.cookies.logout))
	if err != nil || json.Unmarshal(plain, &state) != nil ||
		c.now().Sub(time.Unix(state.Started, 0)) > logoutLifetime {
		return logoutState{}, false
	}
	return state, true
}
