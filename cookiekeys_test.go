package oidcrp

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidcrp/oidcrp/internal/seal"
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

// took returns how often the keys were read since the last call.
func (s *keyService) took() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = 0
	return asked
}

// keySourceFunc is a function as a KeySource.
type keySourceFunc func(context.Context) ([][]byte, error)

func (f keySourceFunc) CookieKeys(ctx context.Context) ([][]byte, error) { return f(ctx) }

// newTestKeys returns the keys of source with the bubble's clock, and their log.
func newTestKeys(t *testing.T, source KeySource) (*cookieKeys, *testLog) {
	t.Helper()
	log := new(testLog)
	keys, err := newCookieKeys(source, true, time.Now, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return keys, log
}

// sealedWith returns a text that key sealed.
func sealedWith(t *testing.T, key []byte) string {
	t.Helper()
	ring, err := seal.NewRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return ring.SealString([]byte("plain"), nil)
}

func TestKeys_AreCopiedAndHidden(t *testing.T) {
	t.Parallel()
	key := testKey(1)
	keys := Keys(key)
	clear(key)
	if got, err := keys.CookieKeys(t.Context()); err != nil || string(got[0]) != string(testKey(1)) {
		t.Errorf("the keys are %v, %v", got, err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %x", keys, keys, keys, keys, keys)
	// An app's own struct, whose private fields fmt prints without asking them.
	private := struct {
		keys   KeySource
		within struct{ keys []KeySource }
		any    map[string]any
	}{keys, struct{ keys []KeySource }{[]KeySource{keys}}, map[string]any{"keys": keys}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text += fmt.Sprintf(verb, private) + fmt.Sprintf(verb, &private)
	}
	if encoded, err := json.Marshal(keys); err != nil || strings.Contains(text+string(encoded), "\x01") || strings.Contains(text+string(encoded), "0101") ||
		strings.Contains(text+string(encoded), "AQEB") || strings.Contains(text, "1 1 1") || strings.Contains(text, "0x1, 0x1") {
		t.Errorf("printed, the keys are %s, as JSON %s (%v)", text, encoded, err)
	}
}

// Fixed keys need no source.
func TestCookieKeys_FixedKeysAreNeverRead(t *testing.T) {
	t.Parallel()
	keys, _ := newTestKeys(t, Keys(testKey(2), testKey(1)))
	if keys.source != nil {
		t.Error("fixed keys have a source")
	}
	for _, key := range [][]byte{testKey(1), testKey(2)} {
		if plain, err := keys.open(sealedWith(t, key), nil); string(plain) != "plain" || err != nil {
			t.Errorf("opened %q, %v", plain, err)
		}
	}
	text, err := keys.seal([]byte("plain"), nil)
	if err != nil {
		t.Fatal(err)
	}
	newest, _ := newTestKeys(t, Keys(testKey(2)))
	if _, err := newest.open(text, nil); err != nil {
		t.Errorf("the newest key does not seal: %v", err)
	}
	if _, err := keys.open(sealedWith(t, testKey(3)), nil); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("an unknown key: %v", err)
	}
}

// New asks nobody; the first use does, and then one a minute.
func TestCookieKeys_AreReadOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &keyService{keys: [][]byte{testKey(1)}}
		keys, _ := newTestKeys(t, service)
		want := func(what string, asked int) {
			t.Helper()
			synctest.Wait() // for a read in the background
			if n := service.took(); n != asked {
				t.Errorf("%s: the keys were read %d times, want %d", what, n, asked)
			}
		}
		open := func() {
			t.Helper()
			for range 100 {
				if _, err := keys.open(sealedWith(t, testKey(1)), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		want("at first", 0)
		open()
		want("when a key is first needed", 1)
		time.Sleep(keyAge - 1)
		open()
		want("within a minute", 0)
		time.Sleep(time.Nanosecond)
		open()
		want("after a minute", 1)
	})
}

// One replica has the new key before the other, which then meets a cookie that it
// cannot open yet.
func TestCookieKeys_AnUnknownKeyMayBeNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &keyService{keys: [][]byte{testKey(1)}}
		keys, _ := newTestKeys(t, service)
		if _, err := keys.seal(nil, nil); err != nil {
			t.Fatal(err)
		}
		service.set(nil, testKey(2), testKey(1))
		time.Sleep(keyPause)
		for _, key := range [][]byte{testKey(2), testKey(1)} {
			if plain, err := keys.open(sealedWith(t, key), nil); string(plain) != "plain" || err != nil {
				t.Errorf("opened %q, %v", plain, err)
			}
		}
		if n := service.took(); n != 2 {
			t.Errorf("the keys were read %d times", n)
		}
		// The old key goes with the next read.
		service.set(nil, testKey(2))
		time.Sleep(keyAge)
		_, _ = keys.seal(nil, nil) // has them read in the background
		synctest.Wait()
		if _, err := keys.open(sealedWith(t, testKey(1)), nil); !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("the old key: %v", err)
		}
	})
}

