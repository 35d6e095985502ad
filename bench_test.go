package oidcrp

// This file measures what an app pays for: a request by a person who is
// signed in, and a login.

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRequest is a request by a person who is signed in, less the server
// around it: "floor" is the same handler without sign-in, "subject" also asks
// who it is and "claims" for the e-mail address.
func BenchmarkRequest(b *testing.B) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	})
	pages := []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"pass", answer},
		{"subject", func(w http.ResponseWriter, r *http.Request) {
			s, _ := SessionFromContext(r.Context())
			io.WriteString(w, s.Subject())
		}},
		{"claims", func(w http.ResponseWriter, r *http.Request) {
			s, _ := SessionFromContext(r.Context())
			var who struct {
				Email string `json:"email"`
			}
			if err := s.Claims(&who); err != nil {
				b.Error(err)
			}
			io.WriteString(w, who.Email)
		}},
	}
	b.Run("floor", func(b *testing.B) {
		benchmarkRequests(b, answer, nil)
	})
	for _, store := range []struct {
		name  string
		store Store
		cache int
	}{{"cookie", nil, 0}, {"store", NewMemoryStore(0), 0}, {"cookie,cache=off", nil, -1}, {"store,cache=off", NewMemoryStore(0), -1}} {
		client := newBenchClient(b, "https://op.example", func(cfg *Config) {
			cfg.Store, cfg.Sessions.CacheBytes = store.store, store.cache
		})
		cookies := signedIn(b, client)
		for _, page := range pages {
			handler := client.Middleware(client.RequireLogin(page.handler))
			b.Run(store.name+"/"+page.name, func(b *testing.B) {
				benchmarkRequests(b, handler, cookies)
			})
		}
	}
}

func benchmarkRequests(b *testing.B, handler http.Handler, cookies []*http.Cookie) {
	r := httptest.NewRequest(http.MethodGet, "https://app.example/page", nil)
	r.Header.Set("Accept", "text/html")
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	w := new(discard)
	b.ReportAllocs()
	for b.Loop() {
		w.reset()
		handler.ServeHTTP(w, r)
	}
	if w.status != 0 {
		b.Fatalf("answered with status %d", w.status)
	}
}

// BenchmarkMemoryStoreMillion fills a store with a million values of the size of a
// sealed session, and tells what each takes beside its value. An operation is a
// read and a touch of one of them, by as many as there are processors.
func BenchmarkMemoryStoreMillion(b *testing.B) {
	const entries, size = 1_000_000, 1024
	ctx, store, value := b.Context(), NewMemoryStore(0), make([]byte, size)
	key := func(i int) string {
		sum := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
		return "IHKQHGdxC6Q." + base64.RawURLEncoding.EncodeToString(sum[:23])
	}
	before := heapInUse()
	start := time.Now()
	for i := range entries {
		if err := store.Set(ctx, key(i), value, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	filled := time.Since(start)
	each := float64(heapInUse()-before) / entries

	var next atomic.Uint32
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := key(int(next.Add(7919) % entries))
			if _, err := store.Get(ctx, key); err != nil {
				b.Error(err)
			}
			_ = store.Touch(ctx, key, time.Hour)
		}
	})
	b.ReportMetric(each, "B/session")
	b.ReportMetric(each-size, "overhead-B/session")
	b.ReportMetric(float64(filled.Nanoseconds())/entries, "ns/Set")
	runtime.KeepAlive(store)
}

// BenchmarkMemoryStoreFull adds entries to a store that is full, with as many
// issuers.
func BenchmarkMemoryStoreFull(b *testing.B) {
	for _, issuers := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("issuers=%d", issuers), func(b *testing.B) {
			const bound = 100_000
			ctx, store, value := b.Context(), NewMemoryStore(bound), make([]byte, 8)
			key := func(i int) string { return fmt.Sprintf("%011d.%022d", i%issuers, i) }
			for i := range bound {
				_ = store.Set(ctx, key(i), value, time.Hour)
			}
			next := bound
			b.ReportAllocs()
			for b.Loop() {
				_ = store.Set(ctx, key(next), value, time.Hour)
				next++
			}
		})
	}
}

