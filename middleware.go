package oidcrp

// This file sorts requests: this package's own paths, the app's pages for those
// who meet its requirements, and the way to a login for everybody else.

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Middleware answers the client's own paths (see [Config.PathPrefix]) and hands
// every other request to next, with the session, if there is one, in its
// context: see [SessionFromContext]. Put it around the whole app; those of several
// Clients nest.
func (c *Client) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler := c.ownHandler(r.URL.Path); handler != nil {
			// What happens here is between one browser and one provider, and
			// the callback's URL must not travel on as a referrer.
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Referrer-Policy", "no-referrer")
			handler(w, r)
			return
		}
		next.ServeHTTP(w, c.withSession(w, r))
	})
}

func (c *Client) ownHandler(path string) http.HandlerFunc {
	switch path {
	case c.paths.login:
		return c.handleLogin
	case c.paths.callback:
		return c.handleCallback
	case c.paths.logout:
		return c.handleLogout
	case c.paths.logoutCallback:
		return c.handleLogoutCallback
	case c.paths.backChannel:
		return c.handleBackChannelLogout
	case c.paths.frontChannel:
		return c.handleFrontChannelLogout
	case c.paths.initiate:
		return c.handleInitiate
	case c.paths.jwks:
		return c.handleJWKS
	}
	return nil
}

// owns reports whether path is one of the client's own.
func (c *Client) owns(path string) bool { return c.ownHandler(path) != nil }

// withSession returns r with what is known of its session in its context,
// looked up once for each request and client.
func (c *Client) withSession(w http.ResponseWriter, r *http.Request) *http.Request {
	if found, ok := r.Context().Value(sessionKey{}).(*requestSession); ok && found.client == c {
		return r
	}
	found := &requestSession{client: c}
	found.session, found.handle, found.err = c.loadSession(r)
	if found.session != nil && !isPartOfPage(r.Header) {
		c.renew(w, r, found)
	}
	if found.session != nil && !isPartOfPage(r.Header) {
		c.roll(w, r, found.session, found.handle)
	}
	found.refreshCookie = func(ctx context.Context) error { return c.refreshCookie(ctx, w, r, found) }
	return r.WithContext(context.WithValue(r.Context(), sessionKey{}, found))
}

