package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
)

const appURL = "https://app.example"

// The roles of this program when it starts itself as a child process.
const (
	roleVariable        = "BENCH_ROLE"
	issuerVariable      = "BENCH_ISSUER"
	certificateVariable = "SSL_CERT_FILE" // which both sides read
	providerRole        = "provider "     // followed by a protocol
	memoryRole          = "memory of "    // followed by the name of an rp
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if protocol, ok := strings.CutPrefix(role, providerRole); ok {
		if err := serveProvider(protocol, os.Getenv(certificateVariable)); err != nil {
			log.Fatal(err)
		}
	} else if name, ok := strings.CutPrefix(role, memoryRole); ok {
		printMemory(os.Getenv(issuerVariable), name)
	} else {
		os.Exit(run(m))
	}
}

// run makes both sides trust the provider's certificate through the environment, so that
// each keeps its own default transport.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv(certificateVariable, filepath.Join(dir, "provider.pem"))
	return m.Run()
}

// An rp is one of the two ways to sign people in.
type rp struct {
	name       string
	middleware func(http.Handler) http.Handler
	protect    func(http.Handler) http.Handler
	subject    func(*http.Request) string
	claims     func(r *http.Request, v any) error
}

var names = []string{"byhand", "oidcrp"}

func newRP(name, issuer string) (*rp, error) {
	if name == "byhand" {
		h, err := newByHand(context.Background(), issuer, http.DefaultTransport)
		if err != nil {
			return nil, err
		}
		return &rp{
			name: name, middleware: h.middleware, protect: h.requireLogin,
			subject: func(r *http.Request) string { return handSessionOf(r).Subject },
			claims:  func(r *http.Request, v any) error { return json.Unmarshal(handSessionOf(r).Claims, v) },
		}, nil
	}
	key := make([]byte, 32)
	rand.Read(key)
	client, err := oidcrp.New(oidcrp.Config{
		Issuer: issuer, ClientID: clientID, ClientSecret: clientSecret, BaseURL: appURL,
		CookieKeys: oidcrp.Keys(key),
		Logger:     slog.New(slog.DiscardHandler), // by hand, nothing is logged
	})
	if err != nil {
		return nil, err
	}
	session := func(r *http.Request) *oidcrp.Session {
		s, _ := oidcrp.SessionFromContext(r.Context())
		return s
	}
	return &rp{
		name: name, middleware: client.Middleware, protect: client.RequireLogin,
		subject: func(r *http.Request) string { return session(r).Subject() },
		claims:  func(r *http.Request, v any) error { return session(r).Claims(v) },
	}, nil
}

// startProvider starts the provider in its own process, so that its CPU time is not
// counted, and returns its issuer.
func startProvider(b *testing.B, protocol string) string {
	b.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), roleVariable+"="+providerRole+protocol)
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		command.Wait()
	})
	issuer, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(issuer)
}

// protocols are those of the provider: http, and https with HTTP/1.1 and HTTP/2.
var protocols = []string{"http", "https1", "https2"}

// BenchmarkLogin measures a whole login in the app: the redirect to the provider, the
// callback with code exchange, verification and UserInfo, and the session cookie. The
// metadata and the keys are cached.
func BenchmarkLogin(b *testing.B) {
	for _, protocol := range protocols {
		issuer := startProvider(b, protocol)
		for _, parallel := range []int{1, 8} {
			b.Run(fmt.Sprintf("provider=%s/parallel=%d", protocol, parallel), func(b *testing.B) {
				for _, name := range names {
					b.Run("rp="+name, func(b *testing.B) {
						benchmarkLogin(b, issuer, name, parallel)
					})
				}
			})
		}
	}
}

func benchmarkLogin(b *testing.B, issuer, name string, parallel int) {
	handler := loginHandler(b, issuer, name)
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	if parallel == 1 {
		for b.Loop() {
			if _, err := login(handler, issuer); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	procs := runtime.GOMAXPROCS(0)
	b.SetParallelism((parallel + procs - 1) / procs)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := login(handler, issuer); err != nil {
				b.Error(err)
			}
		}
	})
}

// loginHandler returns an app whose caches are filled by one login.
func loginHandler(b *testing.B, issuer, name string) http.Handler {
	b.Helper()
	rp, err := newRP(name, issuer)
	if err != nil {
		b.Fatal(err)
	}
	handler := rp.middleware(http.NotFoundHandler())
	if _, err := login(handler, issuer); err != nil {
		b.Fatal(err)
	}
	return handler
}

// login does what the browser and the provider's page do, and returns the session's
// cookies.
func login(handler http.Handler, issuer string) ([]*http.Cookie, error) {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, get("/auth/login"))
	location, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		return nil, err
	}
	sent := location.Query()
	r := get("/auth/callback?" + url.Values{
		"code": {sent.Get("nonce")}, "state": {sent.Get("state")}, "iss": {issuer},
	}.Encode())
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusFound || !strings.HasSuffix(w.Header().Get("Location"), "/") {
		return nil, fmt.Errorf("the login ended with status %d: %s", w.Code, w.Body)
	}
	cookies := w.Result().Cookies()
	kept := cookies[:0]
	for _, cookie := range cookies {
		if cookie.MaxAge >= 0 {
			kept = append(kept, cookie)
		}
	}
	return kept, nil
}

