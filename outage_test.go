package oidcrp_test

// This file takes the provider away, floods it, and changes its keys.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// closedPort returns the address of a port of 127.0.0.1 that refuses
// connections until open is called. Nobody else can have it meanwhile: it is
// bound, but nothing listens.
func closedPort(t testing.TB) (addr string, open func() net.Listener) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(socket), "closed port")
	t.Cleanup(func() { file.Close() })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	return addr, func() net.Listener {
		t.Helper()
		if err := syscall.Listen(socket, 128); err != nil {
			t.Fatal(err)
		}
		listener, err := net.FileListener(file)
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
}

func TestDiscovery_AnAppOutlivesAProviderThatIsDown(t *testing.T) {
	t.Parallel()
	addr, open := closedPort(t)
	issuer := "http://" + addr
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Issuer = issuer }})
	browser := app.provider.Browser()

	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("the public page sees %q", got.Sub)
	}
	for _, page := range []string{"/me", "/auth/login", "/admin", "/auth/login?return_to=/tab/1"} {
		res, body := get(t, noRedirects(browser), app.URL+page)
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || seconds < 1 {
			t.Errorf("%s: Retry-After is %q, want seconds", page, res.Header.Get("Retry-After"))
		}
		if res.StatusCode != http.StatusServiceUnavailable || len(res.Cookies()) != 0 {
			t.Errorf("%s answered %s with the cookies %v, want 503 without", page, res.Status, res.Cookies())
		}
		incident := incidentOf.FindStringSubmatch(body)
		if incident == nil || codeOfIncident(t, app.log, incident[1]) != oidcrp.CodeProviderUnavailable {
			t.Errorf("%s: the incident %q is not of an unavailable provider\n%s", page, incident, app.log)
		}
	}
	if err := app.client.Ready(t.Context()); !errors.Is(err, oidcrp.CodeProviderUnavailable) {
		t.Errorf("Ready returned %v", err)
	}

	// The provider comes up. The app has not been restarted.
	provider, err := oidctest.New(oidctest.Config{Issuer: issuer, AutoLogin: "alice", Now: app.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(provider)
	server.Listener.Close()
	server.Listener = open()
	server.Start()
	t.Cleanup(server.Close)
	app.clock.Advance(2 * time.Minute)
	if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
		t.Errorf("signed in as %q, want alice", got.Sub)
	}
	if err := app.client.Ready(t.Context()); err != nil {
		t.Errorf("Ready returned %v", err)
	}
}

func TestDiscovery_WhatIsKnownOutlivesTheProvider(t *testing.T) {
	t.Parallel()
	fetched := make(chan error, 10)
	app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
		c.Trace.DiscoveryFetched = func(_ context.Context, ev oidcrp.FetchEvent) { fetched <- ev.Err }
	}})
	signedIn := app.signIn(t)
	if err := <-fetched; err != nil {
		t.Fatal(err)
	}
	app.provider.SetDown(true)
	app.clock.Advance(11 * time.Minute) // more than the metadata's age

	if got := app.who(t, signedIn, "/me"); got.Sub != "alice" {
		t.Errorf("the session sees %q, want alice", got.Sub)
	}
	// A new login goes as far as it can.
	browser := app.provider.Browser()
	for range 2 {
		authorization := follow(t, browser, app.URL+"/tab/1").String()
		if !strings.HasPrefix(authorization, app.provider.Endpoint(oidctest.EndpointAuthorization)+"?") {
			t.Errorf("the login leads to %s", authorization)
		}
	}
	if err := <-fetched; !errors.Is(err, oidcrp.CodeProviderUnavailable) {
		t.Errorf("the metadata was fetched with %v, want an unavailable provider", err)
	}
	app.provider.SetDown(false)
	app.clock.Advance(2 * time.Minute)
	if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
		t.Errorf("signed in as %q, want alice", got.Sub)
	}
}

