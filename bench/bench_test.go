package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if played, err := play(); played {
		if err != nil {
			log.Fatal(err)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	end, err := useCertificate()
	if err != nil {
		log.Fatal(err)
	}
	defer end()
	return m.Run()
}

func startTestProvider(tb testing.TB, protocol, sends string) (issuer string) {
	tb.Helper()
	issuer, end, err := startProvider(protocol, sends)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(end)
	return issuer
}

func startTestApp(tb testing.TB, name, sends, issuer string) *remoteApp {
	tb.Helper()
	app, err := startApp(name, sends, issuer)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(app.close)
	return app
}

// newTestCrowd returns an app in this process, at which nobody is signed in.
func newTestCrowd(tb testing.TB, name, sends, issuer string) *crowd {
	tb.Helper()
	rp, err := newRP(name, issuer, fixtures[sends])
	if err != nil {
		tb.Fatal(err)
	}
	if name == plain {
		issuer = ""
	}
	return &crowd{app: rp.app(), issuer: issuer, clock: rp.clock}
}

func newTestApp(tb testing.TB, name, sends, issuer string) http.Handler {
	tb.Helper()
	return newTestCrowd(tb, name, sends, issuer).app
}

// BenchmarkLogin measures a whole login in the app: the redirect to the provider, the
// callback with code exchange, verification and UserInfo, and the session cookie. The
// metadata and the keys are cached.
func BenchmarkLogin(b *testing.B) {
	for _, protocol := range protocols {
		issuer := startTestProvider(b, protocol, "professional")
		for _, count := range loginsAtOnce {
			for _, name := range []string{hand, ours} {
				b.Run(fmt.Sprintf("provider=%s/parallel=%d/rp=%s", protocol, count, name), func(b *testing.B) {
					app := newTestApp(b, name, "professional", issuer)
					if _, err := signIn(app, issuer); err != nil {
						b.Fatal(err)
					}
					benchmark(b, func() error {
						_, err := signInMany(app, issuer, count, b.N)
						return err
					})
				})
			}
		}
	}
}

// BenchmarkSignedIn measures signed-in requests over 16 keep-alive connections. The
// server is a process of its own, of which the CPU time and the allocations are
// reported. The rp "plain" is to be subtracted.
func BenchmarkSignedIn(b *testing.B) {
	for _, sends := range fixtureNames {
		issuer := startTestProvider(b, "http", sends)
		for _, name := range append([]string{plain}, signIns()...) {
			app := startTestApp(b, name, sends, issuer)
			for _, handler := range handlers {
				b.Run(fmt.Sprintf("provider=%s/handler=%s/rp=%s", sends, handler, name), func(b *testing.B) {
					u, cookieBytes, err := app.served("/"+handler, b.N)
					if err != nil {
						b.Fatal(err)
					}
					report(b, u)
					b.ReportMetric(float64(u.Mallocs)/float64(b.N), "allocs/op")
					b.ReportMetric(float64(u.Bytes)/float64(b.N), "B/op")
					b.ReportMetric(float64(cookieBytes), "cookie-B")
				})
			}
		}
	}
}

// BenchmarkRequest measures the same pages, and one that requires a session and does not
// read it, without a server: by one session, and by so many in turn that no cache holds
// them, from several goroutines.
func BenchmarkRequest(b *testing.B) {
	for _, sends := range fixtureNames {
		issuer := startTestProvider(b, "http", sends)
		for _, name := range append([]string{plain}, signIns()...) {
			people := newTestCrowd(b, name, sends, issuer)
			for _, handler := range append([]string{"pass"}, handlers...) {
				for _, sessions := range []int{1, fullSize.sessions} {
					for _, count := range goroutines {
						title := fmt.Sprintf("provider=%s/handler=%s/sessions=%d/goroutines=%d/rp=%s", sends, handler, sessions, count, name)
						b.Run(title, func(b *testing.B) {
							used := people.ready(b, "/"+handler, min(sessions, max(count, b.N)))
							benchmark(b, func() error { return inProcess(people.app, "/"+handler, used, count, b.N) })
						})
					}
				}
			}
		}
	}
}

// ready returns the Cookie headers of n people, whose sessions are fresh.
func (c *crowd) ready(b *testing.B, path string, n int) []string {
	b.Helper()
	if err := c.atLeast(n); err != nil {
		b.Fatal(err)
	}
	if err := c.refresh(path); err != nil {
		b.Fatal(err)
	}
	return c.lines[:n]
}

// benchmark measures b.N operations that work does.
func benchmark(b *testing.B, work func() error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	u, err := measure(work)
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	report(b, u)
}

// report reports the times without what was around the work.
func report(b *testing.B, u Usage) {
	b.ReportMetric(float64(u.Elapsed)/float64(b.N), "ns/op")
	b.ReportMetric(float64(u.CPU)/float64(b.N), "cpu-ns/op")
}

// BenchmarkMemory measures what a new process holds after 1,000 logins and a garbage
// collection: the live heap, and all memory that Go obtained from the system.
func BenchmarkMemory(b *testing.B) {
	issuer := startTestProvider(b, "http", "professional")
	for _, name := range signIns() {
		b.Run("rp="+name, func(b *testing.B) {
			var total Memory
			for range b.N {
				app := startTestApp(b, name, "professional", issuer)
				var m Memory
				if err := app.rpc.Call("App.MemoryAfter", fullSize.signedIn, &m); err != nil {
					b.Fatal(err)
				}
				total.Heap += m.Heap
				total.Sys += m.Sys
			}
			b.ReportMetric(0, "ns/op") // meaningless here
			b.ReportMetric(float64(total.Heap)/float64(b.N), "heap-B")
			b.ReportMetric(float64(total.Sys)/float64(b.N), "sys-B")
		})
	}
}
