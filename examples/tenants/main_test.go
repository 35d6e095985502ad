package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// A world is the app with tenants that have one provider, at their own client id.
type world struct {
	provider *oidctest.Provider
	rows     map[string]Tenant
	lookups  atomic.Int32
	broken   atomic.Bool // the database is down
}

// newWorld starts the app, which keeps at most clients of the tenants' Clients.
func newWorld(t *testing.T, clients int, names ...string) *world {
	t.Helper()
	w := &world{rows: make(map[string]Tenant)}
	server := httptest.NewServer(app(func(_ context.Context, host string) (Tenant, error) {
		w.lookups.Add(1)
		if w.broken.Load() {
			return Tenant{}, errors.New("the database is down")
		}
		tenant, ok := w.rows[host]
		if !ok {
			return Tenant{}, ErrNoTenant
		}
		return tenant, nil
	}, clients))
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	var registered []oidctest.Client
	for _, name := range names {
		host := name + ".localhost:" + port
		registered = append(registered, oidctest.Client{ID: name, Secret: oidctest.ClientSecret,
			RedirectURIs: []string{"http://" + host + "/auth/callback"}, PostLogoutRedirectURIs: []string{"http://" + host + "/auth/logout/callback"}})
		w.rows[host] = Tenant{Host: host, BaseURL: "http://" + host, ClientID: name, ClientSecret: oidctest.ClientSecret}
	}
	w.provider = oidctest.NewServer(t, oidctest.Config{Clients: registered})
	for host, tenant := range w.rows {
		tenant.Issuer = w.provider.Issuer()
		w.rows[host] = tenant
	}
	return w
}

// url returns the address of a tenant's page.
func (w *world) url(name, path string) string {
	for host := range w.rows {
		if strings.HasPrefix(host, name+".") {
			return "http://" + host + path
		}
	}
	panic("no tenant " + name)
}

// browser returns one that finds *.localhost on this machine, as browsers do.
func (w *world) browser() *http.Client {
	jar, _ := cookiejar.New(nil) // it returns no error
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if _, port, ok := strings.Cut(address, ".localhost:"); ok {
			address = "127.0.0.1:" + port
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	return &http.Client{Jar: jar, Transport: pageLoads{transport}}
}

// pageLoads asks for pages.
type pageLoads struct{ transport http.RoundTripper }

func (p pageLoads) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "text/html")
	return p.transport.RoundTrip(r)
}

func open(t *testing.T, browser *http.Client, page string) (*http.Response, string) {
	t.Helper()
	res, err := browser.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// redirect returns where a page leads.
func redirect(t *testing.T, browser *http.Client, page string) string {
	t.Helper()
	still := *browser
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, body := open(t, &still, page)
	location, err := res.Location()
	if err != nil {
		t.Fatalf("%s answered %s and leads nowhere:\n%s", page, res.Status, body)
	}
	return location.String()
}

// wantProfile opens a tenant's protected page and signs in if necessary.
func (w *world) wantProfile(t *testing.T, browser *http.Client, name string) {
	t.Helper()
	res, err := w.provider.Visit(browser, w.url(name, "/profile"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), name+".localhost") || !strings.Contains(string(body), "as alice") {
		t.Errorf("%s: %s at %s, %v\n%s", name, res.Status, res.Request.URL, err, body)
	}
}

func TestTenants_EachSignsInWithItsOwnClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10, "north", "south")
	browser := w.browser()
	w.wantProfile(t, browser, "north")
	if _, body := open(t, browser, w.url("south", "/")); !strings.Contains(body, "Signed in: false") {
		t.Errorf("the other tenant says\n%s", body)
	}
	w.wantProfile(t, browser, "south")
	ids := make(map[string]bool)
	for _, r := range w.provider.RequestsTo(oidctest.EndpointAuthorization) {
		ids[r.Form.Get("client_id")] = true
	}
	if !ids["north"] || !ids["south"] {
		t.Errorf("the provider saw %v", ids)
	}
}

func TestTenants_AHostOfNobodyIsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10, "north")
	if res, body := open(t, w.browser(), strings.Replace(w.url("north", "/"), "north", "other", 1)); res.StatusCode != 404 {
		t.Errorf("%s\n%s", res.Status, body)
	}
}

// A Client that is forgotten in the middle of a login, of a session and after a logout
// takes nothing with it.
func TestTenants_AForgottenClientTakesNothingWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, "north", "south")
	evict := func() { open(t, w.browser(), w.url("south", "/")) }

	browser := w.browser()
	w.wantProfile(t, browser, "south") // the provider now knows the person
	callback := redirect(t, browser, redirect(t, browser, w.url("north", "/profile")))
	evict()
	if got := redirect(t, browser, callback); got != w.url("north", "/profile") {
		t.Errorf("a login that had begun ends at %s", got)
	}
	evict()
	if _, body := open(t, browser, w.url("north", "/")); !strings.Contains(body, "Signed in: true") {
		t.Errorf("the session is over:\n%s", body)
	}
	home, err := url.Parse(w.url("north", "/"))
	if err != nil {
		t.Fatal(err)
	}
	copied := browser.Jar.Cookies(home)
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.url("north", "/auth/logout"), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "http://"+home.Host)
	res, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	evict()
	thief := w.browser()
	thief.Jar.SetCookies(home, copied)
	if _, body := open(t, thief, w.url("north", "/")); !strings.Contains(body, "Signed in: false") {
		t.Errorf("a copied cookie works again after the logout:\n%s", body)
	}
}

