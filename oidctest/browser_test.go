package oidctest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// A failing records the message with which a test would fail.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Helper() {}

func (f *failing) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns the message with which SignIn fails, or "".
func failure(t *testing.T, p *oidctest.Provider, appURL, persona string) string {
	t.Helper()
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.SignIn(f, appURL, persona)
	}()
	<-done
	return f.message
}

func TestSignIn_SaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	a := newApp(t, p)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "just a page")
	}))
	t.Cleanup(elsewhere.Close)
	for _, row := range []struct{ name, url, persona, want string }{
		{"an app without login", elsewhere.URL, "alice", "did not lead to the provider; it ended at " + elsewhere.URL + " with 200 OK\njust a page"},
		{"an unknown persona", a.URL + "/login", "nobody", "did not send the browser back; it ended at " + p.Issuer() + "/login with 400"},
		{"an app that is not running", "http://127.0.0.1:1/", "alice", "visiting http://127.0.0.1:1/"},
	} {
		if got := failure(t, p, row.url, row.persona); !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	p.Misbehave(fault.IDTokenWrongAud)
	if got := failure(t, p, a.URL+"/login", "alice"); !strings.Contains(got, "the application refused") ||
		!strings.Contains(got, "403 Forbidden\n") || !strings.Contains(got, "audience") {
		t.Errorf("an ID Token for another: got %q", got)
	}
	p.Misbehave()
	if got := failure(t, p, a.URL+"/login", "alice"); got != "" {
		t.Errorf("behaving again: got %q", got)
	}
}

func TestBrowser_KeepsTheProvidersSession(t *testing.T) {
	t.Parallel()
	for _, cfg := range []oidctest.Config{{}, {TLS: true}, {Issuer: "/api/v2/"}} {
		p := oidctest.NewServer(t, cfg)
		a := newApp(t, p)
		browser := p.SignIn(t, a.URL+"/login", "chloe")
		if status, body := get(t, browser, a.URL+"/login"); status != http.StatusOK || body != "hello chloe" {
			t.Errorf("%s: the second sign-in ended with %d %s", p.Issuer(), status, body)
		}
	}
}

func TestSignIn_AtTheLoginPage(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	a := newApp(t, p)
	browser := p.SignIn(t, a.URL+"/login", "bruno")
	if status, body := get(t, browser, a.URL+"/welcome"); status != http.StatusOK || body != "hello bruno" {
		t.Errorf("got %d %q, want 200 hello bruno", status, body)
	}
	if a.userInfo.Email != "bruno@example.org" {
		t.Errorf("email is %q", a.userInfo.Email)
	}
	for _, endpoint := range []string{oidctest.EndpointDiscovery, oidctest.EndpointJWKS,
		oidctest.EndpointAuthorization, oidctest.EndpointLogin, oidctest.EndpointToken, oidctest.EndpointUserInfo} {
		if n := p.Count(endpoint); n != 1 {
			t.Errorf("%s was asked %d times, want once", endpoint, n)
		}
	}
}

func TestBrowser_FollowsAPageThatRefreshesAtOnce(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	pages := map[string]struct {
		status int
		delay  string
	}{"/at-once": {200, "0"}, "/later": {200, "5"}, "/failed": {500, "0"}}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path]
		if !ok {
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(page.status)
		fmt.Fprintf(w, `<meta http-equiv="refresh" content="%s; url=/end?a=1&amp;b=2">`, page.delay)
	}))
	t.Cleanup(app.Close)
	for path, want := range map[string]string{"/at-once": "/end?a=1&b=2", "/later": "/later", "/failed": "/failed"} {
		for method, visit := range map[string]func(string) (*http.Response, error){
			"GET":  p.Browser().Get,
			"POST": func(u string) (*http.Response, error) { return p.Browser().PostForm(u, nil) },
		} {
			res, err := visit(app.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if got := res.Request.URL.RequestURI(); got != want {
				t.Errorf("%s %s ended at %s, want %s", method, path, got, want)
			}
		}
	}
}
