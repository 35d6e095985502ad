package interop

import (
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/oidcrp/oidcrp"
)

// secureWorld is two apps of this process and the modern stand-in, over https. For a browser, the
// apps are at localhost and the provider is another site, 127.0.0.1.
type secureWorld struct {
	provider *provider
	app      *secureApp // gets its callbacks by query
	posted   *secureApp // gets its callbacks by form_post
	evil     string     // a page of another site, whose button posts to the logout of app
}

// secureApp is one app, and a record of the requests that reached it.
type secureApp struct {
	base    string
	handler http.Handler

	mu   sync.Mutex // guards seen
	seen []*http.Request
}

func newSecureWorld(t testing.TB) *secureWorld {
	t.Helper()
	var w secureWorld
	port := freePort(t)
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(port)})
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}})
	t.Cleanup(front.Close)
	w.app, w.posted = newSecureApp(t), newSecureApp(t)
	s := settings{Port: port, Origin: front.URL}
	for id, a := range map[string]*secureApp{"query": w.app, "form_post": w.posted} {
		s.Clients = append(s.Clients, clientAt(modern, id, a.base))
	}
	w.provider = startProvider(t, modern, s)
	for mode, a := range map[string]*secureApp{"query": w.app, "form_post": w.posted} {
		a.start(t, mode, w.provider.issuer, front.Client().Transport)
	}
	evil := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(rw, `<!doctype html><form method="post" action="%s/auth/logout"><button>Win</button></form>`, w.app.base)
	}))
	t.Cleanup(evil.Close)
	w.evil = evil.URL
	return &w
}

// newSecureApp takes a port.
func newSecureApp(t testing.TB) *secureApp {
	a := new(secureApp)
	server := httptest.NewTLSServer(a)
	t.Cleanup(server.Close)
	a.base = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return a
}

func (a *secureApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.seen = append(a.seen, r.Clone(r.Context()))
	a.mu.Unlock()
	a.handler.ServeHTTP(w, r)
}

// requests returns those of this browser, oldest first.
func (a *secureApp) requests(b *tab) (some []*http.Request) {
	b.t.Helper()
	agent := b.ask("navigator.userAgent")
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.seen {
		if r.UserAgent() == agent {
			some = append(some, r)
		}
	}
	return some
}

// last returns the newest request of this browser for a path.
func (a *secureApp) last(b *tab, path string) *http.Request {
	b.t.Helper()
	for _, r := range slices.Backward(a.requests(b)) {
		if r.URL.Path == path {
			return r
		}
	}
	b.t.Fatalf("no request for %s", path)
	return nil
}

// start makes the app a client of the provider.
func (a *secureApp) start(t testing.TB, mode, issuer string, transport http.RoundTripper) {
	t.Helper()
	log := new(logBuffer)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the app with %s:\n%s", mode, log.Bytes())
		}
	})
	cfg := oidcrp.Config{
		Issuer: issuer, ClientID: mode, ClientSecret: clientSecret, BaseURL: a.base,
		CookieKeys: oidcrp.Keys(make([]byte, 32)),
		Scopes:     strings.Fields(scope(modern)),
		Logger:     slog.New(slog.NewTextHandler(log, nil)),
	}
	if mode == "form_post" {
		cfg.ResponseMode = mode
	}
	cfg.Login.Claims = &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"acr": nil}}
	cfg.Registration.IDTokenSignedResponseAlg = "ES256"
	cfg.Registration.TokenEndpointAuthMethod = "client_secret_post"
	cfg.Provider.Transport = transport
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.handler = client.Middleware(a.routes(client))
}

func (a *secureApp) routes(client *oidcrp.Client) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", showPerson)
	mux.Handle("GET /me", client.RequireLogin(http.HandlerFunc(showPerson)))
	mux.Handle("POST /me", client.RequireLogin(http.HandlerFunc(showPerson)))
	mux.Handle("GET /admin", client.Require(oidcrp.ACR("eidas2"))(http.HandlerFunc(showPerson)))
	mux.Handle("GET /news", client.SignInSilently(http.HandlerFunc(showPerson)))
	mux.Handle("GET /kept", client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, no-cache")
		showPerson(w, r)
	})))
	mux.HandleFunc("GET /worker", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, workerPage)
	})
	mux.HandleFunc("GET /worker.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, workers[r.URL.RawQuery])
	})
	return mux
}

// workerPage installs the service worker that its query names, and says so.
const workerPage = `<!doctype html><h1>Worker</h1><p>wait</p><script>
const say = (text) => { document.querySelector('p').textContent = text; };
navigator.serviceWorker.addEventListener('controllerchange', () => say('installed'));
navigator.serviceWorker.register('/worker.js' + location.search).catch((e) => say('failed: ' + e));
</script>`

const takeOver = `
addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
`

// workers are the ways in which service workers of apps pass requests through.
var workers = map[string]string{
	"as-it-is": takeOver + `addEventListener('fetch', (event) => event.respondWith(fetch(event.request)));`,
	"changed": takeOver + `addEventListener('fetch', (event) =>
	event.respondWith(fetch(event.request, { cache: 'no-store' })));`,
}

// showPerson is a page of the app: who is signed in, and buttons.
func showPerson(w http.ResponseWriter, r *http.Request) {
	who := "nobody"
	if session, ok := oidcrp.SessionFromContext(r.Context()); ok {
		who = "person " + session.Subject() + " with " + session.ACR()
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>App</title>
<h1>App</h1><p>%s</p>
<p><a href="/me">Me</a> <a href="/auth/login?return_to=/me" id="in">Sign in</a></p>
<form method="post" action="/me" id="form"><button>Send</button></form>
<form method="post" action="/auth/login?return_to=/me" id="login"><button>Sign in</button></form>
<form method="post" action="/auth/logout" id="out"><button>Sign out</button></form>`, html.EscapeString(who))
}
