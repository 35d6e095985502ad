package oidcrp_test

// This file tests what becomes of the session's cookies when a handler writes its
// response.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// forSharedCaches are headers of responses that shared caches may store.
var forSharedCaches = map[string]http.Header{
	"public":               {"Cache-Control": {"public, max-age=600"}},
	"max-age":              {"Cache-Control": {"MAX-AGE=600"}},
	"stored, not used":     {"Cache-Control": {"no-cache"}},
	"a field kept private": {"Cache-Control": {`private="x, no-store", max-age=600`}},
	"a CDN":                {"Cdn-Cache-Control": {"max-age=600"}},
	"a CDN, not a browser": {"Cache-Control": {"private"}, "Cdn-Cache-Control": {"max-age=600"}},
	"nginx":                {"Cache-Control": {"no-store"}, "X-Accel-Expires": {"600"}},
}

// servedWith is a page with a header of its own.
func servedWith(header http.Header) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range header {
			w.Header()[name] = values
		}
		io.WriteString(w, "a page")
	}
}

// headersOf returns what h says to caches.
func headersOf(h http.Header) http.Header {
	said := make(http.Header)
	for _, name := range []string{"Cache-Control", "Cdn-Cache-Control", "X-Accel-Expires"} {
		if values := h.Values(name); len(values) > 0 {
			said[name] = values
		}
	}
	return said
}

// A cookie that only records the use of a session can wait for a response that shared
// caches do not store.
func TestMiddleware_ASharedResponseDoesNotCarryTheSession(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		for what, header := range forSharedCaches {
			clock := newTestClock()
			client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Now = clock.Now; keep(cfg) })
			cookies := signedInRequest(t, client).Cookies()
			clock.Advance(2 * time.Minute)
			for name, wrap := range map[string]func(http.Handler) http.Handler{
				"Middleware": client.Middleware, "RequireLogin": client.RequireLogin,
			} {
				w, _ := oidcrp.Serves(wrap(servedWith(header)), cookies)
				got := w.Result()
				if len(got.Cookies()) > 0 {
					t.Errorf("%s, %s in %s: it sets %v", name, what, kept, got.Cookies())
				}
				if name == "Middleware" && fmt.Sprint(headersOf(got.Header)) != fmt.Sprint(header) {
					t.Errorf("%s in %s: it says %v to caches, want %v", what, kept, headersOf(got.Header), header)
				}
			}
			for _, own := range []http.Header{nil, {"Cache-Control": {"private, max-age=600"}}, {"Cache-Control": {"max-age=600, no-store"}}} {
				w, _ := oidcrp.Serves(client.Middleware(servedWith(own)), cookies)
				if len(w.Result().Cookies()) == 0 {
					t.Errorf("%s in %s: a later response with %v does not record the use", what, kept, own)
				}
			}
		}
	}
}

// A 304 changes the header of the response that a cache has stored.
func TestMiddleware_A304DoesNotCarryTheSession(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Now = clock.Now })
	cookies := signedInRequest(t, client).Cookies()
	page := client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotModified)
	}))
	clock.Advance(2 * time.Minute)
	if w, _ := oidcrp.Serves(page, cookies); len(w.Result().Cookies()) > 0 {
		t.Errorf("it sets %v", w.Result().Cookies())
	}
	clock.Advance(30 * time.Minute)
	w, _ := oidcrp.Serves(page, cookies)
	if got := w.Result(); len(got.Cookies()) == 0 || got.Header.Get("Cache-Control") != "private" {
		t.Errorf("when it cannot wait: %v", got.Header)
	}
}

// The person may open nothing but pages that shared caches may store, and must not be
// signed out as idle.
func TestMiddleware_SharedPagesAloneKeepASession(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		clock := newTestClock()
		client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Now = clock.Now; keep(cfg) })
		page := client.Middleware(servedWith(http.Header{"Cache-Control": {"no-cache"}}))
		cookies := signedInRequest(t, client).Cookies()
		for range 30 {
			var w *httptest.ResponseRecorder
			w, cookies = oidcrp.Serves(page, cookies)
			got := w.Result()
			if want := "private, no-cache"; len(got.Cookies()) > 0 && got.Header.Get("Cache-Control") != want {
				t.Errorf("in %s: Cache-Control beside a cookie is %q, want %q", kept, got.Header.Get("Cache-Control"), want)
			}
			clock.Advance(10 * time.Minute)
		}
		if _, err := client.Session(oidcrp.RequestWith(cookies...)); err != nil {
			t.Errorf("in %s, after five hours: %v", kept, err)
		}
	}
}

