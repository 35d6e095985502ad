package redisstore

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// tripHook counts the commands and pipelines that read.
type tripHook struct{ trips atomic.Int64 }

func (h *tripHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *tripHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.trips.Add(1)
		return next(ctx, cmd)
	}
}

func (h *tripHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "get" { // and not what a new connection begins with
			h.trips.Add(1)
		}
		return next(ctx, cmds)
	}
}

// newProtected returns a protected page, and a request by a person who is signed in.
func newProtected(t testing.TB, change func(*oidcrp.Config)) (http.Handler, *http.Request, *tripHook) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: startServer(t).client(t).Options().Addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	provider := oidctest.NewServer(t, oidctest.Config{})
	app := httptest.NewUnstartedServer(nil)
	base := "http://" + app.Listener.Addr().String()
	cfg := oidcrp.Config{
		Issuer: provider.Issuer(), ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		BaseURL: base, CookieKeys: oidcrp.Keys(make([]byte, 32)), Store: newStore(t, client, Config{}),
		Sessions: oidcrp.Sessions{IdleTimeout: 10 * time.Hour},
	}
	change(&cfg)
	rp, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	handler := rp.Middleware(rp.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
	app.Config.Handler = handler
	app.Start()
	t.Cleanup(app.Close)
	browser := provider.SignIn(t, app.URL+"/", "alice")
	r := httptest.NewRequest(http.MethodGet, base+"/", nil)
	u, _ := url.Parse(base)
	for _, cookie := range browser.Jar.Cookies(u) {
		r.AddCookie(cookie)
	}
	hook := new(tripHook)
	client.AddHook(hook)
	return handler, r, hook
}

// waysToKeep are the ways of keeping sessions, and whether logouts are looked up
// at every request.
var waysToKeep = map[string]func(*oidcrp.Config){
	"stored":                func(*oidcrp.Config) {},
	"stored, marks always":  func(cfg *oidcrp.Config) { cfg.Sessions.RevocationDelay = -1 },
	"cookies":               func(cfg *oidcrp.Config) { cfg.Sessions.InCookies, cfg.Sessions.RevocationDelay = true, time.Hour },
	"cookies, marks always": func(cfg *oidcrp.Config) { cfg.Sessions.InCookies, cfg.Sessions.RevocationDelay = true, -1 },
}

func TestStore_ARequestIsOneRoundTripAtMost(t *testing.T) {
	t.Parallel()
	for way, change := range waysToKeep {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			handler, r, hook := newProtected(t, change)
			want := int64(10)
			if way == "cookies" {
				want = 0
			}
			for range 10 {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					t.Fatalf("answered with %d", w.Code)
				}
			}
			if n := hook.trips.Load(); n != want {
				t.Errorf("10 requests took %d round trips, want %d", n, want)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	for way, change := range waysToKeep {
		b.Run(way, func(b *testing.B) {
			handler, r, hook := newProtected(b, change)
			b.ReportAllocs()
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), r)
			}
			b.ReportMetric(float64(hook.trips.Load())/float64(b.N), "trips/op")
		})
	}
}
