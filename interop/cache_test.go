package interop

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// cacheConfig makes Apache a caching reverse proxy. What it stores is its own decision: mod_cache has
// no other settings than those of Debian's package, and says what it did in X-Cache.
const cacheConfig = `
ServerName 127.0.0.1
Listen 127.0.0.1:%[1]d
ServerRoot %[2]q
PidFile %[6]q
ErrorLog /dev/stderr
%[3]s
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule cache_module /usr/lib/apache2/modules/mod_cache.so
LoadModule cache_disk_module /usr/lib/apache2/modules/mod_cache_disk.so
CacheRoot %[4]q
CacheEnable disk /
CacheDirLevels 2
CacheDirLength 1
CacheHeader on
ProxyPreserveHost on
ProxyPass / %[5]s/
`

// startCache runs Apache in front of a server.
func startCache(t testing.TB, port int, server string) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "cache")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	user := ""
	if os.Geteuid() == 0 { // Apache then works as another user
		user = "User www-data\nGroup www-data"
		for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o711, dir: 0o711, root: 0o777} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	config := filepath.Join(dir, "apache.conf")
	text := fmt.Sprintf(cacheConfig, port, dir, user, root, server, filepath.Join(dir, "pid"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// One process, in the foreground.
	p := startProcess(t, "apache2", exec.Command(need(t, "apache2", "apache2"), "-X", "-f", config))
	p.poll(t, "apache2", func() bool {
		res, err := http.Get(origin(port) + "/ready")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
}

// cachedApp is an app of this process behind Apache, with a provider and a clock that only the tests
// move.
type cachedApp struct {
	base     string
	provider *oidctest.Provider
	elapsed  atomic.Int64 // nanoseconds added to the time
}

// newCachedApp starts the app. Each of its pages may be stored for ten minutes, but for /who, which
// says who is signed in.
func newCachedApp(t *testing.T, store oidcrp.Store) *cachedApp {
	t.Helper()
	port := freePort(t)
	a := &cachedApp{base: origin(port)}
	start := time.Now()
	now := func() time.Time { return start.Add(time.Duration(a.elapsed.Load())) }
	a.provider = oidctest.NewServer(t, oidctest.Config{Now: now})
	client, err := oidcrp.New(oidcrp.Config{
		Issuer: a.provider.Issuer(), ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		BaseURL: a.base, CookieKeys: oidcrp.Keys([]byte(strings.Repeat("interop ", 4))), Store: store,
		Sessions: oidcrp.Sessions{IdleTimeout: 3 * time.Hour},
		Tokens:   oidcrp.Tokens{Keep: true, RefreshBefore: 5 * time.Minute},
		Provider: oidcrp.Provider{Transport: a.provider.HTTPClient().Transport},
		Logger:   slog.New(slog.DiscardHandler), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "no-store") })
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		s, _ := oidcrp.SessionFromContext(r.Context())
		io.WriteString(w, s.Subject())
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=600")
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "page.txt", time.Time{}, strings.NewReader("a page for everybody"))
	})
	server := httptest.NewServer(client.Middleware(mux))
	t.Cleanup(server.Close)
	startCache(t, port, server.URL)
	return a
}

// open returns the response to a request for a page. A reload asks the cache to ask the app.
func (a *cachedApp) open(t *testing.T, browser *http.Client, path string, reload bool) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if reload {
		r.Header.Set("Cache-Control", "max-age=0")
	}
	res, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", path, res.Status, err, body)
	}
	return res, string(body)
}

// wantStranger: a stranger gets the page from where it says, nothing that was for another person, and
// is not signed in.
func (a *cachedApp) wantStranger(t *testing.T, path, from string) {
	t.Helper()
	stranger := a.provider.Browser()
	res, body := a.open(t, stranger, path, false)
	if !strings.HasPrefix(res.Header.Get("X-Cache"), from+" ") || body != "a page for everybody" {
		t.Errorf("%s: %q and %q, want a %s", path, res.Header.Get("X-Cache"), body, from)
	}
	if len(res.Cookies()) > 0 {
		t.Errorf("%s: a stranger gets the cookies %v", path, res.Cookies())
	}
	if _, who := a.open(t, stranger, "/who", false); who != "" {
		t.Errorf("after %s, the stranger is signed in as %s", path, who)
	}
}

// TestSharedCache: a person's session is in no page that a shared cache hands to others, whether it
// was stored for her or confirmed for her (304).
func TestSharedCache(t *testing.T) {
	t.Parallel()
	for kept, store := range map[string]oidcrp.Store{"cookies": nil, "a store": oidcrp.NewMemoryStore(0)} {
		t.Run(kept, func(t *testing.T) {
			t.Parallel()
			a := newCachedApp(t, store)
			a.wantStranger(t, "/known", "MISS")
			a.wantStranger(t, "/known", "HIT") // so Apache does store these pages
			alice := a.provider.SignIn(t, a.base+"/auth/login?return_to=/who", "alice")

			// The use of her session is to be recorded, which can wait.
			a.elapsed.Add(int64(90 * time.Second))
			for path, reload := range map[string]bool{"/new": false, "/known": true} {
				if res, _ := a.open(t, alice, path, reload); len(res.Cookies()) > 0 {
					t.Errorf("%s: alice gets the cookies %v", path, res.Cookies())
				}
				a.wantStranger(t, path, "HIT")
			}
			if res, who := a.open(t, alice, "/who", false); who != "alice" || len(res.Cookies()) != 1 {
				t.Errorf("she is %q and gets the cookies %v, want one", who, res.Cookies())
			}

			// Her tokens are refreshed, and the cookie that has them cannot wait.
			for path, reload := range map[string]bool{"/newer": false, "/known": true} {
				a.elapsed.Add(int64(time.Hour))
				requests := a.provider.Count(oidctest.EndpointToken)
				res, _ := a.open(t, alice, path, reload)
				if n := a.provider.Count(oidctest.EndpointToken) - requests; n != 1 {
					t.Errorf("%s: %d refreshes, want 1", path, n)
				}
				from := "HIT"
				if store == nil {
					from = "MISS" // the page was made private
				}
				if (len(res.Cookies()) > 0) != (store == nil) {
					t.Errorf("%s: with new tokens, alice gets the cookies %v", path, res.Cookies())
				}
				a.wantStranger(t, path, from)
			}
			if _, who := a.open(t, alice, "/who", false); who != "alice" {
				t.Errorf("in the end, she is %q", who)
			}
		})
	}
}
