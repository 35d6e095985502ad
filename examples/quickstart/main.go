// Command quickstart shows a whole sign-in on one machine: an app with a public and a
// protected page, and its own provider, where anybody can sign in as anybody. It needs
// nothing but Go:
//
//	go run ./examples/quickstart
//
// It also prints the settings with which another app on this machine, such as
// examples/minimal, signs in at the same provider. With -listen 127.0.0.1:8081, it
// leaves port 8080 to that app.
//
// The provider does not authenticate people, so the program listens on loopback only.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "loopback `address` of the app; with port 0, a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := listenOnLoopback(*listen)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, listener, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves the app, with a provider for it, until ctx ends. It writes to out where
// they are.
func run(ctx context.Context, listener net.Listener, out io.Writer) error {
	provider, err := oidctest.Start(oidctest.Config{})
	if err != nil {
		return err
	}
	defer provider.Close()

	key := make([]byte, 32) // new at each start; a real app keeps its keys: see oidcrp.KeySource
	rand.Read(key)
	baseURL := "http://" + listener.Addr().String()
	client, err := oidcrp.New(oidcrp.Config{
		Issuer:       provider.Issuer(),
		ClientID:     oidctest.ClientID,
		ClientSecret: oidctest.ClientSecret,
		BaseURL:      baseURL,
		CookieKeys:   oidcrp.Keys(key),
	})
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.Handle("GET /profile", client.RequireLogin(http.HandlerFunc(profile)))
	mux.Handle("GET /payments", client.Require(oidcrp.ACR("eidas2"))(http.HandlerFunc(payments)))

	fmt.Fprintf(out, startText, baseURL, provider.Issuer(), oidctest.ClientID, oidctest.ClientSecret)
	return serve(ctx, listener, client.Middleware(mux))
}

// startText is printed at the start: the address, and the provider's settings.
const startText = `
  Open %s

  For another app on this machine, until this program stops:

export OIDC_ISSUER=%s
export OIDC_CLIENT_ID=%s OIDC_CLIENT_SECRET=%s

  Stop with Ctrl-C.

`

// listenOnLoopback refuses addresses that other machines can reach.
func listenOnLoopback(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%q is not a loopback address, and this program's provider lets anybody in", host)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil && port != "0" {
		log.Printf("%v; taking a free port instead", err)
		return net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	return listener, err
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// A view is the data of a page.
type view struct {
	Title, Text string
	SignedIn    bool
	Name        string
	Facts       [][2]string
}

func home(w http.ResponseWriter, r *http.Request) {
	show(w, r, view{
		Title: "A public page",
		Text:  "Everybody can read this page, signed in or not.",
	})
}

func profile(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	var claims struct {
		Email string `json:"email"`
	}
	if err := session.Claims(&claims); err != nil {
		http.Error(w, "the claims cannot be read", http.StatusInternalServerError)
		return
	}
	show(w, r, view{
		Title: "A protected page",
		Text:  "Only people who are signed in get here. This is what the provider says about you:",
		Facts: [][2]string{
			{"Account", session.Subject() + " at " + session.Issuer()},
			{"E-mail", claims.Email},
			{"Signed in", session.AuthTime().Format("15:04:05")},
			{"Assurance level", session.ACR()},
			{"Methods", fmt.Sprint(session.AMR())},
		},
	})
}

func payments(w http.ResponseWriter, r *http.Request) {
	show(w, r, view{
		Title: "A page that asks for more",
		Text:  "You got here because the provider attests the assurance level eidas2.",
	})
}

func show(w http.ResponseWriter, r *http.Request, v view) {
	if session, ok := oidcrp.SessionFromContext(r.Context()); ok {
		var claims struct {
			Name string `json:"name"`
		}
		_ = session.Claims(&claims) // the name is optional
		v.SignedIn, v.Name = true, claims.Name
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Add("Vary", "Cookie")
	if err := pageTemplate.Execute(w, v); err != nil {
		log.Print(err)
	}
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}
