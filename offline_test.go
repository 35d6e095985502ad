package oidcrp

// This file signs people in without a provider, for the tests of what becomes of
// a session.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// An offlineClient is a client at https://app.example whose provider must not be
// asked for anything.
type offlineClient struct {
	*Client
	clock *testClock
	log   *testLog

	mu      sync.Mutex
	refused []SessionEvent // guarded by mu
}

func newOfflineClient(t testing.TB, change func(*Config)) *offlineClient {
	t.Helper()
	c := &offlineClient{clock: newTestClock(), log: new(testLog)}
	c.Client = mustNew(t, func(cfg *Config) {
		cfg.Provider.Transport = noNetwork{t}
		cfg.Logger = slog.New(slog.NewJSONHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Trace.SessionRefused = func(_ context.Context, ev SessionEvent) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.refused = append(c.refused, ev)
		}
		cfg.Now = c.clock.Now
		cfg.Sessions.MaxCookieBytes = maxSessionBytes
		if change != nil {
			change(cfg)
		}
	})
	return c
}

// refusedEvents returns the SessionRefused events since the last call.
func (c *offlineClient) refusedEvents() []SessionEvent {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.refused
	c.refused = nil
	return events
}

// refusals returns why sessions were refused since the last call.
func (c *offlineClient) refusals() (reasons []string) {
	for _, ev := range c.refusedEvents() {
		reasons = append(reasons, ev.Reason)
	}
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

// wantNoSession fails the test unless nobody is signed in by r.
func (c *offlineClient) wantNoSession(t *testing.T, what string, r *http.Request) {
	t.Helper()
	if s, err := c.Session(r); s != nil || !errors.Is(err, CodeNoSession) {
		t.Errorf("%s: Session returned %v and %v, want CodeNoSession", what, s, err)
	}
}

// wantSession returns the session of r, and fails the test if there is none.
func (c *offlineClient) wantSession(t *testing.T, what string, r *http.Request) *Session {
	t.Helper()
	s, err := c.Session(r)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	return s
}

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

// serves sends a request with cookies through handler, and returns the answer and
// the cookies that the browser then has.
func serves(handler http.Handler, cookies []*http.Cookie, headers ...string) (*httptest.ResponseRecorder, []*http.Cookie) {
	r := requestWith(cookies...)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w, cookiesAfter(cookies, w)
}

// madeJWS returns a compact JWS of claims whose signature is of no interest.
func madeJWS(claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + enc.EncodeToString([]byte(claims)) + "." +
		enc.EncodeToString(bytes.Repeat([]byte{7}, 64))
}

const aliceClaims = `{"iss":"https://op.example","sub":"alice","aud":"app","acr":"eidas1"}`

// madeToken returns an ID Token as one that was verified.
func madeToken(raw string) *idToken {
	_, payload, _ := splitJWS(raw)
	token, err := readIDToken(payload)
	if err != nil {
		panic(err)
	}
	token.raw = raw
	return token
}

// madeLogin returns what a login learned from an ID Token with these claims and
// from UserInfo, which may be empty.
func madeLogin(now time.Time, idTokenClaims, userInfo string) *authenticated {
	token := madeToken(madeJWS(idTokenClaims))
	a := &authenticated{
		idToken: token, started: now,
		tokens: &tokenResponse{accessToken: "access", refreshToken: "refresh", expiry: now.Add(time.Hour)},
	}
	if userInfo != "" {
		a.userInfo = []byte(userInfo)
	}
	return a
}

// madeSession returns a session as a login makes it; userInfo may be empty.
func madeSession(c *Client, idTokenClaims, userInfo string) *Session {
	return c.sessions.create(madeLogin(c.now(), idTokenClaims, userInfo), "", "")
}

// bigClaims returns about n bytes of UserInfo that do not compress.
func bigClaims(n int) string {
	return `{"sub":"alice","small":"s","picture":"` + RandomText(n) + `"}`
}

// RandomText returns text that is about n bytes when it is compressed.
func RandomText(n int) string {
	random := make([]byte, n)
	rand.Read(random)
	return base64.RawURLEncoding.EncodeToString(random)
}

// requestWith returns a request by script that carries cookies.
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

// sessionCookies returns those of cookies that belong to a session of c.
func sessionCookies(c *Client, cookies []*http.Cookie) []*http.Cookie {
	return slices.DeleteFunc(slices.Clone(cookies), func(cookie *http.Cookie) bool {
		return !strings.HasPrefix(cookie.Name, c.cookies.session)
	})
}

// saySubject is a page that says who is signed in.
func saySubject(w http.ResponseWriter, r *http.Request) {
	s, _ := SessionFromContext(r.Context())
	io.WriteString(w, s.Subject())
}

// For package oidcrp_test.
const (
	RefreshPause = refreshPause
	APITokenLeft = apiTokenLeft

	MaxTransactions = maxTransactions
	PostedParameter = postedParameter
)

var (
	KeptIn       = keptIn
	RequestWith  = requestWith
	CookiesAfter = cookiesAfter
	Serves       = serves
)

// NewMemoryStoreAt returns a store in memory with the clock now.
func NewMemoryStoreAt(now func() time.Time) SharedStore { return newMemoryStore(0, now) }

// EntriesLeft returns how many entries that have not expired are in the memory
// store of c.
func EntriesLeft(c *Client) int {
	store := c.sessions.marks.store.store.(*memoryStore)
	store.sweep()
	return store.size()
}

// LoginCookie returns the name of the cookie of the login that sent state.
func LoginCookie(c *Client, state string) string { return c.logins.cookieName(state) }

// KnownVariables returns the names of the variables that ConfigFromEnv reads.
func KnownVariables() []string { return slices.Sorted(maps.Keys(envVars)) }

// HeldLogins returns how many results of logins c keeps, and how many bytes they take.
func HeldLogins(c *Client) (results, bytes int) { return c.logins.results.Held() }

// HeldRefreshes is HeldLogins for refreshes.
func HeldRefreshes(c *Client) (results, bytes int) { return c.refresher.running.Held() }

// UserClaims returns the claims that s keeps of UserInfo beside those of its ID Token.
func UserClaims(s *Session) string { return s.own.text }