// Without the cookie, the browser would keep a refresh token that is spent.
func TestMiddleware_RefreshedTokensMakeTheResponsePrivate(t *testing.T) {
	t.Parallel()
	for kept, keep := range oidcrp.KeptIn {
		app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
			keep(cfg)
			cfg.Tokens.RefreshBefore, cfg.Sessions.IdleTimeout = 5*time.Minute, 12*time.Hour
		}})
		cookies := app.cookiesOf(t, app.signIn(t))
		app.clock.Advance(56 * time.Minute)
		for what, header := range forSharedCaches {
			w, after := oidcrp.Serves(app.client.Middleware(servedWith(header)), cookies)
			got := w.Result()
			said := fmt.Sprint(headersOf(got.Header))
			s, err := app.client.Session(oidcrp.RequestWith(after...))
			if err != nil || s.Token().Expiry.Before(app.clock.Now().Add(50*time.Minute)) {
				t.Errorf("%s in %s: the browser then has %v, %v", what, kept, s, err)
			}
			if kept == "a store" || kept == "a plain store" {
				if len(got.Cookies()) > 0 || said != fmt.Sprint(header) {
					t.Errorf("%s in %s: it sets %v and says %s", what, kept, got.Cookies(), said)
				}
				continue
			}
			own := header.Get("Cache-Control")
			if own != "private" && own != "no-store" {
				own = "private, no-cache"
			}
			if header.Get("Cache-Control") == "" {
				own = "private"
			}
			if want := fmt.Sprint(http.Header{"Cache-Control": {own}}); len(got.Cookies()) == 0 || said != want {
				t.Errorf("%s in %s: it says %s to caches, want %s", what, kept, said, want)
			}
		}
	}
}

// What ends at the provider ends in the browser, and in that of nobody else.
func TestMiddleware_AnEndedSessionMakesTheResponsePrivate(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Tokens.RefreshBefore, cfg.Tokens.RefreshFailure = 5*time.Minute, oidcrp.SignInAgain
		cfg.Sessions.IdleTimeout = 12 * time.Hour
	}})
	cookies := app.cookiesOf(t, app.signIn(t))
	app.clock.Advance(56 * time.Minute)
	refusesRefresh(app.provider)
	w, after := oidcrp.Serves(app.client.Middleware(servedWith(forSharedCaches["public"])), cookies)
	if got := w.Result().Header.Get("Cache-Control"); got != "private, no-cache" || len(sessionCookies(after)) > 0 {
		t.Errorf("Cache-Control is %q, the browser has %v", got, after)
	}
}

// A handler that calls the Client itself, before or after it says something to caches.
func TestMiddleware_ACookieByTheHandlerMakesTheResponsePrivate(t *testing.T) {
	t.Parallel()
	app := newRefreshApp(t, setup{})
	s := app.sessionOf(t, app.signIn(t))
	for what, call := range map[string]func(http.ResponseWriter, *http.Request) error{
		"StartSession": func(w http.ResponseWriter, r *http.Request) error { return app.client.StartSession(w, r, s) },
		"EndSession":   app.client.EndSession,
		"Refresh": func(w http.ResponseWriter, r *http.Request) error {
			_, err := app.client.Refresh(w, r)
			return err
		},
		"BeginLogin": func(w http.ResponseWriter, r *http.Request) error {
			_, err := app.client.BeginLogin(w, r, nil)
			return err
		},
		"BeginLogout": func(w http.ResponseWriter, r *http.Request) error {
			app.client.BeginLogout(w, r, "/")
			return nil
		},
	} {
		for _, before := range []bool{false, true} {
			w, _ := oidcrp.Serves(app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if before {
					w.Header().Set("Cache-Control", "public, max-age=600")
				}
				if err := call(w, r); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				w.Header().Set("Cache-Control", "public, max-age=600")
			})), app.cookiesOf(t, app.signIn(t)))
			if got := w.Result(); len(got.Cookies()) == 0 || got.Header.Get("Cache-Control") != "private, no-cache" {
				t.Errorf("%s: %v", what, got.Header)
			}
		}
	}
}

