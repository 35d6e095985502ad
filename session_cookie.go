package oidcrp

// This file keeps a session in sealed cookies, and is the one place that knows
// how this package's cookies are named and set.

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

const (
	// maxCookie bounds one cookie with its name and attributes; browsers drop
	// cookies over 4096 bytes (RFC 6265 section 6.1).
	maxCookie = 3800
	// maxSession bounds a sealed session; servers commonly refuse requests with
	// more than 16 to 32 KiB of headers.
	maxSession = 16 << 10
	// maxChunks is how many cookies that makes, at most.
	maxChunks = maxSession/maxCookie + 2
)

// cookieNames are the names, or beginnings of names, of one client's cookies.
// They carry a short hash of issuer, client and prefix, so that several
// Clients live in one app.
type cookieNames struct {
	session     string // followed by a number from the second cookie on
	transaction string // followed by the hash of the state
	logout      string
}

func newCookieNames(cfg Config, secure bool) cookieNames {
	sum := sha256.Sum256([]byte(cfg.Issuer + "\x00" + cfg.ClientID + "\x00" + cfg.PathPrefix))
	name := "oidcrp_" + base64.RawURLEncoding.EncodeToString(sum[:6])
	if secure {
		// The browser then refuses the cookie from any other host, also a
		// subdomain, and over plain http (RFC 6265bis section 4.1.3.2).
		name = "__Host-" + name
	}
	return cookieNames{session: name + "_s", transaction: name + "_t_", logout: name + "_o"}
}

// associated returns the data that ties a sealed value to its cookie, or other
// purpose, and to this app's host.
func (c *Client) associated(purpose string) []byte {
	return []byte(purpose + "\x00" + c.base.Host)
}

// setCookie sets cookie with the attributes that all of ours have.
func (c *Client) setCookie(w http.ResponseWriter, cookie *http.Cookie) {
	cookie.Path = "/"
	cookie.HttpOnly = true
	cookie.Secure = c.secure
	if cookie.SameSite == 0 {
		cookie.SameSite = http.SameSiteLaxMode
	}
	http.SetCookie(w, cookie)
}

func (c *Client) deleteCookie(w http.ResponseWriter, name string, sameSite http.SameSite) {
	c.setCookie(w, &http.Cookie{Name: name, MaxAge: -1, SameSite: sameSite})
}

// chunkName names the i-th cookie of a session.
func (c *Client) chunkName(i int) string {
	if i == 0 {
		return c.cookies.session
	}
	return c.cookies.session + strconv.Itoa(i)
}

// saveCookie seals s into as many cookies as it takes. The first one's value
// starts with their number, since a browser may still hold one too many.
func (c *Client) saveCookie(w http.ResponseWriter, r *http.Request, s *Session) error {
	text, err := c.ring.seal(s.marshal(), c.associated(c.cookies.session))
	if err != nil {
		return err
	}
	if len(text) > maxSession {
		return failf("session", CodeSessionTooLarge,
			"%d bytes are more than cookies can hold (%d); the largest claims are %q: "+
				"ask for less, or set Config.Store", len(text), maxSession, s.largestClaims())
	}
	const attributes = len("=; Path=/; HttpOnly; Secure; SameSite=Lax")
	room := maxCookie - len(c.chunkName(maxChunks)) - attributes
	chunks := (1 + len(text) + room - 1) / room
	text = strconv.Itoa(chunks) + text
	for i := range chunks {
		c.setSessionCookie(w, c.chunkName(i), text[i*room:min((i+1)*room, len(text))])
	}
	for i := chunks; i < maxChunks; i++ {
		if _, err := r.Cookie(c.chunkName(i)); err == nil {
			c.deleteCookie(w, c.chunkName(i), 0)
		}
	}
	return nil
}

// setSessionCookie sets a cookie that goes when the browser is closed, as is
// right on a shared machine. The limits in time are inside the value.
func (c *Client) setSessionCookie(w http.ResponseWriter, name, value string) {
	c.setCookie(w, &http.Cookie{Name: name, Value: value})
}

// loadCookie returns the session that r's cookies hold; nil when there is
// none, or none that can be used. Why is an event, and no matter to the
// browser.
func (c *Client) loadCookie(r *http.Request) (*Session, error) {
	text, err := c.joinChunks(r)
	if text == "" && err == nil {
		return nil, nil
	}
	var plain []byte
	if err == nil {
		plain, err = c.ring.open(text, c.associated(c.cookies.session))
	}
	var s *Session
	if err == nil {
		s, err = c.unmarshalSession(plain)
	}
	if errors.Is(err, ErrStoreUnavailable) { // there are no keys yet
		return nil, err
	}
	if err != nil {
		c.events.sessionRefused(r.Context(), err.Error())
		return nil, nil
	}
	return s, nil
}

// joinChunks returns the sealed session, "" when there is none.
func (c *Client) joinChunks(r *http.Request) (string, error) {
	first, err := r.Cookie(c.cookies.session)
	if err != nil || first.Value == "" {
		return "", nil
	}
	chunks := int(first.Value[0] - '0')
	if chunks < 1 || chunks > maxChunks {
		return "", fmt.Errorf("split into %q cookies", clean(first.Value[:1], 1))
	}
	if chunks == 1 {
		return first.Value[1:], nil
	}
	var b strings.Builder
	b.WriteString(first.Value[1:])
	for i := 1; i < chunks; i++ {
		next, err := r.Cookie(c.chunkName(i))
		if err != nil {
			return "", fmt.Errorf("cookie %d of %d is missing", i+1, chunks)
		}
		b.WriteString(next.Value)
	}
	return b.String(), nil
}

// deleteSessionCookies deletes every cookie of the session that r carries.
func (c *Client) deleteSessionCookies(w http.ResponseWriter, r *http.Request) {
	for i := range maxChunks {
		if _, err := r.Cookie(c.chunkName(i)); err == nil || i == 0 {
			c.deleteCookie(w, c.chunkName(i), 0)
		}
	}
}
