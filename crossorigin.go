package oidcrp

// This file refuses requests of other origins on protected routes (cross-site
// request forgery, and WebSockets that another page opens).

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// newCrossOrigin returns the protection of an app at base, which trusts the origins
// that the Config names.
func newCrossOrigin(base *url.URL, trusted []string) (*http.CrossOriginProtection, error) {
	protection := http.NewCrossOriginProtection()
	// A proxy may have changed the Host that the Origin is compared with.
	for _, origin := range append(slices.Clone(trusted), originOf(base)) {
		if err := protection.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return protection, nil
}

// checkOrigin returns [CodeCrossOrigin] if a page of another origin made r, and r
// can change something or opens a WebSocket. A browser sends the session's cookie
// with requests by other hosts of the same site.
func (c *Client) checkOrigin(r *http.Request) error {
	asked := r
	if opensWebSocket(r.Header) {
		// A WebSocket begins with a GET, and its page may then send anything.
		changed := *r
		changed.Method = http.MethodPost
		asked = &changed
	}
	if c.crossOrigin.Check(asked) == nil {
		return nil
	}
	return failf("request", CodeCrossOrigin,
		"a %s by a page of the origin %q (Sec-Fetch-Site %q), which is neither %s nor one of TrustedOrigins (OIDC_TRUSTED_ORIGINS)",
		clean(r.Method, 20), clean(r.Header.Get("Origin"), 200), clean(r.Header.Get("Sec-Fetch-Site"), 20), originOf(c.base))
}

// opensWebSocket reports whether h asks for a WebSocket. Some proxies ask for another
// protocol, such as h2c, with every request.
func opensWebSocket(h http.Header) bool {
	for _, line := range h.Values("Upgrade") {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "websocket") {
				return true
			}
		}
	}
	return false
}

// originOf returns the origin of u as browsers write it: in lower case and without
// the default port.
func originOf(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	port := map[string]string{"https": ":443", "http": ":80"}[scheme]
	return scheme + "://" + strings.TrimSuffix(strings.TrimSuffix(host, port), ":")
}
