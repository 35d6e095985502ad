package oidcrp

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCookieKeeper_ACookieIsGoodForItsClientOnly(t *testing.T) {
	t.Parallel()
	mine := newOfflineClient(t, nil).start(t)[0]
	for what, change := range map[string]func(*Config){
		"another host":   func(cfg *Config) { cfg.BaseURL = "https://other.example" },
		"another port":   func(cfg *Config) { cfg.BaseURL = "https://app.example:8443" },
		"another client": func(cfg *Config) { cfg.ClientID = "other" },
		"another issuer": func(cfg *Config) { cfg.Issuer = "https://other.example" },
		"another prefix": func(cfg *Config) { cfg.PathPrefix = "/x/" },
	} {
		t.Run(what, func(t *testing.T) {
			other := newOfflineClient(t, change)
			other.wantRefusal(t, requestWith(&http.Cookie{Name: other.cookies.session, Value: mine.Value}), reasonTampered)
			// Even if the hashes in their names were the same.
			other.cookies.session = mine.Name
			other.cookies.sessionData = other.cookies.associated(mine.Name)
			other.wantRefusal(t, requestWith(mine), reasonTampered)
		})
	}
}

func TestCookieKeeper_KeysRotateWithoutSigningAnybodyOut(t *testing.T) {
	t.Parallel()
	withKeys := func(keys ...[]byte) *offlineClient {
		return newOfflineClient(t, func(cfg *Config) { cfg.CookieKeys = Keys(keys...) })
	}
	cookies := withKeys(testKey(1)).start(t)
	both := withKeys(testKey(2), testKey(1))
	both.wantSession(t, "with a new key in front", requestWith(cookies...))
	withKeys(testKey(2)).wantRefusal(t, requestWith(cookies...), reasonUnknownKey)

	// In use, a session moves to the new key, and outlives the old one.
	both.clock.Advance(2 * time.Minute)
	_, cookies = serves(both.Middleware(http.HandlerFunc(saySubject)), cookies)
	withKeys(testKey(2)).wantSession(t, "a session in use, with the old key dropped", requestWith(cookies...))
}

func TestCookieKeeper_AnAlteredCookieIsNoSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookie := c.start(t)[0]
	load := func(value string) *Session {
		held, err := c.sessions.keeper.load(requestWith(&http.Cookie{Name: cookie.Name, Value: value}))
		if err != nil {
			t.Fatalf("%.20q: %v", value, err)
		}
		return held.session
	}
	for i := range cookie.Value {
		for _, b := range []byte{cookie.Value[i] ^ 1, 'A', '.', '9'} {
			altered := cookie.Value[:i] + string(b) + cookie.Value[i+1:]
			if altered != cookie.Value && load(altered) != nil {
				t.Fatalf("byte %d set to %q: a session", i, b)
			}
		}
		if load(cookie.Value[:i]) != nil {
			t.Errorf("cut to %d characters: a session", i)
		}
	}
	c.refusals()
	if _, err := c.sessions.keeper.load(requestWith(&http.Cookie{Name: cookie.Name})); err != nil || len(c.refusals()) > 0 {
		t.Errorf("an empty cookie: %v, or an event", err)
	}
}

func TestCookieKeeper_SplitsALargeSessionOverCookies(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, test := range []struct{ size, cookies int }{
		{100, 1}, {2000, 1}, {3000, 2}, {6000, 3}, {9000, 4}, {11400, 5},
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
		got := c.wantSession(t, "read back", requestWith(cookiesAfter(nil, w)...))
		if got != nil && !bytes.Equal(got.marshal(), s.marshal()) {
			t.Errorf("%d bytes: read back %v", test.size, got)
		}
	}
}

func TestCookieKeeper_ASmallerSessionLeavesNoCookieBehind(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(11400)))
	for _, test := range []struct{ size, cookies int }{{6000, 3}, {100, 1}} {
		cookies = c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(test.size)), cookies...)
		if len(cookies) != test.cookies {
			t.Errorf("after shrinking to %d bytes the browser has %d cookies, want %d", test.size, len(cookies), test.cookies)
		}
		c.wantSession(t, "after shrinking", requestWith(cookies...))
	}
	cookies = c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(11400)), cookies...)
	w := httptest.NewRecorder()
	if err := c.EndSession(w, requestWith(cookies...)); err != nil || len(cookiesAfter(cookies, w)) > 0 {
		t.Errorf("signing out leaves %d cookies (%v)", len(cookiesAfter(cookies, w)), err)
	}
}

