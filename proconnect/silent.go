package proconnect

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// silentCookie says how far the silent sign-in of a browser session is. It decides
// about no access, so it is neither sealed nor secret.
const silentCookie = "proconnect_silent"

// The values of silentCookie. A silent sign-in waits until the browser has shown
// that it keeps cookies: without them the way back would end on an error page.
const (
	silentReady = "0" // cookies are kept, nothing was tried
	silentDone  = "1" // tried, or not to be
)

// SignInSilently serves next, a public page, and finds out whether the person has a
// session at ProConnect: if so, they are signed in without a click. It tries once in
// a browser session, when a second whole page is loaded (the first shows whether the
// browser keeps cookies), and not for somebody who was signed in before, so that a
// logout stays one. Whatever fails, next is served.
//
// It needs [oidcrp.Client.Middleware] around it and [ErrorHandler], or a handler that
// calls it, as [oidcrp.Config.ErrorHandler]. It tries nothing when
// [oidcrp.Config.AuthOptions] holds hints or levels: with them ProConnect shows its
// pages in spite of prompt=none.
func SignInSilently(client *oidcrp.Client, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		_, signedIn := oidcrp.SessionFromContext(r.Context())
		state := silentState(r)
		switch {
		case state == silentDone || !signedIn && !loadsDocument(r):
		case signedIn:
			setSilentState(w, silentDone)
		case state != silentReady:
			setSilentState(w, silentReady)
		default:
			setSilentState(w, silentDone)
			options := &oidcrp.AuthOptions{Prompt: "none", ReturnTo: r.RequestURI}
			if location, err := client.BeginLogin(w, r, options); err == nil && staysSilent(location) {
				http.Redirect(w, r, location, http.StatusFound)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// staysSilent reports whether ProConnect answers an authentication request without
// showing anything: it carries no hint, and the only thing said of acr is the wish to
// see it.
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

// loadsDocument reports whether a browser loads r's answer as a whole page that
// somebody looks at. Programs that do not say so get the page as it is.
func loadsDocument(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Dest") == "document" &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && !strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
}

// silentlyRefused returns the page to go back to when p says that a silent sign-in
// found no session; "" for any other problem.
func silentlyRefused(r *http.Request, p *oidcrp.Problem) string {
	var refusal *oidcrp.ProviderError
	if p.Code != oidcrp.CodeLoginRequired || !errors.As(p.Err, &refusal) || refusal.Endpoint != "authorization" {
		return ""
	}
	if silentState(r) != silentDone {
		return "" // it would be tried again, for ever
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
