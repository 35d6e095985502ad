package oidcrp

// This file routes requests: to this package's own paths, to the app's pages if
// their requirements are met, and otherwise to a login.

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Middleware answers the client's own paths (see [Config.PathPrefix]) and hands
// every other request to next, with the session, if there is one, in its
// context: see [SessionFromContext]. Wrap the whole app with it; put an access
// logger inside, since the callback's URL holds the code. Several Clients of one app
// make a [Group], which has a Middleware for all of them; to keep their sessions apart,
// nest the middlewares of the Clients instead.
//
// When next writes the header, Middleware adds the session's cookies: for a session
// in use about once a minute, and for refreshed tokens. With a page
// load, it deletes those of a session that has ended, and of a copy that a refresh or a
// later login replaced. Shared caches must not store them. If next sets a Cache-Control, or a field like CDN-Cache-Control
// (RFC 9213), that lets shared caches store the response, a cookie that can wait is left
// out. If it cannot wait, or next itself calls a method of the Client that sets a cookie,
// the response becomes private.
//
// The ResponseWriter of next implements [http.Flusher] and [http.Hijacker] where the
// server's does, [io.ReaderFrom], [io.StringWriter], and Unwrap for
// [http.ResponseController]. The same applies to [Client.Require].
func (c *Client) Middleware(next http.Handler) http.Handler {
	c.mounting.wrapped.Store(true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.serveOwn(w, r) {
			return
		}
		r, _, response := c.attach(w, r)
		defer response.finish()
		next.ServeHTTP(response.over(w), r)
	})
}

// serveOwn answers r if it is for one of the client's own paths, and reports whether it
// is.
func (c *Client) serveOwn(w http.ResponseWriter, r *http.Request) bool {
	path := c.ownPath(r)
	if path == "" {
		return false
	}
	if path == c.paths.callback {
		c.mounting.returned.Store(true)
	}
	serveAlone(w, r, c.ownHandler(path))
	return true
}

// serveAlone answers with a page of this package: it is for one browser only, and the
// callback's URL must not be sent on as a referrer.
func serveAlone(w http.ResponseWriter, r *http.Request, handler http.HandlerFunc) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	handler(w, r)
}

// attach puts the session of r into its context: see [refresher.attach].
func (c *Client) attach(w http.ResponseWriter, r *http.Request) (*http.Request, *requestSession, *sessionWriter) {
	touch := !isPartOfPage(r.Header)
	r, found, response := c.refresher.attach(w, r, touch)
	if response != nil && touch && found.refused != "" && kindOf(r) == navigation {
		response.record(c.sessions.stale(found.refused))
	}
	return r, found, response
}

// ownPath returns which of the client's own paths r asks for, "" if none. The path that
// the browser sent counts too.
func (c *Client) ownPath(r *http.Request) string {
	if c.owns(r.URL.Path) {
		return r.URL.Path
	}
	if sent := sentPath(r); c.owns(sent) {
		return sent
	}
	return ""
}

// sentPath returns the path that the browser sent if r has another one by now, "" if
// not: http.StripPrefix may have removed a part of it.
func sentPath(r *http.Request) string {
	sent, _, _ := strings.Cut(r.RequestURI, "?")
	if sent == r.URL.Path { // the usual case costs nothing
		return ""
	}
	return urlPath(requestPath(r))
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
		return c.handleBackchannelLogout
	case c.paths.frontChannel:
		return c.handleFrontchannelLogout
	case c.paths.initiate:
		return c.handleInitiate
	case c.paths.jwks:
		return c.handleJWKS
	}
	return nil
}

// owns reports whether path is one of the client's own.
func (c *Client) owns(path string) bool { return c.ownHandler(path) != nil }

// RequireLogin lets a request through to next if a person is signed in and
// meets [AuthOptions.RequireACR] of [Config.Login] if that is set. Otherwise the
// response suits the request: a page load goes to the provider and comes back to
// the same page; a request by script gets 401 with an application/problem+json
// body whose login_url leads to the sign-in; htmx gets 401 with HX-Redirect; a
// WebSocket or event stream gets 401 before it starts; a form post gets a page
// that offers to sign in.
//
// A request that can change something, and a WebSocket, gets 403 with
// [CodeCrossOrigin] if it comes from a page of another origin, such as another host
// of the same site, that is not one of [Config.TrustedOrigins]. It is recognised as
// by [net/http.CrossOriginProtection]; GET, HEAD and OPTIONS must change nothing.
//
// The app must be wrapped with [Client.Middleware] too, which handles the browser's
// return from the provider. Caches may not store the response of next, unless it
// sets its own Cache-Control. If that lacks no-store, browsers keep the page in their
// back/forward cache: after a logout, the back button shows it again.
func (c *Client) RequireLogin(next http.Handler) http.Handler { return c.Require()(next) }

