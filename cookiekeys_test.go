package oidcrp

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyService is a KeySource that counts and can fail.
type keyService struct {
	mu    sync.Mutex
	keys  [][]byte // guarded by mu
	err   error    // guarded by mu
	asked int      // guarded by mu
}

func (s *keyService) CookieKeys(context.Context) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.keys, s.err
}

func (s *keyService) set(err error, keys ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err = keys, err
}

func (s *keyService) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func newKeyServiceClient(t *testing.T, s *keyService, change func(*Config)) *offlineClient {
	return newOfflineClient(t, func(cfg *Config) {
		cfg.CookieKeys = s
		if change != nil {
			change(cfg)
		}
	})
}

func TestKeysRotateWithoutSigningAnybodyOut(t *testing.T) {
	t.Parallel()
	service := &keyService{keys: [][]byte{testKey(1)}}
	one := newKeyServiceClient(t, service, nil)
	two := newKeyServiceClient(t, service, func(cfg *Config) { cfg.Now = one.clock.Now })
	if service.count() != 0 {
		t.Fatal("New asks for the keys")
	}
	old := one.start(t)
	if _, err := two.Session(requestWith(old...)); err != nil {
		t.Fatal(err)
	}
	asked := service.count()
	for range 100 {
		if _, err := two.Session(requestWith(old...)); err != nil {
			t.Fatal(err)
		}
	}
	if n := service.count(); n != asked {
		t.Errorf("100 requests asked for the keys %d times", n-asked)
	}

	// One replica reads the new key before the other, which then meets a cookie
	// that it cannot open yet.
	service.set(nil, testKey(2), testKey(1))
	one.clock.Advance(keyAge)
	_, _ = one.Session(requestWith(old...)) // has them read in the background
	waitFor(t, func() bool { return service.count() > asked })
	var young []*http.Cookie
	waitFor(t, func() bool {
		young = one.start(t)
		newest := newOfflineClient(t, func(cfg *Config) { cfg.CookieKeys = Keys(testKey(2)); cfg.Now = one.clock.Now })
		_, err := newest.Session(requestWith(young...))
		return err == nil
	})
	for what, cookies := range map[string][]*http.Cookie{"old": old, "new": young} {
		if _, err := two.Session(requestWith(cookies...)); err != nil {
			t.Errorf("the %s cookie: %v", what, err)
		}
	}

	service.set(nil, testKey(2))
	one.clock.Advance(keyAge)
	waitFor(t, func() bool {
		_, err := two.Session(requestWith(old...))
		return errors.Is(err, CodeNoSession)
	})
	two.refusals()
	if _, err := two.Session(requestWith(young...)); err != nil {
		t.Errorf("the new cookie, without the old key: %v", err)
	}
}

// keySourceFunc is a function as a KeySource.
type keySourceFunc func(context.Context) ([][]byte, error)

func (f keySourceFunc) CookieKeys(ctx context.Context) ([][]byte, error) { return f(ctx) }

// waitFor polls for what another goroutine is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

func TestForgedCookiesDoNotAskForKeysAgainAndAgain(t *testing.T) {
	t.Parallel()
	service := &keyService{keys: [][]byte{testKey(1)}}
	c := newKeyServiceClient(t, service, nil)
	c.start(t)
	forged := newOfflineClient(t, func(cfg *Config) { cfg.CookieKeys = Keys(testKey(9)) }).start(t)
	c.clock.Advance(keyPause)
	asked := service.count()
	for range 1000 {
		c.wantRefusal(t, requestWith(forged...), "unknown_key")
	}
	if n := service.count() - asked; n != 1 {
		t.Errorf("1000 cookies asked for the keys %d times", n)
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	t.Parallel()
	down := errors.New("the key service is down")
	service := &keyService{err: down}
	c := newKeyServiceClient(t, service, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("/", sayWho)
	mux.Handle("/me", c.RequireLogin(http.HandlerFunc(sayWho)))
	handler := c.Middleware(mux)
	ask := func(path string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
		r := requestWith(cookies...)
		r.URL.Path, r.RequestURI = path, path
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	cookies := newOfflineClient(t, func(cfg *Config) { cfg.Now = c.clock.Now }).start(t)
	if w := ask("/me", cookies...); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("a protected page without keys: %d %v", w.Code, w.Header())
	}
	if w := ask("/", cookies...); w.Code != http.StatusOK {
		t.Errorf("a public page without keys: %d", w.Code)
	}
	service.set(nil, testKey(1))
	c.clock.Advance(keyPause)
	if w := ask("/me", cookies...); w.Code != http.StatusOK {
		t.Errorf("when there are keys: %d %s", w.Code, w.Body)
	}
	for what, fails := range map[string]func(){
		"an error":    func() { service.set(down) },
		"no key":      func() { service.set(nil) },
		"a short key": func() { service.set(nil, []byte("short")) },
	} {
		fails()
		c.clock.Advance(keyAge)
		asked := service.count()
		if w := ask("/me", cookies...); w.Code != http.StatusOK {
			t.Errorf("after %s: %d %s", what, w.Code, w.Body)
		}
		waitFor(t, func() bool { return service.count() > asked })
		if w := ask("/me", cookies...); w.Code != http.StatusOK {
			t.Errorf("after %s was read: %d %s", what, w.Code, w.Body)
		}
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	one, two := base64.StdEncoding.EncodeToString(testKey(1)), base64.RawURLEncoding.EncodeToString(testKey(2))
	for _, text := range []string{one + "," + two, one + "\n" + two + "\n", " " + one + " ,\r\n\t" + two + ",\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := KeyFile(path).CookieKeys(t.Context())
		if err != nil || len(keys) != 2 || string(keys[0]) != string(testKey(1)) || string(keys[1]) != string(testKey(2)) {
			t.Errorf("%q: %d keys, %v", text, len(keys), err)
		}
	}
	if err := os.WriteFile(path, []byte(one+"\n!"+two), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := KeyFile(path).CookieKeys(t.Context()); err == nil || strings.Contains(err.Error(), two) {
		t.Errorf("half a key: %v", err)
	}
	if _, err := KeyFile(path + "x").CookieKeys(t.Context()); err == nil || strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
}

func TestCookieKeysFileInTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	for text, problem := range map[string]string{
		base64.StdEncoding.EncodeToString(testKey(1)): "",
		"":     "holds no key",
		"x!":   "key 1 is not base64",
		"QUFB": "key 1 has 3 bytes, not 32",
	} {
		file := filepath.Join(dir, "keys")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		setEnv(t, map[string]string{"OIDC_COOKIE_KEYS_FILE": file})
		cfg, err := ConfigFromEnv()
		if problem == "" && (err != nil || cfg.CookieKeys == nil) {
			t.Errorf("%q: %v", text, err)
		}
		if problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%q: %v, want %s", text, err, problem)
		}
	}
}
