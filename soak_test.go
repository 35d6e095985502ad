package oidcrp_test

// This file sends random requests to every path of an app, and looks at each
// answer, at the goroutines and at the heap. soak_requests_test.go makes the
// requests. OIDCRP_SOAK is how many of them each path gets, OIDCRP_SOAK_SEED repeats
// a run.

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// soakTargets are the paths that get random requests: the client's own, a page
// that needs a login, and one that does not.
var soakTargets = []string{
	"/auth/login", "/auth/callback", "/auth/logout", "/auth/logout/callback", "/auth/backchannel-logout",
	"/auth/frontchannel-logout", "/auth/initiate", "/auth/jwks", "/me", "/open/",
}

const (
	// maxSoakGrowth is how much more heap may be in use at the end than after the
	// first third. Results of callbacks stay for a minute, whatever the number of
	// requests.
	maxSoakGrowth  = 8 << 20
	maxSoakBody    = 64 << 10
	maxSoakLine    = 16 << 10 // of the log
	maxSoakCookies = 50
)

func TestSoak_RandomRequestsDoNoHarm(t *testing.T) { // not parallel: it counts goroutines
	requests, seed := soakNumber(t, "OIDCRP_SOAK", 200), soakNumber(t, "OIDCRP_SOAK_SEED", rand.Uint64())
	for mode, store := range map[string]func(func() time.Time) oidcrp.Store{
		"cookies": func(func() time.Time) oidcrp.Store { return nil },
		"store":   func(now func() time.Time) oidcrp.Store { return oidcrp.NewMemoryStoreAt(now) },
	} {
		before := runtime.NumGoroutine()
		t.Run(mode, func(t *testing.T) {
			s := newSoak(t, seed, store)
			s.run(t, "first third", int(requests+2)/3)
			warm := s.heap()
			s.run(t, "rest", int(requests*2)/3)
			end := s.heap()
			t.Logf("%d requests for each of %d paths, seed %d: heap %d KiB after a third, %d KiB at the end",
				requests, len(soakTargets), seed, warm>>10, end>>10)
			if end > warm+maxSoakGrowth {
				t.Errorf("seed %d: the heap grew from %d to %d KiB", seed, warm>>10, end>>10)
			}
		})
		wantGoroutines(t, before)
	}
}

func soakNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// wantGoroutines waits until there are no more goroutines than before.
func wantGoroutines(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for now := runtime.NumGoroutine(); now > before; now = runtime.NumGoroutine() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines, %d before\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// A soak is one app, and a soaker for each of its paths.
type soak struct {
	app     *testApp
	handler http.Handler
	hosts   []string // of the app and its provider: where a redirect may lead
	cookies string   // how the names of this client's cookies begin
	seed    uint64
	soakers []*soaker
}

func newSoak(t *testing.T, seed uint64, store func(func() time.Time) oidcrp.Store) *soak {
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Store = store(c.Now)
		c.Logger = slog.New(slog.NewJSONHandler(soakLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256}}
	}})
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := oidcrp.SessionFromContext(r.Context())
		json.NewEncoder(w).Encode(whoAnswer{Sub: session.Subject()})
	})
	protected := app.client.RequireLogin(who)
	s := &soak{app: app, seed: seed}
	s.handler = app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/open/") {
			who(w, r)
			return
		}
		protected.ServeHTTP(w, r)
	}))
	s.hosts = []string{hostOf(t, app.URL), hostOf(t, app.provider.Issuer())}
	_, pending, _ := s.beginLogin(t)
	s.cookies, _, _ = strings.Cut(pending[0].Name, "_t_")
	for _, target := range soakTargets {
		hash := fnv.New64a()
		io.WriteString(hash, target)
		s.soakers = append(s.soakers, &soaker{soak: s, target: target, rand: rand.New(rand.NewPCG(seed, hash.Sum64()))})
	}
	return s
}

func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

// A soakLog checks what is logged and keeps nothing.
type soakLog struct{ t *testing.T }

func (l soakLog) Write(line []byte) (int, error) {
	if len(line) > maxSoakLine {
		l.t.Errorf("a line of the log has %d bytes: %.300s", len(line), line)
	}
	if strings.Contains(string(line), oidctest.ClientSecret) {
		l.t.Errorf("the client secret is in the log: %s", line)
	}
	return len(line), nil
}

// run sends n requests to each path. The paths run at the same time.
func (s *soak) run(t *testing.T, title string, n int) {
	t.Run(title, func(t *testing.T) {
		for _, one := range s.soakers {
			t.Run(one.target, func(t *testing.T) {
				t.Parallel()
				for i := 0; i < n && !t.Failed(); i++ {
					one.step(t, n)
				}
			})
		}
	})
}

