package oidcrp

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

// An scsMap is an SCSStore that keeps what it is given, as one in memory does.
type scsMap struct {
	mu      sync.Mutex
	entries map[string]scsEntry // guarded by mu
}

type scsEntry struct {
	value  []byte
	expiry time.Time
}

func (s *scsMap) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.entries[token]
	if !ok || time.Now().After(entry.expiry) {
		return nil, false, nil
	}
	return entry.value, true, nil
}

func (s *scsMap) Commit(token string, value []byte, expiry time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == nil {
		return errors.New("value is NULL")
	}
	if s.entries == nil {
		s.entries = make(map[string]scsEntry)
	}
	s.entries[token] = scsEntry{value, expiry}
	return nil
}

func (s *scsMap) Delete(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, token)
	return nil
}

// An scsContextMap has the methods with a ctx as well, and the others fail.
type scsContextMap struct{ m scsMap }

var errWithoutContext = errors.New("called without ctx")

func (s *scsContextMap) Find(string) ([]byte, bool, error)      { return nil, false, errWithoutContext }
func (s *scsContextMap) Commit(string, []byte, time.Time) error { return errWithoutContext }
func (s *scsContextMap) Delete(string) error                    { return errWithoutContext }

func (s *scsContextMap) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	return s.m.Find(token)
}

func (s *scsContextMap) CommitCtx(ctx context.Context, token string, value []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.m.Commit(token, value, expiry)
}

func (s *scsContextMap) DeleteCtx(ctx context.Context, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.m.Delete(token)
}

func TestFromSCSIsASoundStore(t *testing.T) {
	t.Parallel()
	for name, newStore := range map[string]func() SCSStore{
		"without ctx": func() SCSStore { return new(scsMap) },
		"with ctx":    func() SCSStore { return new(scsContextMap) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			oidctest.TestStore(t, func(testing.TB) Store { return FromSCS(newStore()) })
		})
	}
}

func TestSignInWithAnSCSStore(t *testing.T) {
	t.Parallel()
	store := new(scsMap)
	app := newTestApp(t, setup{config: func(cfg *Config) { cfg.Store = FromSCS(store) }})
	browser := app.signIn(t)
	if got := app.who(t, browser, "/me"); got.Sub != "alice" {
		t.Errorf("signed in as %q", got.Sub)
	}
	for token := range store.entries {
		if len(token) > 43 {
			t.Errorf("the key %s has %d characters", token, len(token))
		}
	}
	app.logsOut(t, browser, "/auth/logout")
	if res, _ := get(t, noRedirects(browser), app.URL+"/me"); res.StatusCode == http.StatusOK {
		t.Error("signed in after the logout")
	}
}

// An scsFunc calls itself for every method.
type scsFunc func() error

func (f scsFunc) Find(string) ([]byte, bool, error)      { return nil, true, f() }
func (f scsFunc) Commit(string, []byte, time.Time) error { return f() }
func (f scsFunc) Delete(string) error                    { return f() }

// storeCalls calls every method.
func storeCalls(ctx context.Context, store Store) map[string]error {
	_, err := store.Get(ctx, "key")
	return map[string]error{"Get": err, "Set": store.Set(ctx, "key", nil, time.Hour), "Delete": store.Delete(ctx, "key")}
}

func TestFromSCSDoesNotWaitBeyondTheEndOfCtx(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := FromSCS(scsFunc(func() error { time.Sleep(time.Hour); return nil }))
		for name, call := range map[string]func(ctx context.Context) error{
			"Get":    func(ctx context.Context) error { _, err := store.Get(ctx, "key"); return err },
			"Set":    func(ctx context.Context) error { return store.Set(ctx, "key", nil, time.Hour) },
			"Delete": func(ctx context.Context) error { return store.Delete(ctx, "key") },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now() // the bubble's own clock
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			cancel()
		}
		time.Sleep(time.Hour) // by when the calls have returned
	})

	synctest.Test(t, func(t *testing.T) {
		var called atomic.Int32
		store := FromSCS(scsFunc(func() error { called.Add(1); return nil }))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, err := range storeCalls(ended, store) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s after the end: %v", name, err)
			}
		}
		synctest.Wait()
		if n := called.Load(); n > 0 {
			t.Errorf("%d calls after the end", n)
		}
	})
}

func TestFromSCSReportsWhatFails(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	for name, err := range storeCalls(t.Context(), FromSCS(scsFunc(func() error { return down }))) {
		if !errors.Is(err, down) || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range storeCalls(t.Context(), FromSCS(scsFunc(func() error { panic("nil map") }))) {
		if err == nil || !strings.Contains(err.Error(), "nil map") || errors.Is(err, ErrNotFound) {
			t.Errorf("%s that panics: %v", name, err)
		}
	}
}