func TestKeys_AProviderThatFailsHalfWayIsNoForgery(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	browser := app.provider.Browser()
	callback := comeBack(t, app, browser, "/tab/1").String()
	app.provider.ResetRequests()
	app.provider.Handle(oidctest.EndpointJWKS, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
	})
	res, page := get(t, browser, callback)
	incident := incidentOf.FindStringSubmatch(page)
	if incident == nil || codeOfIncident(t, app.log, incident[1]) != oidcrp.CodeProviderUnavailable {
		t.Errorf("the answer is %s, the incident %q\n%s", res.Status, incident, app.log)
	}
	if n := app.provider.Count(oidctest.EndpointUserInfo); n != 0 {
		t.Errorf("%d UserInfo requests with a token that is not verified", n)
	}
	app.provider.Handle(oidctest.EndpointJWKS, nil)
	app.clock.Advance(2 * time.Minute)
	if got := app.who(t, browser, "/tab/1"); got.Sub != "alice" {
		t.Errorf("signed in as %q, want alice", got.Sub)
	}
}

func TestDiscovery_ManyFirstLoginsFetchOnce(t *testing.T) {
	t.Parallel()
	const logins = 500
	app := newTestApp(t, setup{provider: autoLogin})
	transport := &http.Transport{MaxIdleConnsPerHost: logins}
	t.Cleanup(transport.CloseIdleConnections)
	start := make(chan struct{})
	var people sync.WaitGroup
	for i := range logins {
		people.Go(func() {
			jar, _ := cookiejar.New(nil)
			browser := &http.Client{Jar: jar, Transport: transport}
			<-start
			res, err := browser.Get(fmt.Sprintf("%s/auth/login?return_to=/tab/%d", app.URL, i))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if want := fmt.Sprintf("/tab/%d", i); res.StatusCode != http.StatusOK || res.Request.URL.Path != want {
				t.Errorf("a login ended at %s with %s, want %s", res.Request.URL.Path, res.Status, want)
			}
		})
	}
	close(start)
	people.Wait()
	for endpoint, want := range map[string]int{
		oidctest.EndpointDiscovery: 1, oidctest.EndpointJWKS: 1,
		oidctest.EndpointToken: logins, oidctest.EndpointUserInfo: logins,
	} {
		if got := app.provider.Count(endpoint); got != want {
			t.Errorf("%d %s requests, want %d", got, endpoint, want)
		}
	}
}

func TestKeys_ForgedTokensCostOneFetch(t *testing.T) {
	t.Parallel()
	const tokens = 1000
	app := newTestApp(t, setup{provider: autoLogin})
	app.signIn(t)
	before := app.provider.Count(oidctest.EndpointJWKS)
	claims := app.provider.IDTokenClaims(oidctest.ClientID, "alice")
	var attackers sync.WaitGroup
	for range 8 {
		attackers.Go(func() {
			for range tokens / 8 {
				forged := app.provider.ForgedToken("ES256", rand.Text(), claims)
				_, err := app.client.KeySet().VerifySignature(t.Context(), forged)
				var refused *oidcrp.TokenError
				if !errors.As(err, &refused) {
					t.Errorf("a forged token: %v, want it refused", err)
				}
			}
		})
	}
	attackers.Wait()
	if got := app.provider.Count(oidctest.EndpointJWKS) - before; got > 1 {
		t.Errorf("%d JWKS requests for %d forged tokens, want 1 at most", got, tokens)
	}
	app.signIn(t) // and nobody else is kept out
}

func TestDiscovery_ACanceledRequestDoesNotFailThoseThatWaitWithIt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		path string
		wait func(context.Context, *testApp) error // fetches what is at path
	}{
		{"/.well-known/openid-configuration", func(ctx context.Context, app *testApp) error {
			_, err := app.client.Metadata(ctx)
			return err
		}},
		{"/jwks", func(ctx context.Context, app *testApp) error {
			token := app.provider.SignClaims("RS256", app.provider.IDTokenClaims(oidctest.ClientID, "alice"), nil)
			_, err := app.client.KeySet().VerifySignature(ctx, token)
			return err
		}},
	} {
		t.Run(row.path, func(t *testing.T) {
			t.Parallel()
			var held *gate
			app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) { held = newGate(c, row.path) }})
			ctx, cancel := context.WithCancel(t.Context())
			gaveUp := make(chan error)
			go func() { gaveUp <- row.wait(ctx, app) }()
			<-held.reached
			cancel()
			if err := <-gaveUp; !errors.Is(err, context.Canceled) || !errors.Is(err, oidcrp.CodeCanceled) {
				t.Errorf("who gave up got %v, want a cancellation", err)
			}
			var others sync.WaitGroup
			for range 5 {
				others.Go(func() {
					res, err := app.provider.Browser().Get(app.URL + "/me")
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					if res.StatusCode != http.StatusOK {
						t.Errorf("another login was answered with %s", res.Status)
					}
				})
			}
			close(held.open)
			others.Wait()
			if n := len(held.reached); n != 0 {
				t.Errorf("%d more requests for %s, want none", n, row.path)
			}
		})
	}
}