func TestCookieKeys_ForgedCookiesHaveThemReadOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := &keyService{keys: [][]byte{testKey(1)}}
		keys, _ := newTestKeys(t, service)
		forged := sealedWith(t, testKey(9))
		for second, want := range []int{1, 1, 1} { // the first is that of the first use
			service.took()
			for range 1000 {
				if _, err := keys.open(forged, nil); !errors.Is(err, seal.ErrUnknownKey) {
					t.Fatal(err)
				}
			}
			if n := service.took(); n != want {
				t.Errorf("second %d: 1000 cookies had the keys read %d times", second, n)
			}
			time.Sleep(keyPause)
		}
		// What is altered has nothing to do with the keys.
		if _, err := keys.open("AAAA", nil); err == nil || service.took() != 0 {
			t.Errorf("an altered cookie: %v", err)
		}
	})
}

func TestCookieKeys_TheOldOnesStayWhileTheyCannotBeRead(t *testing.T) {
	t.Parallel()
	for what, fails := range map[string]func(*keyService){
		"an error":    func(s *keyService) { s.set(errors.New("the key service is down")) },
		"no key":      func(s *keyService) { s.set(nil) },
		"a short key": func(s *keyService) { s.set(nil, []byte("short")) },
	} {
		synctest.Test(t, func(t *testing.T) {
			service := &keyService{keys: [][]byte{testKey(1)}}
			keys, log := newTestKeys(t, service)
			text, err := keys.seal([]byte("plain"), nil)
			if err != nil {
				t.Fatal(err)
			}
			fails(service)
			for range 3 {
				time.Sleep(keyAge)
				if plain, err := keys.open(text, nil); string(plain) != "plain" || err != nil {
					t.Errorf("after %s: opened %q, %v", what, plain, err)
				}
				synctest.Wait()
			}
			if n := service.took(); n != 4 {
				t.Errorf("after %s: the keys were read %d times", what, n)
			}
			if !strings.Contains(log.String(), "could not read the cookie keys") || strings.Contains(log.String(), "short\"") {
				t.Errorf("the log says\n%s", log)
			}
		})
	}
}

// Callers that wait for the first keys wait together, and not one after the other;
// and for a while only.
func TestCookieKeys_CallersWaitTogetherForASlowSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		keys, _ := newTestKeys(t, keySourceFunc(func(ctx context.Context) ([][]byte, error) {
			calls++
			<-ctx.Done()
			return nil, ctx.Err()
		}))
		answers := make(chan error)
		start := time.Now()
		for range 4 {
			go func() { answers <- errOf(keys.ring()) }()
		}
		for range 4 {
			wantCode(t, <-answers, CodeCookieKeysUnavailable)
		}
		if waited := time.Since(start); waited != keyTimeout || calls != 1 {
			t.Errorf("the last of 4 waited %v, and the source was called %d times", waited, calls)
		}
	})
}

