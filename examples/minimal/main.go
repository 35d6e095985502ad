// Command minimal is the smallest app with sign-in. Configure it with
// OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_BASE_URL and
// OIDC_COOKIE_KEYS.
package main

import (
	"fmt"
	"log"
	"net/http"

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
	mux := http.NewServeMux()
	mux.HandleFunc("/", home)
	mux.Handle("/dossiers/", client.RequireLogin(http.HandlerFunc(dossiers)))
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", client.Middleware(mux)))
}

func home(w http.ResponseWriter, r *http.Request) {
	_, signedIn := oidcrp.SessionFromContext(r.Context())
	fmt.Fprintln(w, "A public page. Signed in:", signedIn)
}

func dossiers(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	var who struct {
		Email string `json:"email"`
	}
	if err := session.Claims(&who); err != nil {
		http.Error(w, "unreadable claims", http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "Dossiers of", who.Email)
}
