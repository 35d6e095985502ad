package proconnect

// This file signs in people who have a session at ProConnect, without a click.

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// silentCookie keeps the state of the silent sign-in for a browser session. No access
// depends on it, so it is neither sealed nor secret.
const silentCookie = "proconnect_silent"

// The values of silentCookie. The first page load only shows that the browser keeps
// cookies: without them the callback of a silent sign-in would end on an error page.
const (
	silentReady = "0" // cookies are kept, and nothing was tried yet
	silentDone  = "1" // tried, or not to be tried
)

// SignInSilently wraps a public page, and signs a person who has a session at
// ProConnect in without a click. It tries once in a browser session, at the second page
// load (the first shows whether the browser keeps cookies), and not after a sign-in, also
// at another member of an [oidcrp.Group], so that a logout lasts. If anything fails, it serves the page.
//
// Wrap the app with [oidcrp.Client.Middleware], and use [PageHandler], or a handler that
// calls it, as [oidcrp.Pages.Handler]. Nothing is tried when [oidcrp.Config.Login] holds
// hints or levels, because ProConnect then shows its pages in spite of prompt=none.
func SignInSilently(client *oidcrp.Client) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Vary", "Cookie")
			if location := trySilently(client, w, r); location != "" {
				http.Redirect(w, r, location, http.StatusFound)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// trySilently returns where to send the browser for a silent sign-in, "" if none is to
// be tried now.
func trySilently(client *oidcrp.Client, w http.ResponseWriter, r *http.Request) string {
	state := silentState(r)
	_, err := client.Session(r)
	_, elsewhere := oidcrp.SessionFromContext(r.Context()) // in an oidcrp.Group, whose session would end
	switch {
	case state == silentDone:
	case err == nil, elsewhere: // signed in
		setSilentState(w, silentDone)
	case !errors.Is(err, oidcrp.CodeNoSession): // in an outage, the person may well be signed in
	case !loadsDocument(r):
	case state != silentReady:
		setSilentState(w, silentReady)
	default:
		setSilentState(w, silentDone)
		options := &oidcrp.AuthOptions{Prompt: "none", ReturnTo: r.RequestURI}
		if location, err := client.BeginLogin(w, r, options); err == nil && staysSilent(location) {
			return location
		}
	}
	return ""
}

// staysSilent reports whether ProConnect answers an authentication request without
// showing a page: it has no hint, and at most a voluntary request for acr.
func staysSilent(location string) bool {
	u, err := url.Parse(location)
	if err != nil {
		return false
	}
	query := u.Query()
	for _, name := range []string{"login_hint", "idp_hint", "siret_hint", "acr_values"} {
		if query.Has(name) {
			return false
		}
	}
	var claims struct {
		IDToken map[string]any `json:"id_token"`
	}
	if text := query.Get("claims"); text != "" && json.Unmarshal([]byte(text), &claims) != nil {
		return false
	}
	return claims.IDToken["acr"] == nil
}

// silentState returns the value of silentCookie, "" without one.
func silentState(r *http.Request) string {
	cookie, err := r.Cookie(silentCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

func setSilentState(w http.ResponseWriter, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: silentCookie, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	w.Header().Set("Cache-Control", "no-store")
}

// loadsDocument reports whether r is a page load of a person, by its Fetch Metadata.
// Scripts, frames, prefetches and programs that send none of it are not.
func loadsDocument(r *http.Request) bool {
	h := r.Header
	if r.Method != http.MethodGet || strings.Contains(h.Get("Sec-Purpose"), "prefetch") {
		return false
	}
	return h.Get("Sec-Fetch-Dest") == "document" && h.Get("Sec-Fetch-Mode") == "navigate" || isResent(h)
}

// isResent reports whether a service worker of the service sends a page load again: the
// destination is then empty. No script can send the mode navigate with it. Some browsers
// send same-origin, as fetch may, but with the Accept of a page load. Frames look the
// same then.
func isResent(h http.Header) bool {
	if h.Get("Sec-Fetch-Dest") != "empty" {
		return false
	}
	accept := h.Get("Accept")
	return h.Get("Sec-Fetch-Mode") == "navigate" ||
		h.Get("Sec-Fetch-Mode") == "same-origin" && h.Get("X-Requested-With") == "" &&
			strings.Contains(accept, "text/html") && strings.Contains(accept, "application/xhtml+xml")
}

// silentlyRefused returns the page to return to if p is about a silent sign-in that
// found no session; "" for any other page.
func silentlyRefused(r *http.Request, p *oidcrp.Page) string {
	var refusal *oidcrp.ProviderError
	if p.Code != oidcrp.CodeLoginRequired || !errors.As(p.Err, &refusal) || refusal.Endpoint != "authorization" {
		return ""
	}
	if silentState(r) != silentDone {
		return "" // the page would try again, without end
	}
	login, err := url.Parse(p.LoginURL)
	if err != nil {
		return ""
	}
	if page := login.Query().Get("return_to"); page != "" {
		return page
	}
	return p.HomeURL
}
