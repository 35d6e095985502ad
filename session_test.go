package oidcrp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// An offlineClient is a client for tests of what needs no provider: it lives at
// https://app.example, and asking the provider for anything fails the test.
type offlineClient struct {
	*Client
	clock *testClock
	log   *testLog

	mu      sync.Mutex
	refused []string // why sessions were refused; guarded by mu
}

type offlineTransport struct{ t testing.TB }

func (o offlineTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	o.t.Errorf("the provider was asked: %s %s", r.Method, r.URL)
	return nil, errors.New("offline")
}

func newOfflineClient(t testing.TB, change func(*Config)) *offlineClient {
	t.Helper()
	c := &offlineClient{clock: newTestClock(), log: new(testLog)}
	cfg := Config{
		Issuer:       "https://op.example",
		ClientID:     "app",
		ClientSecret: "secret",
		BaseURL:      "https://app.example",
		CookieKeys:   Keys(testKey(1)),
		Provider:     Provider{Transport: offlineTransport{t}},
		Logger:       slog.New(slog.NewJSONHandler(c.log, nil)),
		Trace: Trace{SessionRefused: func(_ context.Context, ev SessionEvent) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.refused = append(c.refused, ev.Reason)
		}},
		Now: c.clock.Now,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if c.Client, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

// refusals returns why sessions were refused since the last call.
func (c *offlineClient) refusals() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	reasons := c.refused
	c.refused = nil
	return reasons
}

// wantRefusal fails the test unless the session of r is refused for reason.
func (c *offlineClient) wantRefusal(t *testing.T, r *http.Request, reason string) {
	t.Helper()
	c.refusals()
	if s, err := c.Session(r); s != nil || !errors.Is(err, CodeNoSession) {
		t.Errorf("Session returned %v and %v, want CodeNoSession", s, err)
	}
	if reasons := c.refusals(); !slices.Equal(reasons, []string{reason}) {
		t.Errorf("SessionRefused events: %q, want one for %q", reasons, reason)
	}
}

// madeJWS returns a compact JWS of claims whose signature is of no interest.
func madeJWS(claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + enc.EncodeToString([]byte(claims)) + "." +
		enc.EncodeToString(bytes.Repeat([]byte{7}, 64))
}

// madeSession returns a session as a login makes it; userInfo may be empty.
func madeSession(c *Client, idTokenClaims, userInfo string) *Session {
	var info []byte
	if userInfo != "" {
		info = []byte(userInfo)
	}
	return c.sessions.create(&authenticated{
		idToken: &idToken{raw: madeJWS(idTokenClaims)}, userInfo: info, started: c.now(),
		tokens: &tokenResponse{accessToken: "access", refreshToken: "refresh", expiry: c.now().Add(time.Hour)},
	}, "", "")
}

const aliceClaims = `{"iss":"https://op.example","sub":"alice","aud":"app","acr":"eidas1"}`

// start signs alice in and returns the cookies that the browser then has.
func (c *offlineClient) start(t testing.TB, before ...*http.Cookie) []*http.Cookie {
	t.Helper()
	return c.startSession(t, madeSession(c.Client, aliceClaims, ""), before...)
}

func (c *offlineClient) startSession(t testing.TB, s *Session, before ...*http.Cookie) []*http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	if err := c.StartSession(w, requestWith(before...), s); err != nil {
		t.Fatal(err)
	}
	return cookiesAfter(before, w)
}

// requestWith returns a page load that carries cookies.
func requestWith(cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
	for _, cookie := range cookies {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	return r
}

// cookiesAfter returns the cookies of a browser that had before and got w.
func cookiesAfter(before []*http.Cookie, w *httptest.ResponseRecorder) []*http.Cookie {
	after := slices.Clone(before)
	for _, set := range w.Result().Cookies() {
		after = slices.DeleteFunc(after, func(c *http.Cookie) bool { return c.Name == set.Name })
		if set.MaxAge >= 0 {
			after = append(after, set)
		}
	}
	return after
}

func TestASessionSaysWhoSignedInAndHow(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, `{"iss":"https://op.example","sub":"alice","aud":"app","acr":"eidas2",
		"amr":["pwd","mfa"],"auth_time":1700000000,"sid":"s1","nonce":"n"}`, "")
	got := fmt.Sprint(s.Issuer(), s.Subject(), s.ACR(), s.AMR(), s.AuthTime().Unix(), s.SID(),
		s.CreatedAt().Equal(c.clock.Now()), s.ExpiresAt().Sub(s.CreatedAt()))
	want := fmt.Sprint("https://op.example", "alice", "eidas2", []string{"pwd", "mfa"}, 1700000000, "s1", true, 12*time.Hour)
	if got != want {
		t.Errorf("session says\n%s\nwant\n%s", got, want)
	}
	s.AMR()[0] = "changed"
	if s.AMR()[0] != "pwd" {
		t.Error("AMR hands out the session's own slice")
	}
	if bare := madeSession(c.Client, `{"sub":"alice"}`, ""); bare.AMR() != nil || !bare.AuthTime().IsZero() {
		t.Errorf("without amr and auth_time: %v, %v", bare.AMR(), bare.AuthTime())
	}
}

