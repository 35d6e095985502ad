package oidcrp

// This file is the one place that seals, names, sets, reads and deletes a
// cookie.

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxCookie bounds one cookie with its name and attributes; browsers drop
	// cookies over 4096 bytes (RFC 6265 section 6.1).
	maxCookie = 3800
	// maxSessionBytes bounds the cookies of a session; servers commonly refuse
	// requests with more than 16 to 32 KiB of headers.
	maxSessionBytes = 16 << 10
	// maxAnswerHeader bounds the header of an answer that sets cookies where that can be
	// chosen: nginx answers 502 in place of one that exceeds 4 KiB, unless
	// proxy_buffer_size is set.
	maxAnswerHeader = 4000
	// answerFraming is about what a server adds to a header: the status line, Date,
	// Connection, Content-Type and Content-Length.
	answerFraming = 200
	// maxChunks is how many cookies that makes, at most.
	maxChunks = maxSessionBytes/maxCookie + 2
)

// cookies owns the cookies of one client: its names carry a short hash of
// issuer, client and path, so that several Clients live in one app, and its
// seals are tied to the same three and to the app's host.
type cookies struct {
	keys     *cookieKeys
	clientID string
	secure   bool   // cookies are Secure and __Host-
	identity string // issuer, client id, paths and host

	session     string // name; followed by a number from the second cookie on
	transaction string // name; followed by the hash of the state
	logout      string // name
	question    string // name; of the page that asks whether to sign out
	silent      string // name; whether a silent sign-in was tried

	sessionData []byte // associated(session), which every request needs
}

func newCookies(keys *cookieKeys, issuer, clientID, pathPrefix, host string, secure bool) *cookies {
	client := issuer + "\x00" + clientID + "\x00" + pathPrefix
	sum := sha256.Sum256([]byte(client))
	name := "oidcrp_" + base64.RawURLEncoding.EncodeToString(sum[:6])
	if secure {
		// The browser then refuses the cookie from any other host, including
		// subdomains, and over plain http (RFC 6265bis section 4.1.3.2).
		name = "__Host-" + name
	}
	c := &cookies{
		keys: keys, clientID: clientID, secure: secure, identity: client + "\x00" + host,
		session: name + "_s", transaction: name + "_t_", logout: name + "_o", question: name + "_q", silent: name + "_n",
	}
	c.sessionData = c.associated(c.session)
	return c
}

// associated returns the data that ties a sealed value to its purpose, such as
// a cookie's name, and to this client.
func (c *cookies) associated(purpose string) []byte {
	if purpose == c.session && c.sessionData != nil {
		return c.sessionData
	}
	return []byte(purpose + "\x00" + c.identity)
}

// seal returns plain sealed for purpose, as text fit for a cookie. Its error is
// [CodeCookieKeysUnavailable].
func (c *cookies) seal(purpose string, plain []byte) (string, error) {
	return c.keys.seal(plain, c.associated(purpose))
}

// open returns what seal was given. Its error is [CodeCookieKeysUnavailable],
// or one of package seal.
func (c *cookies) open(purpose, text string) ([]byte, error) {
	return c.keys.open(text, c.associated(purpose))
}

// put sets a cookie with the attributes that all of them have. maxAge zero
// means a cookie that ends with the browser's session; sameSite zero means Lax.
func (c *cookies) put(w http.ResponseWriter, name, value string, maxAge time.Duration, sameSite http.SameSite) {
	keepPrivate(w)
	// RFC 6265 section 4.1.1: at most one of a name in a response. The last one
	// decides, as it does in a browser.
	if set := w.Header()["Set-Cookie"]; len(set) > 0 {
		w.Header()["Set-Cookie"] = slices.DeleteFunc(set, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	http.SetCookie(w, c.cookie(name, value, maxAge, sameSite))
}

func (c *cookies) cookie(name, value string, maxAge time.Duration, sameSite http.SameSite) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(maxAge / time.Second),
		HttpOnly: true, Secure: c.secure, SameSite: cmp.Or(sameSite, http.SameSiteLaxMode),
	}
}

// lineSize is how many bytes of an answer's header a cookie takes, at most; with an empty
// value, its deletion.
func (c *cookies) lineSize(name, value string, sameSite http.SameSite) int {
	attributes := len("=; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax")
	if sameSite == http.SameSiteNoneMode {
		attributes += len("None") - len("Lax")
	}
	if c.secure {
		attributes += len("; Secure")
	}
	return headerLine("Set-Cookie", name) + attributes + len(value)
}

// cookieSize is how many bytes of a request's Cookie header a cookie takes.
func cookieSize(name, value string) int { return len(name) + len("=") + len(value) + len("; ") }

// headerLine is how many bytes a field takes.
func headerLine(name, value string) int { return len(name) + len(": ") + len(value) + len("\r\n") }

// answerSize is about how many bytes the header of an answer with h takes that leads to
// location.
func answerSize(h http.Header, location string) int {
	size := answerFraming + headerLine("Location", location)
	for name, values := range h {
		for _, value := range values {
			size += headerLine(name, value)
		}
	}
	return size
}

// drop deletes a cookie that was set with the same sameSite.
func (c *cookies) drop(w http.ResponseWriter, name string, sameSite http.SameSite) {
	c.put(w, name, "", -time.Second, sameSite)
}