// RequireLogin lets a request through to next when the person is signed in and
// meets every requirement. Otherwise the answer suits who asked: a page load
// goes to the provider and comes back to the same page; a request by script
// gets 401 with an application/problem+json body whose login_url leads to the
// sign-in; htmx gets 401 with HX-Redirect; a WebSocket or event stream gets 401
// before it starts; a form post gets a page that offers to sign in.
//
// A requirement that the session does not meet leads to one new login that asks
// for it, and then to a page that says why access is refused; there is no loop.
//
// [Client.Middleware] must be around the app, to take the way back from the
// provider. What next answers may not be stored by caches, unless it sets its own
// Cache-Control.
//
// It panics when [Config.Check] refuses the requirements: the app is wired in a way
// that cannot work.
func (c *Client) RequireLogin(next http.Handler, requirements ...Requirement) http.Handler {
	demand := newDemand(requirements)
	if len(requirements) > 0 { // New has checked the rest
		if err := checkFurther(c.cfg, requirements...); err != nil {
			panic("oidcrp: RequireLogin: " + strings.TrimPrefix(err.Error(), "oidcrp: "))
		}
	}
	c.demands.Store(demand.key, demand)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		w.Header().Set("Cache-Control", "private, no-store")
		r = c.withSession(w, r)
		found := r.Context().Value(sessionKey{}).(*requestSession)
		if found.session != nil && found.err != nil || errors.Is(found.err, ErrStoreUnavailable) {
			// The person may well be signed in: nobody is sent to a login for this.
			c.problem(w, r, found.err)
			return
		}
		if err := c.check(found.session, demand); err != nil {
			c.refuse(w, r, found.session, demand, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// A Requirement is what [Client.RequireLogin] asks of a session beyond being
// one. [ACR], [MaxAge] and [Claim] make the usual ones; a package for one
// provider can make its own.
type Requirement struct {
	// Name says what is required, such as `acr "eidas2" or "eidas3"`. It is
	// shown in the log and tells one requirement from another.
	Name string
	// Met reports whether the session meets the requirement at the time now. It
	// is required: RequireLogin panics without it.
	Met func(s *Session, now time.Time) bool
	// Ask adds to a login what may make it meet the requirement. If nil, the
	// login is an ordinary one.
	Ask func(*AuthOptions)
	// Explain says to the person, as plain text in the language "en" or "fr",
	// why access is refused and what to do. If nil, the page says it in
	// general words.
	Explain func(language string) string
}

// ACR requires the provider to attest one of the authentication context
// classes. Values match exactly: name every one that is good enough, also the
// higher ones.
func ACR(values ...string) Requirement {
	values = slices.Clone(values)
	return Requirement{
		Name: fmt.Sprintf("acr %q", values),
		Met:  func(s *Session, _ time.Time) bool { return slices.Contains(values, s.ACR()) },
		Ask: func(o *AuthOptions) {
			// Two such requirements on one route leave what suits both.
			if o.needACR == nil {
				o.needACR = slices.Clone(values)
			}
			o.needACR = slices.DeleteFunc(o.needACR, func(acr string) bool { return !slices.Contains(values, acr) })
		},
	}
}

// MaxAge requires the person to have proven who they are within the last d, by
// the ID Token's auth_time. A provider that cannot say when fails it.
func MaxAge(d time.Duration) Requirement {
	return Requirement{
		Name: "max_age " + d.String(),
		Met: func(s *Session, now time.Time) bool {
			at := s.AuthTime()
			return !at.IsZero() && now.Sub(at) <= d && at.Sub(now) <= maxClockSkew
		},
		Ask: func(o *AuthOptions) { o.MaxAge = &d },
	}
}

// Claim requires the claim of that name to be one of values, or to be an array
// that holds one of them; without values, to be there and not empty. Providers tell
// only what they are asked for: see [Config.Scopes] and [AuthOptions.Claims].
func Claim(name string, values ...string) Requirement {
	values = slices.Clone(values)
	return Requirement{
		Name: fmt.Sprintf("claim %s %q", name, values),
		Met: func(s *Session, _ time.Time) bool {
			return claimHas(s.claim(name), values)
		},
	}
}

func claimHas(claim any, values []string) bool {
	switch claim := claim.(type) {
	case string:
		return claim != "" && (len(values) == 0 || slices.Contains(values, claim))
	case []any:
		return slices.ContainsFunc(claim, func(v any) bool { return claimHas(v, values) })
	case map[string]any:
		return len(values) == 0 && len(claim) > 0
	case bool:
		if len(values) == 0 { // email_verified: false
			return claim
		}
	case nil:
		return false
	}
	return len(values) == 0 || slices.Contains(values, fmt.Sprint(claim))
}

// A demand is all the requirements of one route.
type demand struct {
	requirements []Requirement
	key          string // "" when there are none
}

func newDemand(requirements []Requirement) demand {
	d := demand{requirements: slices.Clone(requirements)}
	if len(requirements) == 0 {
		return d
	}
	h := sha256.New()
	for _, requirement := range requirements {
		if requirement.Met == nil {
			panic("oidcrp: a Requirement without Met: " + requirement.Name)
		}
		fmt.Fprintf(h, "%q\n", requirement.Name)
	}
	d.key = base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:6])
	return d
}

// unmet returns the first requirement that s does not meet at the time now.
func (d demand) unmet(s *Session, now time.Time) *Requirement {
	for i := range d.requirements {
		if !d.requirements[i].Met(s, now) {
			return &d.requirements[i]
		}
	}
	return nil
}

// options returns what a login asks for to meet the demand. previous is the
// session that does not meet it, if any: its own latest steps up are
// remembered, so that routes with contradicting requirements do not send the
// browser round and round.
func (d demand) options(previous *Session, now time.Time) *AuthOptions {
	o := &AuthOptions{stepUp: d.key}
	for _, requirement := range d.requirements {
		if requirement.Ask != nil {
			requirement.Ask(o)
		}
	}
	if previous != nil && now.Sub(previous.created) < 5*time.Minute {
		steps := append(strings.Fields(previous.stepUp), d.key)
		o.stepUp = strings.Join(steps[max(0, len(steps)-4):], " ")
	}
	return o
}

// unmetError says which requirement a session does not meet.
type unmetError struct {
	requirement *Requirement
	again       bool // a login that asked for it has already failed
}

func (e *unmetError) Error() string { return "the session does not meet: " + e.requirement.Name }

// check decides whether s may pass: nil, [ErrNoSession], or an unmetError.
func (c *Client) check(s *Session, d demand) error {
	if s == nil {
		return &Error{Op: "require", Code: CodeNoSession}
	}
	unmet := d.unmet(s, c.now())
	if unmet == nil {
		return nil
	}
	// A login that was to meet the demand and did not even do so when it was
	// new would not do better now.
	again := slices.Contains(strings.Fields(s.stepUp), d.key) && d.unmet(s, s.created) != nil
	return fail("require", CodeRequirementUnmet, &unmetError{requirement: unmet, again: again})
}

// refuse answers a request that check did not let through.
func (c *Client) refuse(w http.ResponseWriter, r *http.Request, s *Session, d demand, cause error) {
	var unmet *unmetError
	if errors.As(cause, &unmet) && unmet.again {
		c.problem(w, r, cause)
		return
	}
	kind := kindOf(r)
	if kind == navigation {
		options := d.options(s, c.now())
		options.ReturnTo = requestPath(r)
		c.Login(w, r, options)
		return
	}
	c.sendToLogin(w, r, d.key, cause)
}

// sendToLogin answers who cannot follow a redirect to the provider with the
// path where a login starts.
func (c *Client) sendToLogin(w http.ResponseWriter, r *http.Request, stepUp string, cause error) {
	p := c.newProblem(r, cause)
	p.Status = http.StatusUnauthorized // a new login may help
	p.LoginURL = withParameter(p.LoginURL, "step_up", stepUp)
	if kindOf(r) == htmx {
		w.Header().Set("HX-Redirect", p.LoginURL)
	}
	c.answer(w, r, p)
}

// withParameter adds a query parameter to a path, unless value is empty.
func withParameter(path, name, value string) string {
	if value == "" {
		return path
	}
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	return path + separator + url.Values{name: {value}}.Encode()
}

// A requestKind is who made a request, and so what answer it can use.
type requestKind int

const (
	navigation requestKind = iota // a page load by GET
	submission                    // a page load by another method: a form
	script                        // fetch, XMLHttpRequest, a WebSocket, an event stream, a prefetch, HEAD
	htmx                          // a request by htmx, which can be sent elsewhere
)

// kindOf tells by Fetch Metadata, else by what a browser's page load accepts.
func kindOf(r *http.Request) requestKind {
	h := r.Header
	html := strings.Contains(h.Get("Accept"), "text/html")
	switch mode := h.Get("Sec-Fetch-Mode"); {
	case h.Get("HX-Request") == "true":
		return htmx
	case h.Get("Upgrade") != "" || r.Method == http.MethodHead || isPrefetch(r) || isForeignFrame(h):
		return script
	case mode != "" && mode != "navigate":
		return script
	case mode == "" && (!html || h.Get("X-Requested-With") != ""):
		return script
	case r.Method == http.MethodGet:
		return navigation
	}
	return submission
}

// isPartOfPage reports whether the answer is an image, a style and the like.
// Apps let shared caches keep those, and a cache that keeps the session's cookie
// with them gives it to everybody.
func isPartOfPage(h http.Header) bool {
	switch h.Get("Sec-Fetch-Dest") {
	case "audio", "font", "image", "manifest", "script", "style", "track", "video":
		return true
	}
	return false
}

// isForeignFrame reports whether another site's page has a frame for the answer.
// A browser keeps the session's cookie out of it, so nobody can sign in there.
func isForeignFrame(h http.Header) bool {
	switch h.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object", "fencedframe":
		return h.Get("Sec-Fetch-Site") == "cross-site"
	}
	return false
}

