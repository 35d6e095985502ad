package oidcrp

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// bigClaims is a session of about n bytes that does not compress.
func bigClaims(n int) string {
	random := make([]byte, n*3/4)
	rand.Read(random)
	return `{"sub":"alice","small":"s","picture":"` + base64.RawURLEncoding.EncodeToString(random) + `"}`
}

func sessionCookies(c *Client, cookies []*http.Cookie) []*http.Cookie {
	return slices.DeleteFunc(slices.Clone(cookies), func(cookie *http.Cookie) bool {
		return !strings.HasPrefix(cookie.Name, c.cookies.session)
	})
}

func TestCookiesAreSetSafely(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ baseURL, prefix, attributes string }{
		{"https://app.example", "__Host-oidcrp_", "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"https://app.example/under/a/path", "__Host-oidcrp_", "Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"http://127.0.0.1:8080", "oidcrp_", "Path=/; HttpOnly; SameSite=Lax"},
		{"http://localhost:8080", "oidcrp_", "Path=/; HttpOnly; SameSite=Lax"},
	} {
		for _, store := range []Store{nil, NewMemoryStore(0)} {
			c := newOfflineClient(t, func(cfg *Config) { cfg.BaseURL, cfg.Store = test.baseURL, store })
			w := httptest.NewRecorder()
			if err := c.StartSession(w, requestWith(), madeSession(c.Client, aliceClaims, "")); err != nil {
				t.Fatal(err)
			}
			set := w.Header().Values("Set-Cookie")
			if len(set) != 1 || !strings.HasPrefix(set[0], test.prefix) {
				t.Errorf("at %s: %d cookies, the first is %.40q, want %q", test.baseURL, len(set), set[0], test.prefix)
			}
			if _, attributes, _ := strings.Cut(set[0], "; "); attributes != test.attributes {
				t.Errorf("at %s: attributes are %q, want %q", test.baseURL, attributes, test.attributes)
			}
		}
	}
}

func TestCookieNamesDifferBetweenClients(t *testing.T) {
	t.Parallel()
	names := make(map[string]string)
	for _, test := range []struct {
		what   string
		change func(*Config)
	}{
		{"the usual", nil},
		{"another issuer", func(cfg *Config) { cfg.Issuer += "/other" }},
		{"another issuer by a slash", func(cfg *Config) { cfg.Issuer += "/" }},
		{"another client", func(cfg *Config) { cfg.ClientID = "app2" }},
		{"another prefix", func(cfg *Config) { cfg.PathPrefix = "/agents/" }},
	} {
		cookies := newOfflineClient(t, test.change).cookies
		for _, name := range []string{cookies.session, cookies.transaction, cookies.logout} {
			if other, taken := names[name]; taken {
				t.Errorf("%s and %s share the cookie %s", test.what, other, name)
			}
			names[name] = test.what
		}
	}
	if a, b := newOfflineClient(t, nil).cookies, newOfflineClient(t, nil).cookies; a.session != b.session || a.identity != b.identity {
		t.Error("two replicas of one app name their cookies differently")
	}
}

