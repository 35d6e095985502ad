package interop

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	pc "github.com/oidcrp/oidcrp/proconnect"
)

// ownPages is an app and its provider, for the pages of the library that it takes some
// misfortune to see.
type ownPages struct {
	base, other string // the app, and a site of somebody else
	provider    *oidctest.Provider
	store       *stuckStore
	posted      atomic.Int64 // logouts that the provider got by POST
	led         atomic.Int64 // visits of the browser that stays
	stays       atomic.Bool  // the browser stays on a page that leads on by itself
	refused     atomic.Bool  // OnLogin refuses everybody
	sticks      bool         // the store is stuck from the logout on
}

// stuckStore is a Store that deletes nothing while it is stuck.
type stuckStore struct {
	oidcrp.Store
	stuck atomic.Bool
}

func (s *stuckStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.stuck.Load() {
		return errors.New("stuck")
	}
	return s.Store.Set(ctx, key, value, ttl)
}

func (s *stuckStore) Delete(ctx context.Context, key string) error {
	if s.stuck.Load() {
		return errors.New("stuck")
	}
	return s.Store.Delete(ctx, key)
}

// peopleOfPages are alice, "large", who has a full session, and "groups", who has too much for one.
func peopleOfPages() []oidctest.Persona {
	people := oidctest.DefaultPersonas()[:1]
	// A long URL in the ID Token makes a long logout.
	people[0].Claims["picture"] = "https://app.example/" + strings.Repeat("a", 2000)
	var groups []string
	for i := range 200 {
		groups = append(groups, fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i)}))) // does not compress
	}
	for sub, n := range map[string]int{"large": 25, "groups": 200} {
		people = append(people, oidctest.Persona{Subject: sub, Name: sub, Claims: map[string]any{"groups": groups[:n]}})
	}
	return people
}

func newOwnPages(t testing.TB, inStore bool) *ownPages {
	t.Helper()
	p := &ownPages{store: &stuckStore{Store: oidcrp.NewMemoryStore(0)}}
	p.provider = oidctest.NewServer(t, oidctest.Config{Personas: peopleOfPages()})
	p.provider.Handle(oidctest.EndpointEndSession, p.endSession)
	var handler http.Handler
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(app.Close)
	p.base = app.URL
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `<!doctype html><form method="post" action="%s/me"><button>Win a car</button></form>`, p.base)
	}))
	t.Cleanup(other.Close)
	p.other = strings.Replace(other.URL, "127.0.0.1", "localhost", 1)

	cfg := oidcrp.Config{
		Issuer: p.provider.Issuer(), ClientID: oidctest.ClientID, ClientSecret: oidctest.ClientSecret,
		BaseURL: p.base, CookieKeys: oidcrp.Keys(make([]byte, 32)), Logger: slog.New(slog.DiscardHandler),
		Pages: oidcrp.Pages{AppName: "Dossiers", Contact: "help@dossiers.example"},
	}
	cfg.Scopes = []string{"openid", "profile", "email", "groups"}
	cfg.Login.Claims = &oidcrp.ClaimsRequest{IDToken: map[string]*oidcrp.ClaimRequest{"picture": nil}}
	cfg.OnLogin = func(context.Context, *http.Request, *oidcrp.Session) error {
		if p.refused.Load() {
			return oidcrp.Refuse("no account", nil)
		}
		return nil
	}
	if inStore {
		cfg.Store = p.store
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	handler = client.Middleware(p.routes(client))
	return p
}

func (p *ownPages) routes(client *oidcrp.Client) http.Handler {
	show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/long/") && p.stays.Load() {
			p.led.Add(1)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		session, _ := oidcrp.SessionFromContext(r.Context())
		fmt.Fprintf(w, `<!doctype html><p>Page of %s<form method="post" action="/auth/logout"><button>out</button></form>`, session.Subject())
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "Start page") })
	mux.Handle("/me", client.RequireLogin(show))
	mux.Handle("/long/", client.RequireLogin(show))
	mux.Handle("/admin", client.Require(oidcrp.Claim("role", "admin"))(show))
	return mux
}

// endSession is the provider's end of a logout.
func (p *ownPages) endSession(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		p.posted.Add(1)
	}
	if p.stays.Load() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(w, r, r.FormValue("post_logout_redirect_uri")+"?state="+r.FormValue("state"), http.StatusSeeOther)
}

