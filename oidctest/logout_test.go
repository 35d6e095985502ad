package oidctest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

const bye = "http://127.0.0.1/bye"

func TestLogout_SendsTheBrowserBack(t *testing.T) {
	t.Parallel()
	now := newClock()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Now: now.Now, Clients: []oidctest.Client{
		{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, PostLogoutRedirectURIs: []string{bye}}, {ID: "other"}}})
	hint := newRaw(t, p).tokens()["id_token"].(string)
	now.Advance(24 * time.Hour) // an expired hint is accepted
	p.RotateKeys()              // and so is one signed with an old key
	forged := p.ForgedToken("RS256", p.KeyID("RS256"), p.IDTokenClaims(oidctest.ClientID, "alice"))
	for _, row := range []struct {
		name   string
		params []string
		status int
		state  string
	}{
		{"with hint and state", []string{"id_token_hint", hint, "post_logout_redirect_uri", bye, "state", "s"}, 303, "s"},
		{"with client_id", []string{"client_id", oidctest.ClientID, "post_logout_redirect_uri", bye}, 303, ""},
		{"without a redirect URI", []string{"id_token_hint", hint}, 200, ""},
		{"without anything", nil, 200, ""},

		{"to a URI that is not registered", []string{"id_token_hint", hint, "post_logout_redirect_uri", bye + "/"}, 400, ""},
		{"to a URI without a client", []string{"post_logout_redirect_uri", bye}, 400, ""},
		{"with an unknown client", []string{"client_id", "unknown"}, 400, ""},
		{"with a hint for another client", []string{"id_token_hint", hint, "client_id", "other"}, 400, ""},
		{"with a forged hint", []string{"id_token_hint", forged, "post_logout_redirect_uri", bye}, 400, ""},
		{"with a hint that is not a token", []string{"id_token_hint", "x"}, 400, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				c := newRaw(t, p)
				c.code()
				r := c.do(method, oidctest.EndpointEndSession, with(nil, row.params...), nil)
				if r.status != row.status || r.back.Get("state") != row.state {
					t.Errorf("%s: got %d %v", method, r.status, r.back)
				}
				silent := c.get(oidctest.EndpointAuthorization, authRequest("prompt", "none")).back
				if over := silent.Get("error") == "login_required"; over != (row.status != 400) {
					t.Errorf("%s: after %d prompt none gives %v", method, r.status, silent)
				}
			}
		})
	}
}

// A listener receives logout tokens. Like a real relying party, it fetches the keys
// before it responds.
type listener struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string // guarded by mu
}

func newListener(t *testing.T, keys func() string) *listener {
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if res, err := http.Get(keys()); err == nil {
			res.Body.Close()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tokens = append(l.tokens, r.PostFormValue("logout_token"))
	}))
	t.Cleanup(l.Close)
	return l
}

func TestLogout_NotifiesTheClientsOfTheSession(t *testing.T) {
	t.Parallel()
	var p *oidctest.Provider
	keys := func() string { return p.Endpoint(oidctest.EndpointJWKS) }
	mine, others := newListener(t, keys), newListener(t, keys)
	p = oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{
		{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, BackchannelLogoutURI: mine.URL},
		{ID: "other", BackchannelLogoutURI: others.URL}}})
	c := newRaw(t, p)
	sid := claims(t, c.tokens()["id_token"])["sid"]
	c.get(oidctest.EndpointEndSession, nil)
	if len(mine.tokens) != 1 || len(others.tokens) != 0 {
		t.Fatalf("got %d and %d logout tokens, want 1 and 0", len(mine.tokens), len(others.tokens))
	}
	header, token := parts(t, mine.tokens[0])
	if token["sid"] != sid || token["sub"] != "alice" || token["aud"] != oidctest.ClientID || token["nonce"] != nil {
		t.Errorf("the logout token is %v", token)
	}
	if header["typ"] != "logout+jwt" || token["jti"] == "" || !strings.Contains(fmt.Sprint(token["events"]), "backchannel-logout") {
		t.Errorf("the logout token is %v %v", header, token)
	}

	status, err := p.SendLogout(t.Context(), "other", "bruno", "")
	if err != nil || status != http.StatusOK || len(others.tokens) != 1 {
		t.Errorf("SendLogout: %d, %v, %d tokens", status, err, len(others.tokens))
	}
	if _, err := p.SendLogout(t.Context(), "unknown", "bruno", ""); err == nil {
		t.Error("SendLogout to an unknown client: no error")
	}
}

func TestLogout_WithoutTheSessionCookie(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	hint := c.tokens()["id_token"].(string)
	newRaw(t, p).get(oidctest.EndpointEndSession, url.Values{"id_token_hint": {hint}})
	if r := c.get(oidctest.EndpointAuthorization, authRequest("prompt", "none")); r.back.Get("error") != "login_required" {
		t.Errorf("the session is still there: %v", r.back)
	}
}