// Without Middleware, too, where the app says nothing.
func TestEndSession_TheResponseIsNotForSharedCaches(t *testing.T) {
	t.Parallel()
	client := mustNew(t, nil)
	w := httptest.NewRecorder()
	if err := client.EndSession(w, signedInRequest(t, client)); err != nil {
		t.Fatal(err)
	}
	if got := w.Header().Get("Cache-Control"); got != "private" {
		t.Errorf("Cache-Control is %q, want private", got)
	}
}

// What a handler makes of the session comes after what Middleware noted before it.
func TestMiddleware_TheHandlersOwnCookieComesLast(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Now = clock.Now })
	cookies := signedInRequest(t, client).Cookies()
	clock.Advance(2 * time.Minute)
	_, after := oidcrp.Serves(client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := client.EndSession(w, r); err != nil {
			t.Error(err)
		}
	})), cookies)
	if len(after) > 0 {
		t.Errorf("after EndSession the browser has %v", after)
	}
}

// Each Client has a session, a cookie and a time of its own.
func TestMiddleware_NestedClientsDecideForThemselves(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	citizens := mustNew(t, func(cfg *oidcrp.Config) { cfg.PathPrefix, cfg.Now = "/citizens/", clock.Now })
	agents := mustNew(t, func(cfg *oidcrp.Config) {
		cfg.PathPrefix, cfg.ClientID, cfg.Now = "/agents/", "agents", clock.Now
	})
	cookies := slices.Concat(signedInRequest(t, citizens).Cookies(), signedInRequest(t, agents).Cookies())
	clock.Advance(2 * time.Minute)
	for what, header := range map[string]http.Header{"shared": forSharedCaches["public"], "private": nil} {
		inner := citizens.RequireLogin(agents.RequireLogin(servedWith(header)))
		w, _ := oidcrp.Serves(citizens.Middleware(agents.Middleware(inner)), cookies)
		want := 2
		if what == "shared" {
			want = 0
		}
		if got := w.Result().Cookies(); len(got) != want {
			t.Errorf("a %s response sets %v, want %d cookies", what, got, want)
		}
	}
	w, after := oidcrp.Serves(citizens.Middleware(agents.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public")
		if err := agents.EndSession(w, r); err != nil {
			t.Error(err)
		}
	}))), cookies)
	if got := w.Result().Header.Get("Cache-Control"); got != "private, no-cache" {
		t.Errorf("when one of them ends, Cache-Control is %q", got)
	}
	if s, err := citizens.Session(oidcrp.RequestWith(after...)); err != nil {
		t.Errorf("the other session: %v, %v", s, err)
	}
	if s, err := agents.Session(oidcrp.RequestWith(after...)); err == nil {
		t.Errorf("the session that has ended: %v", s)
	}
}

// heldRefresh is an app whose session is due for a refresh by HTTPClient, which waits
// at the gate.
func heldRefresh(t *testing.T, keep func(*oidcrp.Config)) (app *refreshApp, hold *gate, cookies []*http.Cookie) {
	app = newRefreshApp(t, setup{config: func(cfg *oidcrp.Config) {
		keep(cfg)
		cfg.Sessions.IdleTimeout = 12 * time.Hour
		hold = newGate(cfg, "/nowhere")
	}})
	cookies = app.cookiesOf(t, app.signIn(t))
	app.clock.Advance(time.Hour - 5*time.Second)
	app.provider.ResetRequests()
	hold.path = "/token"
	return app, hold, cookies
}

// sent returns the Authorization header of a request by client.
func sent(t *testing.T, client *http.Client, api *httptest.Server) string {
	t.Helper()
	_, body := get(t, client, api.URL)
	return strings.TrimPrefix(body, "Bearer ")
}

// Two goroutines that use one http.Header end the process. The race detector sees it.
func TestHTTPClient_OnAGoroutineLeavesTheHeaderAlone(t *testing.T) {
	t.Parallel()
	app, hold, cookies := heldRefresh(t, oidcrp.KeptIn["cookies"])
	_, after := oidcrp.Serves(app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		done := make(chan struct{})
		s, _ := oidcrp.SessionFromContext(r.Context())
		go func() {
			defer close(done)
			s.HTTPClient(r.Context())
		}()
		<-hold.reached
		close(hold.open)
		for i := 0; ; i++ {
			w.Header().Set("X-Count", fmt.Sprint(i))
			select {
			case <-done:
				return
			default:
			}
		}
	})), cookies)
	s, err := app.client.Session(oidcrp.RequestWith(after...))
	if err != nil || !s.Token().Expiry.After(app.clock.Now().Add(time.Minute)) {
		t.Errorf("the browser then has %v, %v", s, err)
	}
}

