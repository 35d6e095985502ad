package oidcrp_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func TestReturnTo_ALoginNeverLeadsOffTheApp(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}})
	browser := app.provider.Browser()
	browser.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if via[len(via)-1].URL.Path == "/auth/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	for _, test := range oidcrp.ReturnTos {
		res, _ := get(t, browser, app.URL+"/auth/login?"+url.Values{"return_to": {test.Asked}}.Encode())
		location := res.Header.Get("Location")
		if got, ok := strings.CutPrefix(location, app.URL); !ok || got != test.Want {
			t.Errorf("return_to %.60q led to %.100q, want %.60q", test.Asked, location, test.Want)
		}
		if host := oidcrp.BrowserHost(t, app.URL+"/auth/callback", location); app.URL != "http://"+host {
			t.Errorf("return_to %.60q led to the host %q", test.Asked, host)
		}
	}
}

func TestReturnTo_LoginAndLogoutURLsCarryLocalPathsOnly(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	for _, test := range []struct{ returnTo, login, logout string }{
		{"", "/auth/login", "/auth/logout"},
		{"/", "/auth/login", "/auth/logout?return_to=%2F"},
		{"/a?b=c&d", "/auth/login?return_to=%2Fa%3Fb%3Dc%26d", "/auth/logout?return_to=%2Fa%3Fb%3Dc%26d"},
		{"https://evil.example", "/auth/login", "/auth/logout"},
		{"//evil.example", "/auth/login", "/auth/logout"},
		{"/\\evil.example", "/auth/login", "/auth/logout"},
	} {
		if login, logout := c.LoginURL(test.returnTo), c.LogoutURL(test.returnTo); login != test.login || logout != test.logout {
			t.Errorf("for %q: %s and %s", test.returnTo, login, logout)
		}
	}
}

func TestReturnTo_ALoginLeadsBackToThePage(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{})
	browser := app.provider.Browser()
	res, err := app.provider.Visit(browser, app.URL+"/tab/1?q=a%20b", "alice")
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if got, want := res.Request.URL.RequestURI(), "/tab/1?q=a%20b"; got != want {
		t.Errorf("the login ended at %s, want %s", got, want)
	}
	if got := app.who(t, browser, "/tab/2"); got.Sub != "alice" {
		t.Errorf("signed in as %q, want alice", got.Sub)
	}
}
