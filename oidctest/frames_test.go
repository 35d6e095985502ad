package oidctest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

// A framed client records the requests to its front-channel logout page, and reports on
// its post-logout page whether the session is over.
type framed struct {
	*httptest.Server
	mu     sync.Mutex
	loaded []*http.Request // guarded by mu
}

func newFramed(t *testing.T) *framed {
	f := &framed{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/remember":
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "s"})
		case "/frame":
			f.mu.Lock()
			f.loaded = append(f.loaded, r)
			f.mu.Unlock()
			http.SetCookie(w, &http.Cookie{Name: "session", MaxAge: -1})
		default:
			_, err := r.Cookie("session")
			fmt.Fprintf(w, "bye, session over: %t", err != nil)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func TestFrontchannelLogout_LoadsAFrame(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name           string
		withSid, odd   bool
		wantIss, whole bool
	}{
		{"without a session", false, false, false, false},
		{"with iss and sid", true, false, true, true},
		{"with an odd sid that is not escaped", true, true, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFramed(t)
			p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", OddValues: row.odd, ClaimsOnRequest: true,
				Clients: []oidctest.Client{{ID: oidctest.ClientID, Secret: oidctest.ClientSecret,
					FrontchannelLogoutURI: f.URL + "/frame?x=1", FrontchannelLogoutSessionRequired: row.withSid}}})
			c := newRaw(t, p)
			get(t, c.client, f.URL+"/remember")
			tokens := c.tokens()
			browser := *c.client
			browser.CheckRedirect = nil
			status, body := get(t, &browser, p.Endpoint(oidctest.EndpointEndSession)+"?"+url.Values{
				"id_token_hint": {tokens["id_token"].(string)}, "post_logout_redirect_uri": {f.URL + "/bye"}, "state": {"s"},
			}.Encode())
			if status != http.StatusOK || body != "bye, session over: true" {
				t.Errorf("the logout ended with %d %s", status, body)
			}
			if len(f.loaded) != 1 {
				t.Fatalf("%d frames were loaded", len(f.loaded))
			}
			query := f.loaded[0].URL.Query()
			if _, err := f.loaded[0].Cookie("session"); err != nil || f.loaded[0].Header.Get("Sec-Fetch-Dest") != "iframe" {
				t.Errorf("the frame came with %v", f.loaded[0].Header)
			}
			sid, _ := claims(t, tokens["id_token"])["sid"].(string)
			if sid == "" || query.Get("x") != "1" || (query.Get("iss") == p.Issuer()) != row.wantIss {
				t.Errorf("the query is %v, sid %q", query, sid)
			}
			if row.whole && query.Get("sid") != sid || !strings.HasPrefix(sid, query.Get("sid")[:min(len(query.Get("sid")), 22)]) {
				t.Errorf("sid came as %q, want %q", query.Get("sid"), sid)
			}
		})
	}
}

func TestFrontchannelLogout_WithoutRedirectURIStaysAtTheProvider(t *testing.T) {
	t.Parallel()
	f := newFramed(t)
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{{
		ID: oidctest.ClientID, Secret: oidctest.ClientSecret, FrontchannelLogoutURI: f.URL + "/frame"}}})
	c := newRaw(t, p)
	c.code()
	r := c.get(oidctest.EndpointEndSession, nil)
	if r.status != http.StatusOK || len(f.loaded) != 1 || strings.Contains(r.body, "<script") {
		t.Errorf("got %d with %d frames:\n%s", r.status, len(f.loaded), r.body)
	}
	if policy := r.header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src *") {
		t.Errorf("the policy is %s", policy)
	}
	if r := c.get(oidctest.EndpointEndSession, nil); len(f.loaded) != 1 {
		t.Errorf("without a session there are %d frames more:\n%s", len(f.loaded)-1, r.body)
	}
}

func TestLogoutAnswers_HaveStatusAndHeader(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if strings.Count(r.FormValue("logout_token"), ".") != 4 || r.FormValue("ignored_parameter") == "" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(app.Close)
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", Clients: []oidctest.Client{
		{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, BackchannelLogoutURI: app.URL, IDTokenEncryptedResponseAlg: "dir"},
		{ID: "plain", Secret: oidctest.ClientSecret, BackchannelLogoutURI: app.URL},
	}})
	if len(p.LogoutAnswers()) != 0 {
		t.Error("there are answers before a logout token was sent")
	}
	for _, id := range []string{oidctest.ClientID, "plain"} {
		if _, err := p.SendLogout(t.Context(), id, "alice", ""); err != nil {
			t.Fatal(err)
		}
	}
	answers := p.LogoutAnswers()
	if len(answers) != 2 || answers[0].Status != http.StatusOK || answers[1].Status != http.StatusBadRequest {
		t.Fatalf("the answers are %v: only the first token is encrypted", answers)
	}
	if answers[0].URI != app.URL || answers[0].Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the answer is %v", answers[0])
	}
}