// The cookie of a session refreshed now would reach nobody.
func TestHTTPClient_DoesNotRefreshWhenTheCookieCannotBeSet(t *testing.T) {
	t.Parallel()
	api := newAPI(t)
	app, hold, cookies := heldRefresh(t, oidcrp.KeptIn["cookies"])
	close(hold.open)
	var ctx context.Context
	var s *oidcrp.Session
	oidcrp.Serves(app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx = r.Context()
		s, _ = oidcrp.SessionFromContext(ctx)
		io.WriteString(w, "begun")
		if got := sent(t, s.HTTPClient(ctx), api); got != s.Token().AccessToken {
			t.Errorf("after the header, the API got %q, want the old token", got)
		}
	})), cookies)
	oidcrp.Serves(app.client.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx = r.Context()
		s, _ = oidcrp.SessionFromContext(ctx)
	})), cookies)
	if got := sent(t, s.HTTPClient(ctx), api); got != s.Token().AccessToken {
		t.Errorf("after the handler, the API got %q, want the old token", got)
	}
	if n := app.provider.Count(oidctest.EndpointToken); n != 0 {
		t.Errorf("%d refreshes", n)
	}
	app.clock.Advance(5 * time.Second)
	if _, err := s.HTTPClient(ctx).Get(api.URL); !errors.Is(err, oidcrp.CodeLoginRequired) {
		t.Errorf("with a token that has expired: %v, want CodeLoginRequired", err)
	}
}

// The header is written while the refresh is under way.
func TestHTTPClient_ARefreshThatMissedTheHeaderIsNotLost(t *testing.T) {
	t.Parallel()
	for _, kept := range []string{"cookies", "cookies beside a store"} {
		api := newAPI(t)
		app, hold, cookies := heldRefresh(t, oidcrp.KeptIn[kept])
		var old, first, second string
		_, cookies = oidcrp.Serves(app.client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			done := make(chan struct{})
			s, _ := oidcrp.SessionFromContext(r.Context())
			old = s.Token().AccessToken
			go func() {
				defer close(done)
				first = sent(t, s.HTTPClient(r.Context()), api)
			}()
			<-hold.reached
			io.WriteString(w, "begun")
			close(hold.open)
			<-done
		})), cookies)
		want := old
		if kept != "cookies" { // the Store has the newer one
			want = first
		}
		if s, err := app.client.Session(oidcrp.RequestWith(cookies...)); err != nil || s.Token().AccessToken != want {
			t.Errorf("in %s: after the response that had begun the browser has %v, %v", kept, s, err)
		}
		app.clock.Advance(4 * time.Second)
		_, after := oidcrp.Serves(app.client.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s, _ := oidcrp.SessionFromContext(r.Context())
			second = sent(t, s.HTTPClient(r.Context()), api)
		})), cookies)
		s, err := app.client.Session(oidcrp.RequestWith(after...))
		if err != nil || first == "" || first == old || second != first || s.Token().AccessToken != first {
			t.Errorf("in %s: the API got %q and %q, and the browser has %v, %v", kept, first, second, s, err)
		}
		app.wantNoTokenTwice(t, 1)
	}
}

// A responseApp serves one handler behind Middleware, on a server of the real kind,
// to a person whose use of the session is to be recorded.
type responseApp struct {
	*httptest.Server
	cookies []*http.Cookie
}

func newResponseApp(t *testing.T, start func(*httptest.Server), handler http.Handler) *responseApp {
	t.Helper()
	clock := newTestClock()
	client := mustNew(t, func(cfg *oidcrp.Config) { cfg.Now = clock.Now })
	a := &responseApp{cookies: signedInRequest(t, client).Cookies()}
	clock.Advance(2 * time.Minute)
	a.Server = httptest.NewUnstartedServer(client.Middleware(handler))
	start(a.Server)
	t.Cleanup(a.Close)
	return a
}

// request returns a request for the page by the person.
func (a *responseApp) request(t *testing.T, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range a.cookies {
		r.AddCookie(cookie)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
	}
	return r
}