// A transport may fail with context.Canceled for reasons of its own, such as a pool
// that is shut down. Nobody gave up then: the provider cannot be reached.
func TestTransport_ACancellationOfItsOwnIsAnOutage(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/.well-known/openid-configuration", "/request", "/token", "/jwks", "/userinfo"} {
		var fails atomic.Bool
		fails.Store(true)
		app := newTestApp(t, setup{provider: autoLogin, config: func(c *oidcrp.Config) {
			c.Registration.RequirePushedAuthorizationRequests = path == "/request"
			next := c.Provider.Transport
			if next == nil {
				next = http.DefaultTransport
			}
			c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path == path && fails.Load() {
					return nil, fmt.Errorf("the pool is shut down: %w", context.Canceled)
				}
				return next.RoundTrip(r)
			})
		}})
		browser := app.provider.Browser()
		res, page := get(t, browser, app.URL+"/me")
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s at %s, want 503\n%s", path, res.Status, res.Request.URL.Path, page)
		}
		if line := refusalInLog(app.log); !strings.Contains(line, `"level":"WARN"`) || !strings.Contains(line, `"code":"provider_unavailable"`) {
			t.Errorf("%s: the log says %s", path, line)
		}
		fails.Store(false)
		app.clock.Advance(time.Minute)
		if got := app.who(t, browser, "/me"); got.Sub != "alice" {
			t.Errorf("%s: when the provider is back, %q is signed in", path, got.Sub)
		}
	}
}

// The same error after the caller gave up is the caller's.
func TestTransport_ACallersCancellationIsNoOutage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	log := new(testLog)
	client := mustNew(t, func(c *oidcrp.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.Registration.RequirePushedAuthorizationRequests = true
		c.Provider.Metadata = soundMetadata(func(m *oidcrp.Metadata) { m.PushedAuthorizationRequestEndpoint = "https://op.example/par" })
		c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			cancel()
			return nil, fmt.Errorf("gave up: %w", r.Context().Err())
		})
	})
	w := httptest.NewRecorder()
	client.Login(w, oidcrp.RequestWith().WithContext(ctx), nil)
	if line := refusalInLog(log); w.Code != 499 || !strings.Contains(line, `"level":"DEBUG"`) || !strings.Contains(line, `"code":"canceled"`) {
		t.Errorf("the answer is %d, and the log says %s", w.Code, line)
	}
}

// refusalInLog returns the line of a log about a request that was refused.
func refusalInLog(log *testLog) string {
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `"msg":"request refused"`) {
			return line
		}
	}
	return ""
}

func TestKeys_MayChangeAtAnyTime(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: autoLogin})
	for _, row := range []struct {
		when    string
		rotate  func()
		fetches int
	}{
		{"the first login", func() {}, 1},
		{"nothing changed", func() {}, 0},
		{"new keys between two logins", app.provider.RotateKeys, 1},
		{"new keys beside the old ones", app.provider.RotateKeysKeepingOld, 1},
		{"new keys just before signing", func() { app.provider.Misbehave(fault.IDTokenRotatedKeys) }, 1},
	} {
		app.clock.Advance(time.Minute) // the keys are asked for again at most so often
		before := app.provider.Count(oidctest.EndpointJWKS)
		row.rotate()
		app.signIn(t)
		if got := app.provider.Count(oidctest.EndpointJWKS) - before; got != row.fetches {
			t.Errorf("%s: %d JWKS requests, want %d", row.when, got, row.fetches)
		}
	}
}
