// Command proconnect is a service with ProConnect sign-in: a public page with the
// button, a page for people who are signed in, a page that requires two factors, a page
// for public agents, and logout. At its start it prints what to register at the partner
// portal.
//
// It reads:
//
//	PROCONNECT_ENVIRONMENT               integration, production, integration-rie or production-rie
//	OIDC_CLIENT_ID, OIDC_CLIENT_SECRET   as the portal issued them
//	OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG    as chosen there: RS256 or ES256
//	OIDC_USERINFO_SIGNED_RESPONSE_ALG    the same for UserInfo; empty for plain JSON
//	OIDC_BASE_URL                        default http://localhost:8080
//	OIDC_COOKIE_KEYS                     32 random bytes as base64; default a new key at each start
//	LISTEN                               default 127.0.0.1:8080
//	SILENT                               1 to sign in people who have a session at ProConnect without a click
//
// and the other variables of oidcrp.ConfigFromEnv. docs/en/guide.md walks through it.
package main

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
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
	checklist(os.Stdout, cfg, client.Registration())
	server := &http.Server{
		Addr:              cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8080"),
		Handler:           client.Middleware(routes(client)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}

// config reads the environment, with defaults for a first try.
func config() (oidcrp.Config, error) {
	cfg, err := proconnect.ConfigFromEnv()
	if err != nil {
		return cfg, err
	}
	if cfg.Registration.RedirectURI == "" {
		cfg.BaseURL = cmp.Or(cfg.BaseURL, "http://localhost:8080")
	}
	if cfg.CookieKeys == nil {
		key := make([]byte, 32)
		rand.Read(key)
		cfg.CookieKeys = oidcrp.Keys(key)
	}
	return cfg, nil
}

// checklist writes what to register at the partner portal.
func checklist(w io.Writer, cfg oidcrp.Config, r oidcrp.Registration) {
	fmt.Fprintf(w, `Register this at https://partenaires.proconnect.gouv.fr, exactly as it is here:

  redirect URI               %s
  post-logout redirect URI   %s
  ID Token algorithm         %s
  UserInfo algorithm         %s
  scopes                     %s

for the environment whose issuer is %s
`,
		r.RedirectURI, r.PostLogoutRedirectURI,
		cmp.Or(r.IDTokenSignedResponseAlg, "RS256 or ES256; set it in OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG"),
		cmp.Or(r.UserInfoSignedResponseAlg, "the same; set it in OIDC_USERINFO_SIGNED_RESPONSE_ALG"),
		strings.Join(cfg.Scopes, " "), cfg.Issuer)
}

// menu lists the pages.
var menu = []struct{ Path, Title string }{
	{"/", "Accueil"},
	{"/agent", "Votre profil"},
	{"/sensitive", "Page sensible"},
	{"/public-agents", "Agents publics"},
}

func routes(client *oidcrp.Client) http.Handler {
	mux := http.NewServeMux()
	public := page("Cette page est publique\u00a0: tout le monde peut la lire.")
	if os.Getenv("SILENT") == "1" {
		public = client.SignInSilently(public)
	}
	mux.Handle("GET /{$}", public)
	mux.Handle("GET /agent", client.RequireLogin(
		page("Cette page est réservée aux personnes connectées. Voici ce que ProConnect dit de vous.")))
	mux.Handle("GET /sensitive", client.Require(proconnect.MFA())(
		page("Cette page demande une double authentification, et vous l’avez effectuée.")))
	mux.Handle("GET /public-agents", client.Require(proconnect.Role(contact, proconnect.RoleAgentPublic))(
		page("Cette page est réservée aux agents publics, et ProConnect vous reconnaît comme tel.")))
	return mux
}

//go:embed page.html
var pageHTML string

var pages = template.Must(template.New("page").Funcs(proconnect.ButtonFuncMap()).Parse(pageHTML))

// content is the data of the template: a text, and a person or the button.
type content struct {
	Path, Title, Text, Contact, Nonce string

	Menu   []struct{ Path, Title string }
	Button proconnect.ButtonOptions
	User   *proconnect.User // nil if nobody is signed in
	Facts  [][2]string
}

// page serves a page of the menu with this text.
func page(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := content{Path: r.URL.Path, Text: text, Contact: contact, Menu: menu, Nonce: rand.Text()}
		data.Button = proconnect.ButtonOptions{ReturnTo: "/agent", StyleInHead: true}
		for _, item := range menu {
			if item.Path == data.Path {
				data.Title = item.Title
			}
		}
		if session, ok := oidcrp.SessionFromContext(r.Context()); ok {
			user, err := proconnect.UserFrom(session)
			if err != nil {
				http.Error(w, "les informations de l’agent sont illisibles", http.StatusInternalServerError)
				return
			}
			data.User = &user
			if data.Path != "/" {
				data.Facts = facts(user, session)
			}
		}
		show(w, data)
	})
}

// facts returns what ProConnect attests about a person and their sign-in.
func facts(user proconnect.User, session *oidcrp.Session) [][2]string {
	publicAgent := "non"
	if user.IsPublicAgent() {
		publicAgent = "oui"
	}
	all := [][2]string{
		{"Prénoms", user.GivenName},
		{"Nom", user.UsualName},
		{"Adresse électronique", user.NormalizedEmail()},
		{"Organisation", user.OrganizationLabel},
		{"SIRET", user.SIRET},
		{"Agent public", publicAgent},
		{"Rôles", strings.Join(user.Roles, ", ")},
		{"Niveau d’authentification", session.ACR()},
		{"Clé du compte", user.AccountKey().String()}, // the address may change
	}
	var known [][2]string
	for _, fact := range all {
		if fact[1] != "" {
			known = append(known, fact)
		}
	}
	return known
}

func show(w http.ResponseWriter, data content) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	// No form-action: Chromium applies it to redirects too, and a logout passes through
	// the person's identity provider, whose address is not known here.
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; "+
		"style-src 'nonce-"+data.Nonce+"'")
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Cookie")
	if err := pages.Execute(w, data); err != nil {
		log.Print(err)
	}
}
