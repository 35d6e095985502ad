package fetch

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serve starts a provider that answers with h.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// answer returns a handler that always answers the same.
func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// wantError checks what is the same for every failure.
func wantError(t *testing.T, err error, kind Kind, reason string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want an *Error", err)
	}
	if e.Kind != kind || !strings.Contains(e.Reason, reason) {
		t.Fatalf("kind %d, reason %q; want %d, %q", e.Kind, e.Reason, kind, reason)
	}
	if strings.Contains(err.Error(), "s3cret") {
		t.Fatalf("the error quotes what it should not: %v", err)
	}
	var whole *url.Error
	if errors.As(err, &whole) {
		t.Fatalf("the whole URL is in the error's chain: %v", whole)
	}
	return e
}

func TestDoSendsTheRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		answer(200, "Application/JSON; charset=utf-8", `{"a":1}`)(w, r)
	})
	c := New(nil, 0)

	res, err := c.Do(t.Context(), Request{URL: u + "/a?b=c", MediaTypes: []string{"application/json", "+json"}})
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 200 || res.MediaType != "application/json" || string(res.Body) != `{"a":1}` {
		t.Errorf("answer is %d %q %q", res.StatusCode, res.MediaType, res.Body)
	}
	if got.Method != "GET" || got.URL.String() != "/a?b=c" || got.Header.Get("Accept") != "application/json" {
		t.Errorf("request is %s %s %v", got.Method, got.URL, got.Header)
	}

	header := http.Header{"Authorization": {"Bearer x"}}
	_, err = c.Do(t.Context(), Request{URL: u, Header: header, Accept: "application/jwt", Form: url.Values{"a": {"b c"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || body != "a=b+c" || got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" ||
		got.Header.Get("Accept") != "application/jwt" || got.Header.Get("Authorization") != "Bearer x" {
		t.Errorf("request is %s %v %q", got.Method, got.Header, body)
	}
	if len(header) != 1 {
		t.Errorf("the caller's header has become %v", header)
	}
}

func TestDoReturnsWhatTheProviderSays(t *testing.T) {
	t.Parallel()
	c := New(nil, 0)
	for _, status := range []int{200, 201, 400, 401, 403, 404} {
		u := serve(t, answer(status, "application/json", `{"error":"x"}`))
		res, err := c.Do(t.Context(), Request{URL: u, MediaTypes: []string{"application/json"}})
		if err != nil || res.StatusCode != status || string(res.Body) != `{"error":"x"}` {
			t.Errorf("%d: %+v, %v", status, res, err)
		}
	}
	// A refusal need not be of the type that was asked for.
	u := serve(t, answer(401, "text/html", `<p>no`))
	if res, err := c.Do(t.Context(), Request{URL: u, MediaTypes: []string{"application/json"}}); err != nil || res.MediaType != "text/html" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestDoFailsWhenTheProviderDoes(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 500, 502, 503, 599} {
		u := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			answer(status, "application/json", `{"error":"s3cret"}`)(w, r)
		})
		_, err := New(nil, 0).Do(t.Context(), Request{URL: u + "/token?s3cret", MediaTypes: []string{"text/plain"}})
		e := wantError(t, err, Unavailable, fmt.Sprint(status))
		if e.StatusCode != status || e.RetryAfter != 7*time.Second || e.URL != u+"/token" {
			t.Errorf("error is %+v", e)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0},
		{"0", 0},
		{"30", 30 * time.Second},
		{"3600", time.Hour},
		{"3601", time.Hour},
		{"99999999999999999999", 0},
		{"-5", 0},
		{"soon", 0},
		{"Sun, 22 Nov 2026 12:01:00 GMT", time.Minute},
		{"Sun, 22 Nov 2026 11:00:00 GMT", 0},
		{"Sun, 22 Nov 2027 12:01:00 GMT", time.Hour},
	} {
		h := http.Header{"Retry-After": {row.header}, "Date": {"Sun, 22 Nov 2026 12:00:00 GMT"}}
		if got := retryAfter(h); got != row.want {
			t.Errorf("retryAfter(%q) = %v, want %v", row.header, got, row.want)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	c := New(nil, 0)
	for _, row := range []struct {
		contentType string
		types       []string
		ok          bool
	}{
		{"application/json", []string{"application/json"}, true},
		{"application/json;charset=UTF-8", []string{"application/json"}, true},
		{"APPLICATION/JSON; broken", []string{"application/json"}, true},
		{"application/jwk-set+json", []string{"application/json", "+json"}, true},
		{"text/html", nil, true},

		{"text/html", []string{"application/json", "+json"}, false},
		{"text/html+json2", []string{"+json"}, false},
		{"application/jsonp", []string{"application/json"}, false},
		{"", []string{"application/json"}, false},
		{";", []string{"application/json"}, false},
	} {
		u := serve(t, answer(200, row.contentType, `{}`))
		_, err := c.Do(t.Context(), Request{URL: u, MediaTypes: row.types})
		if row.ok && err != nil {
			t.Errorf("%q for %q: %v", row.contentType, row.types, err)
		} else if !row.ok {
			wantError(t, err, Invalid, "media type")
		}
	}
}

func TestMediaTypes_TheErrorNamesWhatCame(t *testing.T) {
	t.Parallel()
	c := New(nil, 0)
	for _, row := range []struct{ contentType, reason string }{
		{"text/html; charset=s3cret", `an answer of the media type "text/html", not application/json or +json`},
		{"text/s3cret-s3cret", `an answer of the media type "text/[hidden]", not`},
		{"text/" + strings.Repeat("x", 1000), `"text/` + strings.Repeat("x", 55) + `…", not`},
		{"", "an answer without a media type, not application/json or +json"},
	} {
		u := serve(t, answer(200, row.contentType, `{}`))
		_, err := c.Do(t.Context(), Request{URL: u, MediaTypes: []string{"application/json", "+json"},
			Form: url.Values{"code": {"s3cret-s3cret"}}})
		wantError(t, err, Invalid, row.reason)
	}
}

func TestConnectionFailures_SayWhy(t *testing.T) {
	t.Parallel()
	plain := serve(t, answer(200, "text/plain", "s3cret"))
	shy := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: s3cret\r\n\r\n")
		conn.Close()
	})
	noTLS, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { noTLS.Close() })
	go func() {
		for {
			conn, err := noTLS.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "220 s3cret ESMTP\r\n")
			conn.Close()
		}
	}()
	refuses := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) })
	proxied := NewTransport()
	proxied.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(refuses) }
	own := roundTrip(func(*http.Request) (*http.Response, error) { return nil, ownError("s3cret") })

	for _, row := range []struct {
		transport   http.RoundTripper
		url, reason string
	}{
		{nil, strings.Replace(plain, "http:", "https:", 1), "the server speaks plain http at this port, not https"},
		{nil, "https://" + noTLS.Addr().String(), "the server does not speak TLS at this port"},
		{nil, shy, "the exchange failed: unsupported transfer encoding"},
		{proxied, "https://op.example/", `the exchange failed: a proxy answered "Proxy Authentication Required"`},
		{own, "https://op.example/", "the exchange failed: an error of the type fetch.ownError"},
	} {
		_, err := New(row.transport, 0).Do(t.Context(), Request{URL: row.url})
		wantError(t, err, Unavailable, row.reason)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type ownError string

func (e ownError) Error() string { return string(e) }

func TestURLsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "/path", "example.com", "ftp://example.com/?s3cret", "file:///etc/passwd", "https:///?s3cret",
		"https://user:s3cret@example.com/", "https://example.com/#s3cret", "http://[::1/s3cret", "http://127.0.0.1:80:80/",
	} {
		_, err := New(nil, 0).Do(t.Context(), Request{URL: raw})
		if e := wantError(t, err, Invalid, ""); e.Error() == "" {
			t.Errorf("%q: no text", raw)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	c := New(nil, 0)
	body := strings.Repeat("x", MaxBody)
	res, err := c.Do(t.Context(), Request{URL: serve(t, answer(200, "text/plain", body))})
	if err != nil || len(res.Body) != MaxBody {
		t.Fatalf("a body of exactly 1 MiB: %v", err)
	}
	_, err = c.Do(t.Context(), Request{URL: serve(t, answer(200, "text/plain", body+"x"))})
	wantError(t, err, Invalid, "larger")

	endless := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write([]byte(body))
		}
	})
	_, err = c.Do(t.Context(), Request{URL: endless})
	wantError(t, err, Invalid, "larger")

	bomb := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for range 64 {
			z.Write([]byte(body))
		}
		z.Close()
	})
	_, err = c.Do(t.Context(), Request{URL: bomb})
	wantError(t, err, Invalid, "larger")

	// A large page that comes with an outage leaves it an outage.
	_, err = c.Do(t.Context(), Request{URL: serve(t, answer(503, "text/html", body+"x"))})
	wantError(t, err, Unavailable, "503")
}