// BenchmarkRequest measures a signed-in request without the server around it.
// "page=none" is the same without sign-in, to be subtracted; "page=pass" requires a
// session and does not read it, "page=subject" reads the subject and "page=claims" the
// e-mail address. It also reports the bytes of the Cookie header.
func BenchmarkRequest(b *testing.B) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	b.Run("page=none", func(b *testing.B) {
		for _, name := range names {
			b.Run("rp="+name, func(b *testing.B) { benchmarkRequests(b, hello, nil) })
		}
	})
	issuer := startProvider(b, "http")
	for _, page := range []string{"pass", "subject", "claims"} {
		b.Run("page="+page, func(b *testing.B) {
			for _, name := range names {
				b.Run("rp="+name, func(b *testing.B) {
					rp, err := newRP(name, issuer)
					if err != nil {
						b.Fatal(err)
					}
					handler := rp.middleware(rp.protect(rp.page(page)))
					cookies, err := login(handler, issuer)
					if err != nil {
						b.Fatal(err)
					}
					benchmarkRequests(b, handler, cookies)
				})
			}
		})
	}
}

func (rp *rp) page(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name {
		case "pass":
			io.WriteString(w, "hello")
		case "subject":
			io.WriteString(w, rp.subject(r))
		case "claims":
			var who struct {
				Email string `json:"email"`
			}
			if err := rp.claims(r, &who); err != nil {
				panic(err)
			}
			io.WriteString(w, who.Email)
		}
	})
}

func benchmarkRequests(b *testing.B, handler http.Handler, cookies []*http.Cookie) {
	r := get("/page")
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	w := &discard{header: make(http.Header)}
	b.ReportAllocs()
	b.ResetTimer()
	defer reportCPU(b)()
	for b.Loop() {
		clear(w.header)
		handler.ServeHTTP(w, r)
	}
	if w.status != 0 {
		b.Fatalf("answered with status %d", w.status)
	}
	b.ReportMetric(float64(len(r.Header.Get("Cookie"))), "cookie-B")
}

// reportCPU reports the CPU time of this process, including system calls and garbage
// collection. Other programs on the machine disturb it less than the wall-clock time.
func reportCPU(b *testing.B) func() {
	start := cpu()
	return func() {
		b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
	}
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkMemory measures what a new process holds after 1,000 logins and a garbage
// collection: the live heap, and all memory that Go obtained from the system.
func BenchmarkMemory(b *testing.B) {
	issuer := startProvider(b, "http")
	for _, name := range names {
		b.Run("rp="+name, func(b *testing.B) {
			var total memory
			for b.Loop() {
				m := memoryOf(b, issuer, name)
				total.Heap += m.Heap
				total.Sys += m.Sys
			}
			b.ReportMetric(0, "ns/op") // meaningless here
			b.ReportMetric(float64(total.Heap)/float64(b.N), "heap-B")
			b.ReportMetric(float64(total.Sys)/float64(b.N), "sys-B")
		})
	}
}

type memory struct{ Heap, Sys uint64 }

func memoryOf(b *testing.B, issuer, name string) (m memory) {
	b.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), roleVariable+"="+memoryRole+name, issuerVariable+"="+issuer)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out, &m); err != nil {
		b.Fatal(err)
	}
	return m
}

// printMemory signs in 1,000 times, 8 at once, and prints the memory that is then in use.
func printMemory(issuer, name string) {
	rp, err := newRP(name, issuer)
	if err != nil {
		log.Fatal(err)
	}
	handler := rp.middleware(http.NotFoundHandler())
	done := make(chan error)
	for range 8 {
		go func() {
			var err error
			for range 1000 / 8 {
				if _, loginErr := login(handler, issuer); loginErr != nil {
					err = loginErr
				}
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			log.Fatal(err)
		}
	}
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	json.NewEncoder(os.Stdout).Encode(memory{Heap: stats.HeapAlloc, Sys: stats.Sys})
	runtime.KeepAlive(handler)
}

// get returns a browser's request as a server passes it to a handler. Requests made by
// httptest allocate buffers, which would be a large part of the result.
func get(uri string) *http.Request {
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		panic(err)
	}
	return &http.Request{
		Method: http.MethodGet, URL: u, RequestURI: uri, Host: strings.TrimPrefix(appURL, "https://"),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Accept": {"text/html"}}, Body: http.NoBody, RemoteAddr: "192.0.2.1:1234",
	}
}

// discard is a ResponseWriter that keeps only the header and the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header               { return d.header }
func (d *discard) Write(p []byte) (int, error)       { return len(p), nil }
func (d *discard) WriteString(s string) (int, error) { return len(s), nil }
func (d *discard) WriteHeader(status int)            { d.status = status }
