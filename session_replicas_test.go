package oidcrp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// replicas are Clients of one app that share a Store and a clock.
func replicas(t *testing.T, store Store, cookies bool) (one, two *offlineClient) {
	t.Helper()
	config := func(cfg *Config) { cfg.Store, cfg.Sessions.InCookies = store, cookies }
	one = newOfflineClient(t, config)
	two = newOfflineClient(t, func(cfg *Config) { config(cfg); cfg.Now = one.clock.Now })
	two.clock = one.clock
	return one, two
}

func TestASessionAndItsMarksAreOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what          string
		cookies       bool
		within, after int // RevocationDelay, in round trips
	}{
		{"stored sessions", false, 1, 1},
		{"cookie sessions", true, 0, 1},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			store := NewHookStore(nil)
			c, _ := replicas(t, store, test.cookies)
			cookies := c.start(t)
			store.Took(OpGet, OpGetMany)
			ask := func(when string, want int) {
				t.Helper()
				if _, err := c.Session(requestWith(cookies...)); err != nil || store.Took(OpGet, OpGetMany) != want {
					t.Errorf("%s: %v, not %d round trips", when, err, want)
				}
			}
			ask("the first time", 1)
			ask("at once again", test.within)
			c.clock.Advance(c.sessions.settings.RevocationDelay - 1)
			ask("just within the delay", test.within)
			c.clock.Advance(1)
			ask("after the delay", test.after)
		})
	}
}

func TestALogoutOnOneReplicaEndsTheSessionOnAll(t *testing.T) {
	t.Parallel()
	for _, kept := range []string{"in cookies", "in the store"} {
		for what, end := range map[string]func(c *offlineClient, s *Session, cookies []*http.Cookie) error{
			"by the person": func(c *offlineClient, _ *Session, cookies []*http.Cookie) error {
				return c.EndSession(httptest.NewRecorder(), requestWith(cookies...))
			},
			"by RevokeSession": func(c *offlineClient, s *Session, _ []*http.Cookie) error {
				return c.RevokeSession(t.Context(), s.ID())
			},
			"by RevokeSubject": func(c *offlineClient, s *Session, _ []*http.Cookie) error {
				return c.RevokeSubject(t.Context(), s.Issuer(), s.Subject())
			},
		} {
			t.Run(what+" "+kept, func(t *testing.T) {
				t.Parallel()
				one, two := replicas(t, NewMemoryStore(0), kept == "in cookies")
				s := madeSession(one.Client, aliceClaims, "")
				s.marks[0] = subjectMark(s.Issuer(), s.Subject())
				copied := one.startSession(t, s)
				bruno := madeSession(one.Client, `{"iss":"https://op.example","sub":"bruno"}`, "")
				bruno.id = "another session!"
				bruno.marks[0] = subjectMark(bruno.Issuer(), bruno.Subject())
				others := one.startSession(t, bruno)
				for _, c := range []*offlineClient{one, two} {
					if _, err := c.Session(requestWith(copied...)); err != nil {
						t.Fatal(err)
					}
				}
				if err := end(two, s, copied); err != nil {
					t.Fatal(err)
				}
				if _, err := two.Session(requestWith(copied...)); !errors.Is(err, CodeNoSession) {
					t.Errorf("where it was ended: %v", err)
				}
				one.clock.Advance(one.sessions.settings.RevocationDelay)
				if _, err := one.Session(requestWith(copied...)); !errors.Is(err, CodeNoSession) {
					t.Errorf("on the other replica: %v", err)
				}
				for _, c := range []*offlineClient{one, two} {
					if _, err := c.Session(requestWith(others...)); err != nil {
						t.Errorf("somebody else's session: %v", err)
					}
					c.refusals()
				}
				one.clock.Advance(time.Millisecond)
				again := madeSession(one.Client, aliceClaims, "")
				again.id, again.marks = "the next session", s.marks
				if _, err := two.Session(requestWith(one.startSession(t, again)...)); err != nil {
					t.Errorf("a login that came after it: %v", err)
				}
			})
		}
	}
}

