// Command proconnect is a service with ProConnect sign-in. Register it at the
// partner portal first; the program prints the two URIs that must be registered
// there, exactly as they are.
//
// It reads:
//
//	PROCONNECT_ENVIRONMENT               integration, production, integration-rie or production-rie
//	OIDC_CLIENT_ID, OIDC_CLIENT_SECRET   what the portal gave
//	OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG    what was chosen there: RS256 or ES256
//	OIDC_USERINFO_SIGNED_RESPONSE_ALG    the same for UserInfo; empty for plain JSON
//	OIDC_BASE_URL                        default http://localhost:8080
//	OIDC_COOKIE_KEYS                     32 random bytes as base64; default new ones at each start
//	LISTEN                               default 127.0.0.1:8080
//	SILENT                               1 to sign in whoever has a session at ProConnect without a click
//
// and the other variables of oidcrp.ConfigFromEnv.
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
	"github.com/oidcrp/oidcrp/proconnect"
)

// contact is whom to ask for access.
const contact = "support@service.example"

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

// config is the environment's, with defaults for a first try.
func config() (oidcrp.Config, error) {
	cfg, err := proconnect.ConfigFromEnv()
	if err != nil {
		return cfg, err
	}
	if cfg.RedirectURI == "" {
		cfg.BaseURL = cmp.Or(cfg.BaseURL, "http://localhost:8080")
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
	public := http.Handler(http.HandlerFunc(home))
	if os.Getenv("SILENT") == "1" {
		public = proconnect.SignInSilently(client, public)
	}
	mux.Handle("GET /{$}", public)
	page := http.HandlerFunc(agent)
	mux.Handle("GET /agent", client.RequireLogin(page))
	mux.Handle("GET /sensitive", client.RequireLogin(page, proconnect.RequireMFA()))
	mux.Handle("GET /public-agents", client.RequireLogin(page,
		proconnect.Role(contact, proconnect.RoleAgentPublic)))
	return mux
}

var pages = template.Must(template.New("").Funcs(proconnect.ButtonFuncMap()).Parse(`<!doctype html>
<html lang="fr"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Service de démonstration</title>
<style>
:root{color-scheme:light dark}
body{max-width:40rem;margin:0 auto;padding:1rem;background:Canvas;font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;line-height:1.25}
li{margin:.5rem 0}
button{font:inherit}
</style>
{{proconnectButtonStyle ""}}</head><body><main>
<h1>Service de démonstration</h1>
{{with .User}}
<p>Bonjour {{.GivenName}} {{.UsualName}} ({{.NormalizedEmail}}).</p>
{{if .SIRET}}<p>Organisation : {{with .OrganizationLabel}}{{.}}, {{end}}SIRET {{.SIRET}}.</p>
{{end}}{{if .Roles}}<p>{{if .IsPublicAgent}}Agent public. {{end}}Rôles : {{range $i, $role := .Roles}}{{if $i}}, {{end}}{{$role}}{{end}}.</p>
{{end}}<p>Niveau d’authentification : {{$.ACR}}.</p>
<ul>
<li><a href="/sensitive">Page qui demande une double authentification</a></li>
<li><a href="/public-agents">Page réservée aux agents publics</a></li>
</ul>
<form method="post" action="/auth/logout"><button>Se déconnecter</button></form>
{{else}}
{{proconnectButton $.Button}}
{{end}}
</main></body></html>
`))

// content is what the template shows: a button, or a person.
type content struct {
	Button proconnect.ButtonOptions
	User   *proconnect.User
	ACR    string
}

func home(w http.ResponseWriter, r *http.Request) {
	if _, ok := oidcrp.SessionFromContext(r.Context()); ok {
		http.Redirect(w, r, "/agent", http.StatusFound)
		return
	}
	show(w, content{Button: proconnect.ButtonOptions{ReturnTo: "/agent", StyleInHead: true}})
}

func agent(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	user, err := proconnect.UserFrom(session)
	if err != nil {
		http.Error(w, "les informations de l’agent sont illisibles", http.StatusInternalServerError)
		return
	}
	show(w, content{User: &user, ACR: session.ACR()})
}

func show(w http.ResponseWriter, data content) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Add("Vary", "Cookie")
	if err := pages.Execute(w, data); err != nil {
		log.Print(err)
	}
}
