package oidcrp

// This file routes requests: to this package's own paths, to the app's pages if
// their requirements are met, and otherwise to a login.

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Middleware answers the client's own paths (see [Config.PathPrefix]) and hands
// every other request to next, with the session, if there is one, in its
// context: see [SessionFromContext]. Wrap the whole app with it; put an access
// logger inside, since the callback's URL holds the code. If there are several
// Clients, nest their middlewares. Handlers get the ResponseWriter unchanged.
func (c *Client) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler := c.ownHandler(r.URL.Path); handler != nil {
			// These responses are for one browser only, and the callback's URL must
			// not be sent on as a referrer.
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Referrer-Policy", "no-referrer")
			handler(w, r)
			return
		}
		r, _ = c.attach(w, r)
		next.ServeHTTP(w, r)
	})
}

// attach puts the session of r into its context.
func (c *Client) attach(w http.ResponseWriter, r *http.Request) (*http.Request, *requestSession) {
	return c.refresher.attach(w, r, !isPartOfPage(r.Header))
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
// The app must be wrapped with [Client.Middleware] too, which handles the browser's
// return from the provider. Caches may not store the response of next, unless it
// sets its own Cache-Control. If that lacks no-store, browsers keep the page in their
// back/forward cache: after a logout, the back button shows it again.
func (c *Client) RequireLogin(next http.Handler) http.Handler { return c.Require()(next) }

// Require is RequireLogin with requirements. A session that does not meet one
// leads to one new login that asks for it, and then to a page that says why
// access is refused; it does not loop. A script gets 401 as long as a login may
// help, and then 403, each with the requirement's name.
//
// It panics on requirements that cannot work: one without Name or Met, acr
// values of which none meets them all, and what [Config.Validate] refuses.
func (c *Client) Require(requirements ...Requirement) func(http.Handler) http.Handler {
	demand := newDemand(c.withBase(requirements))
	if demand.contradicts() {
		panic("oidcrp: no acr value meets these requirements together: " + demand.String())
	}
	if len(requirements) > 0 { // New has validated the rest
		if err := c.validate(requirements...); err != nil {
			panic("oidcrp: Require: " + strings.TrimPrefix(err.Error(), "oidcrp: "))
		}
	}
	c.demands.addRoute(demand)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protect(w)
			r, found := c.attach(w, r)
			if _, err := c.decide(found, demand); err != nil {
				c.refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Check is the decision of Require without its response, for Connect, GraphQL, and
// rules about single objects: it returns the session of r if it meets every
// requirement. It works with or without Middleware. Unlike Require, it sets neither
// Cache-Control nor Vary, and does not run [Config.Validate].
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
	unmet, ok := asDemand(err)
	if ok {
		protect(w)
		c.demands.addCheck(unmet.demand)
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
	switch {
	case !ok || e.again:
		c.problem(w, r, err)
	case kindOf(r) == navigation:
		options := e.demand.options(e.session, c.now())
		options.ReturnTo = requestPath(r)
		c.Login(w, r, options)
	default:
		c.sendToLogin(w, r, e.demand.key, err)
	}
}

// sendToLogin answers a request that cannot follow a redirect to the provider: the
// response contains the path where a login starts.
func (c *Client) sendToLogin(w http.ResponseWriter, r *http.Request, stepUp string, cause error) {
	p := c.errorPage(r, cause)
	p.Status = http.StatusUnauthorized // a new login may help
	p.LoginURL = withParameter(p.LoginURL, "step_up", stepUp)
	p.Action = p.LoginURL
	if kindOf(r) == htmx {
		w.Header().Set("HX-Redirect", p.LoginURL)
	}
	c.answer(w, r, p)
}

// redirect sends the browser to location, with GET.
func (c *Client) redirect(w http.ResponseWriter, r *http.Request, location string) {
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusFound
	if r.Method != http.MethodGet {
		status = http.StatusSeeOther
	}
	http.Redirect(w, r, location, status)
}

// returnTo returns where to go after a login: p if it is a page of this app
// and none of the client's own, else the app's start page.
func (c *Client) returnTo(p string) string {
	local := localPath(p)
	if local == "" || c.owns(urlPath(local)) {
		return c.home()
	}
	return local
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
	page := c.ownPage(cmp.Or(r.Header.Get(header), r.Header.Get("Referer")))
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
