package oidcrp

// This file implements OpenID Connect RP-Initiated Logout 1.0, and revocation
// (RFC 7009) of the tokens that a session kept.

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// logoutLifetime is how long the provider's part of a logout may take.
	logoutLifetime = 15 * time.Minute
	// logoutPatience bounds each request to the provider before the redirect: a
	// logout does not wait for a provider that is down.
	logoutPatience = 3 * time.Second
	// maxLogoutReturnTo bounds the return path in the logout's cookie.
	maxLogoutReturnTo = 1500
)

// logoutRules say how a logout goes on at the provider.
type logoutRules struct {
	withoutHint   bool         // it does not get the ID Token
	hintRequired  bool         // it gets the ID Token, or the logout ends here
	revoke        bool         // kept tokens are revoked even if it has an end_session_endpoint
	revokeNoHint  bool         // without token_type_hint
	withoutIssuer bool         // a front-channel logout needs no iss
	custom        *logoutQuery // nil: the parameters of the specification
}

func newLogoutRules(cfg *Config) logoutRules {
	p := &cfg.Provider
	rules := logoutRules{
		withoutHint: p.LogoutWithoutHint, hintRequired: p.LogoutHintRequired, revoke: cfg.Tokens.RevokeAtLogout,
		revokeNoHint: p.RevocationWithoutHint, withoutIssuer: p.FrontchannelLogoutWithoutIssuer,
	}
	if p.EndSessionURL != "" {
		rules.custom, _ = parseEndSessionURL(p.EndSessionURL) // checkLogout has tried it
	}
	return rules
}

// A logoutState is what the return from the provider is checked against.
type logoutState struct {
	State    string `json:"s"`
	ReturnTo string `json:"r,omitempty"`
	Started  int64  `json:"t"`
	// Incomplete says that the session could not be ended yet.
	Incomplete bool `json:"i,omitempty"`
}

const (
	// answerParameter says that a person answered the page that asks whether to sign out.
	answerParameter = "confirm"
	// answerLifetime is how long the last such page of a browser can be answered.
	answerLifetime = 15 * time.Minute
)

// incompleteLogout is the logout cookie's value where no logoutState can be sealed. It
// decides only which page the browser sees.
const incompleteLogout = "incomplete"

// Logout signs the person out, here and at the provider, and sends the browser
// on: see [Client.BeginLogout]. If the ID Token makes the provider's URL longer than
// many servers accept, the response is a page whose form posts the same parameters
// (RP-Initiated Logout 1.0 section 2). The logout path of the middleware is Logout with
// return_to, for requests that certainly come from the app itself.
func (c *Client) Logout(w http.ResponseWriter, r *http.Request, returnTo string) {
	out := c.beginLogout(w, r, returnTo)
	if out.tooLong() {
		c.leavePage(w, r, out)
		return
	}
	c.redirect(w, r, out.url())
}

// LogoutURL returns the path that logs out and then leads to returnTo. Use it as
// the action of a form with method post. A link works too: a GET logs out at once if
// the browser says, with Fetch Metadata, that a person follows it on a page of the
// app. Any other request, such as that of an image, a frame, a script, another site or
// a service worker, gets a page that asks first, and a prefetch gets an empty response.
// With a returnTo of more than 1,500 bytes, the logout leads to the start page.
func (c *Client) LogoutURL(returnTo string) string {
	return withParameter(c.paths.logout, "return_to", localPath(returnTo))
}

// BeginLogout ends the session that r carries, deletes its cookies on w, and
// returns the URL to send the browser to: the provider's end_session_endpoint, so
// that the person is signed out there too, or returnTo, a local path, if the
// provider has none. The browser itself must go there, since the provider's session is
// in its cookies.
//
// Without a session in r, the provider gets the client_id and no id_token_hint
// (RP-Initiated Logout 1.0 section 2), and may ask the person: its session may outlive
// the one here, and would sign them in again without asking. Call BeginLogout only for
// requests that come from the app's own pages; one without a session's cookie may be
// another site's.
//
// The cookies are deleted even if the rest fails. A failure of the provider or of
// the [Store] is logged and not returned. While the Store or the cookie keys fail, the
// person is sent to the provider all the same, and comes back to a page that says that
// the logout is not complete, with a link to returnTo; see [Client.EndSession].
//
// If [Registration.PostLogoutRedirectURI] is not the client's own page, the browser
// comes back to neither returnTo nor that page.
//
// An ID Token that would make the URL longer than many servers accept is left out: see
// [Client.Logout].
func (c *Client) BeginLogout(w http.ResponseWriter, r *http.Request, returnTo string) string {
	out := c.beginLogout(w, r, returnTo)
	if out.tooLong() {
		out.params.Del(hintParameter)
	}
	return out.url()
}