// heap returns how many bytes are in use.
func (s *soak) heap() uint64 {
	s.app.provider.ResetRequests()
	return heapInUse()
}

// step sends one request of n and checks the answer.
func (s *soaker) step(t *testing.T, n int) {
	s.renew(t, max(500, n/20))
	s.sent++
	s.app.clock.Advance(5 * time.Millisecond)
	a := s.attempt()
	w := httptest.NewRecorder()
	panicked := serveSafely(s.handler, w, a.request)
	faults := s.faults(a, w)
	if panicked != "" {
		faults = append(faults, panicked)
	}
	for _, fault := range faults {
		t.Errorf("seed %d, request %d: %s\n%s %.2000s\nHost: %s\n%.4000q\nanswered %d %.2000q\n%.2000s",
			s.seed, s.sent, fault, a.request.Method, a.request.RequestURI, a.request.Host, a.request.Header,
			w.Code, w.Header(), w.Body)
	}
}

// serveSafely returns what handler panicked with.
func serveSafely(handler http.Handler, w http.ResponseWriter, r *http.Request) (panicked string) {
	defer func() {
		if p := recover(); p != nil {
			panicked = fmt.Sprintf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	handler.ServeHTTP(w, r)
	return ""
}

// faults says what is wrong with the answer to a.
func (s *soaker) faults(a attempt, w *httptest.ResponseRecorder) (faults []string) {
	fail := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	unavailable := w.Code == http.StatusServiceUnavailable || w.Code == http.StatusBadGateway
	if w.Code >= 500 && !(unavailable && a.claimsOutage) && !(w.Code == http.StatusBadGateway && a.claimsError) {
		fail("status %d", w.Code)
	}
	if n := w.Body.Len(); n > maxSoakBody {
		fail("a body of %d bytes", n)
	}
	if body := w.Body.String(); strings.Contains(body, "<soak") {
		fail("a tag of the request is in the body")
	}
	for name, values := range w.Header() {
		for _, value := range append(values, name) {
			if i := strings.IndexFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }); i >= 0 {
				fail("%s has a control character: %q", name, value)
			}
		}
	}
	if n := len(w.Header()["Set-Cookie"]); n > maxSoakCookies {
		fail("%d cookies are set", n)
	}
	for _, cookie := range w.Result().Cookies() {
		if !strings.HasPrefix(cookie.Name, s.soak.cookies) {
			fail("the cookie %s is not this client's", cookie.Name)
		}
		if s.isSession(cookie.Name) && cookie.Value != "" && !a.signedIn {
			fail("a session begins: %s", cookie.Name)
		}
		if cc := w.Header().Get("Cache-Control"); !strings.Contains(cc, "no-store") && !strings.Contains(cc, "private") {
			fail("a cookie in an answer with Cache-Control %q", cc)
		}
	}
	return append(faults, s.leadsAway(a, w)...)
}

// isSession reports whether name is that of a session's cookie.
func (s *soak) isSession(name string) bool {
	rest, ok := strings.CutPrefix(name, s.cookies+"_s")
	return ok && strings.Trim(rest, "0123456789") == ""
}

// leadsAway says which URLs of an answer leave the app and its provider, and whom
// it shows without a session.
func (s *soaker) leadsAway(a attempt, w *httptest.ResponseRecorder) (faults []string) {
	for _, name := range []string{"Location", "Hx-Redirect", "Refresh", "Content-Location"} {
		if value := w.Header().Get(name); value != "" && !slices.Contains(s.hosts, s.browserGoesTo(value)) {
			faults = append(faults, fmt.Sprintf("%s leads away: %q", name, value))
		}
	}
	var body struct {
		LoginURL string `json:"login_url"`
		Sub      string
	}
	if json.Unmarshal(w.Body.Bytes(), &body) != nil {
		return faults
	}
	if body.LoginURL != "" && s.browserGoesTo(body.LoginURL) != s.hosts[0] {
		faults = append(faults, fmt.Sprintf("login_url leads away: %q", body.LoginURL))
	}
	if body.Sub != "" && !a.signedIn {
		faults = append(faults, fmt.Sprintf("%s is signed in", body.Sub))
	}
	return faults
}

// browserGoesTo returns the host that a browser at the app opens for a URL, by
// WHATWG's rules: it drops tabs and line breaks, and takes a backslash for a slash.
func (s *soak) browserGoesTo(raw string) string {
	raw = strings.NewReplacer("\t", "", "\r", "", "\n", "", `\`, "/").Replace(strings.TrimSpace(raw))
	base := &url.URL{Scheme: "http", Host: s.hosts[0], Path: "/auth/login"}
	u, err := base.Parse(raw)
	if err != nil || u.Scheme != "http" {
		return "cannot be opened: " + raw
	}
	return u.Host
}