// net/http recovers for a request's own goroutine only.
func TestCookieKeys_APanicInTheBackgroundIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		keys, log := newTestKeys(t, keySourceFunc(func(context.Context) ([][]byte, error) {
			if reads++; reads == 2 {
				panic("a fault of the source")
			}
			return [][]byte{testKey(1)}, nil
		}))
		for range 3 {
			if _, err := keys.seal(nil, nil); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			time.Sleep(keyAge)
		}
		if reads != 3 || !strings.Contains(log.String(), "panic in KeySource") {
			t.Errorf("%d reads; the log says\n%s", reads, log)
		}
	})
}

// A source that panics at the first read leaves no keys. The request that asked
// panics, and those that follow within a second get an error.
func TestCookieKeys_APanicAtTheFirstReadIsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		keys, _ := newTestKeys(t, keySourceFunc(func(context.Context) ([][]byte, error) {
			if reads++; reads == 1 {
				panic("a fault of the source")
			}
			return [][]byte{testKey(1)}, nil
		}))
		func() {
			defer func() {
				if recover() != "a fault of the source" {
					t.Error("the first caller does not panic")
				}
			}()
			_, _ = keys.seal(nil, nil)
		}()
		for range 2 {
			_, err := keys.seal(nil, nil)
			if wantCode(t, err, CodeCookieKeysUnavailable); !strings.Contains(err.Error(), "KeySource: panicked") {
				t.Errorf("seal: %v", err)
			}
			_, err = keys.open(sealedWith(t, testKey(1)), nil)
			wantCode(t, err, CodeCookieKeysUnavailable)
			time.Sleep(keyPause/2 - time.Nanosecond)
		}
		if reads != 1 {
			t.Errorf("the keys were read %d times within a second", reads)
		}
		time.Sleep(2 * time.Nanosecond)
		if _, err := keys.seal(nil, nil); err != nil {
			t.Errorf("after a second: %v", err)
		}
	})
}

// withoutKeys returns cookies of alice, and a client that keeps sessions where they
// are kept but has no cookie keys until service gives some.
func withoutKeys(t *testing.T, keep func(*Config), service *keyService) (*offlineClient, []*http.Cookie) {
	t.Helper()
	var store Store
	clock := newTestClock()
	with := newOfflineClient(t, func(cfg *Config) {
		cfg.Now = clock.Now
		keep(cfg)
		store = cfg.Store
	})
	c := newOfflineClient(t, func(cfg *Config) {
		keep(cfg)
		cfg.Store, cfg.Now, cfg.CookieKeys, cfg.Provider.Metadata = store, clock.Now, service, soundMetadata(nil)
	})
	c.clock = clock
	return c, with.start(t)
}

// Without any keys, a person may well be signed in. A Store has nothing to do with
// it.
func TestCookieKeysUnavailable_IsNotTheStoresOutage(t *testing.T) {
	t.Parallel()
	for what, keep := range keptIn {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			service := &keyService{err: errors.New("the key service is down")}
			c, cookies := withoutKeys(t, keep, service)
			public := c.Middleware(http.HandlerFunc(saySubject))
			protected := c.Middleware(c.RequireLogin(http.HandlerFunc(saySubject)))
			if w, _ := serves(public, cookies); w.Code != http.StatusOK {
				t.Errorf("a public page answers %d", w.Code)
			}
			c.wantNoKeys(t, protected, cookies)
			// Nobody can sign in, whatever keeps the sessions.
			if w, _ := serves(protected, nil, "Accept: text/html"); w.Code != http.StatusServiceUnavailable {
				t.Errorf("a page load by a stranger is answered with %d", w.Code)
			}
			wantCode(t, c.Ready(t.Context()), CodeCookieKeysUnavailable)
			if log := c.log.String(); strings.Contains(log, string(CodeStoreUnavailable)) || !strings.Contains(log, "the key service is down") {
				t.Errorf("the log says\n%s", log)
			}
			if got := c.refusals(); len(got) > 0 {
				t.Errorf("the cookie was refused for %q", got)
			}

			service.set(nil, testKey(1))
			c.clock.Advance(keyPause)
			if w, _ := serves(protected, cookies); w.Code != http.StatusOK {
				t.Errorf("when there are keys, a protected page answers %d", w.Code)
			}
		})
	}
}