func TestAuthenticationFactsComeFromTheIDTokenAlone(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	idToken := `{"iss":"https://op.example","sub":"alice","aud":"app","exp":1,"iat":2,"email":"old@example.org","locale":"fr"}`
	userInfo := `{"iss":"https://evil.example","sub":"alice","aud":"other","azp":"other","acr":"eidas3","amr":["mfa"],
		"auth_time":9,"sid":"x","nonce":"x","exp":9,"iat":9,"nbf":9,"jti":"x","at_hash":"x","c_hash":"x",
		"email":"new@example.org","siret":"13002526500013","SUB":"mallory","roles":["a"]}`
	s := madeSession(c.Client, idToken, userInfo)

	var all map[string]any
	if err := s.Claims(&all); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": "https://op.example", "sub": "alice", "aud": "app", "exp": 1.0, "iat": 2.0, "locale": "fr",
		"email": "new@example.org", "siret": "13002526500013", "SUB": "mallory", "roles": []any{"a"},
	}
	if got, want := fmt.Sprint(all), fmt.Sprint(want); got != want {
		t.Errorf("claims are\n%s\nwant\n%s", got, want)
	}
	if s.ACR() != "" || s.SID() != "" || s.AMR() != nil || !s.AuthTime().IsZero() {
		t.Error("a fact about the authentication came from UserInfo")
	}

	var who struct {
		Subject string   `json:"sub"`
		Email   string   `json:"email"`
		Roles   []string `json:"roles"`
		SIRET   string   `json:"SIRET"` // there is only "siret"
	}
	if err := s.Claims(&who); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(who); got != "{alice new@example.org [a] }" {
		t.Errorf("decoded into a struct: %s", got)
	}
}

func TestClaimNamesMatchExactly(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, test := range []struct{ what, idToken, userInfo string }{
		{"in the ID Token, after", `{"sub":"alice","SUB":"mallory","Sub":"mallory"}`, ""},
		{"in the ID Token, before", `{"SUB":"mallory","sub":"alice"}`, ""},
		{"in UserInfo", `{"sub":"alice"}`, `{"SUB":"mallory","ſub":"mallory"}`},
	} {
		s := madeSession(c.Client, test.idToken, test.userInfo)
		var who struct {
			Subject string `json:"sub"`
		}
		if err := s.Claims(&who); err != nil || who.Subject != "alice" || s.Subject() != "alice" {
			t.Errorf("SUB %s: decoded %q, Subject is %q (%v)", test.what, who.Subject, s.Subject(), err)
		}
	}
}

func TestClaimsReportsWhatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, aliceClaims, "")
	var wrong struct {
		Subject int `json:"sub"`
	}
	wantCode(t, s.Claims(&wrong), CodeInternal)
	wantCode(t, s.Claims(wrong), CodeInternal)
}

func TestTheRawClaimsAreCopies(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, aliceClaims, `{"sub":"alice","email":"a@example.org"}`)
	for _, raw := range []func() json.RawMessage{s.IDTokenClaims, s.UserInfoClaims} {
		before := string(raw())
		clear(raw())
		if after := string(raw()); after != before {
			t.Errorf("the session changed from %s to %s", before, after)
		}
	}
	if got := string(s.IDTokenClaims()); got != aliceClaims {
		t.Errorf("IDTokenClaims is %s", got)
	}
	if got := s.IDToken(); got != madeJWS(aliceClaims) {
		t.Errorf("IDToken is %s, not what was received", got)
	}
	if got := madeSession(c.Client, aliceClaims, "").UserInfoClaims(); got != nil {
		t.Errorf("UserInfoClaims without UserInfo is %q, want nil", got)
	}
}

func TestTokensAreKeptOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	if token := madeSession(newOfflineClient(t, nil).Client, aliceClaims, "").Token(); token != nil {
		t.Errorf("Token is %v without KeepTokens", token)
	}
	c := newOfflineClient(t, func(cfg *Config) { cfg.Tokens.Keep = true })
	s := madeSession(c.Client, aliceClaims, "")
	got := s.Token()
	if got.AccessToken != "access" || got.RefreshToken != "refresh" || got.TokenType != "Bearer" ||
		!got.Expiry.Equal(c.clock.Now().Add(time.Hour)) {
		t.Errorf("Token is %+v", got)
	}
	got.AccessToken = "changed"
	if s.Token().AccessToken != "access" {
		t.Error("Token hands out the session's own")
	}
}

func TestThePageThatALoginLeadsToIsNotStored(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := c.sessions.create(&authenticated{idToken: &idToken{raw: madeJWS(aliceClaims)}, tokens: &tokenResponse{}, started: c.now()}, "", "/page")
	if s.ReturnTo() != "/page" {
		t.Errorf("ReturnTo is %q after the login", s.ReturnTo())
	}
	stored, err := c.Session(requestWith(c.startSession(t, s)...))
	if err != nil || stored.ReturnTo() != "" {
		t.Errorf("ReturnTo is %q later on (%v)", stored.ReturnTo(), err)
	}
}

func TestStoredSessionsReadBackTheSame(t *testing.T) {
	t.Parallel()
	full := fullSession()
	for _, test := range []struct {
		what   string
		change func(*Session)
	}{
		{"everything", func(*Session) {}},
		{"no tokens", func(s *Session) { s.tokens = nil }},
		{"no refresh token and no expiry", func(s *Session) { s.tokens = &oauth2.Token{AccessToken: "a", TokenType: "Bearer"} }},
		{"no UserInfo", func(s *Session) { s.userInfo = nil }},
		{"no ceiling", func(s *Session) { s.ceiling = time.Time{} }},
		{"UserInfo of a megabyte", func(s *Session) { s.userInfo = bytes.Repeat([]byte("x"), 1<<20) }},
	} {
		s := full.copy()
		test.change(s)
		stored := s.marshal()
		got, err := unmarshalSession(stored, defaultLifetime)
		if err != nil {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		if !bytes.Equal(got.marshal(), stored) || got.Subject() != "alice" || got.IDToken() != s.IDToken() ||
			got.ExpiresAt().Unix() != s.ExpiresAt().Unix() || (got.userInfo == nil) != (s.userInfo == nil) ||
			fmt.Sprintf("%+v", got.Token()) != fmt.Sprintf("%+v", s.Token()) {
			t.Errorf("%s: read back as %+v", test.what, got)
		}
	}
}

// fullSession is a session in which nothing is missing.
func fullSession() *Session {
	s := &Session{
		id: "0123456789abcdef", created: time.Unix(1700000000, 0), seen: time.Unix(1700000060, 0),
		ceiling: time.Unix(1700001000, 0), stepUp: "demand", lifetime: 12 * time.Hour,
		idToken: splitJWS(madeJWS(aliceClaims)), userInfo: []byte(`{"sub":"alice"}`),
		tokens: &oauth2.Token{AccessToken: "a", TokenType: "Bearer", RefreshToken: "r", Expiry: time.Unix(1700003600, 0)},
	}
	s.decodeLater()
	return s
}

func TestStoredSessionsThatAreCutOrForeignAreRefused(t *testing.T) {
	t.Parallel()
	stored := fullSession().marshal()
	for n := range stored {
		if s, err := unmarshalSession(stored[:n], defaultLifetime); err == nil {
			t.Errorf("the first %d of %d bytes were read as %+v", n, len(stored), s)
		}
	}
	if _, err := unmarshalSession(append(slices.Clone(stored), 0), defaultLifetime); err == nil {
		t.Error("a byte too many was accepted")
	}
	for version := range 256 {
		foreign := slices.Clone(stored)
		foreign[0] = byte(version)
		if _, err := unmarshalSession(foreign, defaultLifetime); (err == nil) != (version == sessionFormat) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func FuzzUnmarshalSession(f *testing.F) {
	s := fullSession()
	f.Add(s.marshal())
	s.tokens = nil
	f.Add(s.marshal())
	f.Add([]byte{sessionFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, stored []byte) {
		s, err := unmarshalSession(stored, defaultLifetime)
		if err != nil {
			return
		}
		if size := len(s.marshal()); size > len(stored) {
			t.Errorf("%d bytes came out of %d", size, len(stored))
		}
		s.Subject()
		s.AuthTime()
		s.ExpiresAt()
		var claims map[string]any
		_ = s.Claims(&claims)
	})
}

func TestSessionsEndByTheirLimits(t *testing.T) {
	t.Parallel()
	const lifetime, idle = 10 * time.Hour, 30 * time.Minute
	for _, test := range []struct {
		what   string
		change func(s *Session, now time.Time)
		want   string // why it ended, "" if it did not
	}{
		{"new", func(*Session, time.Time) {}, ""},
		{"one second before its lifetime ends", func(s *Session, now time.Time) { s.created = now.Add(time.Second - lifetime) }, ""},
		{"at the end of its lifetime", func(s *Session, now time.Time) { s.created = now.Add(-lifetime) }, "expired"},
		{"in use and long past its lifetime", func(s *Session, now time.Time) { s.created = now.Add(-100 * lifetime) }, "expired"},
		{"idle for a second less than allowed", func(s *Session, now time.Time) { s.seen = now.Add(time.Second - idle) }, ""},
		{"idle for as long as allowed", func(s *Session, now time.Time) { s.seen = now.Add(-idle) }, "idle"},
		{"before the provider's own limit", func(s *Session, now time.Time) { s.ceiling = now.Add(time.Second) }, ""},
		{"at the provider's own limit", func(s *Session, now time.Time) { s.ceiling = now }, "expired"},
		{"with a provider's limit beyond the lifetime", func(s *Session, now time.Time) {
			s.created, s.ceiling = now.Add(-lifetime), now.Add(time.Hour)
		}, "expired"},
		{"made by a clock five minutes ahead", func(s *Session, now time.Time) { s.created = now.Add(5 * time.Minute) }, ""},
		{"future", func(s *Session, now time.Time) { s.created = now.Add(5*time.Minute + time.Second) }, "future"},
		{"with no beginning", func(s *Session, _ time.Time) { s.created = time.Time{} }, "expired"},
	} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = lifetime, idle })
		s := madeSession(c.Client, aliceClaims, "")
		test.change(s, c.clock.Now())
		r := requestWith(c.startSession(t, s)...)
		if test.want != "" {
			c.wantRefusal(t, r, test.want)
		} else if _, err := c.Session(r); err != nil {
			t.Errorf("a session %s: %v", test.what, err)
		}
	}
}