func TestRevokeRefusesWhatNamesNothing(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	s := madeSession(c.Client, aliceClaims, "")
	for what, err := range map[string]error{
		"another issuer":    c.RevokeSubject(t.Context(), "https://other.example", "alice"),
		"no subject":        c.RevokeSubject(t.Context(), s.Issuer(), ""),
		"an empty id":       c.RevokeSession(t.Context(), ""),
		"a subject as id":   c.RevokeSession(t.Context(), "alice"),
		"an id with a tail": c.RevokeSession(t.Context(), s.ID()+"A"),
	} {
		if codeOf(err) != CodeInvalidRequest {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The browser may change the marks in its cookie; that does not hide a logout.
func TestTheMarksInACookieAreOnlyAHint(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	one, two := replicas(t, store, false)
	s := madeSession(one.Client, aliceClaims, "")
	cookie := one.startSession(t, s)[0]
	innocent := one.startSession(t, madeSession(one.Client, `{"sub":"bruno"}`, ""))[0]
	if _, err := two.Session(requestWith(innocent)); err != nil {
		t.Fatal(err)
	}
	if err := one.RevokeSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	held, _ := parseHandle(cookie.Value)
	touched := fmt.Sprint(one.clock.Now().Unix())
	theirs := innocent.Value[strings.LastIndexByte(innocent.Value, '.'):]
	zero := "." + base64.RawURLEncoding.EncodeToString(make([]byte, 48))
	for what, hint := range map[string]string{"none": "", "somebody else's": theirs, "zero": zero} {
		forged := &http.Cookie{Name: cookie.Name, Value: held.handle + "." + touched + hint}
		if _, ok := parseHandle(forged.Value); !ok {
			t.Fatalf("%s is not taken for a cookie of ours", what)
		}
		two.wantRefusal(t, requestWith(forged), "logged_out")
	}
}

// A Store that hangs holds up a few requests, not all; and nobody waits longer
// than a moment when it is back.
func TestAStoreThatHangsIsLeftAloneForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := NewHookStore(nil)
		c := newOfflineClient(t, func(cfg *Config) { cfg.Store, cfg.Now = store, time.Now })
		cookies := c.start(t)
		ask := func() (time.Duration, error) {
			before := time.Now()
			_, err := c.Session(requestWith(cookies...))
			return time.Since(before), err
		}
		store.Hang(OpGet, OpGetMany)
		for i := range 10 {
			took, err := ask()
			if !errors.Is(err, CodeStoreUnavailable) {
				t.Fatal(err)
			}
			if waits := i < hangsBeforeOpen; waits != (took == c.sessions.settings.StoreTimeout) {
				t.Errorf("request %d waited %v", i+1, took)
			}
		}
		time.Sleep(breakerPause)
		if took, _ := ask(); took != c.sessions.settings.StoreTimeout {
			t.Errorf("after a pause one request tries again, and waits %v", took)
		}
		store.Before(nil)
		if _, err := ask(); !errors.Is(err, CodeStoreUnavailable) {
			t.Errorf("within the pause: %v", err)
		}
		time.Sleep(breakerPause)
		for range 3 {
			if took, err := ask(); err != nil || took != 0 {
				t.Errorf("when it is back: %v after %v", err, took)
			}
		}
	})
}

// A browser that goes away in the middle says nothing about the Store.
func TestCancelledRequestsDoNotCountAgainstTheStore(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	c := newOfflineClient(t, func(cfg *Config) { cfg.Store = store })
	cookies := c.start(t)
	store.Hang(OpGet, OpGetMany)
	for range 2 * hangsBeforeOpen {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Session(requestWith(cookies...).WithContext(ctx)); codeOf(err) != CodeCanceled {
			t.Fatal(err)
		}
	}
	store.Before(nil)
	if _, err := c.Session(requestWith(cookies...)); err != nil {
		t.Error(err)
	}
}
