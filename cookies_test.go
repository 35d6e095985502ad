package oidcrp

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/seal"
)

// testCookies returns the cookies of a client with the fixed keys of the tests.
func testCookies(t testing.TB, issuer, clientID, pathPrefix, host string, secure bool) *cookies {
	t.Helper()
	keys, err := newCookieKeys(Keys(testKey(1)), true, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	return newCookies(keys, issuer, clientID, pathPrefix, host, secure)
}

// usualCookies are those of an app over https.
func usualCookies(t testing.TB) *cookies {
	t.Helper()
	return testCookies(t, "https://op.example", "app", "/auth/", "app.example", true)
}

// otherCookies are those of clients that differ in one thing from the usual one.
func otherCookies(t testing.TB) map[string]*cookies {
	t.Helper()
	return map[string]*cookies{
		"another issuer":            testCookies(t, "https://op.example/other", "app", "/auth/", "app.example", true),
		"another issuer by a slash": testCookies(t, "https://op.example/", "app", "/auth/", "app.example", true),
		"another client id":         testCookies(t, "https://op.example", "app2", "/auth/", "app.example", true),
		"another prefix":            testCookies(t, "https://op.example", "app", "/agents/", "app.example", true),
		"another host":              testCookies(t, "https://op.example", "app", "/auth/", "other.example", true),
		"another port":              testCookies(t, "https://op.example", "app", "/auth/", "app.example:8443", true),
	}
}

func TestCookies_NamesDifferBetweenClients(t *testing.T) {
	t.Parallel()
	all := otherCookies(t)
	delete(all, "another host") // the browser itself keeps those apart
	delete(all, "another port")
	all["the usual"] = usualCookies(t)
	names := make(map[string]string)
	for what, c := range all {
		for _, name := range []string{c.session, c.transaction, c.logout} {
			if other, taken := names[name]; taken {
				t.Errorf("%s and %s share the cookie %s", what, other, name)
			}
			names[name] = what
			if !strings.HasPrefix(name, "__Host-oidcrp_") {
				t.Errorf("%s has the cookie %s", what, name)
			}
		}
	}
	if a, b := usualCookies(t), usualCookies(t); a.session != b.session || a.transaction != b.transaction || a.logout != b.logout {
		t.Error("two replicas of one app name their cookies differently")
	}
	if c := testCookies(t, "https://op.example", "app", "/auth/", "localhost", false); !strings.HasPrefix(c.session, "oidcrp_") {
		t.Errorf("over http the cookie is %s", c.session)
	}
}

// A value is good for the client that sealed it, and for one purpose: the name of
// a cookie is not what keeps clients apart that share their keys.
func TestCookies_ASealedValueOpensForItsClientAndPurposeOnly(t *testing.T) {
	t.Parallel()
	c := usualCookies(t)
	text, err := c.seal("purpose", []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := usualCookies(t).open("purpose", text); string(plain) != "plain" || err != nil {
		t.Errorf("another replica opens %q, %v", plain, err)
	}
	for what, other := range otherCookies(t) {
		other.session, other.transaction, other.logout = c.session, c.transaction, c.logout
		if plain, err := other.open("purpose", text); !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%s opens %q, %v", what, plain, err)
		}
		if slices.Equal(other.associated("purpose"), c.associated("purpose")) {
			t.Errorf("%s has the same associated data", what)
		}
	}
	for _, purpose := range []string{"", "purpos", "purpose\x00", "Purpose", c.session, c.transaction, c.logout} {
		if plain, err := c.open(purpose, text); !errors.Is(err, seal.ErrTampered) {
			t.Errorf("for %q it opens %q, %v", purpose, plain, err)
		}
	}
}

// The four things that a client seals, each under its own name.
func TestCookies_PurposesDoNotMix(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	session := c.start(t)[0].Value[1:]
	state, err := c.logins.newState(&transaction{Started: c.clock.Now().Unix()}, false)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	login := c.logins.cookieName("s")
	if err := c.logins.remember(w, requestWith(), login, &transaction{Started: c.clock.Now().Unix()}, ""); err != nil {
		t.Fatal(err)
	}
	pending := w.Result().Cookies()[0].Value
	w = httptest.NewRecorder()
	c.keepLogoutState(w, logoutState{State: "s", ReturnTo: "/", Started: c.clock.Now().Unix()})
	logout := w.Result().Cookies()[0].Value

	values := map[string]string{"a session": session, "a state": state, "a login": pending, "a logout": logout}
	opens := map[string]func(value string) bool{
		"a session": func(value string) bool {
			_, err := c.Session(requestWith(&http.Cookie{Name: c.cookies.session, Value: "1" + value}))
			return err == nil
		},
		"a state": func(value string) bool { _, ok := c.logins.openState(value); return ok },
		"a login": func(value string) bool {
			_, _, err := c.logins.find(requestWith(&http.Cookie{Name: login, Value: value}), login)
			return err == nil
		},
		"a logout": func(value string) bool {
			_, ok := c.openLogoutState(requestWith(&http.Cookie{Name: c.cookies.logout, Value: value}))
			return ok
		},
	}
	for is, value := range values {
		for as, open := range opens {
			if open(value) != (is == as) {
				t.Errorf("%s was opened as %s: %t", is, as, is != as)
			}
		}
	}
	if _, _, err := c.logins.find(requestWith(&http.Cookie{Name: c.logins.cookieName("other"), Value: pending}), c.logins.cookieName("other")); !errors.Is(err, CodeTransactionLost) {
		t.Errorf("a login under another name: %v", err)
	}
}

func TestCookies_HaveSafeAttributes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		baseURL, attributes string
		store               func(*Config)
	}{
		{"https://app.example", "Path=/; HttpOnly; Secure; SameSite=Lax", keptIn["cookies"]},
		{"https://app.example/under/a/path", "Path=/; HttpOnly; Secure; SameSite=Lax", keptIn["cookies"]},
		{"https://app.example", "Path=/; HttpOnly; Secure; SameSite=Lax", keptIn["a store"]},
		{"http://127.0.0.1:8080", "Path=/; HttpOnly; SameSite=Lax", keptIn["cookies"]},
		{"http://localhost:8080", "Path=/; HttpOnly; SameSite=Lax", keptIn["a store"]},
	} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.BaseURL = test.baseURL; test.store(cfg) })
		w := httptest.NewRecorder()
		if err := c.StartSession(w, requestWith(), madeSession(c.Client, aliceClaims, "")); err != nil {
			t.Fatal(err)
		}
		set := w.Header().Values("Set-Cookie")
		if len(set) != 1 {
			t.Fatalf("at %s: %d cookies", test.baseURL, len(set))
		}
		if _, attributes, _ := strings.Cut(set[0], "; "); attributes != test.attributes {
			t.Errorf("at %s: attributes are %q, want %q", test.baseURL, attributes, test.attributes)
		}
		drop := httptest.NewRecorder()
		c.cookies.drop(drop, c.cookies.session, 0)
		if got, want := drop.Header().Get("Set-Cookie"), c.cookies.session+"=; "; !strings.HasPrefix(got, want) ||
			!strings.Contains(got, "Max-Age=0") || strings.Contains(got, "Secure") != strings.Contains(test.attributes, "Secure") {
			t.Errorf("at %s: it is deleted by %q", test.baseURL, got)
		}
	}
	c, w := usualCookies(t), httptest.NewRecorder()
	c.put(w, "n", "v", time.Hour, http.SameSiteNoneMode)
	if got, want := w.Header().Get("Set-Cookie"), "n=v; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=None"; got != want {
		t.Errorf("set %q, want %q", got, want)
	}
}