// get returns the response, whose body is open.
func (a *responseApp) get(t *testing.T, headers ...string) *http.Response {
	t.Helper()
	res, err := a.Client().Do(a.request(t, headers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// wantRecorded fails the test unless res records the use of the session.
func wantRecorded(t *testing.T, what string, res *http.Response) {
	t.Helper()
	if len(res.Cookies()) != 1 || res.Header.Get("Cache-Control") != "private" {
		t.Errorf("%s: cookies %v, Cache-Control %q", what, res.Cookies(), res.Header.Get("Cache-Control"))
	}
}

// servers are the ways to start one.
var servers = map[string]func(*httptest.Server){
	"HTTP/1.1": (*httptest.Server).Start,
	"HTTP/2.0": func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
}

func TestMiddleware_AStreamFlushes(t *testing.T) {
	t.Parallel()
	for proto, start := range servers {
		for how, flush := range map[string]func(http.ResponseWriter) error{
			"ResponseController": func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
			"Flusher":            func(w http.ResponseWriter) error { w.(http.Flusher).Flush(); return nil },
		} {
			for _, first := range []string{"", "data: 1\n"} {
				released := make(chan struct{})
				app := newResponseApp(t, start, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
						t.Errorf("%s: %v", proto, err)
					}
					w.Header().Set("Content-Type", "text/event-stream")
					io.WriteString(w, first)
					if err := flush(w); err != nil {
						t.Errorf("%s by %s: %v", proto, how, err)
					}
					<-released
					io.WriteString(w, "data: 2\n")
				}))
				res := app.get(t) // returns when the header is there, and the handler is not done
				wantRecorded(t, proto+" by "+how, res)
				lines := bufio.NewReader(res.Body)
				if first != "" {
					if got, err := lines.ReadString('\n'); got != first || err != nil {
						t.Errorf("%s by %s: %q, %v", proto, how, got, err)
					}
				}
				close(released)
				if got, err := lines.ReadString('\n'); got != "data: 2\n" || err != nil || res.Proto != proto {
					t.Errorf("%s by %s: %s %q, %v", proto, how, res.Proto, got, err)
				}
			}
		}
	}
}

func TestMiddleware_AConnectionCanBeHijacked(t *testing.T) {
	t.Parallel()
	for how, hijack := range map[string]func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error){
		"ResponseController": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		},
		"Hijacker": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() },
	} {
		app := newResponseApp(t, servers["HTTP/1.1"], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, buffered, err := hijack(w)
			if err != nil {
				t.Errorf("%s: %v", how, err)
				return
			}
			defer conn.Close()
			fmt.Fprint(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n")
			w.Header().Write(buffered) // as httputil.ReverseProxy does
			fmt.Fprint(buffered, "\r\n")
			buffered.Flush()
			line, _ := buffered.ReadString('\n')
			fmt.Fprint(buffered, line)
			buffered.Flush()
		}))
		res := app.get(t, "Connection: Upgrade", "Upgrade: echo")
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %s", how, res.Status)
		}
		wantRecorded(t, how, res)
		conn := res.Body.(io.ReadWriteCloser)
		io.WriteString(conn, "hello\n")
		if got, err := bufio.NewReader(conn).ReadString('\n'); got != "hello\n" || err != nil {
			t.Errorf("%s: %q, %v", how, got, err)
		}
	}
}

// A readerFrom counts how often the server gets to copy by itself.
type readerFrom struct {
	http.ResponseWriter
	calls int
}

func (w *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	w.calls++
	return io.Copy(w.ResponseWriter, src)
}

func TestMiddleware_ServesFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "page.txt")
	if err := os.WriteFile(file, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	for proto, start := range servers {
		app := newResponseApp(t, start, page)
		whole := app.get(t)
		wantRecorded(t, proto, whole)
		part := app.get(t, "Range: bytes=2-4")
		wantRecorded(t, proto+", a part", part)
		if a, b := readBody(t, whole), readBody(t, part); a != "0123456789" || b != "234" || part.StatusCode != 206 {
			t.Errorf("%s: %q, %q %s", proto, a, b, part.Status)
		}
		same := app.get(t, "If-Modified-Since: "+whole.Header.Get("Last-Modified"))
		if same.StatusCode != http.StatusNotModified || len(same.Cookies()) > 0 {
			t.Errorf("%s, unchanged: %s, cookies %v", proto, same.Status, same.Cookies())
		}
	}
	client := mustNew(t, nil)
	inner := &readerFrom{ResponseWriter: httptest.NewRecorder()}
	client.Middleware(page).ServeHTTP(inner, signedInRequest(t, client))
	if inner.calls != 1 {
		t.Errorf("the server's ReadFrom was called %d times", inner.calls)
	}
}

