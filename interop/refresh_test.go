package interop

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestRefresh: ProConnect hands the same refresh token out until 70 % of its life, the modern
// provider another one each time and refuses the old.
func TestRefresh(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			shows(t, productOf[kind], refreshes)
			if kind == modern {
				shows(t, modernProduct, rotates)
			}
			w := newWorld(t, setup{
				kind:     kind,
				env:      map[string]string{"KEEP_TOKENS": "1"},
				provider: settings{RotateRefreshToken: true},
			})
			b := newBrowser(t)
			w.me(t, b.open(w.base+"/me").signIn(alice))

			for range 2 {
				refreshed := b.fetch(http.MethodPost, w.base+"/refresh")
				if refreshed.Status != http.StatusOK {
					t.Fatalf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
				}
				var me who
				if refreshed.json(&me); me.Sub != alice.Sub || me.Claims["email"] != alice.Claims["email"] {
					t.Errorf("after the refresh %+v", me)
				}
			}
			tokens := w.provider.requests(t, "token")
			if len(tokens) != 3 {
				t.Fatalf("%d token requests", len(tokens))
			}
			same := tokens[1].Form["refresh_token"] == tokens[2].Form["refresh_token"]
			if same != (kind == proconnect) {
				t.Errorf("the same refresh token twice: %t", same)
			}
			if got := len(w.provider.requests(t, "userinfo")); got != 3 {
				t.Errorf("%d userinfo requests", got)
			}
		})
	}
}

// TestRefreshAfterSigningOutAtTheProvider: the refresh token is void, and the app reports it.
func TestRefreshAfterSigningOutAtTheProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{kind: proconnect, env: map[string]string{"KEEP_TOKENS": "1"}})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").signIn(alice))
	b.open(w.provider.issuer + "/session/end")

	refreshed := b.fetch(http.MethodPost, w.base+"/refresh")
	if refreshed.Status != http.StatusUnauthorized {
		t.Errorf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
	w.me(t, b.open(w.base+"/auth/login?return_to=/me").signIn(alice))
}

// TestRefreshWithoutASessionAtProConnect: another login has begun in this browser, and ProConnect,
// which reads the claims from its session, answers the refresh with 500. The app cannot tell that
// from an outage, so the session stays, and works again after a new login.
func TestRefreshWithoutASessionAtProConnect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{kind: proconnect, env: map[string]string{"KEEP_TOKENS": "1"}})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").signIn(alice))
	started := w.provider.last(t, "authorization").Query
	values := url.Values{"login_hint": {"bob@ministere.example"}}
	for name, value := range started {
		values.Set(name, value.(string))
	}
	b.open(w.provider.issuer + "/authorize?" + values.Encode())

	refreshed := b.fetch(http.MethodPost, w.base+"/refresh")
	if refreshed.Status != http.StatusServiceUnavailable || refreshed.Header.Get("Retry-After") == "" {
		t.Errorf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
	if got := w.provider.last(t, "token").Status; got != http.StatusInternalServerError {
		t.Errorf("the provider answered %d", got)
	}
	if !w.signedIn(b) {
		t.Error("the session is gone")
	}
	w.me(t, b.open(w.base+"/auth/login?return_to=/me").signIn(alice))
}

// TestLogHoldsNoSecrets reads the app's log after a login and a refresh.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{kind: modern, env: map[string]string{"KEEP_TOKENS": "1"}})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").signIn(alice))
	b.fetch(http.MethodPost, w.base+"/refresh")
	b.open(b.visited(w.base + "/auth/callback").String()) // a replay is logged too
	w.signOut(b)

	secrets := map[string]any{
		"client_secret": clientSecret,
		"code":          b.visited(w.base + "/auth/callback").Query().Get("code"),
		"refresh_token": w.provider.last(t, "token").Form["refresh_token"],
		"verifier":      w.provider.requests(t, "token")[0].Form["code_verifier"],
		"nonce":         w.provider.last(t, "authorization").Query["nonce"],
		"ID Token":      w.provider.last(t, "end_session").Query["id_token_hint"],
	}
	log := string(w.app.log.Bytes())
	for name, secret := range secrets {
		if text, _ := secret.(string); text == "" || strings.Contains(log, text) {
			t.Errorf("%s: empty or in the log", name)
		}
	}
}
