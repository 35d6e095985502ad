package app

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// startWebapp serves the program's routes, configured by env, and a provider for them.
// The environment belongs to the process, so these tests do not run in parallel.
func startWebapp(t *testing.T, env map[string]string) (base string, provider *oidctest.Provider) {
	t.Helper()
	return startWebappWith(t, env, nil)
}

// startWebappWith is startWebapp of a program with a further store.
func startWebappWith(t *testing.T, env map[string]string, open OpenStore) (base string, provider *oidctest.Provider) {
	t.Helper()
	provider = oidctest.NewServer(t, oidctest.Config{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("OIDC_ISSUER", provider.Issuer())
	t.Setenv("OIDC_CLIENT_ID", oidctest.ClientID)
	t.Setenv("OIDC_CLIENT_SECRET", oidctest.ClientSecret)
	for name, value := range env {
		t.Setenv(name, value)
	}
	cfg, err := config("http://"+listener.Addr().String(), open)
	if err != nil {
		t.Fatal(err)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, listener, client.Middleware(routes(client))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String(), provider
}

func do(t *testing.T, client *http.Client, method, url string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestMe_ShowsWhoIsSignedIn(t *testing.T) {
	for _, store := range []string{"cookie", "memory"} {
		base, provider := startWebapp(t, map[string]string{"SESSION_STORE": store})
		browser := provider.SignIn(t, base+"/me", "alice")
		for _, path := range []string{"/me", "/api/me"} {
			status, body := do(t, browser, http.MethodGet, base+path, nil)
			var got struct {
				Sub, Iss, ACR string
				AMR           []string
				AuthTime      int64 `json:"auth_time"`
				Claims        map[string]any
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
				t.Fatalf("%s: %d, %v\n%s", path, status, err, body)
			}
			if got.Sub != "alice" || got.Iss != provider.Issuer() || got.ACR != "eidas1" || len(got.AMR) == 0 ||
				got.AuthTime == 0 || got.Claims["email"] != "alice@example.org" {
				t.Errorf("%s with %s: %s", path, store, body)
			}
		}
	}
}

func TestAdmin_RequiresACR(t *testing.T) {
	base, provider := startWebapp(t, map[string]string{"REQUIRE_ACR": "eidas2 eidas3"})
	browser := provider.SignIn(t, base+"/admin", "alice")
	if status, body := do(t, browser, http.MethodGet, base+"/admin", nil); status != http.StatusOK || !strings.Contains(body, "eidas2") {
		t.Errorf("%d\n%s", status, body)
	}
}

func TestRefresh_NeedsKeptTokensAndTheSameOrigin(t *testing.T) {
	base, provider := startWebapp(t, map[string]string{"KEEP_TOKENS": "1"})
	browser := provider.SignIn(t, base+"/me", "alice")
	for range 2 {
		if status, body := do(t, browser, http.MethodPost, base+"/refresh", nil); status != http.StatusOK || !strings.Contains(body, "alice") {
			t.Errorf("%d\n%s", status, body)
		}
	}
	if status, _ := do(t, browser, http.MethodPost, base+"/refresh", http.Header{"Sec-Fetch-Site": {"cross-site"}}); status != http.StatusForbidden {
		t.Errorf("a refresh from another site: %d, want 403", status)
	}
	provider.SetDown(true)
	if status, body := do(t, browser, http.MethodPost, base+"/refresh", nil); status != http.StatusServiceUnavailable {
		t.Errorf("a refresh while the provider is down: %d, want 503\n%s", status, body)
	}
	t.Setenv("KEEP_TOKENS", "")
	base, provider = startWebapp(t, nil)
	browser = provider.SignIn(t, base+"/me", "alice")
	if status, _ := do(t, browser, http.MethodPost, base+"/refresh", nil); status != http.StatusUnauthorized {
		t.Errorf("a refresh without tokens: %d, want 401", status)
	}
}

func TestReadyz_FollowsTheProvider(t *testing.T) {
	base, provider := startWebapp(t, nil)
	provider.SetDown(true)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/": 200} {
		if status, _ := do(t, http.DefaultClient, http.MethodGet, base+path, nil); status != want {
			t.Errorf("%s while the provider is down: %d, want %d", path, status, want)
		}
	}
	base, _ = startWebapp(t, nil)
	if status, _ := do(t, http.DefaultClient, http.MethodGet, base+"/readyz", nil); status != 200 {
		t.Errorf("/readyz with the provider up: %d, want 200", status)
	}
}

func TestConfig_ReadsTheEnvironment(t *testing.T) {
	const origin = "http://127.0.0.1:8080"
	cfg, err := config(origin, nil)
	if err != nil || cfg.BaseURL != origin || cfg.CookieKeys == nil || cfg.Store != nil {
		t.Errorf("from an empty environment: %v, %v", cfg, err)
	}
	if want := (oidcrp.Sessions{}); !reflect.DeepEqual(cfg.Sessions, want) {
		t.Errorf("from an empty environment: %+v", cfg.Sessions)
	}
	if want := (oidcrp.Tokens{}); !reflect.DeepEqual(cfg.Tokens, want) {
		t.Errorf("from an empty environment: %+v", cfg.Tokens)
	}
	for name, value := range map[string]string{
		"SESSION_STORE": "memory", "SESSION_COOKIES": "1", "SESSION_IDLE_TIMEOUT": "30m", "KEEP_TOKENS": "1",
		"REFRESH_BEFORE": "90s", "OIDC_REDIRECT_URI": "https://app.example/callback",
	} {
		t.Setenv(name, value)
	}
	if cfg, err = config(origin, nil); err != nil || cfg.BaseURL != "" || cfg.Store == nil {
		t.Errorf("base URL %q, store %v, err = %v", cfg.BaseURL, cfg.Store, err)
	}
	if want := (oidcrp.Sessions{InCookies: true, IdleTimeout: 30 * time.Minute}); !reflect.DeepEqual(cfg.Sessions, want) {
		t.Errorf("sessions %+v, want %+v", cfg.Sessions, want)
	}
	if want := (oidcrp.Tokens{Keep: true, RefreshBefore: 90 * time.Second}); !reflect.DeepEqual(cfg.Tokens, want) {
		t.Errorf("tokens %+v, want %+v", cfg.Tokens, want)
	}
}

func TestConfig_RefusesUnknownStores(t *testing.T) {
	t.Setenv("SESSION_STORE", "floppy")
	if _, err := config("http://127.0.0.1:8080", nil); err == nil || !strings.Contains(err.Error(), "floppy") {
		t.Errorf("err = %v", err)
	}
}

func TestConfig_OpensTheStoreAtAURL(t *testing.T) {
	const url = "redis://user:hunter2@127.0.0.1:6379/1"
	t.Setenv("SESSION_STORE", url)
	opened := oidcrp.NewMemoryStore(0)
	cfg, err := config("http://127.0.0.1:8080", func(got string) (oidcrp.Store, error) {
		if got != url {
			t.Errorf("opened %q", got)
		}
		return opened, nil
	})
	if err != nil || cfg.Store != oidcrp.Store(opened) {
		t.Errorf("store %v, err = %v", cfg.Store, err)
	}
	_, err = config("http://127.0.0.1:8080", nil)
	if err == nil || !strings.Contains(err.Error(), "redis://") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("without a way to open one: %v", err)
	}
}

func TestConfig_RefusesInvalidDurations(t *testing.T) {
	t.Setenv("SESSION_IDLE_TIMEOUT", "soon")
	if _, err := config("http://127.0.0.1:8080", nil); err == nil || !strings.Contains(err.Error(), "SESSION_IDLE_TIMEOUT") {
		t.Errorf("err = %v", err)
	}
}

// A brokenStore fails while it is down.
type brokenStore struct {
	oidcrp.Store
	down atomic.Bool
}

func (s *brokenStore) Get(ctx context.Context, key string) ([]byte, error) {
	if s.down.Load() {
		return nil, io.ErrUnexpectedEOF
	}
	return s.Store.Get(ctx, key)
}

func TestWebapp_StoreOutage(t *testing.T) {
	store := &brokenStore{Store: oidcrp.NewMemoryStore(0)}
	base, provider := startWebappWith(t, map[string]string{"SESSION_STORE": "broken://"},
		func(string) (oidcrp.Store, error) { return store, nil })
	browser := provider.SignIn(t, base+"/me", "alice")
	for down, want := range map[bool]string{false: "You are signed in", true: "cannot be looked up"} {
		store.down.Store(down)
		if status, body := do(t, browser, http.MethodGet, base+"/", nil); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("store down: %t: %d\n%s", down, status, body)
		}
	}
	store.down.Store(true)
	for path, want := range map[string]int{"/api/me": 503, "/refresh": 503, "/readyz": 200} {
		method := http.MethodGet
		if path == "/refresh" {
			method = http.MethodPost
		}
		if status, body := do(t, browser, method, base+path, nil); status != want {
			t.Errorf("%s while the store is down: %d, want %d\n%s", path, status, want, body)
		}
	}
	if status, body := do(t, http.DefaultClient, http.MethodGet, base+"/", nil); !strings.Contains(body, "Sign in") {
		t.Errorf("without a session: %d\n%s", status, body)
	}
}