func (c *Client) beginLogout(w http.ResponseWriter, r *http.Request, returnTo string) *wayOut {
	ctx := r.Context()
	c.endSilence(w)
	s, err := c.Session(r)
	endErr := c.EndSession(w, r)
	if endErr != nil {
		c.log.WarnContext(ctx, "could not delete a stored session", "error", endErr)
	}
	othersErr := c.endOthers(w, r)
	if err == nil && endErr == nil && c.cookies.has(r, c.cookies.logout) {
		c.cookies.drop(w, c.cookies.logout, 0) // of an earlier logout, which may be incomplete
	}
	state := logoutState{State: randomText(), Started: c.now().Unix(), Incomplete: endErr != nil || othersErr != nil}
	if returnTo != "" {
		state.ReturnTo = c.shortReturnTo(r, returnTo)
	}
	out := c.logoutAtProvider(ctx, s, state.State)
	if err == nil || outage(err) || endErr != nil { // else there was no session
		c.events.loggedOut(ctx, SessionEvent{
			Issuer: s.Issuer(), SessionID: s.ID(), Subject: s.Subject(), AtProvider: out != nil, Err: endErr})
	}
	switch {
	case out != nil:
	case state.Incomplete:
		out = &wayOut{location: c.absolute(withParameter(c.paths.logoutCallback, "state", state.State))}
	default:
		return &wayOut{location: c.afterLogout(returnTo)}
	}
	if out.params == nil || c.comesBack() {
		c.keepLogoutState(w, state)
	}
	return out
}

// comesBack reports whether the provider sends the browser back to the client's own page
// when a logout there is over.
func (c *Client) comesBack() bool {
	custom := c.logoutRules.custom
	return !endsElsewhere(c.registration.PostLogoutRedirectURI, c.base) &&
		(custom == nil || custom.sends(redirectPlaceholder))
}

// returnsState reports whether the provider sends the state of a logout back.
func (c *Client) returnsState() bool {
	custom := c.logoutRules.custom
	return custom == nil || custom.sends(statePlaceholder)
}

// shortReturnTo is wantedPage for a page that the logout's cookie must have room for.
func (c *Client) shortReturnTo(r *http.Request, returnTo string) string {
	if localPath(returnTo) != "" && len(returnTo) > maxLogoutReturnTo {
		c.events.returnToDropped(r.Context(), returnTo, "a logout carries "+strconv.Itoa(maxLogoutReturnTo)+" bytes")
		return c.home()
	}
	return c.wantedPage(r, returnTo)
}

// A wayOut is where the browser goes when the session here is over.
type wayOut struct {
	location string
	params   url.Values // to add to location; nil for none
	whole    bool       // nothing of it may be left out or posted
}

// hintParameter is the one parameter whose length the provider decides.
const hintParameter = "id_token_hint"

// maxLogoutURL bounds the URL of a logout with an ID Token in bytes. nginx, for one,
// answers 414 to a request line of more than 8 KiB, and the provider's session goes on.
const maxLogoutURL = 2000

// url returns the whole URL.
func (o *wayOut) url() string {
	endpoint, err := url.Parse(o.location)
	if err != nil || o.params == nil {
		return o.location
	}
	return withQuery(endpoint, o.params)
}

// tooLong reports whether the URL is better not loaded, and shorter without its hint.
func (o *wayOut) tooLong() bool {
	return !o.whole && o.params.Has(hintParameter) && len(o.url()) > maxLogoutURL
}

// afterLogout is where a logout ends that has nothing to say: at returnTo, or on the
// signed-out page.
func (c *Client) afterLogout(returnTo string) string {
	if returnTo == "" {
		return c.absolute(c.paths.logoutCallback)
	}
	return c.absolute(c.returnTo(returnTo))
}

// logoutAtProvider returns the way that ends the provider's session, nil if there is
// none. Without one, or if the Config asks for it, it revokes the tokens of s first. s is
// nil if there was no session, or if it could not be read.
func (c *Client) logoutAtProvider(ctx context.Context, s *Session, state string) *wayOut {
	bounded, cancel := context.WithTimeout(ctx, logoutPatience)
	defer cancel()
	m, err := c.provider.metadata(bounded)
	if err != nil {
		return nil
	}
	out := c.endSession(m, s, state)
	if s != nil && (c.logoutRules.revoke || out == nil) {
		c.revokeTokens(ctx, m, s)
	}
	return out
}

