package oidcrp

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestLogins_TheStateHidesWhatItHolds(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	state, err := c.logins.newState(&transaction{ReturnTo: "/dossiers/12", Started: time.Now().Unix()}, false)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil || strings.Contains(string(decoded), "dossiers") {
		t.Errorf("the state is %q, %v", decoded, err)
	}
	if ticket, ok := c.logins.openState(state); !ok || ticket.ReturnTo != "/dossiers/12" {
		t.Errorf("the state opens as %+v, %v", ticket, ok)
	}
	other := mustNew(t, func(c *Config) { c.CookieKeys = Keys(testKey(9)) })
	if _, ok := other.logins.openState(state); ok {
		t.Error("another client's keys open the state")
	}
	// The same keys on another host: a state is not to be carried over.
	elsewhere := mustNew(t, func(c *Config) { c.BaseURL = "https://other.example" })
	if _, ok := elsewhere.logins.openState(state); ok {
		t.Error("another host opens the state")
	}
}

// RecoverLogin reads the login again; by then it may be lost.
func TestRecoverLogin_OfALoginThatIsLostByNow(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.Metadata = soundMetadata(nil) })
	signedIn := c.start(t)
	w := httptest.NewRecorder()
	location, err := c.BeginLogin(w, requestWith(signedIn...), nil)
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(location)
	var r *http.Request
	alive := signedIn
	for range 2 { // the person uses the app in another tab
		c.clock.Advance(30 * time.Minute)
		_, alive = serves(c.Middleware(http.HandlerFunc(saySubject)), alive)
	}
	r = requestWith(cookiesAfter(alive, w)...)
	r.URL.RawQuery = url.Values{"error": {"access_denied"}, "state": {u.Query().Get("state")}, "iss": {"https://op.example"}}.Encode()
	_, err = c.Callback(t.Context(), r)
	t.Log(err)
	c.clock.Advance(time.Second)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("RecoverLogin panicked: %v", p)
		}
	}()
	r2 := r
	_, err = c.RecoverLogin(httptest.NewRecorder(), r2, err)
	t.Log(err)
}
