package oidcrp_test

// This file sends many requests of many people who are signed in, and looks at each
// answer, at the heap and at the goroutines.

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
)

const (
	// maxSessionsGrowth is how much more heap may be in use after all requests than
	// after the first third, in which every session was used.
	maxSessionsGrowth = 1 << 20
	sessionsAtOnce    = 16
	// sessionsSpan is how much time passes on the app's clock, so that every session is
	// renewed many times and none expires.
	sessionsSpan = 30 * time.Minute
)

// OIDCRP_SOAK=200000 makes 1,000,000 requests by 50,000 sessions.
func TestSoak_SessionsInUseLeaveHeapAndGoroutinesAlone(t *testing.T) { // not parallel: it counts goroutines
	size := int(soakNumber(t, "OIDCRP_SOAK", 200))
	requests, people := 5*size, max(size/4, sessionsAtOnce)
	for mode, store := range map[string]func(func() time.Time) oidcrp.Store{
		"cookies": func(func() time.Time) oidcrp.Store { return nil },
		"store":   func(now func() time.Time) oidcrp.Store { return oidcrp.NewMemoryStoreAt(now) },
	} {
		before := runtime.NumGoroutine()
		t.Run(mode, func(t *testing.T) {
			s := newSessionsSoak(t, people, store)
			s.run(t, requests/3, requests)
			warm := heapInUse()
			s.run(t, requests-requests/3, requests)
			end := heapInUse()
			t.Logf("%d requests by %d sessions: heap %d KiB after a third, %d KiB at the end", requests, people, warm>>10, end>>10)
			if end > warm+maxSessionsGrowth {
				t.Errorf("the heap grew from %d to %d KiB", warm>>10, end>>10)
			}
			if renewed := s.renewed(); renewed < people {
				t.Errorf("%d sessions were renewed, want at least %d", renewed, people)
			}
			runtime.KeepAlive(s)
		})
		wantGoroutines(t, before)
	}
}

// A sessionsSoak is an app, and the people who are signed in, in as many parts as are
// used at once.
type sessionsSoak struct {
	app     *testApp
	handler http.Handler
	parts   [sessionsAtOnce][]soakPerson
	counts  [sessionsAtOnce]int // of renewed sessions
}

// A soakPerson is somebody with a session and its cookies.
type soakPerson struct {
	subject string
	cookies []*http.Cookie
}

func newSessionsSoak(t *testing.T, people int, store func(func() time.Time) oidcrp.Store) *sessionsSoak {
	t.Helper()
	s := &sessionsSoak{app: newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Store = store(c.Now)
		c.Logger = slog.New(slog.DiscardHandler)
		if c.Sessions.CacheBytes >= 0 {
			c.Sessions.CacheBytes = 64 << 10 // full before the heap is measured
		}
	}})}
	s.handler = s.app.client.Middleware(s.app.client.RequireLogin(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			session, _ := oidcrp.SessionFromContext(r.Context())
			var who struct {
				Email string `json:"email"`
			}
			if err := session.Claims(&who); err != nil {
				t.Error(err)
			}
			io.WriteString(w, session.Subject()+" "+who.Email)
		})))
	for i := range people {
		part := &s.parts[i%sessionsAtOnce]
		*part = append(*part, s.signIn(t, fmt.Sprintf("person-%d", i)))
	}
	return s
}

func (s *sessionsSoak) signIn(t *testing.T, subject string) soakPerson {
	t.Helper()
	session := oidcrp.NewSession(map[string]any{
		"iss": s.app.provider.Issuer(), "sub": subject, "email": subject + "@example.org",
	})
	w := httptest.NewRecorder()
	if err := s.app.client.StartSession(w, requestWithin(s.app.URL, nil), session); err != nil {
		t.Fatal(err)
	}
	person := soakPerson{subject: subject}
	person.keep(w)
	return person
}

// keep takes the cookies of an answer, as a browser does, and reports whether there were
// any.
func (p *soakPerson) keep(w *httptest.ResponseRecorder) bool {
	set := w.Result().Cookies()
	if len(set) == 0 {
		return false
	}
	p.cookies = nil
	for _, cookie := range set {
		if cookie.MaxAge >= 0 {
			p.cookies = append(p.cookies, &http.Cookie{Name: cookie.Name, Value: cookie.Value})
		}
	}
	return true
}

// run sends n of all requests. All parts are used at once, each person of a part in turn.
func (s *sessionsSoak) run(t *testing.T, n, all int) {
	t.Helper()
	var group sync.WaitGroup
	for i := range s.parts {
		group.Go(func() {
			for request := range n / sessionsAtOnce {
				s.app.clock.Advance(sessionsSpan / time.Duration(all))
				if !s.request(t, i, request) {
					return
				}
			}
		})
	}
	group.Wait()
}

// request sends one request and reports whether the answer was right.
func (s *sessionsSoak) request(t *testing.T, part, number int) bool {
	person := &s.parts[part][number%len(s.parts[part])]
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, requestWithin(s.app.URL, person.cookies))
	if want := person.subject + " " + person.subject + "@example.org"; w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("answered %s with %d %q, want %q", person.subject, w.Code, w.Body, want)
		return false
	}
	if person.keep(w) {
		s.counts[part]++
	}
	return true
}

func (s *sessionsSoak) renewed() (n int) {
	for _, count := range s.counts {
		n += count
	}
	return n
}

// heapInUse returns how many bytes are in use.
func heapInUse() uint64 {
	for range 2 { // the second run empties what the first left in pools
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