// Require is RequireLogin with requirements. A session that does not meet one
// leads to one new login that asks for it, and then to a page that says why
// access is refused; it does not loop. That login also brings a role that the person
// has been given meanwhile.
//
// A script gets 401 as long as a login that asks for more may help, as with [ACR] and
// [MaxAge], and 403 at once for what no login asks for, as with [Claim]: a role. Both
// responses name the requirement, so a single-page app sends the person to login_url
// after 401 and says why after 403.
//
// It panics on requirements that cannot work: one without Name or Met, acr
// values of which none meets them all, and what [Config.Validate] refuses.
func (c *Client) Require(requirements ...Requirement) func(http.Handler) http.Handler {
	demand := c.newRoute(requirements)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protect(w)
			if err := c.checkOrigin(r); err != nil {
				c.problem(w, r, err)
				return
			}
			r, found, response := c.attach(w, r)
			defer response.finish()
			w = response.over(w)
			if _, err := c.decide(found, demand); err != nil {
				c.refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// newRoute returns what a route demands, and makes it known to logins. It panics on
// requirements that cannot work.
func (c *Client) newRoute(requirements []Requirement) demand {
	d := newDemand(c.withBase(requirements))
	if d.contradicts() {
		panic("oidcrp: no acr value meets these requirements together: " + d.String())
	}
	if len(requirements) > 0 { // New has validated the rest
		if err := c.validate(requirements...); err != nil {
			panic("oidcrp: Require: " + strings.TrimPrefix(err.Error(), "oidcrp: "))
		}
	}
	c.demands.addRoute(d)
	return d
}

// Check is the decision of Require without its response, for Connect, GraphQL, and
// rules about single objects: it returns the session of r if it meets every
// requirement. It works with or without Middleware. Unlike Require, it lets requests
// of other origins through, sets neither Cache-Control nor Vary, and does not run
// [Config.Validate].
//
// Its errors are [*Error] with [CodeNoSession], [CodeRequirementUnmet], one of
// an outage ([CodeStoreUnavailable], [CodeCookieKeysUnavailable],
// [CodeProviderUnavailable] with [FailRequest]), or [CodeCanceled]. With
// CodeRequirementUnmet, the session is returned too. [Client.ServeError]
// answers about any of them.
//
// It panics on a requirement without Name or Met.
func (c *Client) Check(r *http.Request, requirements ...Requirement) (*Session, error) {
	found, ok := c.refresher.found(r.Context())
	if !ok {
		found = c.refresher.lookUp(r)
	}
	return c.decide(found, newDemand(c.withBase(requirements)))
}

// withBase returns requirements with those of every protected route.
func (c *Client) withBase(requirements []Requirement) []Requirement {
	return append(slices.Clone(c.required), requirements...)
}

// decide decides whether a request may pass. With an unmet requirement, it returns
// the session too.
func (c *Client) decide(found *requestSession, d demand) (*Session, error) {
	if found.blocked != nil {
		return nil, found.blocked
	}
	session := found.session.Load()
	return session, d.check(session, c.now())
}

// ServeError answers r with an error of this package as the Client's own handlers
// do: with a page, or with application/problem+json for a script. If a login may
// resolve an error of [Client.Check], the response is that of [Client.Require]: a
// page load goes to the login and comes back.
func (c *Client) ServeError(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = failf("request", CodeInternal, "ServeError was called without an error")
	}
	if unmet, ok := asDemand(err); ok {
		protect(w)
		c = c.answering(r, unmet)
	}
	c.refuse(w, r, err)
}

// protect keeps a person's page out of caches.
func protect(w http.ResponseWriter) {
	w.Header().Add("Vary", "Cookie")
	w.Header().Set("Cache-Control", "private, no-store")
}

// refuse answers a request that decide did not let through.
func (c *Client) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := asDemand(err)
	kind := kindOf(r)
	alone := kind == script || kind == htmx && !isBoosted(r) // no person would see the login
	switch {
	case !ok || e.again || alone && e.lasting():
		c.problem(w, r, err)
	case kind == navigation && e.choice && c.group.Load() != nil:
		c.noticeMounting(r)
		c.redirect(w, r, c.absolute(c.group.Load().choiceURL(r, e.demand.key)))
	case kind == navigation:
		c.noticeMounting(r)
		options := e.demand.options(e.session, c.now())
		options.ReturnTo = requestPath(r)
		c.Login(w, r, options)
	default:
		c.sendToLogin(w, r, e.demand.key, err)
	}
}

// mounting notices an app in which the client's own paths do not reach Middleware:
// people authenticate, return to a page that does not exist, and nothing else says why.
type mounting struct {
	wrapped  atomic.Bool  // Middleware was called
	returned atomic.Bool  // somebody has returned from the provider
	again    atomic.Int32 // logins by browsers that had begun one before, as long as nobody has returned
	report   sync.Once
}