// wantNoKeys fails the test unless a protected page, and the decision behind it,
// fail for want of keys.
func (c *offlineClient) wantNoKeys(t *testing.T, protected http.Handler, cookies []*http.Cookie) {
	t.Helper()
	w, _ := serves(protected, cookies)
	_, sessionErr := c.Session(requestWith(cookies...))
	_, checkErr := c.Check(requestWith(cookies...))
	wantCode(t, sessionErr, CodeCookieKeysUnavailable)
	wantCode(t, checkErr, CodeCookieKeysUnavailable)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || len(w.Result().Cookies()) > 0 {
		t.Errorf("a protected page answers %d %v", w.Code, w.Header())
	}
	if body := w.Body.String(); !strings.Contains(body, string(CodeCookieKeysUnavailable)) || strings.Contains(body, "key service") {
		t.Errorf("a protected page says %s", body)
	}
}

func TestKeyFile_ReadsBase64OfAnyKind(t *testing.T) {
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
	if _, err := KeyFile(path).CookieKeys(t.Context()); err == nil || err.Error() != path+": key 2 is not base64" {
		t.Errorf("half a key: %v", err)
	}
	if _, err := KeyFile(path + "x").CookieKeys(t.Context()); err == nil || !strings.HasPrefix(err.Error(), path+"x cannot be read: ") {
		t.Errorf("no file: %v", err)
	}
}

func TestKeyFile_FromTheEnvironment(t *testing.T) {
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
		if problem != "" && (err == nil || !strings.Contains(err.Error(), problem) || !strings.Contains(err.Error(), "OIDC_COOKIE_KEYS_FILE")) {
			t.Errorf("%q: %v, want %s", text, err, problem)
		}
	}
}

// guessableKeys are keys that an attacker would try, with what is wrong with them.
func guessableKeys() map[string]struct {
	key  []byte
	what string
} {
	type guess = struct {
		key  []byte
		what string
	}
	run := func(first, step byte) []byte {
		key := make([]byte, 32)
		for i := range key {
			key[i] = first + byte(i)*step
		}
		return key
	}
	fromText := func(text string) []byte {
		key, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			panic(err)
		}
		return key
	}
	few := testKey(1)
	for i := range few {
		few[i] %= 11
	}
	return map[string]guess{
		"zeros":                     {make([]byte, 32), "short pattern"},
		"one letter":                {bytes.Repeat([]byte("x"), 32), "short pattern"},
		"a word again and again":    {bytes.Repeat([]byte("secret"), 6)[:32], "short pattern"},
		"half a key, twice":         {append(testKey(1)[:16:16], testKey(1)[:16]...), "short pattern"},
		"the numbers from 0":        {run(0, 1), "counts"},
		"the numbers from 200":      {run(200, 1), "counts"},
		"backwards":                 {run(255, 255), "counts"},
		"in threes":                 {run(7, 3), "counts"},
		"eleven different bytes":    {few, "few different bytes"},
		"hexadecimal":               {[]byte("0123456789abcdeffedcba9876543210"), "text"},
		"hexadecimal in capitals":   {[]byte("5F3A9C0E7B1D2468ACE013579BDF2648"), "text"},
		"a sentence":                {[]byte("thirty-two bytes for a benchmark"), "text"},
		"a sentence with an accent": {[]byte("trente-deux octets, une clé fixe"[:32]), "text"},
		"a text with a line end":    {[]byte("a password with its end of line\n"), "text"},
		"a text as base64":          {fromText("thisisnotarandomkeybutatextofsmallletterssx"), "text in base64"},
		"capitals as base64":        {fromText("THISISNOTARANDOMKEYBUTATEXTOFCAPITALLETTERS"), "text in base64"},
	}
}

