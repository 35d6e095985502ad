package oidcrp_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// startProvider starts a provider in this process, so that the examples run
// without a network. It signs alice in without a page.
func startProvider() *oidctest.Provider {
	provider, err := oidctest.Start(oidctest.Config{AutoLogin: "alice"})
	if err != nil {
		log.Fatal(err)
	}
	return provider
}

// startApp serves handler at an address of its own, which it needs to know
// beforehand, and returns that address.
func startApp(handler *http.Handler) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*handler).ServeHTTP(w, r)
	}))
}

// config is that of an app at baseURL whose provider is the one given.
func config(provider *oidctest.Provider, baseURL string) oidcrp.Config {
	key := make([]byte, 32)
	rand.Read(key)
	return oidcrp.Config{
		Issuer:       provider.Issuer(),
		ClientID:     oidctest.ClientID,
		ClientSecret: oidctest.ClientSecret,
		BaseURL:      baseURL,
		CookieKeys:   oidcrp.Keys(key), // new at each start; an app keeps its keys
		Logger:       slog.New(slog.DiscardHandler),
	}
}

// show visits a page and prints what it says.
func show(browser *http.Client, url string) {
	res, err := browser.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", res.Request.URL.Path, body)
}

func ExampleNew() {
	_, err := oidcrp.New(oidcrp.Config{
		Issuer:   "http://login.example.gouv.fr",
		ClientID: "dossiers",
		BaseURL:  "https://dossiers.example.gouv.fr",
	})
	fmt.Println(err)
	// Output:
	// oidcrp: config: config_invalid: Issuer "http://login.example.gouv.fr" must be https (http is for loopback hosts only)
	// ClientSecret is empty (for a public client, set Registration.TokenEndpointAuthMethod to "none")
	// CookieKeys is empty: give at least one key of 32 random bytes, with Keys or KeyFile
}

func ExampleClient_Middleware() {
	provider := startProvider()
	defer provider.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	client, err := oidcrp.New(config(provider, app.URL))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		session, ok := oidcrp.SessionFromContext(r.Context())
		if !ok {
			fmt.Fprint(w, "sign in at ", client.LoginURL(r.URL.Path))
			return
		}
		fmt.Fprint(w, "hello, ", session.Subject())
	})
	handler = client.Middleware(mux)

	browser := provider.Browser()
	show(browser, app.URL+"/news")
	show(browser, app.URL+"/auth/login?return_to=/news")
	// Output:
	// /news: sign in at /auth/login?return_to=%2Fnews
	// /news: hello, alice
}

func ExampleNewGroup() {
	agents, citizens := startProvider(), startProvider()
	defer agents.Close()
	defer citizens.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	var clients []*oidcrp.Client
	for _, member := range []struct {
		provider *oidctest.Provider
		prefix   string
	}{{agents, "/auth/agents/"}, {citizens, "/auth/citizens/"}} {
		cfg := config(member.provider, app.URL)
		cfg.PathPrefix = member.prefix
		client, err := oidcrp.New(cfg)
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, client)
	}
	group, err := oidcrp.NewGroup("/auth",
		oidcrp.Member{Client: clients[0], Name: "AgentConnect"},
		oidcrp.Member{Client: clients[1], Name: "CitizenConnect", Hint: "For everybody else"},
	)
	if err != nil {
		log.Fatal(err)
	}
	handler = group.Middleware(group.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := oidcrp.SessionFromContext(r.Context())
		fmt.Fprintln(w, session.Subject(), "is signed in at the first member:", group.Client(r) == clients[0])
	})))

	browser := agents.Browser()
	res, err := browser.Get(app.URL + "/dossiers") // shows the page to choose
	if err != nil {
		log.Fatal(err)
	}
	res.Body.Close()
	fmt.Println(res.Request.URL.RequestURI())
	show(browser, app.URL+clients[1].LoginURL("/dossiers"))
	// Output:
	// /auth?return_to=%2Fdossiers
	// /dossiers: alice is signed in at the first member: false
}

func ExampleClient_RequireLogin() {
	provider := startProvider()
	defer provider.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	client, err := oidcrp.New(config(provider, app.URL))
	if err != nil {
		log.Fatal(err)
	}
	handler = client.Middleware(client.RequireLogin(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			session, _ := oidcrp.SessionFromContext(r.Context())
			fmt.Fprint(w, "the dossiers of ", session.Subject())
		})))

	// A page load goes to the provider and comes back.
	show(provider.Browser(), app.URL+"/dossiers/")

	// A script gets the address of the login.
	request, err := http.NewRequest("GET", app.URL+"/dossiers/", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Sec-Fetch-Mode", "cors")
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	fmt.Println(res.Status, res.Header.Get("Content-Type"))
	// Output:
	// /dossiers/: the dossiers of alice
	// 401 Unauthorized application/problem+json
}

func ExampleSession_Claims() {
	provider := startProvider()
	defer provider.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	client, err := oidcrp.New(config(provider, app.URL))
	if err != nil {
		log.Fatal(err)
	}
	handler = client.Middleware(client.RequireLogin(http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			session, _ := oidcrp.SessionFromContext(r.Context())
			var who struct {
				GivenName string `json:"given_name"`
				Email     string `json:"email"`
			}
			if err := session.Claims(&who); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprintf(w, "%s <%s>", who.GivenName, who.Email)
		})))

	show(provider.Browser(), app.URL+"/me")
	// Output:
	// /me: Alice <alice@example.org>
}