// lookUp returns a cookie's value, and whether r has one of that name. Two different
// values are an error: where no __Host- prefix protects, one may come from another
// host of the site or for another path, and their order does not tell which.
func (c *cookies) lookUp(r *http.Request, name string) (value string, found bool, err error) {
	for _, line := range r.Header["Cookie"] {
		for len(line) > 0 {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			// The name first: cheaper than net/http, which parses every cookie of the host
			// at every request.
			key, text, _ := strings.Cut(strings.TrimLeft(pair, " \t"), "=")
			if strings.TrimRight(key, " \t") != name {
				continue
			}
			text = cookieText(text)
			if found && text != value {
				return "", true, &chunkError{reasonDuplicate, "the cookie " + name + " has different values"}
			}
			value, found = text, true
		}
	}
	return value, found, nil
}

// cookieText returns a cookie's value without the space and the quotes that may be
// around it.
func cookieText(text string) string {
	text = strings.Trim(text, " \t")
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	return text
}

// read returns a cookie's value, "" when r has none of that name, or different ones.
func (c *cookies) read(r *http.Request, name string) string {
	value, _, _ := c.lookUp(r, name)
	return value
}

// has reports whether r has a cookie of that name, even an empty one.
func (c *cookies) has(r *http.Request, name string) bool {
	_, found, _ := c.lookUp(r, name)
	return found
}

// mentions reports whether r may have a cookie whose name begins with name. Most requests
// have none of most names, and need not be parsed to know that.
func mentions(r *http.Request, name string) bool {
	return slices.ContainsFunc(r.Header["Cookie"], func(line string) bool { return strings.Contains(line, name) })
}

// chunkName names the i-th cookie of a session.
func (c *cookies) chunkName(i int) string {
	if i == 0 {
		return c.session
	}
	return c.session + strconv.Itoa(i)
}

// putSession sets a session's cookie. The browser deletes it when it is closed,
// which protects people on shared machines. The time limits are in the value.
func (c *cookies) putSession(w http.ResponseWriter, name, value string) {
	c.put(w, name, value, 0, 0)
}

// keepPrivate keeps a response that sets a cookie out of shared caches, even where
// the app says nothing about caching.
func keepPrivate(w http.ResponseWriter) {
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "private")
	}
}

// setsSession reports whether h sets or deletes a cookie of the session.
func (c *cookies) setsSession(h http.Header) bool { return setsCookie(h, c.session) }

// isOwn reports whether a Set-Cookie header is about a cookie of this client.
func (c *cookies) isOwn(set string) bool {
	return strings.HasPrefix(set, strings.TrimSuffix(c.session, "s"))
}

// setsCookie reports whether h has a cookie whose name begins with prefix.
func setsCookie(h http.Header, prefix string) bool {
	return slices.ContainsFunc(h["Set-Cookie"], func(v string) bool { return strings.HasPrefix(v, prefix) })
}

// sessionAttributes are the bytes of a session's cookie beside its name and value.
const sessionAttributes = len("=; Path=/; HttpOnly; Secure; SameSite=Lax")

// chunkRoom is how many bytes of text one session cookie holds.
func (c *cookies) chunkRoom() int { return maxCookie - len(c.chunkName(maxChunks)) - sessionAttributes }

// sessionSize returns the bytes of the cookies that putChunks sets for so much text.
func (c *cookies) sessionSize(text int) int {
	text++ // the number of chunks
	chunks := (text + c.chunkRoom() - 1) / c.chunkRoom()
	return text + chunks*(len(c.chunkName(maxChunks))+sessionAttributes)
}

// putChunks sets as many session cookies as text needs; they have at most
// maxSessionBytes. The first value starts with their number, since a browser
// may still have more of them. Those that r has beyond that number are deleted.
func (c *cookies) putChunks(w http.ResponseWriter, r *http.Request, text string) {
	room := c.chunkRoom()
	chunks := (1 + len(text) + room - 1) / room
	text = strconv.Itoa(chunks) + text
	for i := range chunks {
		c.putSession(w, c.chunkName(i), text[i*room:min((i+1)*room, len(text))])
	}
	for i := chunks; i < maxChunks; i++ {
		if c.has(r, c.chunkName(i)) {
			c.drop(w, c.chunkName(i), 0)
		}
	}
}

// readChunks returns what putChunks was given, "" when there is no session
// cookie.
func (c *cookies) readChunks(r *http.Request) (string, error) {
	first, _, err := c.lookUp(r, c.session)
	if first == "" || err != nil {
		return "", err
	}
	chunks := int(first[0] - '0')
	if chunks < 1 || chunks > maxChunks {
		return "", &chunkError{reasonMalformed, fmt.Sprintf("split into %q cookies", clean(first[:1], 1))}
	}
	if chunks == 1 {
		return first[1:], nil
	}
	var b strings.Builder
	b.WriteString(first[1:])
	for i := 1; i < chunks; i++ {
		chunk, found, err := c.lookUp(r, c.chunkName(i))
		if err != nil {
			return "", err
		}
		if !found {
			return "", &chunkError{reasonIncomplete, fmt.Sprintf("cookie %d of %d is missing", i+1, chunks)}
		}
		b.WriteString(chunk)
	}
	return b.String(), nil
}

// chunkError says why the cookies of one name or of one session do not make one
// value.
type chunkError struct{ reason, text string }

func (e *chunkError) Error() string { return e.text }

// dropSession deletes every session cookie that r carries or w has set. A request
// without one may be another site's, from which the browser withheld them.
func (c *cookies) dropSession(w http.ResponseWriter, r *http.Request) {
	for i := range maxChunks {
		name := c.chunkName(i)
		set := slices.ContainsFunc(w.Header()["Set-Cookie"], func(v string) bool { return strings.HasPrefix(v, name+"=") })
		if set || c.has(r, name) {
			c.drop(w, name, 0)
		}
	}
}
