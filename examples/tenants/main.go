// Command tenants serves one app for several customers, each with a host name and a
// provider of its own that a database holds. Clients are made when they are needed and
// forgotten when they are not: see tenants.go, which is meant to be copied.
//
//	go run ./examples/tenants
//
// It starts two providers, where anybody can sign in as anybody, so it listens on
// loopback only. Open the addresses that it prints; browsers find *.localhost on this
// machine.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	rows := make(map[string]Tenant) // in place of a database
	for _, name := range []string{"north", "south"} {
		host := name + ".localhost:" + port
		provider, err := oidctest.Start(oidctest.Config{Clients: []oidctest.Client{{
			ID: name, Secret: oidctest.ClientSecret,
			RedirectURIs:           []string{"http://" + host + "/auth/callback"},
			PostLogoutRedirectURIs: []string{"http://" + host + "/auth/logout/callback"},
		}}})
		if err != nil {
			log.Fatal(err)
		}
		defer provider.Close()
		rows[host] = Tenant{Host: host, BaseURL: "http://" + host, Issuer: provider.Issuer(),
			ClientID: name, ClientSecret: oidctest.ClientSecret}
		fmt.Println("http://" + host + "/")
	}
	log.Print(http.Serve(listener, app(func(_ context.Context, host string) (Tenant, error) {
		tenant, ok := rows[host]
		if !ok {
			return Tenant{}, ErrNoTenant
		}
		return tenant, nil
	}, 1000)))
}

// app returns the app of all tenants, which keeps at most clients of their Clients.
func app(lookup func(context.Context, string) (Tenant, error), clients int) http.Handler {
	key := make([]byte, 32) // new at each start; a real app keeps its keys: see oidcrp.KeySource
	rand.Read(key)
	keys, store := oidcrp.Keys(key), oidcrp.NewMemoryStore(0) // redisstore for several replicas
	tenants := &Tenants{
		Lookup: lookup, Max: clients, Fresh: time.Minute,
		Config: func(t Tenant) oidcrp.Config {
			return oidcrp.Config{
				Issuer: t.Issuer, ClientID: t.ClientID, ClientSecret: t.ClientSecret, BaseURL: t.BaseURL,
				CookieKeys: keys,
				// Sessions stay in cookies; the Store knows which of them were ended. The
				// default of CacheBytes, 8 MiB, is much for each of a thousand Clients.
				Store: store, Sessions: oidcrp.Sessions{InCookies: true, CacheBytes: 256 << 10},
				Pages: oidcrp.Pages{AppName: t.Host},
			}
		},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.Handle("GET /profile", RequireLogin(http.HandlerFunc(profile)))
	return tenants.Middleware(mux)
}

func home(w http.ResponseWriter, r *http.Request) {
	_, signedIn := oidcrp.SessionFromContext(r.Context())
	fmt.Fprintf(w, "The public page of %s. Signed in: %t. See /profile.\n", r.Host, signedIn)
}

func profile(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	// The account is the issuer and the subject together: two tenants may have one "alice".
	fmt.Fprintf(w, "%s is signed in as %s of %s\n", r.Host, session.Subject(), session.Issuer())
}