func TestCookieKeeper_AnIncompleteSetOfCookiesIsNoSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(9000)))
	others := c.startSession(t, madeSession(c.Client, aliceClaims, bigClaims(9000)))
	if len(cookies) != 4 {
		t.Fatalf("%d cookies, want 4", len(cookies))
	}
	with := func(i int, value string) []*http.Cookie {
		all := slices.Clone(cookies)
		all[i] = &http.Cookie{Name: cookies[i].Name, Value: value}
		return all
	}
	swapped := with(1, cookies[2].Value)
	swapped[2] = &http.Cookie{Name: cookies[2].Name, Value: cookies[1].Value}
	for _, test := range []struct {
		what    string
		cookies []*http.Cookie
		reasons []string
	}{
		{"the second missing", slices.Delete(slices.Clone(cookies), 1, 2), []string{reasonIncomplete}},
		{"the last missing", cookies[:3], []string{reasonIncomplete}},
		{"two swapped", swapped, []string{reasonTampered}},
		// It may happen to begin with a number.
		{"the second in the place of the first", with(0, cookies[1].Value), []string{reasonMalformed, reasonTampered, reasonIncomplete}},
		{"one of another session", with(2, others[2].Value), []string{reasonTampered}},
		// What is left may happen to be base64 or not.
		{"one fewer than there are", with(0, "3"+cookies[0].Value[1:]), []string{reasonTampered, reasonMalformed}},
		{"more than there can be", with(0, "9"+cookies[0].Value[1:]), []string{reasonMalformed}},
	} {
		c.wantNoSession(t, test.what, requestWith(test.cookies...))
		if got := c.refusals(); len(got) != 1 || !slices.Contains(test.reasons, got[0]) {
			t.Errorf("%s: refused for %q, want one of %q", test.what, got, test.reasons)
		}
	}
	c.wantNoSession(t, "the first missing", requestWith(cookies[1:]...))
}

func TestCookieKeeper_ASessionThatIsTooLargeNamesItsLargestClaims(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true })
	roles := RandomText(4000)
	idToken := `{"sub":"alice","roles":"` + roles + `"}`
	s := madeSession(c.Client, idToken, bigClaims(9000))
	w := httptest.NewRecorder()
	e := wantCode(t, c.StartSession(w, requestWith(), s), CodeSessionTooLarge)
	if !strings.Contains(e.Error(), `["picture" "roles" `) {
		t.Errorf("the error names other claims: %v", e)
	}
	if strings.Contains(e.Error(), roles[:10]) || len(e.Error()) > 500 {
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
	stored := newOfflineClient(t, keptIn["a store"])
	stored.startSession(t, s)
}

// A refreshed copy lasts longer than the one that was logged out.
func TestCookieKeeper_ALogoutOutlastsTheIDTokenThatASessionEndsWith(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) {
		keptIn["cookies beside a store"](cfg)
		cfg.Sessions.EndWithIDToken = true
	})
	s := madeSession(c.Client, aliceClaims, "")
	s.tokenEnd = c.now().Add(5 * time.Minute)
	old := c.startSession(t, s)
	next := s.copy() // as a refresh makes it
	next.tokenEnd = c.now().Add(time.Hour)
	w := httptest.NewRecorder()
	if err := c.sessions.keeper.start(w, requestWith(old...), next); err != nil {
		t.Fatal(err)
	}
	newer := cookiesAfter(old, w)
	if err := c.EndSession(httptest.NewRecorder(), requestWith(old...)); err != nil {
		t.Fatal(err)
	}
	c.wantNoSession(t, "at once", requestWith(newer...))
	c.clock.Advance(6 * time.Minute)
	c.wantNoSession(t, "after the old one's end", requestWith(newer...))
}

// What a Store holds for the other replicas is sealed with the cookie keys, for
// this client.
func TestCookieKeeper_AHandoverThatCannotBeOpenedIsNone(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true; keptIn["cookies beside a store"](cfg) })
	k := c.sessions.keeper.(*cookieKeeper)
	held := kept{session: madeSession(c.Client, aliceClaims, "")}
	if err := k.update(t.Context(), held, refreshedFrom(held.session)); err != nil {
		t.Fatal(err)
	}
	sealed, err := k.shared.get(t.Context(), handoverName(held.session))
	if err != nil || bytes.Contains(sealed, []byte("alice")) {
		t.Fatalf("the Store holds %q, %v", sealed, err)
	}
	sealed[len(sealed)-1] ^= 1
	if err := k.shared.set(t.Context(), handoverName(held.session), sealed, time.Hour); err != nil {
		t.Fatal(err)
	}
	if newer, err := k.updated(t.Context(), held); newer != nil || err != nil {
		t.Errorf("an altered value: %v, %v", newer, err)
	}
	if got := c.refusals(); !slices.Equal(got, []string{reasonTampered}) && !slices.Equal(got, []string{reasonMalformed}) {
		t.Errorf("the events are %q", got)
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
		r := requestWith()
		for i, value := range []string{first, second, third} {
			r.Header.Add("Cookie", c.cookies.chunkName(i)+"="+value)
		}
		held, err := c.sessions.keeper.load(r)
		if err != nil {
			t.Errorf("an error that is not an outage: %v", err)
		}
		if s := held.session; s != nil && s.Subject() != "alice" {
			t.Errorf("a session that this client never sealed: %q", s.Subject())
		}
	})
}