// Browsers drop a cookie of more than 4096 bytes with its name and attributes.
func TestPutChunks_SplitsWhatIsTooLongForOneCookie(t *testing.T) {
	t.Parallel()
	c := usualCookies(t)
	var cookies []*http.Cookie
	for _, size := range []int{0, 1, 3000, 3600, 3601, 3700, 3800, 4096, 8000, 12000, maxSessionBytes, 4096, 10} {
		text := strings.Repeat("x", size)
		w := httptest.NewRecorder()
		c.putChunks(w, requestWith(cookies...), text)
		for _, set := range w.Header().Values("Set-Cookie") {
			if len(set) > maxCookie {
				t.Errorf("%d bytes: a cookie of %d bytes", size, len(set))
			}
		}
		cookies = cookiesAfter(cookies, w)
		if got, want := len(cookies), 1+size/(maxCookie-100); got > want {
			t.Errorf("%d bytes: %d cookies, want %d at most", size, got, want)
		}
		got, err := c.readChunks(requestWith(cookies...))
		if got != text || err != nil {
			t.Errorf("%d bytes: read back %d, %v", size, len(got), err)
		}
		if got := w.Header().Get("Cache-Control"); got != "private" {
			t.Errorf("Cache-Control is %q", got)
		}
	}
	w := httptest.NewRecorder()
	c.dropSession(w, requestWith(cookies...))
	if left := cookiesAfter(cookies, w); len(left) > 0 {
		t.Errorf("after dropSession the browser keeps %v", left)
	}
}