func TestCookieKeys_GuessableKeysAreRefusedOnAPublicHost(t *testing.T) {
	t.Parallel()
	for name, guess := range guessableKeys() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(soundConfig(func(c *Config) { c.CookieKeys = Keys(testKey(1), guess.key) }))
			e := wantCode(t, err, CodeConfigInvalid)
			checkText(t, err)
			for _, want := range []string{"CookieKeys key 2", guess.what, "openssl rand -base64 32"} {
				if !strings.Contains(e.Error(), want) {
					t.Errorf("the error is %v, want %q in it", err, want)
				}
			}
			for _, key := range []string{string(guess.key), base64.StdEncoding.EncodeToString(guess.key), fmt.Sprintf("%x", guess.key)} {
				if strings.Contains(e.Error(), key) {
					t.Errorf("the key is in %v", err)
				}
			}
			for _, base := range []string{"http://localhost:8080", "http://127.0.0.1:8080", "https://app.localhost"} {
				log := new(testLog)
				if _, err := New(soundConfig(func(c *Config) {
					c.BaseURL, c.CookieKeys, c.Logger = base, Keys(guess.key), slog.New(slog.NewJSONHandler(log, nil))
				})); err != nil {
					t.Errorf("on %s: %v", base, err)
				}
				if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "WARN") || !strings.Contains(text, "key 1 can be guessed") {
					t.Errorf("on %s the log has %q, want a warning", base, text)
				}
			}
		})
	}
}

func TestCookieKeys_AGuessableKeyOfTheEnvironmentNamesItsVariable(t *testing.T) {
	setEnv(t, map[string]string{
		"OIDC_ISSUER": "https://op.example", "OIDC_CLIENT_ID": "app", "OIDC_CLIENT_SECRET": "secret",
		"OIDC_REDIRECT_URI": "https://app.example/cb",
		"OIDC_COOKIE_KEYS":  base64.StdEncoding.EncodeToString(make([]byte, 32)),
	})
	cfg, err := ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(cfg)
	const want = "OIDC_COOKIE_KEYS (CookieKeys) key 1 can be guessed, since it repeats a short pattern: make one with openssl rand -base64 32"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("New returned %v, want %q in it", err, want)
	}
}

func TestCookieKeys_RandomKeysAreNotGuessable(t *testing.T) {
	t.Parallel()
	for range 20_000 {
		key := make([]byte, 32)
		rand.Read(key)
		if why := guessable(key); why != "" {
			t.Fatalf("the random key %x %s", key, why)
		}
	}
}

func TestCookieKeys_AGuessableKeyOfASourceIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &keyService{keys: [][]byte{make([]byte, 32)}}
		keys, log := newTestKeys(t, service)
		_, err := keys.seal([]byte("plain"), nil)
		e := wantCode(t, err, CodeCookieKeysUnavailable)
		if want := "key 1 can be guessed"; !strings.Contains(e.Error(), want) || !strings.Contains(log.String(), want) {
			t.Errorf("the error is %v, the log\n%s", err, log)
		}
		// A good key ends the outage, and stays when a bad one follows.
		service.set(nil, testKey(1))
		time.Sleep(2 * keyPause)
		if _, err := keys.open(sealedWith(t, testKey(1)), nil); err != nil {
			t.Fatal(err)
		}
		service.set(nil, make([]byte, 32), testKey(1))
		time.Sleep(2 * keyAge)
		if _, err := keys.ring(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		text, err := keys.seal([]byte("plain"), nil)
		if err != nil {
			t.Fatal(err)
		}
		ring, err := seal.NewRing(testKey(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.OpenString(text, nil); err != nil {
			t.Errorf("the guessable key is in use: %v", err)
		}
	})
}

func TestKeyFile_AGuessableKeyIsAnOutage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newOfflineClient(t, func(cfg *Config) { cfg.CookieKeys = KeyFile(file) })
	w, _ := serves(c.Middleware(c.RequireLogin(http.HandlerFunc(saySubject))), []*http.Cookie{{Name: c.cookies.session, Value: "1x"}})
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(c.log.String(), "can be guessed") {
		t.Errorf("the answer is %d, the log\n%s", w.Code, c.log)
	}
}