func TestGzipIsDecoded(t *testing.T) {
	t.Parallel()
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, `{"a":1}`)
		z.Close()
	})
	if res, err := New(nil, 0).Do(t.Context(), Request{URL: u}); err != nil || string(res.Body) != `{"a":1}` {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestOurTimeoutMeansUnavailable(t *testing.T) {
	t.Parallel()
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for _, u := range []string{silent, slow} {
		_, err := New(nil, 20*time.Millisecond).Do(t.Context(), Request{URL: u + "?s3cret"})
		e := wantError(t, err, Unavailable, "in time")
		if !errors.Is(e, context.DeadlineExceeded) && !errors.Is(e, errTimeout) {
			t.Errorf("the cause is lost: %v", e.Err)
		}
	}
}

func TestTheCallersEndMeansCanceled(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 2)
	u := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := New(nil, 0).Do(ctx, Request{URL: u})
	if wantError(t, err, Canceled, "caller"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = New(nil, 0).Do(ctx, Request{URL: u})
	if wantError(t, err, Canceled, "caller"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}

func TestConnectionFailuresMeanUnavailable(t *testing.T) {
	t.Parallel()
	c := New(nil, 0)
	const closed = "http://127.0.0.1:1" // a port that nothing listens on
	_, err := c.Do(t.Context(), Request{URL: closed + "/jwks?s3cret"})
	if wantError(t, err, Unavailable, "connection refused"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the cause is lost: %v", err)
	}

	raw := func(text string) string {
		return serve(t, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, text)
			conn.Close()
		})
	}
	for _, row := range []struct{ answer, reason string }{
		{"", "closed too early"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", "closed too early"},
		{"s3cret\r\n\r\n", "failed"},
		{"HTTP/1.1 200 OK\r\ns3cret\r\n\r\n", "failed"},
	} {
		_, err = c.Do(t.Context(), Request{URL: raw(row.answer) + "/?s3cret"})
		wantError(t, err, Unavailable, row.reason)
	}
	odd := raw("HTTP/1.1 302 Found\r\nLocation: http://[s3cret\r\n\r\n") + "/?s3cret"
	_, err = c.Do(t.Context(), Request{URL: odd, FollowSameHost: true})
	wantError(t, err, Unavailable, "failed")
	_, err = c.Do(t.Context(), Request{URL: odd})
	wantError(t, err, Invalid, "an unexpected redirect")

	tls := httptest.NewUnstartedServer(answer(200, "text/plain", ""))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	_, err = c.Do(t.Context(), Request{URL: tls.URL + "/?s3cret"})
	wantError(t, err, Unavailable, "certificate")
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, answer(200, "text/plain", "elsewhere"))
	var asked atomic.Int32
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/once":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/thrice":
			http.Redirect(w, r, "/twice", http.StatusTemporaryRedirect)
		case "/twice":
			http.Redirect(w, r, "/once", http.StatusMovedPermanently)
		case "/four":
			http.Redirect(w, r, "/thrice", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/away":
			http.Redirect(w, r, elsewhere, http.StatusFound)
		case "/other-scheme":
			http.Redirect(w, r, "https://"+r.Host+"/end", http.StatusFound)
		case "/user":
			http.Redirect(w, r, "http://u:p@"+r.Host+"/end", http.StatusFound)
		case "/cached":
			w.WriteHeader(http.StatusNotModified)
		default:
			io.WriteString(w, "end")
		}
	})
	c := New(nil, 0)
	for _, path := range []string{"/once", "/thrice"} {
		res, err := c.Do(t.Context(), Request{URL: u + path, FollowSameHost: true})
		if err != nil || string(res.Body) != "end" {
			t.Errorf("%s: %+v, %v", path, res, err)
		}
	}
	for _, path := range []string{"/four", "/loop", "/away", "/other-scheme", "/user", "/cached"} {
		_, err := c.Do(t.Context(), Request{URL: u + path, FollowSameHost: true})
		wantError(t, err, Invalid, "redirect")
	}
	asked.Store(0)
	for _, r := range []Request{
		{URL: u + "/once"},
		{URL: u + "/once", FollowSameHost: true, Form: url.Values{"code": {"s3cret"}}},
		{URL: u + "/once", FollowSameHost: true, Method: http.MethodPut},
	} {
		_, err := c.Do(t.Context(), r)
		wantError(t, err, Invalid, "redirect")
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("%d requests, want 3: a redirect is followed", n)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(map[string]int{"/ok": 200, "/no": 401, "/down": 503}[r.URL.Path], "text/plain", strings.Repeat("x", 1<<16))(w, r)
	})
	c := New(nil, 0)
	var opened int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if !info.Reused {
				opened++
			}
		},
	})
	for _, path := range []string{"/ok", "/no", "/down", "/ok"} {
		_, _ = c.Do(ctx, Request{URL: u + path})
	}
	if opened != 1 {
		t.Errorf("%d connections opened, want 1", opened)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNewUsesTheTransportItIsGiven(t *testing.T) {
	t.Parallel()
	used := false
	c := New(roundTripper(func(r *http.Request) (*http.Response, error) {
		used = true
		return http.DefaultTransport.RoundTrip(r)
	}), 0)
	if _, err := c.Do(t.Context(), Request{URL: serve(t, answer(200, "text/plain", ""))}); err != nil || !used {
		t.Errorf("used: %v, error: %v", used, err)
	}
}

func TestError_IsBoundedHoweverManyNamesACertificateHas(t *testing.T) {
	t.Parallel()
	u := &url.URL{Scheme: "https", Host: "op.example", Path: strings.Repeat("/\u202e", 1000)}
	named := &x509.Certificate{DNSNames: strings.Fields(strings.Repeat("op.example\u2028 ", 5000))}
	err := transportError(t.Context(), t.Context(), u, x509.HostnameError{Certificate: named, Host: "evil.example"})
	if len(err.Reason) > maxReason+3 || len(err.URL) > maxURL+3 || !strings.Contains(err.Error(), "certificate") ||
		strings.ContainsAny(err.Error(), "\u202e\u2028") {
		t.Errorf("the error has %d bytes: %.200q", len(err.Error()), err.Error())
	}
}

// A transport of the app's own need not be as careful as that of net/http.
func TestDo_ATransportOfTheAppsOwn(t *testing.T) {
	t.Parallel()
	for _, follow := range []bool{false, true} {
		r := Request{URL: "https://op.example/userinfo?s3cret", FollowSameHost: follow}
		nothing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil })
		_, err := New(nothing, 0).Do(t.Context(), r)
		wantError(t, err, Unavailable, "failed")
		bare := roundTripper(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 204}, nil })
		if res, err := New(bare, 0).Do(t.Context(), r); err != nil || res.StatusCode != 204 || len(res.Body) != 0 {
			t.Errorf("an answer without a body is %+v, %v", res, err)
		}
		failing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET })
		if _, err := New(failing, 0).Do(t.Context(), r); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the cause is lost: %v", err)
		}
	}
}