// isPrefetch reports whether a browser asks ahead of a click that may never
// come. Such a request must not start or finish a login.
func isPrefetch(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") ||
		strings.EqualFold(r.Header.Get("Purpose"), "prefetch") ||
		strings.EqualFold(r.Header.Get("X-Moz"), "prefetch")
}

// requestPath returns the path and query that the browser asked for, also
// behind http.StripPrefix.
func requestPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// callerPage returns the page of this app that made a request in the
// background, by the named header or the Referer; "" if it is no page of ours.
func (c *Client) callerPage(r *http.Request, header string) string {
	return c.ownPage(cmp.Or(r.Header.Get(header), r.Header.Get("Referer")))
}

// Login starts a login and sends the browser to the provider, or answers with
// the reason why that cannot be done. opts may be nil. Use it for a login of
// your own making; the middleware's login path is Login with return_to.
func (c *Client) Login(w http.ResponseWriter, r *http.Request, opts *AuthOptions) {
	location, err := c.BeginLogin(w, r, opts)
	if err != nil {
		c.problem(w, r, err)
		return
	}
	c.redirect(w, r, location)
}

// redirect sends the browser on. Whatever method it came with, it goes on with
// GET.
func (c *Client) redirect(w http.ResponseWriter, r *http.Request, location string) {
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusFound
	if r.Method != http.MethodGet {
		status = http.StatusSeeOther
	}
	http.Redirect(w, r, location, status)
}

