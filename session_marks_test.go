package oidcrp_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// A Store that cannot say whether a session was ended must not pass for one that
// says no, nor sign anybody out.
func TestMarks_AnOutageIsNoAnswer(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) { c.Store = store }})
	browser := a.signIn(t)
	store.Before(func(_ context.Context, _, key string) error {
		if len(key) == 34 { // a mark's
			return errors.New("the store is down")
		}
		return nil
	})
	a.clock.Advance(time.Second) // a logout that came before would have been found until now
	for _, path := range []string{"/me", "/admin", "/sid"} {
		res, body := a.asks(t, browser, "GET", path, acceptHTML)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Location") != "" || len(res.Cookies()) > 0 {
			t.Errorf("%s: %s, %v\n%s", path, res.Status, res.Header, body)
		}
		res, body = a.asks(t, browser, "GET", path)
		if res.StatusCode != http.StatusServiceUnavailable || jsonMember(t, body, "code") != string(oidcrp.CodeStoreUnavailable) {
			t.Errorf("%s by script: %s\n%s", path, res.Status, body)
		}
	}
	if n := a.provider.Count(oidctest.EndpointAuthorization); n != 1 {
		t.Errorf("%d logins were started, want the first alone", n)
	}
	if res, _ := a.asks(t, browser, "GET", "/"); res.StatusCode != http.StatusOK || len(res.Cookies()) > 0 {
		t.Errorf("the public page: %s, %v", res.Status, res.Cookies())
	}
	store.Before(nil)
	if !a.signedIn(t, browser) {
		t.Error("signed out by an outage")
	}
}

func TestMarks_LastAsLongAsTheSessionsTheyEnd(t *testing.T) {
	t.Parallel()
	for what, stored := range map[string]bool{"in cookies": false, "in a store": true} {
		a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) {
			c.Sessions.Lifetime, c.Sessions.IdleTimeout = 3*time.Hour, 3*time.Hour
			if stored {
				c.Store = oidcrp.NewMemoryStoreAt(c.Now)
			}
		}})
		browser := a.signIn(t)
		a.clock.Advance(time.Minute)
		if status := a.ends(t, a.provider.LogoutToken(oidctest.ClientID, "alice", "")); status != http.StatusOK {
			t.Fatal(status)
		}
		for range 12 {
			if a.signedIn(t, browser) {
				t.Fatalf("%s: the session is back", what)
			}
			a.clock.Advance(15 * time.Minute)
		}
		a.clock.Advance(time.Hour)
		if n := oidcrp.EntriesLeft(a.client); n > 0 {
			t.Errorf("%s: %d entries are left", what, n)
		}
	}
}

func TestMarks_ASessionWithoutSIDEndsWithAnyOfThePerson(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{ClaimsOnRequest: true}}) // no sid
	browser := app.signIn(t)
	end := func(sub string) {
		t.Helper()
		res, err := http.PostForm(app.URL+"/auth/backchannel-logout",
			url.Values{"logout_token": {app.provider.LogoutToken(oidctest.ClientID, sub, "a sid")}})
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("the logout was answered with %s", res.Status)
		}
	}
	end("bruno")
	if got := app.who(t, browser, "/"); got.Sub != "alice" {
		t.Errorf("after another person's logout: %+v", got)
	}
	end("alice")
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("after the logout: %+v", got)
	}
}
