package oidcrp

// This file starts logins: for the app, at the login path, and for another party.

import (
	"cmp"
	"net/http"
)

// LoginURL returns the path that starts a login and leads back to returnTo, a
// path of this app such as "/dossiers/12?tab=2". A returnTo that is not a local
// path, or too long for a request (see [AuthOptions.ReturnTo]), is ignored.
func (c *Client) LoginURL(returnTo string) string {
	return c.withReturnTo(c.paths.login, returnTo)
}

// withReturnTo adds returnTo to path, unless it is not local, too long or the default.
func (c *Client) withReturnTo(path, returnTo string) string {
	if returnTo = localPath(returnTo); returnTo == c.home() {
		returnTo = "" // the default
	}
	location := withParameter(path, "return_to", returnTo)
	if len(location) > maxRequestURL {
		return path
	}
	return location
}

// maxRequestURL bounds the URLs of this app that carry a return path: servers and
// proxies often accept 8 KiB.
const maxRequestURL = 7 << 10

// BeginLogin sets the cookie of a new login on w and returns the URL of the
// provider to send the browser to. opts may be nil; fields that it leaves empty
// are taken from [Config.Login].
//
// It returns an [*Error]: [CodeConfigInvalid] for opts that cannot be sent,
// [CodeProviderUnavailable] when the provider is down, [CodeProviderInvalid]
// when its metadata cannot be used, [CodeUnsupportedByProvider] for a required acr value
// that it does not list, [CodeClientRefused] when it refuses a pushed request,
// [CodeCookieKeysUnavailable], or [CodeCanceled]. No cookie has been set then.
func (c *Client) BeginLogin(w http.ResponseWriter, r *http.Request, opts *AuthOptions) (string, error) {
	return c.beginLogin(w, r, opts, false)
}

func (c *Client) beginLogin(w http.ResponseWriter, r *http.Request, opts *AuthOptions, restart bool) (string, error) {
	if opts == nil {
		opts = &AuthOptions{}
	}
	asked := opts.over(*c.login.AuthOptions)
	asked.own = opts
	asked.ReturnTo = c.wantedPage(r, asked.ReturnTo)
	return c.logins.begin(w, r, &asked, restart)
}

// Login starts a login and sends the browser to the provider, or answers with an
// error page. opts may be nil. Use it for a login with options of your own; the
// login path of the middleware is Login with return_to.
func (c *Client) Login(w http.ResponseWriter, r *http.Request, opts *AuthOptions) {
	location, err := c.BeginLogin(w, r, opts)
	if err != nil {
		c.problem(w, r, err)
		return
	}
	c.redirect(w, r, location)
}

func (c *Client) handleLogin(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodPost) || !c.loadsPage(w, r) {
		return
	}
	options := new(AuthOptions)
	if d := c.demands.get(formValue(r, "step_up")); d.key != "" {
		previous, _ := c.Session(r) // may be nil
		options = d.options(previous, c.now())
	}
	options.ReturnTo = c.loginReturnTo(r)
	c.Login(w, r, options)
}

// loginReturnTo is where a login leads that r, a request for the login path, starts: to
// its return_to, else to the page of this app with the link.
func (c *Client) loginReturnTo(r *http.Request) string {
	return cmp.Or(formValue(r, "return_to"), c.callerPage(r, hxCurrentURL))
}

// canLoadPage reports whether r can start a login. A script or an image cannot show a
// login page, and another site could use such requests to fill the browser with cookies.
func canLoadPage(r *http.Request) bool {
	kind := kindOf(r)
	return kind != htmx && (kind != script || r.Header.Get("Sec-Fetch-Mode") == "")
}

// loadsPage reports whether r can start a login, and answers it if not.
func (c *Client) loadsPage(w http.ResponseWriter, r *http.Request) bool {
	if canLoadPage(r) {
		return true
	}
	stepUp := c.demands.get(formValue(r, "step_up")).key
	c.sendToLogin(w, r, stepUp, &Error{Op: "login", Code: CodeNoSession})
	return false
}

// handleInitiate starts a login that another party asks for, usually the
// provider's portal (OIDC Core 4). The request is not trusted: iss must be this
// client's issuer, target_link_uri a page of this app, and of the other
// parameters only login_hint is passed on.
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
	if iss := r.Form.Get("iss"); iss != c.issuer && !c.flow.rules.accepts(iss) {
		c.problem(w, r, failf("initiate", CodeIssuerMismatch,
			"iss is %q, expected %s", clean(iss, 200), c.flow.rules.expectedIssuer()))
		return
	}
	options := &AuthOptions{ReturnTo: c.ownPage(r.Form.Get("target_link_uri"))}
	if hint := r.Form.Get("login_hint"); len(hint) <= maxLoginHint {
		options.LoginHint = hint
	}
	c.Login(w, r, options)
}

// maxLoginHint bounds the login_hint that another party may add to a request.
const maxLoginHint = 255
