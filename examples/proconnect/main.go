// Command proconnect is a service with ProConnect sign-in, in its integration
// environment. Register it at the partner portal first; the program prints the
// two URIs that must be registered there, exactly as they are.
//
// It reads:
//
//	OIDC_CLIENT_ID, OIDC_CLIENT_SECRET   what the portal gave
//	OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG    what was chosen there: RS256 or ES256
//	OIDC_USERINFO_SIGNED_RESPONSE_ALG    the same for UserInfo; empty for plain JSON
//	OIDC_BASE_URL                        default http://localhost:8080
//	OIDC_COOKIE_KEYS                     32 random bytes as base64; default new ones at each start
//	OIDC_ISSUER                          default the integration environment on the Internet
//	LISTEN                               default 127.0.0.1:8080
package main

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/oidcrp/oidcrp"
)

// integration is ProConnect's integration environment on the Internet. There
// is no slash at its end.
const integration = "https://fca.integ01.dev-agentconnect.fr/api/v2"

// twoFactors are the levels that ProConnect gives a sign-in with two factors.
// It matches exactly, so all of them are named.
var twoFactors = oidcrp.ACR("eidas0-mfa", "eidas1-mfa", "eidas2", "eidas3")

func main() {
	cfg, err := config()
	if err != nil {
		log.Fatal(err)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Register these two URIs:\n  redirect     %s\n  post-logout  %s\n",
		cmp.Or(cfg.RedirectURI, cfg.BaseURL+"/auth/callback"),
		cmp.Or(cfg.PostLogoutRedirectURI, cfg.BaseURL+"/auth/logout/callback"))
	server := &http.Server{
		Addr:              cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8080"),
		Handler:           client.Middleware(routes(client)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}

// config is the environment's, with what ProConnect asks of every client.
func config() (oidcrp.Config, error) {
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		return cfg, err
	}
	cfg.Issuer = cmp.Or(cfg.Issuer, integration)
	if cfg.RedirectURI == "" {
		cfg.BaseURL = cmp.Or(cfg.BaseURL, "http://localhost:8080")
	}
	cfg.TokenEndpointAuthMethod = cmp.Or(cfg.TokenEndpointAuthMethod, "client_secret_post")
	if cfg.Scopes == nil {
		// ProConnect knows no profile scope; every claim has its own.
		cfg.Scopes = []string{"openid", "given_name", "usual_name", "email", "uid", "siret", "idp_id", "roles", "organization_label"}
	}
	// ProConnect attests acr and amr only when it is asked to.
	cfg.AuthOptions.Claims = &oidcrp.ClaimsRequest{
		IDToken: map[string]*oidcrp.ClaimRequest{"acr": nil, "amr": nil},
	}
	if cfg.CookieKeys == nil {
		key := make([]byte, 32)
		rand.Read(key)
		cfg.CookieKeys = [][]byte{key}
	}
	return cfg, nil
}

func routes(client *oidcrp.Client) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", home)
	mux.Handle("GET /agent", client.RequireLogin(http.HandlerFunc(agent)))
	mux.Handle("GET /sensitive", client.RequireLogin(http.HandlerFunc(agent), twoFactors))
	return mux
}

// A user is what ProConnect says of an agent. There is no family_name.
type user struct {
	GivenName         string   `json:"given_name"`
	UsualName         string   `json:"usual_name"`
	Email             string   `json:"email"`
	SIRET             string   `json:"siret"`
	OrganizationLabel string   `json:"organization_label"`
	Roles             []string `json:"roles"`
}

var pages = template.Must(template.New("").Parse(`<!doctype html>
<html lang="fr"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Service de démonstration</title></head><body><main>
<h1>Service de démonstration</h1>
{{if .}}
<p>Bonjour {{.User.GivenName}} {{.User.UsualName}} ({{.User.Email}}), {{.User.OrganizationLabel}} {{.User.SIRET}}.</p>
<p>Niveau d’authentification : {{.ACR}}. Rôles : {{range .User.Roles}}{{.}} {{end}}</p>
<p><a href="/sensitive">Page qui demande une double authentification</a></p>
<form method="post" action="/auth/logout"><button>Se déconnecter</button></form>
{{else}}
<form method="post" action="/auth/login?return_to=/agent"><button>S’identifier avec ProConnect</button></form>
<p><a href="https://www.proconnect.gouv.fr/" target="_blank" rel="noopener noreferrer"
 title="Qu’est-ce que ProConnect ? - nouvelle fenêtre">Qu’est-ce que ProConnect ?</a></p>
{{end}}
</main></body></html>
`))

func home(w http.ResponseWriter, r *http.Request) {
	if _, ok := oidcrp.SessionFromContext(r.Context()); ok {
		http.Redirect(w, r, "/agent", http.StatusFound)
		return
	}
	show(w, nil)
}

func agent(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	var u user
	if err := session.Claims(&u); err != nil {
		http.Error(w, "les informations de l’agent sont illisibles", http.StatusInternalServerError)
		return
	}
	show(w, map[string]any{"User": u, "ACR": session.ACR()})
}

func show(w http.ResponseWriter, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Add("Vary", "Cookie")
	if err := pages.Execute(w, data); err != nil {
		log.Print(err)
	}
}