// Two kinds of people, each with a sign-in of their own, in one app.
func TestSeveralClientsLiveInOneApp(t *testing.T) {
	t.Parallel()
	citizens := newOfflineClient(t, func(cfg *Config) { cfg.PathPrefix = "/citizens/" })
	agents := newOfflineClient(t, func(cfg *Config) { cfg.PathPrefix, cfg.ClientID = "/agents/", "agents" })
	mux := http.NewServeMux()
	mux.HandleFunc("/", sayWho)
	mux.Handle("/c", citizens.RequireLogin(http.HandlerFunc(sayWho)))
	mux.Handle("/a", agents.RequireLogin(http.HandlerFunc(sayWho)))
	app := citizens.Middleware(agents.Middleware(mux))

	ask := func(path string, cookies []*http.Cookie) string {
		w := httptest.NewRecorder()
		r := requestWith(cookies...)
		r.URL.Path, r.RequestURI = path, path
		app.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			return fmt.Sprint(w.Code)
		}
		_, who, _ := strings.Cut(w.Body.String(), `"Sub":"`)
		who, _, _ = strings.Cut(who, `"`)
		return who
	}
	citizen := citizens.startSession(t, madeSession(citizens.Client, `{"sub":"citizen"}`, ""))
	agent := agents.startSession(t, madeSession(agents.Client, `{"sub":"agent"}`, ""))
	for _, test := range []struct {
		what         string
		cookies      []*http.Cookie
		public, c, a string
	}{
		{"nobody", nil, "", "401", "401"},
		// The public page is inside the agents' middleware: a citizen is
		// nobody there, rather than taken for an agent.
		{"a citizen", citizen, "", "citizen", "401"},
		{"an agent", agent, "agent", "401", "agent"},
		{"both", slices.Concat(citizen, agent), "agent", "citizen", "agent"},
	} {
		got := []string{ask("/", test.cookies), ask("/c", test.cookies), ask("/a", test.cookies)}
		if want := []string{test.public, test.c, test.a}; !slices.Equal(got, want) {
			t.Errorf("signed in as %s: /, /c and /a see %q, want %q", test.what, got, want)
		}
	}
}

func TestASealedCookieIsGoodForItsNameAndHostOnly(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	value := cookies[0].Value
	other := func(change func(*Config)) *offlineClient { return newOfflineClient(t, change) }
	for _, test := range []struct {
		what string
		at   *offlineClient
	}{
		{"another host", other(func(cfg *Config) { cfg.BaseURL = "https://other.example" })},
		{"another port", other(func(cfg *Config) { cfg.BaseURL = "https://app.example:8443" })},
		{"another client", other(func(cfg *Config) { cfg.ClientID = "other" })},
		{"another issuer", other(func(cfg *Config) { cfg.Issuer = "https://other.example" })},
		{"another prefix", other(func(cfg *Config) { cfg.PathPrefix = "/x/" })},
	} {
		r := requestWith(&http.Cookie{Name: test.at.cookies.session, Value: value})
		t.Run(test.what, func(t *testing.T) { test.at.wantRefusal(t, r, "tampered") })
	}
	// What is sealed for one purpose is not good for another.
	state, err := c.logins.newState(&transaction{Started: c.clock.Now().Unix()}, false)
	if err != nil {
		t.Fatal(err)
	}
	c.wantRefusal(t, requestWith(&http.Cookie{Name: c.cookies.session, Value: "1" + state}), "tampered")
	if _, ok := c.logins.openState(value[1:]); ok {
		t.Error("a session was taken for a state")
	}
	if _, err := c.logins.find(requestWith(&http.Cookie{Name: c.logins.cookieName("s"), Value: value[1:]}), c.logins.cookieName("s")); !errors.Is(err, CodeTransactionLost) {
		t.Errorf("a session was taken for a transaction: %v", err)
	}
	if _, ok := c.openLogoutState(requestWith(&http.Cookie{Name: c.cookies.logout, Value: value[1:]})); ok {
		t.Error("a session was taken for the state of a logout")
	}
}

func TestCookieKeysAreRotatedWithoutSigningAnybodyOut(t *testing.T) {
	t.Parallel()
	withKeys := func(keys ...byte) *offlineClient {
		return newOfflineClient(t, func(cfg *Config) {
			var all [][]byte
			for _, key := range keys {
				all = append(all, testKey(key))
			}
			cfg.CookieKeys = Keys(all...)
		})
	}
	cookies := withKeys(1).start(t)
	both := withKeys(2, 1)
	if _, err := both.Session(requestWith(cookies...)); err != nil {
		t.Errorf("with a new key in front: %v", err)
	}
	withKeys(2).wantRefusal(t, requestWith(cookies...), "unknown_key")

	// In use, a session moves to the new key, and outlives the old one.
	both.clock.Advance(2 * time.Minute)
	w := httptest.NewRecorder()
	both.Middleware(http.HandlerFunc(sayWho)).ServeHTTP(w, requestWith(cookies...))
	if _, err := withKeys(2).Session(requestWith(cookiesAfter(cookies, w)...)); err != nil {
		t.Errorf("a session in use, with the old key dropped: %v", err)
	}
}

func TestAnAlteredCookieIsNoSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	name, value := cookies[0].Name, cookies[0].Value
	for i := range value {
		for _, b := range []byte{value[i] ^ 1, 'A', '.', '9'} {
			altered := value[:i] + string(b) + value[i+1:]
			if altered == value {
				continue
			}
			if held, err := c.sessions.keeper.load(requestWith(&http.Cookie{Name: name, Value: altered})); held.session != nil || err != nil {
				t.Fatalf("byte %d set to %q: %v, %v", i, b, held.session, err)
			}
		}
	}
	for n := range value {
		if held, _ := c.sessions.keeper.load(requestWith(&http.Cookie{Name: name, Value: value[:n]})); held.session != nil {
			t.Errorf("cut to %d characters: a session", n)
		}
	}
	c.wantRefusal(t, requestWith(&http.Cookie{Name: name, Value: value + "A"}), "tampered")
	c.refusals()
	if _, err := c.Session(requestWith(&http.Cookie{Name: name})); !errors.Is(err, CodeNoSession) || len(c.refusals()) > 0 {
		t.Errorf("an empty cookie: %v, or an event", err)
	}
}

func TestALargeSessionIsSplitOverCookies(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, test := range []struct{ size, cookies int }{
		{100, 1}, {2000, 1}, {3000, 2}, {6000, 3}, {9000, 4}, {11900, 5},
	} {
		s := madeSession(c.Client, aliceClaims, bigClaims(test.size))
		w := httptest.NewRecorder()
		if err := c.StartSession(w, requestWith(), s); err != nil {
			t.Errorf("%d bytes: %v", test.size, err)
			continue
		}
		set := w.Header().Values("Set-Cookie")
		if len(set) != test.cookies {
			t.Errorf("%d bytes: %d cookies, want %d", test.size, len(set), test.cookies)
		}
		for _, cookie := range set {
			if len(cookie) > maxCookie {
				t.Errorf("%d bytes: a cookie of %d bytes", test.size, len(cookie))
			}
		}
		got, err := c.Session(requestWith(cookiesAfter(nil, w)...))
		if err != nil || !bytes.Equal(got.marshal(), s.marshal()) {
			t.Errorf("%d bytes: read back %v, %v", test.size, got, err)
		}
	}
}

func TestASmallerSessionLeavesNoCookieBehind(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(11900)))
	for _, test := range []struct{ size, cookies int }{{6000, 3}, {100, 1}} {
		cookies = c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(test.size)), cookies...)
		if len(cookies) != test.cookies {
			t.Errorf("after shrinking to %d bytes the browser has %d cookies, want %d", test.size, len(cookies), test.cookies)
		}
		if _, err := c.Session(requestWith(cookies...)); err != nil {
			t.Errorf("after shrinking to %d bytes: %v", test.size, err)
		}
	}
	cookies = c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(11900)), cookies...)
	w := httptest.NewRecorder()
	if err := c.EndSession(w, requestWith(cookies...)); err != nil || len(cookiesAfter(cookies, w)) > 0 {
		t.Errorf("signing out leaves %d cookies (%v)", len(cookiesAfter(cookies, w)), err)
	}
}