// endSession is RP-Initiated Logout 2, nil if the provider has no end_session_endpoint, or
// needs a hint and there is none. Without a session, the provider asks the person.
func (c *Client) endSession(m *Metadata, s *Session, state string) *wayOut {
	endpoint, custom := m.EndSessionEndpoint, c.logoutRules.custom
	if custom != nil && custom.endpoint != "" {
		endpoint = custom.endpoint
	}
	if endpoint == "" {
		return nil
	}
	params := c.logoutParameters(s, state)
	if custom != nil {
		params = custom.fill(params)
	}
	if c.logoutRules.hintRequired && !params.Has(hintParameter) {
		return nil
	}
	return &wayOut{location: endpoint, params: params, whole: c.logoutRules.hintRequired}
}

// logoutParameters are the parameters of RP-Initiated Logout 2.
func (c *Client) logoutParameters(s *Session, state string) url.Values {
	params := url.Values{"client_id": {c.clientID}}
	if back := c.registration.PostLogoutRedirectURI; back != noURI {
		params.Set("post_logout_redirect_uri", back)
		if !endsElsewhere(back, c.base) {
			params.Set("state", state)
		}
	}
	hint := s.IDToken() // none if it came encrypted
	if c.logoutRules.hintRequired {
		hint = s.jws()
	}
	if hint != "" && !c.logoutRules.withoutHint {
		params.Set(hintParameter, hint)
	}
	return params
}

// keepLogoutState seals state in a cookie, to be compared when the browser comes back.
// Without the cookie, it returns to the signed-out page.
func (c *Client) keepLogoutState(w http.ResponseWriter, state logoutState) {
	plain, _ := json.Marshal(state) // strings, a number and a bool
	value, err := c.cookies.seal(c.cookies.logout, plain)
	if err != nil && state.Incomplete {
		value, err = incompleteLogout, nil
	}
	if err == nil {
		c.cookies.put(w, c.cookies.logout, value, logoutLifetime, 0)
	}
}

// revokeTokens revokes the refresh token, or the access token if there is no
// refresh token. A failure is logged only.
func (c *Client) revokeTokens(ctx context.Context, m *Metadata, s *Session) {
	if s.tokens == nil || m.RevocationEndpoint == "" {
		return
	}
	form := url.Values{"token": {s.tokens.AccessToken}, "token_type_hint": {"access_token"}}
	if s.tokens.RefreshToken != "" {
		form = url.Values{"token": {s.tokens.RefreshToken}, "token_type_hint": {"refresh_token"}}
	}
	if c.logoutRules.revokeNoHint {
		form.Del("token_type_hint")
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutPatience)
	defer cancel()
	answer, err := c.provider.authenticated(bounded, m, "revocation", m.RevocationEndpoint, form)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errorAnswer("revocation", answer)
	}
	if err != nil {
		c.log.WarnContext(ctx, "could not revoke the tokens of a session", "error", err)
	}
}

// hereParameter makes the logout one at this member of a Group, wherever the person is
// signed in: for a login that this member refused.
const hereParameter = "here"

// handleLogout logs out at once if the request certainly comes from the app. Any other
// request gets a page with a button: it may be a link on another site, or an image that
// another person put into a page of the app.
func (c *Client) handleLogout(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	asked := formValue(r, "return_to")
	returnTo := localPath(asked)
	if asked != "" && returnTo == "" {
		c.events.returnToDropped(r.Context(), asked, whyNoLocalPath(asked))
	}
	if !c.isOwnLogout(r) {
		c.confirmLogoutPage(w, r, returnTo)
		return
	}
	if g := c.group.Load(); g != nil && formValue(r, hereParameter) == "" {
		c = cmp.Or(g.leaving(r), c)
	}
	c.Logout(w, r, returnTo)
}

// isOwnLogout reports whether r, a request to log out, certainly comes from the app: a
// GET that is a top-level navigation from the same origin, a POST that is not
// cross-origin, or the answer to the page that asked. The Origin of a page load that a
// service worker sends again is the app's, whoever made it. A session's cookie comes
// with no form of another site; without one, only a navigation that says so is the
// app's, or what no browser sent.
func (c *Client) isOwnLogout(r *http.Request) bool {
	h := r.Header
	switch {
	case r.Method != http.MethodPost:
		// A page of this package that leads on, which another site may have made the
		// browser open, sends neither.
		return isOwnNavigation(h) && (h.Get("Sec-Fetch-User") == "?1" || c.ownPage(h.Get("Referer")) != "")
	case c.answersQuestion(r):
		return true
	case isResent(h) || c.checkAnyOrigin(r) != nil:
		return false
	}
	return c.carriesAny(r) || h.Get("Sec-Fetch-Mode") == "navigate" ||
		h.Get("Sec-Fetch-Site") == "" && h.Get("Origin") == ""
}

