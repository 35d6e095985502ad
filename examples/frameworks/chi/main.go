// Command chi is the README's app on chi. Configure it with OIDC_ISSUER,
// OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_BASE_URL, OIDC_COOKIE_KEYS, and with
// OIDC_SCOPES="openid email siret" for the claims that it reads.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/oidcrp/oidcrp"
)

func main() {
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	client, err := oidcrp.New(cfg) // validates the configuration; makes no network calls
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", newHandler(client)))
}

// An app holds what its handlers share.
type app struct {
	client     *oidcrp.Client
	signatures atomic.Int64
}

func newHandler(client *oidcrp.Client) http.Handler {
	a := &app{client: client}
	r := chi.NewRouter()
	// The logger comes second: a login's callback URL contains a code.
	r.Use(client.Middleware, middleware.Logger)

	r.Get("/", home)
	r.Route("/dossiers", func(r chi.Router) {
		r.Use(client.RequireLogin)
		r.Get("/", dossiers)
		r.Get("/{id}", a.dossier)
		r.Get("/events", events)
	})
	twoFactors := r.With(client.Require(oidcrp.ACR("eidas2")))
	twoFactors.Get("/sign", a.signed)
	twoFactors.Post("/sign", a.sign)
	return r
}

func home(w http.ResponseWriter, r *http.Request) {
	_, signedIn := oidcrp.SessionFromContext(r.Context())
	fmt.Fprintln(w, "A public page. Signed in:", signedIn)
}

func dossiers(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "Dossiers of", emailOf(r.Context()))
}

func (a *app) dossier(w http.ResponseWriter, r *http.Request) {
	id := chi.URLParam(r, "id")
	if !a.mayRead(r, id) {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintln(w, "Dossier", id)
}

// events streams server-sent events until the browser closes the page.
func events(w http.ResponseWriter, r *http.Request) {
	stream := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	// A stream outlasts the server's WriteTimeout.
	if err := stream.SetWriteDeadline(time.Time{}); err != nil {
		http.Error(w, "streaming is not supported", http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "data: for %s\n\n", emailOf(r.Context()))
	if err := stream.Flush(); err != nil {
		log.Print(err)
	}
	<-r.Context().Done()
}

func (a *app) signed(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "Signatures:", a.signatures.Load())
}

func (a *app) sign(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "Signatures:", a.signatures.Add(1))
}

// siretOf is the organisation that each dossier belongs to.
var siretOf = map[string]string{"12": "13002526500013", "13": "21750001600019"}

// mayRead reports whether r comes from the organisation that the dossier belongs
// to: a rule that depends on more than the route.
func (a *app) mayRead(r *http.Request, id string) bool {
	siret, ok := siretOf[id]
	if !ok {
		return false
	}
	_, err := a.client.Check(r, oidcrp.Claim("siret", siret))
	return err == nil
}

// emailOf returns the e-mail address of the person who is signed in, or "".
func emailOf(ctx context.Context) string {
	var claims struct {
		Email string `json:"email"`
	}
	if session, ok := oidcrp.SessionFromContext(ctx); ok {
		_ = session.Claims(&claims) // without a readable address, show none
	}
	return claims.Email
}