// A person who clicks every 20 seconds stays signed in until the lifetime ends;
// the session is written down at most once a minute for that.
func TestASessionInUseIsRolledAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		stored bool
	}{{"in cookies", false}, {"in a store", true}} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			c := newOfflineClient(t, func(cfg *Config) {
				cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = time.Hour, 10*time.Minute
				if test.stored {
					cfg.Store = newMemoryStore(0, cfg.Now)
				}
			})
			protected := c.RequireLogin(http.HandlerFunc(sayWho))
			cookies := c.start(t)
			rolled, requests := 0, 0
			for ; requests < 3*59; requests++ {
				c.clock.Advance(20 * time.Second)
				w := httptest.NewRecorder()
				protected.ServeHTTP(w, requestWith(cookies...))
				if w.Code != http.StatusOK {
					t.Fatalf("request %d: status %d", requests, w.Code)
				}
				if len(w.Result().Cookies()) > 0 {
					rolled++
				}
				cookies = cookiesAfter(cookies, w)
			}
			if rolled < 50 || rolled > 59 {
				t.Errorf("in 59 minutes the session was written down %d times", rolled)
			}
			c.clock.Advance(time.Minute)
			if _, err := c.Session(requestWith(cookies...)); !errors.Is(err, CodeNoSession) {
				t.Errorf("after an hour: %v", err)
			}
		})
	}
}

func TestAShortIdleTimeoutIsPutOffInTime(t *testing.T) {
	t.Parallel()
	for _, stored := range []bool{false, true} {
		c := newOfflineClient(t, func(cfg *Config) {
			cfg.Sessions.IdleTimeout = time.Minute
			if stored {
				cfg.Store = newMemoryStore(0, cfg.Now)
			}
		})
		handler := c.Middleware(http.HandlerFunc(sayWho))
		cookies := c.start(t)
		for range 10 {
			c.clock.Advance(45 * time.Second)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, requestWith(cookies...))
			cookies = cookiesAfter(cookies, w)
		}
		if _, err := c.Session(requestWith(cookies...)); err != nil {
			t.Errorf("with a store (%t): someone who comes every 45 seconds was signed out: %v", stored, err)
		}
		c.clock.Advance(time.Minute)
		if _, err := c.Session(requestWith(cookies...)); !errors.Is(err, CodeNoSession) {
			t.Errorf("with a store (%t): idle for a minute: %v", stored, err)
		}
	}
}