func TestReadChunks_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	c := usualCookies(t)
	for _, test := range []struct {
		what   string
		values []string
		text   string
		reason string // "" for none
	}{
		{"nothing", nil, "", ""},
		{"an empty cookie", []string{""}, "", ""},
		{"one", []string{"1abc"}, "abc", ""},
		{"two", []string{"2abc", "def"}, "abcdef", ""},
		{"one, and one too many", []string{"1abc", "def"}, "abc", ""},
		{"the second missing", []string{"2abc"}, "", "incomplete"},
		{"the third missing", []string{"3abc", "def"}, "", "incomplete"},
		{"none of them", []string{"0abc"}, "", "malformed"},
		{"more than there can be", []string{"9abc"}, "", "malformed"},
		{"no number", []string{"abc"}, "", "malformed"},
		{"a control character", []string{"\x7fabc"}, "", "malformed"},
	} {
		r := requestWith()
		for i, value := range test.values {
			r.Header.Add("Cookie", c.chunkName(i)+"="+value)
		}
		text, err := c.readChunks(r)
		reason := ""
		var chunks *chunkError
		if errors.As(err, &chunks) {
			reason = chunks.reason
			checkText(t, err)
		}
		if test.what == "a control character" { // net/http may have dropped the cookie
			if text != "" {
				t.Errorf("%s: read %q", test.what, text)
			}
			continue
		}
		if text != test.text || reason != test.reason {
			t.Errorf("%s: %q, %v, want %q and %q", test.what, text, err, test.text, test.reason)
		}
	}
	if got := fmt.Sprint(c.chunkName(0) == c.session, c.chunkName(2) == c.session+"2"); got != "true true" {
		t.Errorf("the names of the chunks: %s", got)
	}
}

// RFC 6265 section 4.1.1. A response may set a cookie twice, for a session that is
// touched and then refreshed.
func TestCookies_OneOfANameInAResponse(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil).cookies
	w := httptest.NewRecorder()
	w.Header().Add("Set-Cookie", "app=1")
	c.put(w, "x", "first", 0, 0)
	c.put(w, "xy", "another", 0, 0)
	c.drop(w, "x", 0)
	c.put(w, "x", "last", 0, 0)
	var got []string
	for _, cookie := range w.Result().Cookies() {
		got = append(got, cookie.Name+"="+cookie.Value)
	}
	if want := []string{"app=1", "xy=another", "x=last"}; !slices.Equal(got, want) {
		t.Errorf("the response sets %q, want %q", got, want)
	}
}

// The session may have grown during the request.
func TestCookies_DropSessionDropsWhatTheResponseHasSet(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	w, r := httptest.NewRecorder(), requestWith(&http.Cookie{Name: c.cookies.session, Value: "1abc"})
	if err := c.sessions.keeper.start(w, r, madeSession(c.Client, `{"sub":"alice"}`, bigClaims(6000))); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Header()["Set-Cookie"]); n < 2 {
		t.Fatalf("the session has %d cookies, want several", n)
	}
	c.cookies.dropSession(w, r)
	for _, cookie := range w.Result().Cookies() {
		if cookie.MaxAge >= 0 {
			t.Errorf("%s is still set", cookie.Name)
		}
	}
}