func TestMiddleware_WorksWithATimeout(t *testing.T) {
	t.Parallel()
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "in time") })
	stuck := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	around := func(next http.Handler) func(*httptest.Server) {
		return func(s *httptest.Server) {
			s.Config.Handler = http.TimeoutHandler(s.Config.Handler, time.Minute, "too late")
			s.Start()
		}
	}
	res := newResponseApp(t, around(page), page).get(t)
	wantRecorded(t, "around Middleware", res)
	res = newResponseApp(t, servers["HTTP/1.1"], http.TimeoutHandler(page, time.Minute, "too late")).get(t)
	wantRecorded(t, "inside Middleware", res)
	if body := readBody(t, res); body != "in time" {
		t.Errorf("inside Middleware: %q", body)
	}
	res = newResponseApp(t, servers["HTTP/1.1"], http.TimeoutHandler(stuck, time.Millisecond, "too late")).get(t)
	wantRecorded(t, "too late", res)
	if body := readBody(t, res); body != "too late" || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("too late: %s %q", res.Status, body)
	}
}

// A handler that panics ends the response as it would without Middleware, and a
// handler around it may still answer.
func TestMiddleware_APanicPasses(t *testing.T) {
	t.Parallel()
	aborts := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for proto, start := range servers {
		app := newResponseApp(t, start, aborts)
		if res, err := app.Client().Do(app.request(t)); err == nil {
			t.Errorf("%s: the response is %s", proto, res.Status)
		}
	}
	app := newResponseApp(t, func(s *httptest.Server) {
		next := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("another panic, or none")
				}
				w.WriteHeader(http.StatusInternalServerError)
			}()
			next.ServeHTTP(w, r)
		})
		s.Start()
	}, aborts)
	res := app.get(t)
	wantRecorded(t, "recovered", res)
	if res.StatusCode != http.StatusInternalServerError {
		t.Errorf("recovered: %s", res.Status)
	}
}

// What comes before the header is neither the place for a cookie nor the end of the
// time for it.
func TestMiddleware_EarlyHintsComeFirst(t *testing.T) {
	t.Parallel()
	for proto, start := range servers {
		app := newResponseApp(t, start, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Cache-Control", "private")
			io.WriteString(w, "a page")
		}))
		var hints []textproto.MIMEHeader
		r := app.request(t)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
				hints = append(hints, header)
				return nil
			},
		}))
		res, err := app.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		wantRecorded(t, proto, res)
		if len(hints) != 1 || hints[0].Get("Link") == "" || hints[0].Get("Set-Cookie") != "" {
			t.Errorf("%s: the hints are %v", proto, hints)
		}
	}
}

// A handler signs a person in and hints at a style sheet before it answers.
func TestMiddleware_EarlyHintsHaveNoCookieOfTheClient(t *testing.T) {
	t.Parallel()
	for proto, start := range servers {
		client := mustNew(t, nil)
		server := httptest.NewUnstartedServer(client.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "theirs", Value: "1"})
			s := oidcrp.NewSession(map[string]string{"iss": "https://op.example", "sub": "alice"})
			if err := client.StartSession(w, r, s); err != nil {
				t.Error(err)
			}
			http.SetCookie(w, &http.Cookie{Name: "theirs_too", Value: "2"})
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
		})))
		start(server)
		t.Cleanup(server.Close)
		var hints []textproto.MIMEHeader
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
				hints = append(hints, header)
				return nil
			},
		})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if len(hints) != 1 || hints[0].Get("Link") == "" || fmt.Sprint(hints[0]["Set-Cookie"]) != "[theirs=1 theirs_too=2]" {
			t.Errorf("%s: the hints are %v", proto, hints)
		}
		var names []string
		for _, cookie := range res.Cookies() {
			names = append(names, cookie.Name)
		}
		if len(names) != 3 || names[0] != "theirs" || !strings.HasSuffix(names[1], "_s") || names[2] != "theirs_too" {
			t.Errorf("%s: the response sets %v", proto, names)
		}
	}
}

// The handler writes nothing, and the server writes the header.
func TestMiddleware_AnEmptyResponseCarriesTheSession(t *testing.T) {
	t.Parallel()
	for proto, start := range servers {
		app := newResponseApp(t, start, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		wantRecorded(t, proto, app.get(t))
	}
}
