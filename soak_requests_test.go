package oidcrp_test

// This file makes the random requests of soak_test.go: out of parts of real logins,
// sessions and tokens, mutated, and of what attackers send.

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

// A soaker sends the requests to one path.
type soaker struct {
	*soak
	target string
	rand   *rand.Rand
	sent   int

	browser *http.Client   // in which alice signs in
	session []*http.Cookie // of a person who is signed in
	pending []soakLogin    // begun and not finished
	logout  soakLogin      // a logout that is at the provider
	real    []string       // values that the provider and the app gave out
	token   string         // a valid Logout Token
}

// A soakLogin is a login that has begun. Its code is empty if the provider has not
// answered.
type soakLogin struct {
	cookies     []*http.Cookie
	state, code string
}

// beginLogin returns the URL to send the browser to, the login's cookies and its state.
func (s *soak) beginLogin(t *testing.T) (location string, cookies []*http.Cookie, state string) {
	t.Helper()
	w := httptest.NewRecorder()
	location, err := s.app.client.BeginLogin(w, httptest.NewRequest("GET", s.app.URL+"/auth/login", nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return location, w.Result().Cookies(), queryOf(t, location).Get("state")
}

func queryOf(t *testing.T, raw string) url.Values {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// renew gets new sessions and tokens every n requests, and a new login every 50, of
// which one in ten has a code.
func (s *soaker) renew(t *testing.T, n int) {
	if s.sent%n == 0 {
		s.signIn(t)
	}
	if s.sent%50 != 0 || s.target != "/auth/callback" && len(s.pending) > 0 {
		return
	}
	location, cookies, state := s.beginLogin(t)
	login := soakLogin{cookies: cookies, state: state, code: "an-invented-code"}
	if s.sent%500 == 0 {
		login.code = s.codeFrom(t, location)
	}
	s.pending = append(s.pending[max(0, len(s.pending)-7):], login)
}

// codeFrom returns the code with which the provider answers a login of alice.
func (s *soaker) codeFrom(t *testing.T, location string) string {
	t.Helper()
	res, _ := get(t, noRedirects(s.browser), location)
	code := queryOf(t, res.Header.Get("Location")).Get("code")
	if code == "" {
		t.Fatalf("the provider gave no code but %s", res.Header.Get("Location"))
	}
	return code
}

// signIn begins two sessions of alice and ends the first.
func (s *soaker) signIn(t *testing.T) {
	t.Helper()
	if s.browser == nil {
		s.browser = s.app.provider.Browser()
	}
	w := httptest.NewRecorder()
	location := s.app.client.BeginLogout(w, requestWithin(s.app.URL, s.newSession(t)), "/after")
	s.logout = soakLogin{state: queryOf(t, location).Get("state")}
	for _, cookie := range w.Result().Cookies() {
		if cookie.Value != "" {
			s.logout.cookies = append(s.logout.cookies, cookie)
		}
	}
	s.session = s.newSession(t)
	session, err := s.app.client.Session(requestWithin(s.app.URL, s.session))
	if err != nil {
		t.Fatal(err)
	}
	s.token = s.app.provider.LogoutToken(oidctest.ClientID, session.Subject(), session.SID())
	s.real = []string{session.IDToken(), session.SID(), session.ID(), s.logout.state, s.app.provider.Issuer(), s.app.URL + "/x"}
}

// newSession signs alice in and returns the cookies of her browser.
func (s *soaker) newSession(t *testing.T) []*http.Cookie {
	t.Helper()
	res, err := s.app.provider.Visit(s.browser, s.app.URL+"/auth/login?return_to=/me", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != http.StatusOK {
		t.Fatalf("the login ended with %s:\n%s", res.Status, body)
	}
	return s.browser.Jar.Cookies(&url.URL{Scheme: "http", Host: s.hosts[0], Path: "/"})
}

func requestWithin(base string, cookies []*http.Cookie) *http.Request {
	r := httptest.NewRequest("GET", base+"/", nil)
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	return r
}

// An attempt is a request, and what its answer may be.
type attempt struct {
	request      *http.Request
	signedIn     bool // it carries a session as it was set
	claimsOutage bool // its parameters say that the provider is down
	claimsError  bool // its parameters have an error of which only the operator can be the cause
}

func (s *soaker) attempt() attempt {
	var a attempt
	header := s.headers()
	params := s.params()
	var cookies []string
	switch s.target {
	case "/auth/callback":
		cookies = s.callback(params)
	case "/auth/logout/callback":
		params.Set("state", s.maybe(s.logout.state))
		cookies = s.pairs(s.logout.cookies)
	case "/auth/backchannel-logout":
		params.Set("logout_token", s.maybe(s.token))
	case "/auth/frontchannel-logout":
		params.Set("iss", s.maybe(s.app.provider.Issuer()))
		params.Set("sid", s.maybe(s.real[1]))
	case "/auth/initiate":
		params.Set("iss", s.maybe(s.app.provider.Issuer()))
	}
	for _, value := range params["error"] {
		a.claimsOutage = a.claimsOutage || value == "temporarily_unavailable" || value == "server_error"
		a.claimsError = a.claimsError || value != "access_denied" && value != "login_required"
	}
	cookies, a.signedIn = s.withSession(cookies)
	if line := strings.Join(append(cookies, s.junkCookies()...), "; "); line != "" {
		header.Set("Cookie", line)
	}
	a.request = s.request(header, params)
	return a
}

// callback adds the parameters of a login and returns its cookies. At least one of
// state, code and cookie is not the login's own.
func (s *soaker) callback(params url.Values) []string {
	login := s.pending[s.rand.IntN(len(s.pending))]
	state, code, cookies := s.maybe(login.state), s.maybe(login.code), s.pairs(login.cookies)
	if other := s.pending[s.rand.IntN(len(s.pending))]; s.oneIn(4) {
		code = other.code // injected into another login
	}
	if state == login.state && code == login.code && len(cookies) > 0 {
		code = s.mutated(code)
	}
	params.Set("state", state)
	params.Set("code", code)
	if s.oneIn(2) {
		params.Set("iss", s.maybe(s.app.provider.Issuer()))
	}
	if s.oneIn(6) {
		params.Set("error", pick(s.rand, "access_denied", "login_required", "server_error", "temporarily_unavailable", soakTag))
		params.Set("error_description", s.value())
	}
	return cookies
}

// withSession adds the cookies of the session, whole or mutated, to cookies.
func (s *soaker) withSession(cookies []string) (all []string, whole bool) {
	for _, cookie := range s.session {
		if !s.isSession(cookie.Name) {
			continue
		}
		switch s.rand.IntN(3) {
		case 0:
			cookies, whole = append(cookies, cookie.Name+"="+cookie.Value), true
		case 1:
			value := s.mutated(cookie.Value)
			// What follows a handle only says when the store was asked.
			handle, _, ok := strings.Cut(cookie.Value, ".")
			rest, same := strings.CutPrefix(value, handle)
			whole = whole || ok && same && (rest == "" || rest[0] == '.')
			cookies = append(cookies, cookie.Name+"="+value)
		}
	}
	return cookies, whole
}

// pairs returns cookies as they are, mutated, or none of them.
func (s *soaker) pairs(cookies []*http.Cookie) (pairs []string) {
	kind := s.rand.IntN(4)
	for _, cookie := range cookies {
		switch kind {
		case 0:
		case 1:
			pairs = append(pairs, cookie.Name+"="+s.mutated(cookie.Value))
		default:
			pairs = append(pairs, cookie.Name+"="+cookie.Value)
		}
	}
	return pairs
}

// junkCookies returns cookies with this client's names that it never set.
func (s *soaker) junkCookies() (pairs []string) {
	n := s.rand.IntN(3)
	if s.oneIn(50) {
		n = 200
	}
	for range n {
		name := s.soak.cookies + pick(s.rand, "_s", "_s1", "_s2", "_s99999999", "_t_", "_t_"+strconv.Itoa(s.rand.IntN(1000)), "_o", "_x", "")
		value := pick(s.rand, "", "9", "99999999", "3AAAA", "-1", "0", `"`, "a.b.c", "%00", s.cookieText())
		if s.oneIn(50) {
			value = longText[:s.rand.IntN(4000)]
		}
		pairs = append(pairs, name+"="+value)
	}
	return pairs
}

var longText = strings.Repeat("A", 400_000)

// cookieText returns random bytes that a server accepts in a header.
func (s *soaker) cookieText() string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s.bytes(60))
}

var soakHeaders = map[string][]string{
	"Accept":             {"text/html,application/xhtml+xml", "*/*", "application/json", "text/event-stream", "image/png", ""},
	"Accept-Language":    {"fr", "en", "fr-FR,fr;q=0.9", strings.Repeat("fr,", 500), "<soak>"},
	"Authorization":      {"Bearer x", "Basic !!"},
	"Content-Type":       {"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data", "application/json", "a/b;;", ""},
	"Forwarded":          {"host=evil.example;proto=https"},
	"Hx-Boosted":         {"true"},
	"Hx-Current-Url":     {"https://evil.example/", "APP/page", "//evil.example", "javascript:alert(1)"},
	"Hx-Request":         {"true", "false"},
	"If-None-Match":      {"*"},
	"Origin":             {"APP", "https://evil.example", "null", ":"},
	"Purpose":            {"prefetch"},
	"Range":              {"bytes=0-1", "bytes=9-"},
	"Referer":            {"https://evil.example/", "APP/page", "APP//evil.example", "%"},
	"Sec-Fetch-Dest":     {"document", "iframe", "image", "empty", "x"},
	"Sec-Fetch-Mode":     {"navigate", "cors", "no-cors", "websocket", "x"},
	"Sec-Fetch-Site":     {"same-origin", "same-site", "cross-site", "none", "x"},
	"Sec-Purpose":        {"prefetch;prerender"},
	"Transfer-Encoding":  {"chunked"},
	"Upgrade":            {"websocket"},
	"X-Forwarded-Host":   {"evil.example"},
	"X-Forwarded-Prefix": {"//evil.example"},
	"X-Forwarded-Proto":  {"https"},
	"X-Http-Method":      {"DELETE"},
	"X-Original-Url":     {"//evil.example/"},
	"X-Requested-With":   {"XMLHttpRequest"},
}

var soakHeaderNames = sortedKeys(soakHeaders) // so that a seed repeats a run

func (s *soaker) headers() http.Header {
	header := make(http.Header)
	for _, name := range soakHeaderNames {
		if s.oneIn(5) {
			value := soakHeaders[name][s.rand.IntN(len(soakHeaders[name]))]
			header.Set(name, strings.ReplaceAll(value, "APP", s.app.URL))
		}
	}
	return header
}

// params returns a few parameters that the paths know, with any values.
func (s *soaker) params() url.Values {
	params := make(url.Values)
	for range s.rand.IntN(4) {
		name := pick(s.rand, "state", "code", "iss", "error", "error_description", "error_uri", "return_to", "step_up",
			"sid", "logout_token", "target_link_uri", "login_hint", "id_token_hint", "session_state", "x", soakTag)
		params.Add(name, s.value())
	}
	return params
}

const soakTag = `"'><soak onload=x>`

// value returns what attackers send, or a real value, or one like it.
func (s *soaker) value() string {
	switch s.rand.IntN(8) {
	case 0:
		return s.real[s.rand.IntN(len(s.real))]
	case 1:
		return s.mutated(s.real[s.rand.IntN(len(s.real))])
	case 2:
		return s.bytes(64)
	case 3:
		length := 1 + s.rand.IntN(50)
		if s.oneIn(20) {
			length = 4000
		}
		return strings.Repeat(pick(s.rand, "A", "%", ".", "/", "é", soakTag), length)
	}
	return pick(s.rand, "", soakTag, "/ok?a=b#c", "/auth/login", "https://evil.example/x", "//evil.example", `/\evil.example`,
		"/\t/evil.example", "/%09/evil.example", "/.//evil.example", `\\evil.example`, "javascript:alert(1)",
		"http:evil.example", "@evil.example", "/x\r\nSet-Cookie: a=b", "/x\x00", "/..//evil.example/..", "\u2028", "/é?\xff")
}

// maybe returns text, mostly, or something else.
func (s *soaker) maybe(text string) string {
	switch s.rand.IntN(6) {
	case 0:
		return s.mutated(text)
	case 1:
		return s.value()
	}
	return text
}

// mutated returns text with a small change.
func (s *soaker) mutated(text string) string {
	if text == "" {
		return "x"
	}
	i := s.rand.IntN(len(text))
	switch s.rand.IntN(5) {
	case 0:
		return text[:i]
	case 1:
		return text + text[i:]
	case 2:
		return text[:i] + pick(s.rand, "A", ".", "=", "-", "_", "~") + text[i:]
	case 3:
		return text[:i] + text[i+1:]
	}
	other := byte('A' + s.rand.IntN(26))
	if other == text[i] {
		other++
	}
	return text[:i] + string(other) + text[i+1:]
}

// request puts params into the query, a form, or both.
func (s *soaker) request(header http.Header, params url.Values) *http.Request {
	method := pick(s.rand, "GET", "GET", "GET", "POST", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW")
	query, body := params.Encode(), s.body()
	if method == "POST" && s.rand.IntN(5) > 0 {
		body, query = query, ""
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if s.oneIn(10) {
		query += pick(s.rand, "&%zz=1", ";a=b", "&&&", "&state", "=", "?", "&"+url.QueryEscape(s.bytes(20)))
	}
	u := &url.URL{Path: s.target, RawQuery: query}
	if s.target == "/me" || s.target == "/open/" {
		u.Path += pick(s.rand, "", "", "/", "//x", "/..", `\evil.example`, "/é", "/\x01", soakTag)
		if s.oneIn(8) {
			u.Path = "//evil.example" + u.Path
		}
	}
	r := &http.Request{
		Method: method, URL: u, RequestURI: u.RequestURI(), Host: pick(s.rand, s.hosts[0], s.hosts[0], "evil.example", "a:b:c", ""),
		Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: "127.0.0.1:1",
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	if s.oneIn(10) {
		r.ContentLength = -1 // chunked
	}
	return r
}

// body returns bytes that are no form of ours.
func (s *soaker) body() string {
	switch s.rand.IntN(40) {
	case 0:
		return strings.Repeat("state=x&", s.rand.IntN(1000))
	case 1:
		return longText[:s.rand.IntN(len(longText))]
	case 2, 3, 4, 5:
		return "--x\r\nContent-Disposition: form-data; name=\"return_to\"\r\n\r\n//evil.example\r\n--x--\r\n"
	case 6, 7, 8, 9:
		return `{"logout_token":"x","return_to":"//evil.example"}`
	}
	return s.bytes(100)
}

func (s *soaker) bytes(n int) string {
	text := make([]byte, s.rand.IntN(n+1))
	for i := range text {
		text[i] = byte(s.rand.Uint32())
	}
	return string(bytes.ToValidUTF8(text, []byte{0xff}))
}

func (s *soaker) oneIn(n int) bool { return s.rand.IntN(n) == 0 }

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func sortedKeys(m map[string][]string) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