// A cookie of the same name may come from another host of the site or another path,
// where no __Host- prefix keeps it out, and signs somebody else in.
func TestSessionCookie_TwoDifferentValuesAreNoSession(t *testing.T) {
	t.Parallel()
	for where, keep := range keptIn {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			c := newOfflineClient(t, func(cfg *Config) {
				cfg.BaseURL = "http://localhost:8080"
				keep(cfg)
			})
			mallory := c.startSession(t, madeSession(c.Client, `{"iss":"https://op.example","sub":"mallory","aud":"app"}`, ""))
			alice := c.start(t)
			for what, both := range map[string][]*http.Cookie{
				"the attacker's first": {mallory[0], alice[0]}, "the attacker's last": {alice[0], mallory[0]},
				"an empty one": {{Name: alice[0].Name}, alice[0]}, "rubbish first": {{Name: alice[0].Name, Value: "x"}, alice[0]},
				"three": {alice[0], alice[0], mallory[0]},
			} {
				c.clock.Advance(time.Minute)
				r := requestWith(both...)
				logged := strings.Count(c.log.String(), "session refused")
				c.wantRefusal(t, r, "duplicate")
				if n := strings.Count(c.log.String(), "session refused") - logged; n != 1 { // a minute after the last
					t.Errorf("%s: %d log lines, want 1", what, n)
				}
				w, _ := serves(c.Middleware(http.HandlerFunc(saySubject)), both)
				if w.Body.Len() > 0 {
					t.Errorf("%s: the page is for %s", what, w.Body)
				}
			}
			if s := c.wantSession(t, "the same value twice", requestWith(alice[0], alice[0])); s.Subject() != "alice" {
				t.Errorf("the same value twice signs in %q", s.Subject())
			}
			// A logout deletes the cookie, and the new login's stands alone.
			w := httptest.NewRecorder()
			if err := c.EndSession(w, requestWith(mallory[0], alice[0])); err != nil {
				t.Error(err)
			}
			if left := sessionCookies(c.Client, cookiesAfter(alice, w)); len(left) > 0 {
				t.Errorf("the browser keeps %v", left)
			}
		})
	}
}

func TestSessionCookie_TwoDifferentChunksAreNoSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.BaseURL = "http://localhost:8080" })
	cookies := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(9000)))
	if len(cookies) < 3 {
		t.Fatalf("%d cookies, want three at least", len(cookies))
	}
	c.wantSession(t, "each twice", requestWith(append(slices.Clone(cookies), cookies...)...))
	for i, cookie := range cookies {
		c.wantRefusal(t, requestWith(append(slices.Clone(cookies), &http.Cookie{Name: cookie.Name, Value: "other"})...), "duplicate")
		first := append([]*http.Cookie{{Name: cookie.Name, Value: cookies[(i+1)%len(cookies)].Value}}, cookies...)
		c.wantRefusal(t, requestWith(first...), "duplicate")
	}
}

func TestTransactionCookie_TwoDifferentValuesAreALostLogin(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.BaseURL, cfg.Provider.Metadata = "http://localhost:8080", soundMetadata(nil)
	})
	begin := func() (state string, cookie *http.Cookie) {
		w := httptest.NewRecorder()
		location, err := c.BeginLogin(w, requestWith(), nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("state"), w.Result().Cookies()[0]
	}
	state, cookie := begin()
	callback := func(cookies ...*http.Cookie) *http.Request {
		r := requestWith(cookies...)
		r.URL.RawQuery = url.Values{"state": {state}, "error": {"access_denied"}}.Encode()
		return r
	}
	_, other := begin()
	other.Name = cookie.Name
	for _, both := range [][]*http.Cookie{{cookie, other}, {other, cookie}, {{Name: cookie.Name}, cookie}} {
		_, err := c.Callback(t.Context(), callback(both...))
		if e := wantCode(t, err, CodeTransactionLost); !strings.Contains(e.Error(), "different values") {
			t.Errorf("the error is %v", err)
		}
	}
	_, err := c.Callback(t.Context(), callback(cookie, cookie))
	wantCode(t, err, CodeProviderError) // which is the provider's answer
}

