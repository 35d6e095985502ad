package oidcrp_test

import "testing"

func TestRequireLogin_ALoginLeadsBackToThePage(t *testing.T) {
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