// signIn opens a page and signs in.
func (p *ownPages) signIn(b *tab, path, sub string) {
	b.t.Helper()
	b.open(p.base + path)
	b.click(`button[name="persona"][value="` + sub + `"]`)
}

// signOut signs in and presses the button of the app.
func (p *ownPages) signOut(b *tab, sub string) {
	b.t.Helper()
	p.signIn(b, "/me", sub)
	b.shows(p.base+"/me", "Page of "+sub)
	p.store.stuck.Store(p.sticks)
	b.click("button")
}

// rarePages are how a person gets to a page, where it is, what it says in English and in French, and
// how many elements the keyboard reaches on it.
var rarePages = []struct {
	name     string
	inStore  bool
	reach    func(p *ownPages, b *tab)
	path     string
	texts    [2]string
	elements int
}{
	{"session too large", false, func(p *ownPages, b *tab) { p.signIn(b, "/me", "groups") },
		"/auth/callback", [2]string{"Trying again does not help", "Réessayer n’y changera rien"}, 2},
	{"login refused", false, func(p *ownPages, b *tab) { p.refused.Store(true); p.signIn(b, "/me", "alice") },
		"/auth/callback", [2]string{"Sign in with another account", "Se connecter avec un autre compte"}, 3},
	{"requirement unmet", false, func(p *ownPages, b *tab) { p.signIn(b, "/admin", "alice") },
		"/admin", [2]string{"You may not open this page", "Vous ne pouvez pas accéder"}, 3},
	{"requirement unmet by a session", false, func(p *ownPages, b *tab) {
		p.signIn(b, "/me", "alice")
		b.shows(p.base+"/me", "Page of alice")
		b.open(p.base + "/admin")
	}, "/admin", [2]string{"You may not open this page", "Vous ne pouvez pas accéder"}, 3},
	{"cross origin", false, func(p *ownPages, b *tab) { b.open(p.other); b.click("button") },
		"/me", [2]string{"This request was refused", "Cette demande a été refusée"}, 2},
	{"no session", false, func(p *ownPages, b *tab) {
		b.open(p.base + "/")
		b.eval(`form = document.createElement('form'), form.method = 'post', form.action = '/me', document.body.append(form), form.submit(), ''`)
	}, "/me", [2]string{"You need to sign in", "Vous devez vous connecter"}, 3},
	{"sign out", false, func(p *ownPages, b *tab) {
		p.signIn(b, "/me", "large")
		b.shows(p.base+"/me", "Page of large")
		b.open(p.base + "/auth/logout?return_to=/")
	}, "/auth/logout", [2]string{"Do you want to sign out", "Voulez-vous vous déconnecter"}, 2},
	{"sign out at provider", false, func(p *ownPages, b *tab) { p.signOut(b, "alice") },
		"/auth/logout", [2]string{"Signing you out", "Déconnexion en cours"}, 1},
	{"sign out incomplete", true, func(p *ownPages, b *tab) { p.sticks = true; p.signOut(b, "large") },
		"/auth/logout/callback", [2]string{"Signing out is not complete", "Votre déconnexion n’est pas terminée"}, 2},
	{"continue", false, func(p *ownPages, b *tab) { p.signIn(b, "/long/?"+strings.Repeat("0123456789", 180), "large") },
		"/auth/callback", [2]string{"You are being redirected", "Redirection en cours"}, 1},
}

// TestRarePagesAreAccessible: the library's own pages that TestServiceIsAccessible does not meet.
func TestRarePagesAreAccessible(t *testing.T) {
	t.Parallel()
	chromium := newChromium(t)
	for _, page := range rarePages {
		for i, language := range []string{"en", "fr"} {
			t.Run(page.name+" "+language, func(t *testing.T) {
				p, b := newOwnPages(t, page.inStore), chromium.profile(t)
				b.prefer(language)
				p.stays.Store(page.path != "/auth/logout/callback")
				page.reach(p, b)
				b.shows(p.base+page.path, page.texts[i])
				if got := b.eval("document.documentElement.lang"); got != language {
					t.Errorf("the page is in %q", got)
				}
				b.wantAccessible(page.name + " " + language)
				b.wantFocusRings(page.name+" "+language, page.elements)
			})
		}
	}
}

