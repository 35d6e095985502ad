package oidcrp_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
)

func TestStore_AnOutageNeverSignsAnybodyOut(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = oidcrp.PlainStore(store) }})
	browser := app.signIn(t)
	store.Fail(errors.New("connection refused"))

	// Whether the callback is a reload by someone signed in, nobody can say.
	for _, path := range []string{"/me", "/admin", "/auth/callback?state=x&code=y"} {
		res, body := get(t, noRedirects(browser), app.URL+path)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s answered %s, Retry-After %q", path, res.Status, res.Header.Get("Retry-After"))
		}
		if !strings.Contains(body, "You have not been signed out") || strings.Contains(body, "connection refused") {
			t.Errorf("%s says:\n%s", path, body)
		}
		if set := res.Header.Values("Set-Cookie"); len(set) > 0 {
			t.Errorf("%s set the cookies %q", path, set)
		}
	}
	res, body := app.asks(t, browser, "GET", "/me")
	if res.StatusCode != http.StatusServiceUnavailable || jsonMember(t, body, "code") != string(oidcrp.CodeStoreUnavailable) {
		t.Errorf("a script got %s\n%s", res.Status, body)
	}
	if got := app.who(t, browser, "/"); got.Sub != "" {
		t.Errorf("the public page says %+v", got)
	}
	if res, _ := get(t, noRedirects(browser), app.URL+"/"); res.StatusCode != http.StatusOK || len(res.Cookies()) > 0 {
		t.Errorf("the public page answered %s with the cookies %v", res.Status, res.Cookies())
	}
	if !strings.Contains(app.log.String(), "connection refused") {
		t.Error("the log does not say why")
	}

	store.Before(nil)
	if got := app.who(t, browser, "/me"); got.Sub != "alice" {
		t.Errorf("once the store is back: %+v", got)
	}
}

func TestStore_ALoginThatCannotBeStoredIsNotPretended(t *testing.T) {
	t.Parallel()
	store := oidcrp.NewHookStore(nil)
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) { cfg.Store = oidcrp.PlainStore(store) }})
	store.Fail(errors.New("disk full"))
	browser := app.provider.Browser()
	res, err := app.provider.Visit(browser, app.URL+"/auth/login?return_to=/tab/1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if body := readBody(t, res); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "return_to=%2Ftab%2F1") {
		t.Errorf("the callback answered %s\n%s", res.Status, body)
	}
	store.Before(nil)
	if got := app.who(t, app.signIn(t), "/me"); got.Sub != "alice" {
		t.Errorf("the next login: %+v", got)
	}
}