// lostReturns is how many browsers must begin a second login before the first return
// from the provider, for that to be no accident.
const lostReturns = 5

// noticeMounting is called before a protected page sends the browser to the provider.
func (c *Client) noticeMounting(r *http.Request) {
	m, g := &c.mounting, c.group.Load()
	missing := !m.wrapped.Load()
	if g != nil { // the members' own Middleware does not answer the page for the choice
		missing = !g.wrapped.Load()
	}
	if !missing && (m.returned.Load() || !c.logins.hasPending(r) || m.again.Add(1) < lostReturns) {
		return
	}
	m.report.Do(func() {
		name := "Client.Middleware"
		if g != nil {
			name = "Group.Middleware"
		}
		text := "the requests for " + c.paths.callback + " do not seem to reach " + name + ", so nobody can sign in: " +
			"wrap the whole app with it, outside of the router (gorilla/mux runs r.Use for matched routes only)"
		if missing {
			text = name + " is missing, so nobody can sign in: wrap the whole app with it"
		}
		c.log.ErrorContext(r.Context(), text)
	})
}

// sendToLogin answers a request that cannot follow a redirect to the provider: the
// response contains the path where a login starts.
func (c *Client) sendToLogin(w http.ResponseWriter, r *http.Request, stepUp string, cause error) {
	p := c.errorPage(r, cause)
	p.Status = http.StatusUnauthorized // a new login may help
	p.LoginURL = withParameter(p.LoginURL, "step_up", stepUp)
	p.Action = p.LoginURL
	if kindOf(r) == htmx {
		w.Header().Set("HX-Redirect", c.shortLoginURL(r, p.LoginURL, stepUp))
	}
	c.answer(w, r, p)
}

// shortLoginURL returns a login URL for a header, without its return path if that is too
// long.
func (c *Client) shortLoginURL(r *http.Request, loginURL, stepUp string) string {
	const room = maxAnswerHeader - 1000 // for the other fields
	if len(loginURL) <= room {
		return loginURL
	}
	c.events.returnToDropped(r.Context(), c.tryAgainPath(r), "it does not fit into the header HX-Redirect")
	return withParameter(cutQuery(loginURL), "step_up", stepUp)
}

// redirect sends the browser to location, with GET. Where that and the cookies together
// are more than the header of an answer may have, a page leads on.
func (c *Client) redirect(w http.ResponseWriter, r *http.Request, location string) {
	w.Header().Set("Cache-Control", "no-store")
	if answerSize(w.Header(), location) > maxAnswerHeader && len(location) > continuePageHeader {
		c.continuePage(w, r, location)
		return
	}
	status := http.StatusFound
	if r.Method != http.MethodGet {
		status = http.StatusSeeOther
	}
	http.Redirect(w, r, location, status)
}

// returnTo returns where to go after a login or a logout: p if it is a local path and
// none of the client's own; else the app's start page, which "/" means too: with a
// path in the base URL, the root of the host is another app's.
func (c *Client) returnTo(p string) string {
	local := localPath(p)
	if local == "" || local == "/" || c.ownsWithGroup(urlPath(local)) {
		return c.home()
	}
	return local
}

// wantedPage is returnTo of a page that r asks for. It logs what is dropped.
func (c *Client) wantedPage(r *http.Request, p string) string {
	if p != "" && localPath(p) == "" {
		c.events.returnToDropped(r.Context(), p, whyNoLocalPath(p))
	}
	return c.returnTo(p)
}

// home is the path of the app's start page.
func (c *Client) home() string { return c.base.Path + "/" }

// absolute returns the full URL of a local path, which no browser can misread in a
// Location header.
func (c *Client) absolute(local string) string {
	return c.base.Scheme + "://" + c.base.Host + local
}

// callerPage returns the page of this app that made a request in the
// background, by the named header or the Referer; "" if it is another site's, or a
// script: that of a service worker becomes the Referer of what it sends.
func (c *Client) callerPage(r *http.Request, header string) string {
	caller := cmp.Or(r.Header.Get(header), r.Header.Get("Referer"))
	if caller == "" {
		return ""
	}
	page := c.ownPage(caller)
	if p := urlPath(page); strings.HasSuffix(p, ".js") || strings.HasSuffix(p, ".mjs") {
		return ""
	}
	return page
}

// ownPage returns the path and query of an absolute URL on this app's origin,
// "" for any other.
func (c *Client) ownPage(raw string) string {
	page, err := url.Parse(raw)
	if err != nil || page.Scheme != c.base.Scheme || !strings.EqualFold(page.Host, c.base.Host) {
		return ""
	}
	return page.RequestURI()
}
