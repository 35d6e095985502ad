package scsstore_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/scsstore"
	"github.com/oidcrp/oidcrp/storetest"
)

// A mapStore is a store that keeps the slice it is given, as one in memory does.
type mapStore struct {
	mu      sync.Mutex
	entries map[string]entry // guarded by mu
}

type entry struct {
	value  []byte
	expiry time.Time
}

func (s *mapStore) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.entries[token]
	if !ok || time.Now().After(entry.expiry) {
		return nil, false, nil
	}
	return entry.value, true, nil
}

func (s *mapStore) Commit(token string, value []byte, expiry time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if value == nil {
		return errors.New("value is NULL")
	}
	if s.entries == nil {
		s.entries = make(map[string]entry)
	}
	s.entries[token] = entry{value, expiry}
	return nil
}

func (s *mapStore) Delete(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, token)
	return nil
}

// keys returns the keys of all entries.
func (s *mapStore) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for key := range s.entries {
		keys = append(keys, key)
	}
	return keys
}

// A contextStore has the methods with a ctx too, and the others fail.
type contextStore struct{ m mapStore }

var errWithoutContext = errors.New("called without ctx")

func (s *contextStore) Find(string) ([]byte, bool, error)      { return nil, false, errWithoutContext }
func (s *contextStore) Commit(string, []byte, time.Time) error { return errWithoutContext }
func (s *contextStore) Delete(string) error                    { return errWithoutContext }

func (s *contextStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	return s.m.Find(token)
}

func (s *contextStore) CommitCtx(ctx context.Context, token string, value []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.m.Commit(token, value, expiry)
}

func (s *contextStore) DeleteCtx(ctx context.Context, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.m.Delete(token)
}

func TestNew_KeepsTheContractOfAStore(t *testing.T) {
	t.Parallel()
	for name, newStore := range map[string]func() scsstore.Store{
		"without ctx": func() scsstore.Store { return new(mapStore) },
		"with ctx":    func() scsstore.Store { return new(contextStore) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(testing.TB) oidcrp.Store { return scsstore.New(newStore()) })
		})
	}
}

func TestNew_SignsInAndOut(t *testing.T) {
	t.Parallel()
	store := new(mapStore)
	provider := oidctest.NewServer(t, oidctest.Config{})
	app := httptest.NewUnstartedServer(nil)
	client, err := oidcrp.New(oidcrp.Config{
		Issuer: provider.Issuer(), ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		BaseURL: "http://" + app.Listener.Addr().String(), CookieKeys: oidcrp.Keys(make([]byte, 32)),
		Store: scsstore.New(store),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/leave", func(w http.ResponseWriter, r *http.Request) {
		if err := client.EndSession(w, r); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if s, ok := oidcrp.SessionFromContext(r.Context()); ok {
			io.WriteString(w, s.Subject())
		}
	})
	app.Config.Handler = client.Middleware(mux)
	app.Start()
	t.Cleanup(app.Close)

	browser := provider.SignIn(t, app.URL+"/auth/login", "alice")
	if who := visit(t, browser, app.URL+"/"); who != "alice" {
		t.Errorf("signed in as %q", who)
	}
	if keys := store.keys(); len(keys) != 1 || len(keys[0]) != 43 {
		t.Errorf("the keys are %q, want one of 43 characters", keys)
	}
	visit(t, browser, app.URL+"/leave")
	if who := visit(t, browser, app.URL+"/"); who != "" {
		t.Errorf("signed in as %q after the logout", who)
	}
	for _, key := range store.keys() {
		if len(key) == 43 {
			t.Errorf("the session is still stored")
		}
	}
}

// visit returns the page at url.
func visit(t *testing.T, browser *http.Client, url string) string {
	t.Helper()
	res, err := browser.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s: %v", url, res.Status, err)
	}
	return string(body)
}

// A funcStore calls itself for every method.
type funcStore func() error

func (f funcStore) Find(string) ([]byte, bool, error)      { return nil, true, f() }
func (f funcStore) Commit(string, []byte, time.Time) error { return f() }
func (f funcStore) Delete(string) error                    { return f() }

// methods are those of an oidcrp.Store.
var methods = map[string]func(ctx context.Context, store oidcrp.Store) error{
	"Get":    func(ctx context.Context, store oidcrp.Store) error { _, err := store.Get(ctx, "key"); return err },
	"Set":    func(ctx context.Context, store oidcrp.Store) error { return store.Set(ctx, "key", nil, time.Hour) },
	"Delete": func(ctx context.Context, store oidcrp.Store) error { return store.Delete(ctx, "key") },
}

func TestNew_DoesNotWaitBeyondTheEndOfContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := scsstore.New(funcStore(func() error { time.Sleep(time.Hour); return nil }))
		for name, call := range methods {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now() // the bubble's own clock
			if err := call(ctx, store); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			cancel()
		}
		time.Sleep(time.Hour) // by then the calls have returned
	})
}

func TestNew_DoesNotCallAfterTheEndOfContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var called atomic.Int32
		store := scsstore.New(funcStore(func() error { called.Add(1); return nil }))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, call := range methods {
			if err := call(ended, store); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
		synctest.Wait()
		if n := called.Load(); n > 0 {
			t.Errorf("%d calls after the end", n)
		}
	})
}

func TestNew_ReturnsTheErrorsOfTheStore(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	failing := scsstore.New(funcStore(func() error { return down }))
	panicking := scsstore.New(funcStore(func() error { panic("nil map") }))
	for name, call := range methods {
		if err := call(t.Context(), failing); !errors.Is(err, down) || errors.Is(err, oidcrp.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if err := call(t.Context(), panicking); err == nil || !strings.Contains(err.Error(), "nil map") || errors.Is(err, oidcrp.ErrNotFound) {
			t.Errorf("%s that panics: %v", name, err)
		}
	}
}