// askQuestion returns a token for the button of the page that asks whether to sign out.
// The browser gets it in a cookie too: another site can neither read it nor set it. It
// needs no cookie keys, so that a logout works while they fail, and it does not depend
// on an Origin, which the page's own button may not send (Fetch section 3.2) and a proxy
// may change.
func (c *Client) askQuestion(w http.ResponseWriter, r *http.Request) (token string) {
	token = c.cookies.read(r, c.cookies.question)
	if !isRandomText(token) { // else that of another tab
		token = randomText()
	}
	c.cookies.put(w, c.cookies.question, token, answerLifetime, 0)
	return token
}

// answersQuestion reports whether r carries the token of a page that asked.
func (c *Client) answersQuestion(r *http.Request) bool {
	token := c.cookies.read(r, c.cookies.question)
	got := formValue(r, answerParameter)
	return isRandomText(token) && subtle.ConstantTimeCompare([]byte(got), []byte(token)) == 1
}

// handleLogoutCallback handles the return from the provider. The session has
// already ended, so a state that does not match only leads to another page. A
// person who is signed in, perhaps again in another tab, is not told that they are
// signed out.
func (c *Client) handleLogoutCallback(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	state, ok := c.openLogoutState(r)
	if ok && !state.Incomplete { // else a reload must say the same
		c.cookies.drop(w, c.cookies.logout, 0)
	}
	got := r.URL.Query().Get("state")
	same := subtle.ConstantTimeCompare([]byte(got), []byte(state.State)) == 1
	if got == "" && !c.returnsState() {
		same = ok
	}
	if !same && got != "" {
		c.log.InfoContext(r.Context(), "the state at the return from a logout does not match")
	}
	if state.Incomplete && (same || state.State == "") {
		c.incompleteLogoutPage(w, r, state.ReturnTo)
		return
	}
	if same && state.ReturnTo != "" {
		c.redirect(w, r, c.absolute(c.returnTo(state.ReturnTo)))
		return
	}
	switch _, err := c.anySession(r); {
	case err == nil:
		c.redirect(w, r, c.absolute(c.home()))
	case outage(err):
		c.problem(w, r, err)
	default:
		c.signedOutPage(w, r)
	}
}

func (c *Client) openLogoutState(r *http.Request) (state logoutState, ok bool) {
	value := c.cookies.read(r, c.cookies.logout)
	if value == incompleteLogout {
		return logoutState{Incomplete: true}, true
	}
	plain, err := c.cookies.open(c.cookies.logout, value)
	if err != nil || json.Unmarshal(plain, &state) != nil ||
		c.now().Sub(time.Unix(state.Started, 0)) > logoutLifetime {
		return logoutState{}, false
	}
	return state, true
}

// EndSession signs the person out of this app: it ends the session that r carries
// and deletes its cookies on w. The provider is not notified. Its error is
// [CodeStoreUnavailable] or [CodeCookieKeysUnavailable], or [CodeCanceled] if r was
// given up. Even then the cookies are deleted, but a copy of them still works. This
// process tries again to end the session, once a second, for 5 minutes at most and as
// long as it runs; the log says how that ended.
func (c *Client) EndSession(w http.ResponseWriter, r *http.Request) error {
	return c.sessions.end(w, r)
}

// RevokeSubject ends every session of a person that began before now, on every replica
// that shares the [Store], whether it is kept there or in cookies; without a Store, in
// this process. The clocks of the replicas may differ by [Provider.ClockSkew]: a session
// that began within that time after now, at a login that did not find this record, may
// end too. A later login is not affected. The provider is not notified, and may sign the
// person in again without asking: remove their access first.
//
// It returns an [*Error]: [CodeInvalidRequest] if issuer is neither [Config.Issuer]
// nor one of [Provider.AcceptedIssuers], or subject is empty, or [CodeStoreUnavailable].
func (c *Client) RevokeSubject(ctx context.Context, issuer, subject string) error {
	if !c.flow.rules.accepts(issuer) || subject == "" {
		return failf("revoke", CodeInvalidRequest, "no subject of %s", c.flow.rules.expectedIssuer())
	}
	return c.revoke(ctx, subjectMark(issuer, subject))
}

// RevokeSession ends the session with this [Session.ID], as RevokeSubject ends
// all sessions of a person. It succeeds if the session has already ended. It
// returns an [*Error]: [CodeInvalidRequest] if id cannot be that of a session, or
// [CodeStoreUnavailable].
func (c *Client) RevokeSession(ctx context.Context, id string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(raw) != len(markKey{}) {
		return failf("revoke", CodeInvalidRequest, "not the id of a session")
	}
	return c.revoke(ctx, markKey(raw))
}

func (c *Client) revoke(ctx context.Context, key markKey) error {
	if err := c.sessions.revoke(ctx, key, markKey{}); err != nil {
		return err
	}
	c.log.InfoContext(ctx, "sessions revoked", "mark", key.String())
	return nil
}