// newChoice serves the page of a Group with every kind of member: an official button, a logo,
// and a name alone, which is long.
func newChoice(t testing.TB) (base string) {
	t.Helper()
	var handler http.Handler
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(app.Close)
	logo := []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="#000091"/></svg>`)
	members := []oidcrp.Member{
		{Name: "ProConnect", Hint: "Agents publics", Button: pc.MemberButton},
		{Name: "CitizenConnect", Hint: "Particuliers", Logo: logo},
		{Name: "Centre-interdepartemental-de-gestion-de-la-petite-couronne"},
	}
	for i := range members {
		client, err := oidcrp.New(oidcrp.Config{
			Issuer: "https://login.example", ClientID: "app", ClientSecret: "secret", BaseURL: app.URL,
			PathPrefix: fmt.Sprintf("/auth/%d/", i), CookieKeys: oidcrp.Keys(make([]byte, 32)), Logger: slog.New(slog.DiscardHandler),
			Pages: oidcrp.Pages{AppName: "Dossiers"},
		})
		if err != nil {
			t.Fatal(err)
		}
		members[i].Client = client
	}
	group, err := oidcrp.NewGroup("/auth", members...)
	if err != nil {
		t.Fatal(err)
	}
	handler = group.Middleware(group.RequireLogin(http.NotFoundHandler()))
	return app.URL
}

// TestChoiceIsAccessible: the page of a Group where a person chooses how to sign in.
func TestChoiceIsAccessible(t *testing.T) {
	t.Parallel()
	chromium, base := newChromium(t), newChoice(t)
	for language, texts := range map[string][4]string{
		"en": {"Choose how to sign in", "Sign in with ProConnect", "Sign in with CitizenConnect", "Home page"},
		"fr": {"Choisissez votre moyen de connexion", "S'identifier avec ProConnect", "Se connecter avec CitizenConnect", "Page d’accueil"},
	} {
		t.Run(language, func(t *testing.T) {
			b := chromium.profile(t)
			b.prefer(language)
			b.open(base + "/dossiers")
			b.shows(base+"/auth?return_to=%2Fdossiers", texts[0])
			links := b.names("link")
			for _, name := range texts[1:] {
				if !slices.Contains(links, name) {
					t.Errorf("no link %q among %q", name, links)
				}
			}
			if got := b.eval("String(document.querySelector('.choices img').naturalWidth > 0)"); got != "true" {
				t.Error("the logo is not shown")
			}
			b.wantAccessible("choice " + language)
			b.wantFocusRings("choice "+language, 5)
			b.wantEdge("choice "+language, ".choices .button")
		})
	}
}

// TestLongLogoutPostsItself: with scripts by itself, without by the button, from the keyboard.
func TestLongLogoutPostsItself(t *testing.T) {
	t.Parallel()
	chromium := newChromium(t)
	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts %v", scripts), func(t *testing.T) {
			p, b := newOwnPages(t, false), chromium.profile(t)
			if !scripts {
				b.withoutScripts()
			}
			p.signOut(b, "alice")
			if !scripts {
				b.shows(p.base+"/auth/logout", "press the button")
				b.do(chromedp.KeyEvent(kb.Tab))
				b.do(chromedp.KeyEvent(kb.Enter))
			}
			b.shows(p.base+"/auth/logout/callback", "You are signed out")
			if got := p.posted.Load(); got != 1 {
				t.Errorf("the provider got %d forms", got)
			}
		})
	}
}

// withoutScripts keeps the scripts of pages from running.
func (b *tab) withoutScripts() {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
}

// TestPageThatLeadsOn: by itself without a script, and by its link, from the keyboard.
func TestPageThatLeadsOn(t *testing.T) {
	t.Parallel()
	p, b := newOwnPages(t, false), newChromium(t)
	b.withoutScripts()
	p.stays.Store(true)
	path := "/long/?" + strings.Repeat("0123456789", 180)
	p.signIn(b, path, "large")
	b.shows(p.base+"/auth/callback", "You are being redirected")
	if err := eventually("the page does not lead on", func() bool { return p.led.Load() == 1 }); err != nil {
		t.Fatal(err)
	}
	p.stays.Store(false)
	b.do(chromedp.KeyEvent(kb.Tab))
	b.do(chromedp.KeyEvent(kb.Enter))
	b.shows(p.base+path, "Page of large")
}
