package interop

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	pc "github.com/oidcrp/oidcrp/proconnect"
)

// newInProcess starts a service of this process whose every page has these requirements, and a
// stand-in for it. The page /refresh refreshes the session, and says what to do where that fails.
func newInProcess(t testing.TB, requirements ...oidcrp.Requirement) *serviceWorld {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	log := new(logBuffer)
	cfg := pc.Integration.Config()
	registered := clientAt(proconnect, clientID, server.URL)
	registered["scope"] = strings.Join(cfg.Scopes, " ")
	other, otherClient := unregisteredRawClient(t)
	p := startProvider(t, proconnect, settings{Clients: []map[string]any{registered, otherClient}})
	other.provider = p

	cfg.Issuer, cfg.ClientID, cfg.ClientSecret, cfg.BaseURL = p.issuer, clientID, clientSecret, server.URL
	cfg.CookieKeys = oidcrp.Keys(make([]byte, 32))
	cfg.Registration.IDTokenSignedResponseAlg = "ES256"
	cfg.Tokens.Keep = true
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	handler = client.Middleware(client.Require(requirements...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := oidcrp.SessionFromContext(r.Context())
		if r.URL.Path == "/refresh" {
			var err error
			if session, err = client.Refresh(w, r); err != nil {
				w.WriteHeader(http.StatusUnauthorized)
				for _, language := range []string{"fr", "en"} {
					fmt.Fprintln(w, pc.Explain(err, language).Action)
				}
				return
			}
		}
		fmt.Fprintln(w, session.Subject(), session.ACR())
	})))
	a := &app{process: &process{log: log}, base: server.URL}
	return &serviceWorld{&world{app: a, provider: p}, other}
}

func TestHintOfAnIdentityProvider(t *testing.T) {
	t.Parallel()
	w := newInProcess(t, pc.IdentityProvider("", carol.Claims["idp_id"].(string)))
	b := newBrowser(t)
	w.signInElsewhere(b, alice)
	// Her session does not serve, and the only way on leads to the identity provider.
	login := b.open(w.base + "/page")
	if !asksToSignIn(login) || strings.Contains(login.Body, "Alice") {
		t.Fatalf("ended on %s\n%s", login.URL, login.Body)
	}
	w.wantPage(t, login.form().submit(), "/page", http.StatusOK, carol.Sub)
}

// TestHintOfAnUnknownIdentityProvider: ProConnect's own error for it is in the log, for the
// operator; the person gets a page.
func TestHintOfAnUnknownIdentityProvider(t *testing.T) {
	t.Parallel()
	w := newInProcess(t, pc.IdentityProvider("", "00000000-0000-0000-0000-000000000000"))
	w.wantPage(t, newBrowser(t).open(w.base+"/page"), "/auth/callback", http.StatusBadGateway,
		"Your sign-in could not be completed")
	w.wantLogins(t, 1)
	if log := string(w.log.Bytes()); !strings.Contains(log, "idp_hint_not_found") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

func TestHintsOfAPerson(t *testing.T) {
	t.Parallel()
	w := newInProcess(t, oidcrp.Requirement{
		Name: "hinted",
		Met:  func(s *oidcrp.Session, _ time.Time) bool { return s.Subject() == bob.Sub },
		Ask: func(o *oidcrp.AuthOptions) {
			pc.SetLoginHint(o, "bob@ministere.example")
			if err := pc.SetSIRETHint(o, "13002526500013"); err != nil {
				t.Error(err)
			}
		},
	})
	b := newBrowser(t)
	w.signInElsewhere(b, alice)
	login := b.open(w.base + "/page")
	if !asksToSignIn(login) {
		t.Fatalf("ended on %s\n%s", login.URL, login.Body)
	}
	if got := w.provider.last(t, "authorization").Query["siret_hint"]; got != "13002526500013" {
		t.Errorf("siret_hint %v", got)
	}
	w.wantPage(t, login.form().submit(), "/page", http.StatusOK, bob.Sub)
}

// TestSubstantialIsFresh: the level that ProConnect never takes from a session.
func TestSubstantialIsFresh(t *testing.T) {
	t.Parallel()
	w := newInProcess(t, pc.EIDAS2())
	b := newBrowser(t)
	w.signInElsewhere(b, bob)
	login := b.open(w.base + "/page")
	if !asksToSignIn(login) {
		t.Fatalf("ended on %s\n%s", login.URL, login.Body)
	}
	w.wantPage(t, login.signIn(bob), "/page", http.StatusOK, bob.Sub+" eidas2")
}

func TestCertificationDirigeant(t *testing.T) {
	t.Parallel()
	w := newInProcess(t, pc.CertificationDirigeant())
	b := newBrowser(t)
	refused := b.open(w.base + "/page").signIn(bob)
	w.wantPage(t, refused, "/auth/callback", http.StatusForbidden, "did not reach the level")
	login := refused.follow("/auth/login")
	certified := login.form().set("sub", bob.Sub).set("acr", pc.ACRCertificationDirigeant).submit()
	w.wantPage(t, certified, "/page", http.StatusOK, bob.Sub+" "+pc.ACRCertificationDirigeant)
}

// TestRefreshExplainsALostSession: for each response by which ProConnect reports that its session is
// over, the page asks the person to sign in again, and signing in works.
func TestRefreshExplainsALostSession(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		lose   func(w *serviceWorld, b *browser)
		status int
	}{
		{"forgotten", func(w *serviceWorld, b *browser) { w.provider.control(b.t, "forget") },
			http.StatusInternalServerError},
		{"forgotten before userinfo", func(w *serviceWorld, b *browser) { w.provider.control(b.t, "forget/userinfo") },
			http.StatusOK},
		{"signed out", func(w *serviceWorld, b *browser) { b.open(w.provider.issuer + "/session/end") },
			http.StatusBadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newInProcess(t)
			b := newBrowser(t)
			w.wantPage(t, b.open(w.base+"/page").signIn(alice), "/page", http.StatusOK)
			w.wantPage(t, b.open(w.base+"/refresh"), "/refresh", http.StatusOK, alice.Sub)

			test.lose(w, b)
			w.wantPage(t, b.open(w.base+"/refresh"), "/refresh", http.StatusUnauthorized,
				"Reconnectez-vous.", "Sign in again.")
			if got := w.provider.last(t, "token").Status; got != test.status {
				t.Errorf("the token endpoint answered %d", got)
			}
			w.wantPage(t, b.open(w.base+"/auth/login?return_to=/refresh").signIn(alice), "/refresh", http.StatusOK,
				alice.Sub)
		})
	}
}