func TestAnIncompleteSetOfCookiesIsNoSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(9000)))
	others := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(9000)))
	if len(cookies) != 4 {
		t.Fatalf("%d cookies, want 4", len(cookies))
	}
	swapped := func(i, j int) []*http.Cookie {
		all := slices.Clone(cookies)
		all[i] = &http.Cookie{Name: cookies[i].Name, Value: cookies[j].Value}
		all[j] = &http.Cookie{Name: cookies[j].Name, Value: cookies[i].Value}
		return all
	}
	mixed := slices.Clone(cookies)
	mixed[2] = others[2]
	renumbered := slices.Clone(cookies)
	renumbered[0] = &http.Cookie{Name: cookies[0].Name, Value: "3" + cookies[0].Value[1:]}
	absurd := slices.Clone(cookies)
	absurd[0] = &http.Cookie{Name: cookies[0].Name, Value: "9" + cookies[0].Value[1:]}
	for _, test := range []struct {
		what    string
		cookies []*http.Cookie
		words   string
	}{
		{"the second missing", slices.Delete(slices.Clone(cookies), 1, 2), "incomplete"},
		{"the last missing", cookies[:3], "incomplete"},
		{"two swapped", swapped(1, 2), "tampered"},
		{"the first swapped", swapped(0, 1), "malformed"},
		{"one of another session", mixed, "tampered"},
		{"one fewer than there are", renumbered, "malformed"},
		{"more than there can be", absurd, "malformed"},
	} {
		t.Run(test.what, func(t *testing.T) { c.wantRefusal(t, requestWith(test.cookies...), test.words) })
	}
	if _, err := c.Session(requestWith(cookies[1:]...)); !errors.Is(err, CodeNoSession) {
		t.Errorf("the first missing: %v", err)
	}
}

func TestASessionTooLargeForCookiesNamesTheLargestClaims(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true })
	idToken := `{"sub":"alice","roles":"` + strings.Repeat("r", 4000) + `"}`
	s := madeSession(c.Client, idToken, bigClaims(9000))
	w := httptest.NewRecorder()
	e := wantCode(t, c.StartSession(w, requestWith(), s), CodeSessionTooLarge)
	if !strings.Contains(e.Error(), `["picture" "roles" `) {
		t.Errorf("the error names other claims: %v", e)
	}
	if strings.Contains(e.Error(), "rrrr") || len(e.Error()) > 400 {
		t.Errorf("the error shows values: %.400s", e)
	}
	if set := w.Result().Cookies(); len(set) > 0 {
		t.Errorf("%d cookies were set all the same", len(set))
	}

	s = madeSession(c.Client, aliceClaims, `{"sub":"alice"}`)
	s.tokens.AccessToken = strings.Repeat("a", 16000)
	e = wantCode(t, c.StartSession(httptest.NewRecorder(), requestWith(), s), CodeSessionTooLarge)
	if !strings.Contains(e.Error(), `["(access token)"`) {
		t.Errorf("the error does not name the access token: %v", e)
	}
	// In a Store there is room.
	stored := newOfflineClient(t, func(cfg *Config) { cfg.Store = NewMemoryStore(0) })
	stored.startSession(t, s)
}

func TestEveryLoginMakesANewSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	first := c.start(t)
	second := c.start(t, first...)
	if first[0].Value == second[0].Value {
		t.Error("the cookie is the old one")
	}
	a, _ := c.Session(requestWith(first...))
	b, err := c.Session(requestWith(second...))
	if err != nil || len(b.id) != 16 || a.id == b.id {
		t.Errorf("the second login continues the session %x as %x (%v)", a.id, b.id, err)
	}
}

func FuzzSessionCookie(f *testing.F) {
	c := newOfflineClient(f, nil)
	cookies := c.startSession(f, madeSession(c.Client, aliceClaims, bigClaims(6000)))
	f.Add(cookies[0].Value, cookies[1].Value, cookies[2].Value)
	f.Add(c.start(f)[0].Value, "", "")
	f.Add("2", "", "")
	f.Add("0AQ", "x", "")
	f.Add("\xff", "x", "y")
	f.Fuzz(func(t *testing.T, first, second, third string) {
		held, err := c.sessions.keeper.load(requestWith(
			&http.Cookie{Name: c.cookies.chunkName(0), Value: first},
			&http.Cookie{Name: c.cookies.chunkName(1), Value: second},
			&http.Cookie{Name: c.cookies.chunkName(2), Value: third}))
		if err != nil {
			t.Errorf("an error that is no matter of the Store's: %v", err)
		}
		if s := held.session; s != nil && s.Subject() != "alice" {
			t.Errorf("a session that this client never sealed: %q", s.Subject())
		}
	})
}