// allow reports whether r has one of methods and no prefetch's purpose, and
// answers it if not.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if !slices.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return false
	}
	if isPrefetch(r) {
		w.WriteHeader(http.StatusNoContent)
		return false
	}
	return true
}

func (c *Client) handleLogin(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) || !c.loadsPage(w, r) {
		return
	}
	options := new(AuthOptions)
	// step_up names a demand of this app's own, for a login that a script
	// could not start itself.
	if d, ok := c.demands.Load(formValue(r, "step_up")); ok {
		previous, _ := c.Session(r) // nil is as good
		options = d.(demand).options(previous, c.now())
	}
	options.ReturnTo = formValue(r, "return_to")
	c.Login(w, r, options)
}

// loadsPage reports whether a login can follow from r, and answers it if not: by
// an image or a request of a script nobody signs in, and another site could
// make a browser collect cookies with them.
func (c *Client) loadsPage(w http.ResponseWriter, r *http.Request) bool {
	kind := kindOf(r)
	if kind != htmx && (kind != script || r.Header.Get("Sec-Fetch-Mode") == "") {
		return true
	}
	stepUp := formValue(r, "step_up")
	if _, ok := c.demands.Load(stepUp); !ok {
		stepUp = ""
	}
	c.sendToLogin(w, r, stepUp, &Error{Op: "login", Code: CodeNoSession})
	return false
}

// handleInitiate starts a login that another party asks for, usually the
// provider's own portal (OIDC Core 4). Nothing of what it says is trusted: iss
// must be this client's issuer, target_link_uri a page of this app, and of the
// rest only login_hint is passed on.
func (c *Client) handleInitiate(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) || !c.loadsPage(w, r) {
		return
	}
	_ = formValue(r, "iss") // parses the form within its bound
	for _, name := range []string{"iss", "login_hint", "target_link_uri"} {
		if len(r.Form[name]) > 1 {
			c.problem(w, r, failf("initiate", CodeInvalidRequest, "parameter %s given twice", name))
			return
		}
	}
	if iss := r.Form.Get("iss"); iss != c.cfg.Issuer {
		c.problem(w, r, failf("initiate", CodeIssuerMismatch, "iss is %q, expected %q", clean(iss, 200), c.cfg.Issuer))
		return
	}
	options := &AuthOptions{ReturnTo: c.ownPage(r.Form.Get("target_link_uri"))}
	if hint := r.Form.Get("login_hint"); len(hint) <= maxLoginHint {
		options.LoginHint = hint
	}
	c.Login(w, r, options)
}