func TestLogoutCookie_TwoDifferentValuesAreLost(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.BaseURL = "http://localhost:8080"
		cfg.Provider.Metadata = soundMetadata(func(m *Metadata) { m.EndSessionEndpoint = "https://op.example/logout" })
	})
	begin := func(returnTo string) (state string, cookie *http.Cookie) {
		w := httptest.NewRecorder()
		location, err := url.Parse(c.BeginLogout(w, requestWith(c.start(t)...), returnTo))
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range w.Result().Cookies() {
			if set.Name == c.cookies.logout {
				return location.Query().Get("state"), set
			}
		}
		t.Fatal("no logout cookie")
		return "", nil
	}
	state, cookie := begin("/bye")
	_, other := begin("/elsewhere")
	leads := func(cookies ...*http.Cookie) string {
		r := requestWith(cookies...)
		r.URL.Path, r.URL.RawQuery = "/auth/logout/callback", url.Values{"state": {state}}.Encode()
		w := httptest.NewRecorder()
		c.Middleware(http.NotFoundHandler()).ServeHTTP(w, r)
		return w.Header().Get("Location")
	}
	for _, both := range [][]*http.Cookie{{cookie, other}, {other, cookie}} {
		if location := leads(both...); location != "" {
			t.Errorf("it leads to %s", location)
		}
	}
	if location := leads(cookie, cookie); location != "http://localhost:8080/bye" {
		t.Errorf("the same value twice leads to %q", location)
	}
}

// The usual request has one value, and pays for no more than one.
func TestCookies_ADuplicateIsLookedForWithoutCost(t *testing.T) {
	c := usualCookies(t)
	r := requestWith(&http.Cookie{Name: "a", Value: "b"}, &http.Cookie{Name: c.session, Value: "1value"})
	one := testing.AllocsPerRun(100, func() { r.Cookie(c.session) })
	if got := testing.AllocsPerRun(100, func() { c.read(r, c.session) }); got > one {
		t.Errorf("%v allocations, want those of one look at the cookies, %v", got, one)
	}
	if got := testing.AllocsPerRun(100, func() { c.readChunks(r) }); got > one {
		t.Errorf("%v allocations for a session, want %v", got, one)
	}
}

// What an answer has room for is decided by lineSize.
func TestCookies_LineSizeIsThatOfTheHeader(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		c := newCookies(nil, "https://op.example", "app", "/auth/", "app.example", secure)
		for _, sameSite := range []http.SameSite{http.SameSiteLaxMode, http.SameSiteNoneMode} {
			for _, value := range []string{"", "value", strings.Repeat("x", 3000)} {
				w := httptest.NewRecorder()
				c.put(w, c.transaction, value, 24*time.Hour, sameSite)
				want := len("Set-Cookie: " + w.Header().Get("Set-Cookie") + "\r\n")
				if got := c.lineSize(c.transaction, value, sameSite); got != want {
					t.Errorf("secure %t, SameSite %d, %d bytes: %d, want %d", secure, sameSite, len(value), got, want)
				}
			}
		}
	}
}

// Most requests have no cookie of most names. Not in parallel: it counts allocations.
func TestCookies_AnAbsentOneIsNotParsedFor(t *testing.T) {
	c := newOfflineClient(t, nil)
	for line, found := range map[string]bool{
		"":                              false,
		"a=b; other=" + "x":             false,
		c.cookies.logout + "=x; b=c":    true,
		"a=" + c.cookies.logout:         false,
		c.cookies.logout + "er=x":       false,
		"a=b; " + c.cookies.logout:      true, // without a value, which net/http allows
		"b=c;" + c.cookies.logout + "=": true,
	} {
		r := requestWith()
		r.Header["Cookie"] = []string{"first=1", line}
		_, err := r.Cookie(c.cookies.logout)
		if has := c.cookies.has(r, c.cookies.logout); has != found || has != (err == nil) {
			t.Errorf("%q: %t, want %t; net/http says %v", line, has, found, err)
		}
		if _, has, _ := c.cookies.lookUp(r, c.cookies.logout); has != found {
			t.Errorf("%q: looked up %t, want %t", line, has, found)
		}
	}
	r := requestWith(&http.Cookie{Name: "a", Value: strings.Repeat("b", 1000)})
	if n := testing.AllocsPerRun(100, func() {
		c.cookies.has(r, c.cookies.session)
		c.cookies.lookUp(r, c.cookies.logout)
		c.logins.pending(r)
	}); n != 0 {
		t.Errorf("three look-ups in vain take %v allocations", n)
	}
}
