package oidcrp

// This file classifies requests and reads them within bounds.

import (
	"net/http"
	"slices"
	"strings"
)

// A requestKind is the kind of response that the sender of a request can use.
type requestKind int

const (
	navigation requestKind = iota // a page load by GET
	submission                    // a page load by another method: a form
	script                        // fetch, XMLHttpRequest, a WebSocket, an event stream, a prefetch, HEAD
	htmx                          // a request by htmx, which follows HX-Redirect
)

// The headers of htmx, HX-Request and HX-Current-URL, as net/http has them in its maps: a
// name in another spelling is copied at each look-up.
const (
	hxRequest    = "Hx-Request"
	hxCurrentURL = "Hx-Current-Url"
)

// kindOf classifies r by Fetch Metadata, else by its Accept header.
func kindOf(r *http.Request) requestKind {
	h := r.Header
	html := strings.Contains(h.Get("Accept"), "text/html")
	switch mode := h.Get("Sec-Fetch-Mode"); {
	case h.Get(hxRequest) == "true":
		return htmx
	case h.Get("Upgrade") != "" || r.Method == http.MethodHead || isPrefetch(r) || isForeignFrame(h):
		return script
	case mode != "" && mode != "navigate" && !isResent(h):
		return script
	case mode == "" && (!html || h.Get("X-Requested-With") != ""):
		return script
	case r.Method == http.MethodGet:
		return navigation
	}
	return submission
}

// isBoosted reports whether r is a page load that htmx makes in the place of the
// browser (hx-boost).
func isBoosted(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get(hxRequest) == "true" && r.Header.Get("Hx-Boosted") == "true"
}

// isResent reports whether a service worker of the app sends a page load again in
// the mode same-origin: Firefox always does so, other browsers do if the worker
// changes the request (Fetch section 5.4). A fetch has neither
// Upgrade-Insecure-Requests nor the Accept of a page load, unless a script sets them:
// one of the app's own, since browsers send this mode within an origin only.
func isResent(h http.Header) bool {
	accept := h.Get("Accept")
	return h.Get("Sec-Fetch-Mode") == "same-origin" && h.Get("Sec-Fetch-Dest") == "empty" &&
		strings.Contains(accept, "text/html") && h.Get("X-Requested-With") == "" &&
		(h.Get("Upgrade-Insecure-Requests") == "1" || strings.Contains(accept, "application/xhtml+xml"))
}

// isPartOfPage reports whether the response is an image, a style and the like. Apps
// let shared caches store those, and a cache that stores a session's cookie with
// one of them would send it to other people.
func isPartOfPage(h http.Header) bool {
	switch h.Get("Sec-Fetch-Dest") {
	case "audio", "font", "image", "manifest", "script", "style", "track", "video":
		return true
	case "empty": // behind a service worker that changes requests
		return h.Get("Sec-Fetch-Mode") == "no-cors"
	}
	return false
}

// isForeignFrame reports whether the response is for a frame in another site's page.
// Browsers withhold the session's cookie there, so a login cannot succeed.
func isForeignFrame(h http.Header) bool {
	switch h.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object", "fencedframe":
		return h.Get("Sec-Fetch-Site") == "cross-site"
	}
	return false
}

// isPrefetch reports whether a browser loads a page before the person clicks.
// Such a request must not start or finish a login, nor log out.
func isPrefetch(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		purpose := strings.ToLower(r.Header.Get(name))
		if strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "prerender") {
			return true
		}
	}
	return false
}

// isOwnNavigation reports whether a page of the app itself leads to this one, by
// Fetch Metadata: not a frame, a script, or a redirect through another site.
func isOwnNavigation(h http.Header) bool {
	return h.Get("Sec-Fetch-Site") == "same-origin" && h.Get("Sec-Fetch-Mode") == "navigate" &&
		h.Get("Sec-Fetch-Dest") == "document"
}

// requestPath returns the path and query that the browser asked for, also
// behind http.StripPrefix.
func requestPath(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
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

// maxForm bounds the forms that are posted to the client's own paths.
const maxForm = 64 << 10

// formValue is r.FormValue with a bound on the body.
func formValue(r *http.Request, name string) string {
	if r.Form == nil && r.Body != nil {
		r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	}
	return r.FormValue(name)
}
