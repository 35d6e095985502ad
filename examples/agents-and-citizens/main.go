// Command agents-and-citizens is a service where agents sign in with ProConnect and
// citizens with FranceConnect: a page to choose, a page for both, a page for each of them,
// and one logout. It runs stand-ins for both in its own process, where anybody can sign in
// as anybody, and needs nothing but Go:
//
//	go run ./examples/agents-and-citizens
//
// A real service has the same program without the two functions standInFor…: its Configs
// keep the issuer of their environment, and the client ids and secrets are those that
// ProConnect and FranceConnect issued. The stand-ins do not authenticate people, so the
// program listens on loopback only.
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
	"github.com/oidcrp/oidcrp/franceconnect"
	"github.com/oidcrp/oidcrp/proconnect"
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

// run serves the service, with its stand-ins, until ctx ends.
func run(ctx context.Context, listener net.Listener, out io.Writer) error {
	proconnects, err := standInForProConnect()
	if err != nil {
		return err
	}
	defer proconnects.Close()
	franceconnects, err := standInForFranceConnect()
	if err != nil {
		return err
	}
	defer franceconnects.Close()

	baseURL := "http://" + listener.Addr().String()
	agentsConfig := proconnect.Integration.Config()
	agentsConfig.Issuer = proconnects.Issuer() // a real service keeps the environment's
	agentsConfig.PathPrefix = "/auth/agents/"  // its own for each provider
	citizensConfig := franceconnect.Integration.Config()
	citizensConfig.Issuer = franceconnects.Issuer()
	citizensConfig.PathPrefix = "/auth/citizens/"
	citizensConfig.Scopes = []string{"openid", "given_name", "family_name", "preferred_username", "birthdate"}

	key := make([]byte, 32) // new at each start; a real app keeps its keys: see oidcrp.KeySource
	rand.Read(key)
	for _, cfg := range []*oidcrp.Config{&agentsConfig, &citizensConfig} {
		cfg.ClientID, cfg.ClientSecret = clientID, clientSecret
		cfg.BaseURL, cfg.CookieKeys = baseURL, oidcrp.Keys(key)
		cfg.Registration.IDTokenSignedResponseAlg, cfg.Registration.UserInfoSignedResponseAlg = "ES256", "ES256"
	}
	handler, err := newService(agentsConfig, citizensConfig)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n  Open %s\n\n  Stop with Ctrl-C.\n\n", baseURL)
	return serve(ctx, listener, handler)
}

// A service is the app, with what its pages need.
type service struct {
	group            *oidcrp.Group
	agents, citizens *oidcrp.Client
}

// newService makes the app from the configurations of its two providers.
func newService(agents, citizens oidcrp.Config) (http.Handler, error) {
	s := new(service)
	var err error
	if s.agents, err = oidcrp.New(agents); err != nil {
		return nil, err
	}
	if s.citizens, err = oidcrp.New(citizens); err != nil {
		return nil, err
	}
	s.group, err = oidcrp.NewGroup("/auth",
		oidcrp.Member{Client: s.citizens, Name: "FranceConnect", Hint: "Pour les usagers",
			Button: franceconnect.Integration.MemberButton},
		oidcrp.Member{Client: s.agents, Name: "ProConnect", Hint: "Pour les agents publics",
			Button: proconnect.MemberButton},
	)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.page("Accueil", "Cette page est publique."))
	mux.Handle("GET /messages", s.group.RequireLogin(s.page("Messages", "Cette page est ouverte aux usagers et aux agents.")))
	mux.Handle("GET /dossier", s.citizens.RequireLogin(s.page("Mon dossier", "Cette page est réservée aux usagers.")))
	mux.Handle("GET /instruction", s.agents.RequireLogin(s.page("Instruction", "Cette page est réservée aux agents.")))
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) { s.group.Logout(w, r, "/") })
	return s.group.Middleware(mux), nil
}

// A person is who is signed in. An agent and a citizen have claims of different names.
type person struct{ Role, Name, Detail, Account string }

// person returns who is signed in, nil if nobody is.
func (s *service) person(r *http.Request) (*person, error) {
	session, ok := oidcrp.SessionFromContext(r.Context())
	if !ok {
		return nil, nil
	}
	if s.group.Client(r) == s.agents {
		agent, err := proconnect.UserFrom(session)
		return &person{"agent", agent.GivenName + " " + agent.UsualName, agent.OrganizationLabel, agent.AccountKey().String()}, err
	}
	citizen, err := franceconnect.UserFrom(session)
	return &person{"usager", citizen.GivenName + " " + citizen.DisplayName(), "né(e) le " + citizen.Birthdate,
		citizen.AccountKey().String()}, err
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page serves a page with this title and text, and who is signed in.
func (s *service) page(title, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := s.person(r)
		if err != nil {
			http.Error(w, "les informations de la personne sont illisibles", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "private, no-store")
		w.Header().Add("Vary", "Cookie")
		data := struct {
			Title, Text, Path string
			Person            *person
		}{title, text, r.URL.Path, who}
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
