package oidcrp_test

import (
	"net/url"
	"slices"
	"testing"
)

// Headers as Firefox 153, WebKitGTK 2.50 and Chromium 156 sent them; interop/engines_test.go
// drives the same browsers.
const (
	firefoxAccept  = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	webkitAccept   = firefoxAccept
	chromiumAccept = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp," +
		"image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"

	upgrade      = "Upgrade-Insecure-Requests: 1"
	byPerson     = "Sec-Fetch-User: ?1"
	toDocument   = "Sec-Fetch-Dest: document"
	toScript     = "Sec-Fetch-Dest: empty"
	asSameOrigin = "Sec-Fetch-Mode: same-origin"
	asCORS       = "Sec-Fetch-Mode: cors"
	fromApp      = "Sec-Fetch-Site: same-origin"
	fromNowhere  = "Sec-Fetch-Site: none"
	fromWorker   = "Referer: APP/worker.js"
)

// senders are browsers, without a service worker and behind one that passes requests
// through: fetch(event.request), or changed: fetch(event.request, {cache: "no-store"}).
var senders = []struct {
	what    string
	page    bool // what it loads is a page
	headers []string
}{
	{"Firefox", true, []string{firefoxAccept, navigate, toDocument, fromNowhere, byPerson, upgrade}},
	{"WebKit", true, []string{webkitAccept, navigate, toDocument, fromNowhere}},
	{"Chromium", true, []string{chromiumAccept, navigate, toDocument, fromNowhere, byPerson, upgrade}},

	{"Firefox with a worker", true, []string{firefoxAccept, asSameOrigin, toScript, fromApp, upgrade}},
	{"WebKit with a worker", true, []string{webkitAccept, navigate, toScript, fromApp, fromWorker}},
	{"Chromium with a worker", true, []string{chromiumAccept, navigate, toScript, fromApp, upgrade}},

	{"Firefox with a worker that changes", true, []string{
		firefoxAccept, asSameOrigin, toScript, fromApp, upgrade, fromWorker, "Cache-Control: no-cache"}},
	{"WebKit with a worker that changes", true, []string{
		webkitAccept, asSameOrigin, toScript, fromApp, fromWorker, "Cache-Control: no-cache"}},
	{"Chromium with a worker that changes", true, []string{
		chromiumAccept, asSameOrigin, toScript, fromApp, upgrade, fromWorker, "Cache-Control: no-cache"}},

	{"fetch", false, []string{"Accept: */*", asCORS, toScript, fromApp}},
	{"fetch in the mode same-origin", false, []string{"Accept: */*", asSameOrigin, toScript, fromApp}},
	{"fetch of JSON in the mode same-origin", false, []string{"Accept: application/json", asSameOrigin, toScript, fromApp}},
	{"fetch of HTML in the mode same-origin", false, []string{"Accept: text/html", asSameOrigin, toScript, fromApp}},
	{"fetch of HTML by a library", false, []string{
		"Accept: text/html, application/xhtml+xml", asSameOrigin, toScript, fromApp, "X-Requested-With: XMLHttpRequest"}},
	{"fetch that claims a page load", false, []string{firefoxAccept, asCORS, toScript, fromApp, upgrade}},
	{"an image of another site", false, []string{
		firefoxAccept, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: cross-site", upgrade}},
	{"the worker itself", false, []string{
		"Accept: */*", asSameOrigin, "Sec-Fetch-Dest: serviceworker", fromApp, "Cache-Control: max-age=0"}},
	{"a worker that claims a page load", false, []string{firefoxAccept, asSameOrigin, "Sec-Fetch-Dest: worker", fromApp, upgrade}},
}

// A page load that a service worker of the app sends again is a page load: the person
// sees pages and can sign in.
func TestRequest_PageLoadsBehindAServiceWorker(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	wants := map[bool]map[string]string{
		true:  {"GET": "302", "POST": "401 page"},
		false: {"GET": "401 json", "POST": "401 json"},
	}
	for _, sender := range senders {
		for method, want := range wants[sender.page] {
			t.Run(sender.what+" "+method, func(t *testing.T) {
				t.Parallel()
				headers := sender.headers
				if method == "POST" {
					headers = append(slices.Clone(headers), "Origin: APP")
				}
				res, body := app.asks(t, app.provider.Browser(), method, "/tab/1?q=1", headers...)
				if got := describe(t, app, res, body); got != want {
					t.Errorf("a protected page answered %q, want %q\n%s", got, want, body)
				}
				for _, path := range []string{
					"/auth/login?return_to=/tab/9", "/auth/initiate?iss=" + url.QueryEscape(app.provider.Issuer()),
				} {
					res, body := app.asks(t, app.provider.Browser(), method, path, headers...)
					if started := len(res.Cookies()) == 1 && res.StatusCode/100 == 3; started != sender.page {
						t.Errorf("%s: %s, cookies %v\n%s", path, res.Status, res.Cookies(), body)
					}
				}
			})
		}
	}
}