// What the header says about the length decides nothing.
func TestDo_ReadsBodiesOfAnyAnnouncedLength(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 511, 512, 513, 16 << 10, 16<<10 + 513, MaxBody} {
		for _, announced := range []int64{int64(size), -1, 0, 1 << 40} {
			body := strings.Repeat("x", size)
			rt := roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, ContentLength: announced, Body: io.NopCloser(strings.NewReader(body))}, nil
			})
			res, err := New(rt, 0).Do(t.Context(), Request{URL: "https://op.example/"})
			if err != nil || string(res.Body) != body {
				t.Errorf("%d bytes announced as %d: %v", size, announced, err)
			}
		}
	}
}

// Logins come together, and each has two requests to one host. A connection that is not
// kept costs a TLS handshake.
func TestNewTransport_KeepsTheConnectionsOfLoginsThatComeTogether(t *testing.T) {
	t.Parallel()
	const together = 16
	var opened atomic.Int32
	arrived := make(chan struct{}, together)
	release := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := New(NewGuard(server.URL).Protect(NewTransport()), 0)
	for range 3 {
		var requests sync.WaitGroup
		for range together {
			requests.Go(func() {
				if _, err := c.Do(t.Context(), Request{URL: server.URL}); err != nil {
					t.Error(err)
				}
			})
		}
		for range together {
			<-arrived
		}
		for range together {
			release <- struct{}{}
		}
		requests.Wait()
	}
	if n := opened.Load(); n != together {
		t.Errorf("%d connections were opened, want %d", n, together)
	}
}