// maxLoginHint bounds what somebody else may put into our request.
const maxLoginHint = 255

// ownPage returns the path and query of an absolute URL on this app's origin,
// "" for any other.
func (c *Client) ownPage(raw string) string {
	page, err := url.Parse(raw)
	if err != nil || page.Scheme != c.base.Scheme || !strings.EqualFold(page.Host, c.base.Host) {
		return ""
	}
	return page.RequestURI()
}

// maxForm bounds the forms that are posted to the client's own paths.
const maxForm = 64 << 10

// formValue is r.FormValue with a bound on the body.
func formValue(r *http.Request, name string) string {
	if r.Form == nil && r.Body != nil {
		r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	}
	return r.FormValue(name)
}

func (c *Client) handleCallback(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	// This goroutine stays with the exchange when its browser goes away, since
	// a reload may be waiting for it, and spares it one of its own.
	session, err := c.Callback(context.WithoutCancel(r.Context()), r)
	if errors.Is(err, ErrTransactionLost) {
		c.recoverLogin(w, r, err)
		return
	}
	if err == nil {
		err = c.StartSession(w, r, session)
	} else {
		c.forgetLogin(w, r)
	}
	if err != nil {
		c.events.loginRefused(r.Context(), err)
		c.problem(w, r, err)
		return
	}
	c.redirect(w, r, c.absolute(session.ReturnTo()))
}

// recoverLogin answers a callback whose login this browser does not know: it
// is finished already, or its cookie is gone. Someone who is signed in goes to
// their page. A state that this client sealed starts the login again, once;
// the code is thrown away unused.
func (c *Client) recoverLogin(w http.ResponseWriter, r *http.Request, cause error) {
	params, _ := callbackParameters(r)
	ticket, ours := c.openState(params.Get("state"))
	if r.Method == http.MethodPost && ours {
		// A post from the provider's site comes without SameSite=Lax cookies,
		// so ask again as a page load, which has them.
		c.redirect(w, r, c.absolute(c.paths.callback)+"?"+c.repeated(params).Encode())
		return
	}
	_, err := c.Session(r)
	switch {
	case err == nil:
		if !ours { // of another Client on the same paths, perhaps
			c.cfg.Logger.InfoContext(r.Context(), "callback for a login that this client did not start")
		}
		c.redirect(w, r, c.absolute(c.returnTo(ticket.ReturnTo)))
		return
	case errors.Is(err, ErrStoreUnavailable):
		cause = err
	case ours && !ticket.Restart && !params.Has("error"):
		location, err := c.beginLogin(w, r, &AuthOptions{ReturnTo: ticket.ReturnTo}, true)
		if err == nil {
			c.redirect(w, r, location)
			return
		}
		cause = err
	}
	c.events.loginRefused(r.Context(), cause)
	c.problem(w, r, cause)
}

// repeated returns what a page load repeats of a posted answer. If the login's
// cookie is SameSite=None and still did not come, it is lost: the code is of no
// use any more, and has no business in a URL.
func (c *Client) repeated(params url.Values) url.Values {
	names := []string{"state", "iss", "error", "error_description"}
	if c.transactionSameSite() == http.SameSiteLaxMode {
		names = append(names, "code")
	}
	again := make(url.Values)
	for _, name := range names {
		if params.Has(name) {
			again.Set(name, params.Get(name))
		}
	}
	return again
}
