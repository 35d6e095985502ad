package interop

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// nginxConfig makes nginx a reverse proxy that has the buffers of its defaults: 4 KiB for the header
// of a response, 8 KiB for a line of a request's. The paths keep it within its folder.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	scgi_temp_path %[1]s/scgi;
	uwsgi_temp_path %[1]s/uwsgi;
	server {
		listen 127.0.0.1:%[2]d;
		location / {
			proxy_pass %[3]s;
		}
	}
}
`

// startNginx runs nginx in front of a server.
func startNginx(t testing.TB, port int, server string) {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, port, server), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "nginx", exec.Command(need(t, "nginx", "nginx"), "-e", "stderr", "-p", dir, "-c", config))
	p.poll(t, "nginx", func() bool {
		res, err := http.Get(origin(port) + "/ready")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
}

// byNginx reports whether a page is an error page of nginx itself.
func byNginx(page string) bool { return strings.Contains(page, "<center>nginx") }

// sizes are the largest headers that the app wrote and read since the last take.
type sizes struct {
	mu             sync.Mutex
	answer, cookie int // bytes; guarded by mu
}

func (s *sizes) note(answer, cookie int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.cookie = max(s.answer, answer), max(s.cookie, cookie)
}

func (s *sizes) take() (answer, cookie int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, cookie = s.answer, s.cookie
	s.answer, s.cookie = 0, 0
	return answer, cookie
}

// A measuredWriter measures the header of the response.
type measuredWriter struct {
	http.ResponseWriter
	sizes  *sizes
	cookie int
	once   sync.Once
}

func (w *measuredWriter) measure() {
	w.once.Do(func() {
		var b strings.Builder
		w.Header().Write(&b)
		w.sizes.note(b.Len(), w.cookie)
	})
}

func (w *measuredWriter) WriteHeader(status int) {
	w.measure()
	w.ResponseWriter.WriteHeader(status)
}

func (w *measuredWriter) Write(p []byte) (int, error) {
	w.measure()
	return w.ResponseWriter.Write(p)
}

// nginxApp is an app of this process behind nginx. Its page /who is for those who are signed in.
type nginxApp struct {
	base     string
	provider *oidctest.Provider
	sizes    sizes

	mu      sync.Mutex
	refused []oidcrp.Code // the codes of the logins that were refused; guarded by mu
}

// groupCounts are the personas' numbers of groups.
var groupCounts = []int{0, 20, 60, 200}

func member(groups int) string { return fmt.Sprintf("member-of-%d", groups) }

// members are the personas. The groups' names are GUIDs, as directories have them.
func members() (list []oidctest.Persona) {
	for _, n := range groupCounts {
		groups := make([]any, n)
		for i := range groups {
			groups[i] = fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", rand.Uint32(), rand.N(1<<16), rand.N(1<<16), rand.N(1<<16), rand.N(int64(1)<<48))
		}
		list = append(list, oidctest.Persona{Subject: member(n), Name: "Alice Martin", Claims: map[string]any{
			"email": "alice@example.org", "given_name": "Alice", "family_name": "Martin", "groups": groups,
		}})
	}
	return list
}

// newNginxApp starts an app that asks for the claims, with a store or nil.
func newNginxApp(t *testing.T, store oidcrp.Store, claims *oidcrp.ClaimsRequest) *nginxApp {
	t.Helper()
	port := freePort(t)
	a := &nginxApp{base: origin(port)}
	a.provider = oidctest.NewServer(t, oidctest.Config{Personas: members()})
	client, err := oidcrp.New(oidcrp.Config{
		Issuer: a.provider.Issuer(), ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		BaseURL: a.base, CookieKeys: oidcrp.Keys([]byte(strings.Repeat("interop ", 4))), Store: store,
		Login:    oidcrp.AuthOptions{Claims: claims},
		Provider: oidcrp.Provider{Transport: a.provider.HTTPClient().Transport},
		Logger:   slog.New(slog.DiscardHandler),
		Trace:    oidcrp.Trace{LoginRefused: a.noteRefused},
	})
	if err != nil {
		t.Fatal(err)
	}
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := oidcrp.SessionFromContext(r.Context())
		io.WriteString(w, "I am "+s.Subject())
	})
	mux := http.NewServeMux()
	mux.Handle("/", who)
	mux.Handle("/who/", client.RequireLogin(who))
	app := client.Middleware(mux)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" {
			return
		}
		app.ServeHTTP(&measuredWriter{ResponseWriter: w, sizes: &a.sizes, cookie: len(r.Header.Get("Cookie"))}, r)
	}))
	t.Cleanup(server.Close)
	startNginx(t, port, server.URL)
	return a
}

func (a *nginxApp) noteRefused(_ context.Context, ev oidcrp.LoginEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = append(a.refused, ev.Code)
}

func (a *nginxApp) takeRefused() []oidcrp.Code {
	a.mu.Lock()
	defer a.mu.Unlock()
	codes := a.refused
	a.refused = nil
	return codes
}

// read returns the body of a page, and fails the test if nginx itself wrote it.
func read(t *testing.T, what string, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if byNginx(string(body)) {
		t.Errorf("%s: nginx answers %s in place of the app", what, res.Status)
	}
	return string(body)
}

// still returns a browser with the same cookies that follows no redirect.
func still(browser *http.Client) *http.Client {
	copied := *browser
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &copied
}

// browser returns a browser of the provider's that, as browsers do, tells no other site the address
// of a page.
func (a *nginxApp) browser() *http.Client {
	browser := a.provider.Browser()
	browser.Transport = unreferred{browser.Transport}
	return browser
}

type unreferred struct{ next http.RoundTripper }

func (u unreferred) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Referer")
	return u.next.RoundTrip(r)
}

// cookieHeader is how many bytes of cookies a browser sends to the app.
func (a *nginxApp) cookieHeader(t *testing.T, browser *http.Client) int {
	t.Helper()
	u, err := url.Parse(a.base)
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Header: make(http.Header)}
	for _, cookie := range browser.Jar.Cookies(u) {
		r.AddCookie(cookie)
	}
	return len(r.Header.Get("Cookie"))
}

// wantOpen: nobody is locked out. The start page says who is signed in, a login leads to the
// provider, and a logout ends.
func (a *nginxApp) wantOpen(t *testing.T, browser *http.Client, who string) {
	t.Helper()
	res, err := browser.Get(a.base + "/")
	if page := read(t, "the start page", res, err); res.StatusCode != http.StatusOK || page != "I am "+who {
		t.Errorf("the start page: %s, %.100q, want %q", res.Status, page, who)
	}
	res, err = still(browser).Get(a.base + "/auth/login")
	read(t, "a login", res, err)
	if location := res.Header.Get("Location"); !strings.HasPrefix(location, a.provider.Issuer()) {
		t.Errorf("a login: %s to %q", res.Status, location)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.base+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err = browser.Do(r)
	if page := read(t, "a logout", res, err); res.StatusCode != http.StatusOK {
		t.Errorf("a logout: %s at %.100s\n%.300s", res.Status, res.Request.URL, page)
	}
	res, err = browser.Get(a.base + "/")
	if page := read(t, "after a logout", res, err); page != "I am " {
		t.Errorf("after a logout: %s, %.100q", res.Status, page)
	}
}

// signsIn has a persona sign in, and returns "signed in", or "too large" where the library says so.
func (a *nginxApp) signsIn(t *testing.T, browser *http.Client, persona string) string {
	t.Helper()
	a.takeRefused()
	res, err := a.provider.Visit(browser, a.base+"/who/", persona)
	page := read(t, "the sign-in", res, err)
	refused := a.takeRefused()
	switch {
	case res.StatusCode == http.StatusOK && page == "I am "+persona:
		return "signed in"
	case res.StatusCode >= 400 && res.StatusCode < 500 && slices.Equal(refused, []oidcrp.Code{oidcrp.CodeSessionTooLarge}):
		return "too large"
	}
	t.Errorf("the sign-in ended at %.60s with %s, refused for %q:\n%.300s", res.Request.URL, res.Status, refused, page)
	return "dead end, " + res.Status
}

// TestNginx_LargeSessionsAreNoDeadEnd: behind nginx at its defaults, a person with many groups is signed
// in, or reads that the session is too large. It prints what became of each.
func TestNginx_LargeSessionsAreNoDeadEnd(t *testing.T) {
	t.Parallel()
	groups := map[string]*oidcrp.ClaimRequest{"groups": nil}
	var matrix strings.Builder
	table := tabwriter.NewWriter(&matrix, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "sessions in\tgroups in\tgroups\tresult\tanswer's header\tCookie header")
	for _, test := range []struct {
		where  string
		claims *oidcrp.ClaimsRequest
	}{
		{"UserInfo", &oidcrp.ClaimsRequest{UserInfo: groups}},
		{"the ID Token", &oidcrp.ClaimsRequest{IDToken: groups}},
		{"both", &oidcrp.ClaimsRequest{UserInfo: groups, IDToken: groups}},
	} {
		for _, kept := range []string{"cookies", "a store"} {
			var store oidcrp.Store
			if kept == "a store" {
				store = oidcrp.NewMemoryStore(0)
			}
			a := newNginxApp(t, store, test.claims)
			for _, n := range groupCounts {
				t.Run(fmt.Sprintf("%d in %s with %s", n, test.where, kept), func(t *testing.T) {
					browser := a.browser()
					a.sizes.take()
					result := a.signsIn(t, browser, member(n))
					answer, _ := a.sizes.take()
					fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d\t%d\n", kept, test.where, n, result, answer, a.cookieHeader(t, browser))
					if small := n <= 20 || store != nil; small && result != "signed in" {
						t.Errorf("the result is %q", result)
					}
					who := ""
					if result == "signed in" {
						who = member(n)
					}
					a.wantOpen(t, browser, who)
				})
			}
		}
	}
	table.Flush()
	t.Logf("behind nginx with its default buffers (bytes without the status line):\n%s", &matrix)
}

// TestNginx_LongReturnPathsLockNobodyOut: the longest return paths lead back to their page, or to the
// start page, however many logins are under way and with a session in cookies.
func TestNginx_LongReturnPathsLockNobodyOut(t *testing.T) {
	t.Parallel()
	a := newNginxApp(t, nil, &oidcrp.ClaimsRequest{UserInfo: map[string]*oidcrp.ClaimRequest{"groups": nil}})
	for _, bytes := range []int{1500, 1501, 2000, 2500, 2900, 3500, 4000, 4001, 7000} {
		for kind, path := range longPaths(bytes) {
			t.Run(fmt.Sprint(bytes, " bytes, ", kind), func(t *testing.T) {
				browser := a.browser()
				for range 7 { // tabs
					res, err := still(browser).Get(a.base + path)
					read(t, "a tab", res, err)
				}
				res, err := a.provider.Visit(browser, a.base+path, member(20))
				page := read(t, "the sign-in", res, err)
				got := res.Request.URL.RequestURI()
				must := bytes <= 2000 || bytes <= 4000 && kind == "of words"
				if page != "I am "+member(20) || got != path && (must || got != "/") {
					t.Errorf("it ended at %.60s with %s:\n%.300s", got, res.Status, page)
				}
				for range 7 { // tabs that sign in again
					link := "/auth/login?" + url.Values{"return_to": {path}}.Encode()
					if len(link) > 7<<10 {
						break // which no link of the library's is
					}
					res, err := still(browser).Get(a.base + link)
					read(t, "another tab", res, err)
				}
				t.Logf("led back: %v; %d bytes of cookies", got == path, a.cookieHeader(t, browser))
				a.wantOpen(t, browser, member(20))
			})
		}
	}
}

// longPaths returns paths of n bytes by how well they compress.
func longPaths(n int) map[string]string {
	random := make([]byte, n)
	for i := range random {
		random[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[rand.N(64)]
	}
	words := strings.Repeat("&filter[created_at][gte]=2026-01-01", n/35+1)
	return map[string]string{"random": ("/who/?q=" + string(random))[:n], "of words": ("/who/?q=" + words)[:n]}
}