func ExampleACR() {
	provider := startProvider()
	defer provider.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	client, err := oidcrp.New(config(provider, app.URL))
	if err != nil {
		log.Fatal(err)
	}
	level := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := oidcrp.SessionFromContext(r.Context())
		fmt.Fprint(w, session.ACR())
	})
	mux := http.NewServeMux()
	mux.Handle("/read", client.RequireLogin(level))
	mux.Handle("/sign", client.Require(oidcrp.ACR("eidas2", "eidas3"))(level))
	handler = client.Middleware(mux)

	// The second page asks the provider for a stronger login.
	browser := provider.Browser()
	show(browser, app.URL+"/read")
	show(browser, app.URL+"/sign")
	// Output:
	// /read: eidas1
	// /sign: eidas2
}

func ExampleMaxAge() {
	client, err := oidcrp.New(oidcrp.Config{
		Issuer:       "https://login.example.gouv.fr",
		ClientID:     "dossiers",
		ClientSecret: "secret",
		BaseURL:      "https://dossiers.example.gouv.fr",
		CookieKeys:   oidcrp.KeyFile("/run/secrets/cookie-keys"),
	})
	if err != nil {
		log.Fatal(err)
	}
	sign := http.NotFoundHandler()
	// People who sign have authenticated within the last five minutes.
	http.Handle("/sign", client.Require(oidcrp.MaxAge(5*time.Minute))(sign))
}

func ExampleTrace() {
	provider := startProvider()
	defer provider.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	cfg := config(provider, app.URL)
	cfg.Trace = oidcrp.Trace{
		LoginSucceeded: func(_ context.Context, ev oidcrp.LoginEvent) {
			fmt.Println("signed in:", ev.Subject, ev.ACR)
		},
		LoginRefused: func(_ context.Context, ev oidcrp.LoginEvent) {
			fmt.Println("refused:", string(ev.Code))
		},
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	handler = client.Middleware(http.NotFoundHandler())

	for range 2 {
		res, err := provider.Browser().Get(app.URL + "/auth/login")
		if err != nil {
			log.Fatal(err)
		}
		res.Body.Close()
		provider.Misbehave(fault.IDTokenBadSignature)
	}
	// Output:
	// signed in: alice eidas1
	// refused: token_refused
}

// Callback is the middleware's callback handler without its answer, for an app
// that makes its answers itself.
func ExampleClient_Callback() {
	provider := startProvider()
	defer provider.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	cfg := config(provider, app.URL)
	cfg.Registration.RedirectURI = app.URL + "/oidc/back"
	client, err := oidcrp.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/oidc/start", func(w http.ResponseWriter, r *http.Request) {
		client.Login(w, r, &oidcrp.AuthOptions{UILocales: []string{"fr"}})
	})
	mux.HandleFunc("/oidc/back", func(w http.ResponseWriter, r *http.Request) {
		session, err := client.Callback(r.Context(), r)
		if err != nil {
			location, err := client.RecoverLogin(w, r, err)
			if err != nil {
				var refusal *oidcrp.ProviderError
				if errors.As(err, &refusal) {
					fmt.Fprint(w, "the provider says ", refusal.ErrorCode)
					return
				}
				client.ServeError(w, r, err)
				return
			}
			http.Redirect(w, r, location, http.StatusSeeOther)
			return
		}
		if err := client.StartSession(w, r, session); err != nil {
			client.ServeError(w, r, err)
			return
		}
		fmt.Fprint(w, "come in, ", session.Subject())
	})
	handler = mux

	browser := provider.Browser()
	show(browser, app.URL+"/oidc/start")
	provider.Misbehave(fault.AuthorizationAccessDenied)
	show(provider.Browser(), app.URL+"/oidc/start")
	// Output:
	// /oidc/back: come in, alice
	// /oidc/back: the provider says access_denied
}

func ExampleConfigFromEnv() {
	// OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_BASE_URL and
	// OIDC_COOKIE_KEYS are the usual ones.
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	cfg.Sessions.IdleTimeout = 30 * time.Minute
	if _, err := oidcrp.New(cfg); err != nil {
		log.Fatal(err)
	}
}

// OnLogin sets up the account of everybody who signs in, or refuses.
func ExampleRefuse() {
	provider := startProvider()
	defer provider.Close()
	var handler http.Handler
	app := startApp(&handler)
	defer app.Close()

	accounts := map[string]bool{"bruno": true}
	cfg := config(provider, app.URL)
	cfg.OnLogin = func(_ context.Context, _ *http.Request, s *oidcrp.Session) error {
		if accounts[s.Subject()] {
			return nil
		}
		return oidcrp.Refuse("no account", func(language string) string {
			if language == "fr" {
				return "Demandez un compte au secrétariat."
			}
			return "Ask the office for an account."
		})
	}
	cfg.Pages.Handler = func(w http.ResponseWriter, _ *http.Request, p *oidcrp.Page) {
		w.WriteHeader(p.Status)
		fmt.Fprint(w, p.Title, ". ", p.Detail)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	handler = client.Middleware(http.NotFoundHandler())

	show(provider.Browser(), app.URL+"/auth/login")
	// Output:
	// /auth/callback: You cannot sign in to this service. Ask the office for an account.
}
