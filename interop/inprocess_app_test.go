package interop

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
)

// testApp is an app of this process, and a record of what it asked its provider. It has webapp's pages
// /me, /api/me and /refresh, and two that want more of a session: /admin an acr, /fresh a new
// authentication.
type testApp struct {
	*world
	seen    *recorder
	handler http.Handler
	acr     string    // what /admin wants
	after   time.Time // /fresh wants an authentication after this

	notified chan string // the Logout Tokens that it got
}

// newTestApp takes a port. The app answers from connect on.
func newTestApp(t testing.TB) *testApp {
	t.Helper()
	a := &testApp{seen: new(recorder), acr: "none", notified: make(chan string, 10)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/backchannel-logout" {
			r = withForm(r)
			a.notified <- r.Context().Value(formKey{}).(url.Values).Get("logout_token")
		}
		a.handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a.world = &world{app: &app{process: &process{log: new(logBuffer)}, base: server.URL}, provider: new(provider)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the app at %s:\n%s", a.base, a.log.Bytes())
		}
	})
	return a
}

// connect makes the app a client of the provider. change sets what departs from a client with a
// secret.
func (a *testApp) connect(t testing.TB, issuer, id string, change func(*oidcrp.Config)) {
	t.Helper()
	a.provider.issuer = issuer
	key := make([]byte, 32)
	rand.Read(key)
	cfg := oidcrp.Config{
		Issuer: issuer, ClientID: id, ClientSecret: clientSecret, BaseURL: a.base,
		CookieKeys: oidcrp.Keys(key),
		Logger:     slog.New(slog.NewTextHandler(a.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.handler = client.Middleware(a.routes(client))
}

func (a *testApp) routes(client *oidcrp.Client) http.Handler {
	mux := http.NewServeMux()
	me := http.HandlerFunc(tellWho)
	mux.Handle("GET /me", client.RequireLogin(me))
	mux.Handle("GET /api/me", client.RequireLogin(me))
	mux.Handle("GET /admin", client.Require(oidcrp.ACR(a.acr))(me))
	mux.Handle("GET /fresh", client.Require(oidcrp.Requirement{
		Name: "a new authentication",
		Met:  func(s *oidcrp.Session, _ time.Time) bool { return s.AuthTime().After(a.after) },
		Ask:  func(o *oidcrp.AuthOptions) { o.MaxAge = new(time.Duration) },
	})(me))
	mux.Handle("POST /refresh", client.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := client.Refresh(w, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		writeWho(w, session)
	})))
	return mux
}

// tellWho answers as webapp's /me does.
func tellWho(w http.ResponseWriter, r *http.Request) {
	session, _ := oidcrp.SessionFromContext(r.Context())
	writeWho(w, session)
}

func writeWho(w http.ResponseWriter, session *oidcrp.Session) {
	me := who{
		Sub: session.Subject(), Iss: session.Issuer(), ACR: session.ACR(), AMR: session.AMR(),
		SID: session.SID(), AuthTime: session.AuthTime().Unix(),
	}
	if err := session.Claims(&me.Claims); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(me)
}

// logoutToken is the oldest Logout Token that the app got.
func (a *testApp) logoutToken(t testing.TB) string {
	t.Helper()
	select {
	case token := <-a.notified:
		return token
	case <-time.After(patience):
		t.Fatal("no Logout Token")
	}
	return ""
}

// at is the auth_time of /me.
func (w who) at() time.Time { return time.Unix(w.authTime(), 0) }

// authTime is the auth_time of /me in seconds.
func (w who) authTime() int64 {
	seconds, _ := w.AuthTime.(float64)
	return int64(seconds)
}

// waitForAnotherSecond returns when auth_time, which counts seconds, can be another one.
func waitForAnotherSecond(t testing.TB, than int64) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Unix() <= than {
		if time.Now().After(deadline) {
			t.Fatalf("the clock still shows %d", than)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
