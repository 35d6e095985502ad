// Command group is an app with two providers, one for agents and one for citizens: a page
// to choose where to sign in, a page for both, a page for agents alone, and one logout. It
// runs its own providers, where anybody can sign in as anybody, and needs nothing but Go:
//
//	go run ./examples/group
//
// The providers do not authenticate people, so the program listens on loopback only.
package main

import (
	"context"
	"crypto/rand"
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
	port := flag.Int("port", 8080, "`port` on 127.0.0.1; 0 for a free one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, listener, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run serves the app, with its two providers, until ctx ends.
func run(ctx context.Context, listener net.Listener, out io.Writer) error {
	baseURL := "http://" + listener.Addr().String()
	key := make([]byte, 32) // new at each start; a real app keeps its keys: see oidcrp.KeySource
	rand.Read(key)
	var clients []*oidcrp.Client
	for _, prefix := range []string{"/auth/agents/", "/auth/citizens/"} {
		provider, err := oidctest.Start(oidctest.Config{})
		if err != nil {
			return err
		}
		defer provider.Close()
		client, err := oidcrp.New(oidcrp.Config{
			Issuer:       provider.Issuer(),
			ClientID:     oidctest.ClientID,
			ClientSecret: oidctest.ClientSecret,
			BaseURL:      baseURL,
			PathPrefix:   prefix, // its own for each
			CookieKeys:   oidcrp.Keys(key),
		})
		if err != nil {
			return err
		}
		clients = append(clients, client)
	}
	agents, citizens := clients[0], clients[1]
	group, err := oidcrp.NewGroup("/auth",
		oidcrp.Member{Client: agents, Name: "AgentConnect", Hint: "For people who work for a public service"},
		oidcrp.Member{Client: citizens, Name: "CitizenConnect", Hint: "For everybody else"},
	)
	if err != nil {
		return err
	}

	app := &app{group: group, agents: agents}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", app.page("Everybody can read this page."))
	mux.Handle("GET /dossiers", group.RequireLogin(app.page("Agents and citizens can read this page.")))
	mux.Handle("GET /decisions", agents.RequireLogin(app.page("Only agents can read this page.")))
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) { group.Logout(w, r, "/") })

	fmt.Fprintf(out, "\n  Open %s\n\n  Stop with Ctrl-C.\n\n", baseURL)
	return serve(ctx, listener, group.Middleware(mux))
}

// app holds what its pages need.
type app struct {
	group  *oidcrp.Group
	agents *oidcrp.Client
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Two providers</title>
<style>:root{color-scheme:light dark}body{max-width:40rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif}</style>
<nav><a href="/">Home</a> · <a href="/dossiers">Dossiers</a> · <a href="/decisions">Decisions</a></nav>
<h1>Two providers</h1>
<p>{{.Text}}</p>
{{if .Who}}<p>You are {{.Who}}, {{.Role}}.</p>
<form method="post" action="/logout"><button>Sign out</button></form>
{{else}}<p><a href="/auth?return_to=/dossiers">Sign in</a></p>{{end}}
</html>
`))

// page serves a page with this text, and who is signed in.
func (a *app) page(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := struct{ Text, Who, Role string }{Text: text}
		if session, ok := oidcrp.SessionFromContext(r.Context()); ok {
			data.Who, data.Role = session.Subject(), "a citizen"
			if a.group.Client(r) == a.agents {
				data.Role = "an agent"
			}
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Add("Vary", "Cookie")
		if err := pageTemplate.Execute(w, data); err != nil {
			log.Print(err)
		}
	})
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