// heapInUse returns the bytes of what is reachable.
func heapInUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkStoredRequest is a protected request beside many other sessions, with
// logouts looked up at every request and, as they are by default, once a second.
func BenchmarkStoredRequest(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		store := NewMemoryStore(2 * n)
		value := make([]byte, 1024)
		for i := range n {
			if err := store.Set(b.Context(), fmt.Sprintf("%043d", i), value, time.Hour); err != nil {
				b.Fatal(err)
			}
		}
		for name, delay := range map[string]time.Duration{"every": -1, "default": 0} {
			client := newBenchClient(b, "https://op.example", func(cfg *Config) {
				cfg.Store, cfg.Sessions.RevocationDelay = store, delay
			})
			cookies := signedIn(b, client)
			handler := client.Middleware(client.RequireLogin(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			b.Run(fmt.Sprintf("sessions=%d/marks=%s", n, name), func(b *testing.B) {
				benchmarkRequests(b, handler, cookies)
			})
		}
	}
}

func BenchmarkSealSession(b *testing.B) {
	client := newBenchClient(b, "https://op.example", nil)
	s := benchSession(client)
	r := httptest.NewRequest(http.MethodGet, "https://app.example/page", nil)
	w := new(discard)
	b.ReportAllocs()
	for b.Loop() {
		w.reset()
		if err := client.sessions.keeper.start(w, r, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenSession(b *testing.B) {
	client := newBenchClient(b, "https://op.example", nil)
	r := httptest.NewRequest(http.MethodGet, "https://app.example/page", nil)
	for _, cookie := range signedIn(b, client) {
		r.AddCookie(cookie)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Session(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyIDToken is every rule, not the signature alone.
func BenchmarkVerifyIDToken(b *testing.B) {
	for _, alg := range []string{"ES256", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			issuer := newBenchProvider(b, alg)
			client := newBenchClient(b, issuer, nil)
			metadata, err := client.Metadata(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			raw := benchIDToken(alg, issuer, "nonce")
			expected := &expectedIDToken{nonce: "nonce", accessToken: "access token"}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.flow.verifyIDToken(b.Context(), metadata, raw, expected); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLogin is a whole login: the redirect to the provider, the callback
// with code exchange, verification and UserInfo, and the session's cookies.
// The provider runs in the same process and costs about as much again.
func BenchmarkLogin(b *testing.B) {
	issuer := newBenchProvider(b, "ES256")
	client := newBenchClient(b, issuer, nil)
	handler := client.Middleware(http.NotFoundHandler())
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			benchmarkLogin(b, handler)
		}
	})
	b.Run("parallel8", func(b *testing.B) {
		b.ReportAllocs()
		procs := runtime.GOMAXPROCS(0)
		b.SetParallelism((8 + procs - 1) / procs)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				benchmarkLogin(b, handler)
			}
		})
	})
}

// benchmarkLogin plays the browser. The nonce does duty as the code, so that
// the provider need not remember anything.
func benchmarkLogin(b *testing.B, handler http.Handler) {
	login := httptest.NewRecorder()
	handler.ServeHTTP(login, httptest.NewRequest(http.MethodGet, "https://app.example/auth/login", nil))
	location, err := url.Parse(login.Header().Get("Location"))
	if err != nil {
		b.Error(err)
	}
	sent := location.Query()
	callback := httptest.NewRequest(http.MethodGet, "https://app.example/auth/callback?"+
		url.Values{"code": {sent.Get("nonce")}, "state": {sent.Get("state")}}.Encode(), nil)
	for _, cookie := range login.Result().Cookies() {
		callback.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, callback)
	if w.Code != http.StatusFound || w.Header().Get("Location") != "https://app.example/" {
		b.Errorf("the login ended with status %d at %q", w.Code, w.Header().Get("Location"))
	}
}

func newBenchClient(b *testing.B, issuer string, change func(*Config)) *Client {
	b.Helper()
	cfg := Config{
		Issuer:       issuer,
		ClientID:     "6925fb81-0fd4-4d7d-a9b4-4b5ff4b0ea56",
		ClientSecret: "a secret of more than thirty-two characters",
		BaseURL:      "https://app.example",
		CookieKeys:   Keys(testKey(1)),
		Logger:       slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	client, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return client
}

// newBenchProvider starts a provider that does no more than it must, and
// returns its issuer. It signs with alg; a code is the nonce to sign.
func newBenchProvider(b *testing.B, alg string) string {
	b.Helper()
	op := newOPServer()
	keys := testKeys()
	op.serveKeys(jwk(keys.P256, "kid", "ES256", "use", "sig"), jwk(keys.RSA, "kid", "RS256", "use", "sig"))
	mux := http.NewServeMux()
	mux.Handle("/", op)
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"access-token","token_type":"Bearer","expires_in":60,"id_token":%q}`,
			benchIDToken(alg, "http://"+r.Host, r.PostFormValue("code")))
	})
	mux.HandleFunc("/userinfo", respond(http.StatusOK, "application/json", benchUserInfo))
	server := httptest.NewServer(mux)
	b.Cleanup(server.Close)
	op.issuer = server.URL
	op.serveMetadata(map[string]any{
		"token_endpoint":                        server.URL + "/token",
		"userinfo_endpoint":                     server.URL + "/userinfo",
		"id_token_signing_alg_values_supported": []string{alg},
	})
	return server.URL
}

// benchUserInfo is about as much as a provider says of a professional.
const benchUserInfo = `{"sub":"704e0242-2901-5d2b-d47f-7a5e5ab05b35","given_name":"Camille","usual_name":"Martin",` +
	`"email":"camille.martin@service.example","email_verified":true,"phone":"+33 1 23 45 67 89",` +
	`"organizational_unit":"Direction of examples, second bureau","siret":"13002526500013","uid":"camille.martin",` +
	`"idp_id":"71144ab3-ee1a-4401-b7b3-79b44f7daeeb","chorusdt":"service","is_service_public":true,` +
	`"roles":["agent","head of bureau"],"custom":{"level":"3","site":"north"}}`

func benchIDToken(alg, issuer, nonce string) string {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": "6925fb81-0fd4-4d7d-a9b4-4b5ff4b0ea56", "sub": "704e0242-2901-5d2b-d47f-7a5e5ab05b35",
		"exp": now + 3600, "iat": now, "auth_time": now, "nonce": nonce, "acr": "eidas1", "amr": []string{"pwd"},
		"sid": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "azp": "6925fb81-0fd4-4d7d-a9b4-4b5ff4b0ea56",
	})
	if err != nil {
		panic(err)
	}
	var key any = testKeys().P256
	if alg == "RS256" {
		key = testKeys().RSA
	}
	return sign(head(alg, alg), string(claims), key)
}

func benchSession(client *Client) *Session {
	raw := benchIDToken("ES256", client.issuer, strings.Repeat("n", 43))
	return client.sessions.create(&authenticated{
		idToken: madeToken(raw), userInfo: []byte(benchUserInfo), tokens: new(tokenResponse), started: time.Now(),
	}, "", "/")
}

// signedIn returns the cookies of a person who is signed in.
func signedIn(b *testing.B, client *Client) []*http.Cookie {
	b.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
	if err := client.StartSession(w, r, benchSession(client)); err != nil {
		b.Fatal(err)
	}
	return w.Result().Cookies()
}

// discard is a ResponseWriter that keeps nothing but the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func (d *discard) reset() {
	if d.header == nil {
		d.header = make(http.Header)
	}
	clear(d.header)
}

var _ io.StringWriter = (*discard)(nil)

func (d *discard) WriteString(s string) (int, error) { return len(s), nil }