func TestTenants_KeepsAtMostMaxClients(t *testing.T) {
	t.Parallel()
	made := 0
	tenants := &Tenants{Max: 3, Fresh: time.Hour,
		Lookup: func(_ context.Context, host string) (Tenant, error) {
			return Tenant{Host: host, BaseURL: "https://" + host, Issuer: "https://op.example", ClientID: "a", ClientSecret: "b"}, nil
		},
		Config: func(t Tenant) oidcrp.Config { made++; return configOf(t) },
	}
	for range 2 {
		for _, host := range []string{"a.example", "b.example", "a.example", "c.example", "a.example", "d.example"} {
			if _, err := tenants.client(t.Context(), host); err != nil {
				t.Fatal(err)
			}
		}
	}
	if tenants.used.Len() != 3 || len(tenants.byHost) != 3 {
		t.Errorf("%d and %d Clients are kept", tenants.used.Len(), len(tenants.byHost))
	}
	if made != 7 { // a, which is used all the time, is made once; b, c and d each time
		t.Errorf("%d Clients were made, want 7", made)
	}
}

// A tenant may have several hosts, of which its row names one.
func TestTenants_ForgetsEachHostOfATenant(t *testing.T) {
	t.Parallel()
	tenants := &Tenants{Max: 3, Fresh: time.Hour, Config: configOf,
		Lookup: func(_ context.Context, host string) (Tenant, error) {
			return Tenant{Host: "a.example", BaseURL: "https://a.example", Issuer: "https://op.example", ClientID: "a", ClientSecret: "b"}, nil
		}}
	for i := range 20 {
		if _, err := tenants.client(t.Context(), fmt.Sprintf("alias%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if tenants.used.Len() != 3 || len(tenants.byHost) != 3 {
		t.Errorf("%d and %d Clients are kept", tenants.used.Len(), len(tenants.byHost))
	}
}

func configOf(t Tenant) oidcrp.Config {
	return oidcrp.Config{Issuer: t.Issuer, ClientID: t.ClientID, ClientSecret: t.ClientSecret, BaseURL: t.BaseURL,
		CookieKeys: testKeys}
}

var testKeys = oidcrp.Keys(randomKey())

func randomKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

func TestTenants_FollowsTheDatabase(t *testing.T) {
	t.Parallel()
	row, failure := Tenant{Host: "a.example", BaseURL: "https://a.example", Issuer: "https://op.example", ClientID: "a", ClientSecret: "b"}, error(nil)
	tenants := &Tenants{Max: 3, Config: configOf, // Fresh is zero: each request asks
		Lookup: func(context.Context, string) (Tenant, error) { return row, failure }}
	first, err := tenants.client(t.Context(), "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if same, err := tenants.client(t.Context(), "a.example"); same != first || err != nil {
		t.Errorf("an unchanged tenant has another Client: %v", err)
	}
	failure = errors.New("down")
	if same, err := tenants.client(t.Context(), "a.example"); same != first || err != nil {
		t.Errorf("while the database is down: %v", err)
	}
	if _, err := tenants.client(t.Context(), "b.example"); err == nil {
		t.Error("a tenant that is not known yet has a Client")
	}
	failure, row.ClientID = nil, "changed"
	changed, err := tenants.client(t.Context(), "a.example")
	if err != nil || changed == first || changed.Registration().RedirectURI != "https://a.example/auth/callback" {
		t.Errorf("a changed tenant: %v", err)
	}
	failure = ErrNoTenant
	if _, err := tenants.client(t.Context(), "a.example"); !errors.Is(err, ErrNoTenant) || tenants.used.Len() != 0 {
		t.Errorf("a tenant that is gone: %v", err)
	}
}

func TestRequireLogin_WithoutMiddlewareLetsNobodyThrough(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	RequireLogin(http.HandlerFunc(profile)).ServeHTTP(w, httptest.NewRequest("GET", "/profile", nil))
	if w.Code != 500 {
		t.Errorf("status %d", w.Code)
	}
}

// It is not parallel, so that nothing else allocates.
func TestTenants_TwoThousandClientsAreSmall(t *testing.T) {
	provider := oidctest.NewServer(t, oidctest.Config{})
	tenants := &Tenants{Max: 2000, Fresh: time.Hour, Config: configOf,
		Lookup: func(_ context.Context, host string) (Tenant, error) {
			return Tenant{Host: host, BaseURL: "https://" + host, Issuer: provider.Issuer(), ClientID: "a", ClientSecret: "b"}, nil
		}}
	before := heap()
	for i := range 2000 {
		if _, err := tenants.client(t.Context(), fmt.Sprintf("tenant%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if each := (heap() - before) / 2000; each > 16<<10 || tenants.used.Len() != 2000 {
		t.Errorf("%d Clients take %d bytes each", tenants.used.Len(), each)
	}
	if n := len(provider.Requests()); n != 0 {
		t.Errorf("%d requests to the provider", n)
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