func TestARolledSessionIsNotLeftInSharedCaches(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	c.clock.Advance(2 * time.Minute)
	w := httptest.NewRecorder()
	c.Middleware(http.HandlerFunc(sayWho)).ServeHTTP(w, requestWith(cookies...))
	if len(w.Result().Cookies()) == 0 {
		t.Fatal("the session was not rolled")
	}
	if got := w.Header().Get("Cache-Control"); got != "private" {
		t.Errorf("Cache-Control of a public page that sets the session cookie is %q", got)
	}

	// What apps declare public is not rolled: the app's header is set later.
	for _, dest := range []string{"image", "style", "script", "font"} {
		for _, handler := range []http.Handler{
			c.Middleware(http.HandlerFunc(sayWho)), c.RequireLogin(http.HandlerFunc(sayWho)),
		} {
			r := requestWith(cookies...)
			r.Header.Set("Sec-Fetch-Dest", dest)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if cookies := w.Result().Cookies(); w.Code != 200 || len(cookies) > 0 {
				t.Errorf("%s: status %d, cookies %v", dest, w.Code, cookies)
			}
		}
	}
}

func TestEndSessionSignsOut(t *testing.T) {
	t.Parallel()
	for _, store := range []Store{nil, NewMemoryStore(0)} {
		c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
		cookies := c.start(t)
		w := httptest.NewRecorder()
		if err := c.EndSession(w, requestWith(cookies...)); err != nil {
			t.Fatal(err)
		}
		if left := cookiesAfter(cookies, w); len(left) > 0 {
			t.Errorf("with a store (%t): cookies left: %v", store != nil, left)
		}
		if _, err := c.Session(requestWith(cookies...)); store != nil && !errors.Is(err, CodeNoSession) {
			t.Errorf("the old handle still opens a session: %v", err)
		}
	}
}

func TestNoSessionOutsideOfTheMiddleware(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	if s, ok := SessionFromContext(requestWith(cookies...).Context()); s != nil || ok {
		t.Errorf("a request that passed no middleware has %v, %t", s, ok)
	}
	if _, err := c.Session(requestWith(cookies...)); err != nil {
		t.Errorf("Session needs no middleware: %v", err)
	}
	if _, err := c.Session(requestWith()); !errors.Is(err, CodeNoSession) {
		t.Errorf("Session of a stranger: %v", err)
	}
}

func TestStartSessionForgetsTheLogin(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	pending := &http.Cookie{Name: c.logins.cookieName("the-state"), Value: "x"}
	other := &http.Cookie{Name: c.logins.cookieName("another"), Value: "x"}
	login := &pendingLogin{logins: c.logins, cookie: pending.Name, hasCookie: true}
	s := madeSession(c.Client, aliceClaims, "")
	s.login = &freshLogin{forget: login.forget}
	w := httptest.NewRecorder()
	if err := c.StartSession(w, requestWith(pending, other), s); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, cookie := range cookiesAfter([]*http.Cookie{pending, other}, w) {
		names = append(names, cookie.Name)
	}
	if slices.Contains(names, pending.Name) || !slices.Contains(names, other.Name) {
		t.Errorf("the browser keeps %q", names)
	}
}

func TestTheProviderLimitsTheSession(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	end := c.now().Add(30 * time.Minute).Truncate(time.Second)
	token, err := readIDToken(fmt.Appendf(nil, `{"iss":"i","sub":"alice","session_expiry":%d}`, end.Unix()))
	if err != nil {
		t.Fatal(err)
	}
	s := c.sessions.create(&authenticated{idToken: token, tokens: &tokenResponse{}, started: c.now()}, "", "")
	if !s.ExpiresAt().Equal(end) {
		t.Errorf("the session ends at %v, want %v", s.ExpiresAt(), end)
	}
}

func TestNobodySignsInToASessionThatIsOver(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	now := c.now()
	login, refresh := &expectedIDToken{nonce: "n"}, &expectedIDToken{}
	for _, tt := range []struct {
		name     string
		end      time.Time
		expected *expectedIDToken
		refused  bool
	}{
		{"no end", time.Time{}, login, false},
		{"an end to come", now.Add(time.Second), login, false},
		{"an end right now", now, login, true},
		{"an end in 1970", time.Unix(0, 0), login, true},
		{"an end that a refresh brings", now, refresh, false},
	} {
		err := c.flow.rules.checkSessionExpiry(&idToken{sessionExpiry: tt.end}, tt.expected)
		if (err != nil) != tt.refused {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	s := &Session{ceiling: time.Unix(0, 0)}
	read, err := unmarshalSession(s.marshal(), defaultLifetime)
	if err != nil || read.ceiling.IsZero() {
		t.Errorf("an end in 1970 is stored as %v, %v", read, err)
	}
}
