// Package app is the program of [examples/webapp]. The redisstore module builds it with
// Redis as a further store.
//
// [examples/webapp]: https://pkg.go.dev/github.com/oidcrp/oidcrp/examples/webapp
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// OpenStore opens the store at a URL from SESSION_STORE. A store that is an [io.Closer]
// is closed when the program ends.
type OpenStore func(url string) (oidcrp.Store, error)

// Main runs the program until an interrupt or SIGTERM, and exits with status 1 if it
// cannot run. If open is nil, SESSION_STORE may not be a URL.
func Main(open OpenStore) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, open); err != nil {
		slog.Error("webapp cannot run", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, open OpenStore) error {
	listener, origin, err := listen()
	if err != nil {
		return err
	}
	defer listener.Close()
	cfg, err := config(origin, open)
	if err != nil {
		return err
	}
	if store, ok := cfg.Store.(io.Closer); ok {
		defer store.Close()
	}
	if cfg.Issuer == "" {
		provider, err := oidctest.Start(oidctest.Config{})
		if err != nil {
			return err
		}
		defer provider.Close()
		cfg.Issuer, cfg.ClientID, cfg.ClientSecret = provider.Issuer(), oidctest.ClientID, oidctest.ClientSecret
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		return err
	}
	slog.Info("webapp is listening", "address", listener.Addr().String(), "base_url", cfg.BaseURL, "issuer", cfg.Issuer)
	return serve(ctx, listener, client.Middleware(routes(client)))
}

// listen opens the listener that the environment specifies, and returns its origin.
func listen() (listener net.Listener, origin string, err error) {
	address := cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8080")
	file := os.Getenv("LISTEN_CERT_FILE")
	if file == "" {
		if listener, err = net.Listen("tcp", address); err != nil {
			return nil, "", err
		}
		return listener, "http://" + listener.Addr().String(), nil
	}
	certificate, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return nil, "", fmt.Errorf("LISTEN_CERT_FILE: %w", err)
	}
	listener, err = tls.Listen("tcp", address, &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	})
	if err != nil {
		return nil, "", err
	}
	return listener, "https://" + listener.Addr().String(), nil
}

// config reads the environment, with defaults for trying a provider out.
func config(origin string, open OpenStore) (oidcrp.Config, error) {
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		return cfg, err
	}
	if cfg.BaseURL == "" && cfg.Registration.RedirectURI == "" {
		cfg.BaseURL = origin
	}
	if cfg.CookieKeys == nil {
		slog.Warn("OIDC_COOKIE_KEYS is not set: sessions end with this process")
		key := make([]byte, 32)
		rand.Read(key)
		cfg.CookieKeys = oidcrp.Keys(key)
	}
	if cfg.Store, err = store(os.Getenv("SESSION_STORE"), open); err != nil {
		return cfg, fmt.Errorf("SESSION_STORE: %w", err)
	}
	cfg.Sessions.InCookies = os.Getenv("SESSION_COOKIES") == "1"
	if cfg.Sessions.IdleTimeout, err = duration("SESSION_IDLE_TIMEOUT"); err != nil {
		return cfg, err
	}
	if cfg.Tokens.RefreshBefore, err = duration("REFRESH_BEFORE"); err != nil {
		return cfg, err
	}
	cfg.Tokens.Keep = os.Getenv("KEEP_TOKENS") == "1"
	// Some providers, such as ProConnect, send these claims only on request.
	cfg.Login.Claims = &oidcrp.ClaimsRequest{
		IDToken: map[string]*oidcrp.ClaimRequest{"acr": nil, "amr": nil},
	}
	return cfg, nil
}

// store returns the store of that name; nil for cookies. Its errors do not contain a
// URL, which may hold a password.
func store(name string, open OpenStore) (oidcrp.Store, error) {
	scheme, _, isURL := strings.Cut(name, "://")
	switch {
	case name == "" || name == "cookie":
		return nil, nil
	case name == "memory":
		return oidcrp.NewMemoryStore(0), nil
	case isURL && open != nil:
		return open(name)
	case isURL:
		return nil, fmt.Errorf("this program has no store for %s://; use cookie or memory, "+
			"or the program of the redisstore module for redis://", scheme)
	}
	return nil, fmt.Errorf("%q is not known; use cookie, memory or, if the program has one, a store's URL", name)
}

// duration reads a variable that holds a duration; 0 if it is not set.
func duration(name string) (time.Duration, error) {
	value := os.Getenv(name)
	if value == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a duration; write it as 90s or 30m", name, value)
	}
	return d, nil
}

func routes(client *oidcrp.Client) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", home(client))
	mux.Handle("GET /me", client.RequireLogin(http.HandlerFunc(me)))
	mux.Handle("GET /api/me", client.RequireLogin(http.HandlerFunc(me)))
	if acr := strings.Fields(os.Getenv("REQUIRE_ACR")); len(acr) > 0 {
		mux.Handle("GET /admin", client.Require(oidcrp.ACR(acr...))(http.HandlerFunc(me)))
	}
	mux.Handle("POST /refresh", http.NewCrossOriginProtection().Handler(
		client.RequireLogin(refresh(client))))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		// Not client.Ready, which fails during an outage of the Store too: this
		// response is about the provider only.
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if _, err := client.Metadata(ctx); err != nil {
			http.Error(w, "the provider has not been reached yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}

func home(client *oidcrp.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Add("Vary", "Cookie")
		fmt.Fprint(w, "<!doctype html><html lang=en><title>webapp</title><h1>webapp</h1>")
		_, err := client.Session(r)
		switch {
		case err == nil:
			fmt.Fprint(w, `<p>You are signed in. <a href="/me">Who am I?</a></p>`+
				`<form method="post" action="/auth/logout"><button>Sign out</button></form>`)
		case errors.Is(err, oidcrp.CodeStoreUnavailable), errors.Is(err, oidcrp.CodeCookieKeysUnavailable):
			fmt.Fprint(w, `<p>Your session cannot be looked up at the moment.</p>`)
		default:
			fmt.Fprint(w, `<p><a href="/me">Sign in</a></p>`)
		}
	})
}

func me(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	writeSession(w, session)
}

// writeSession answers with the session as JSON.
func writeSession(w http.ResponseWriter, session *oidcrp.Session) {
	claims := make(map[string]any)
	if err := session.Claims(&claims); err != nil {
		http.Error(w, "the claims cannot be read", http.StatusInternalServerError)
		return
	}
	var authTime int64
	if at := session.AuthTime(); !at.IsZero() {
		authTime = at.Unix()
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"sub": session.Subject(), "iss": session.Issuer(), "acr": session.ACR(), "amr": session.AMR(),
		"sid": session.SID(), "auth_time": authTime, "claims": claims,
	})
}

func refresh(client *oidcrp.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := client.Refresh(w, r)
		switch {
		case errors.Is(err, oidcrp.CodeLoginRequired), errors.Is(err, oidcrp.CodeNoSession):
			http.Error(w, "sign in again", http.StatusUnauthorized)
		case errors.Is(err, oidcrp.CodeProviderUnavailable), errors.Is(err, oidcrp.CodeStoreUnavailable),
			errors.Is(err, oidcrp.CodeCookieKeysUnavailable), errors.Is(err, oidcrp.CodeCanceled):
			w.Header().Set("Retry-After", "30")
			http.Error(w, "not possible at the moment", http.StatusServiceUnavailable)
		case err != nil:
			slog.Warn("refresh failed", "error", err)
			http.Error(w, "the refresh failed", http.StatusBadGateway)
		default:
			writeSession(w, session)
		}
	})
}

// serve runs the server until ctx ends, and then lets pending requests finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return server.Shutdown(ctx)
	}
}
