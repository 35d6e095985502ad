package oidctest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

// A failing notes what a test would have ended with.
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

// failure returns what SignIn says.
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

func TestSignInSaysWhatWentWrong(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	a := newApp(t, p)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "just a page")
	}))
	t.Cleanup(elsewhere.Close)
	for _, row := range []struct{ name, url, persona, want string }{
		{"an app that does not ask", elsewhere.URL, "alice", "never led to the provider; it ended at " + elsewhere.URL + " with 200 OK\njust a page"},
		{"an unknown persona", a.URL + "/login", "nobody", "did not send the browser back; it ended at " + p.Issuer() + "/login with 400"},
		{"an app that is not there", "http://127.0.0.1:1/", "alice", "visiting http://127.0.0.1:1/"},
	} {
		if got := failure(t, p, row.url, row.persona); !strings.Contains(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	p.Misbehave(oidctest.IDTokenWrongAud)
	if got := failure(t, p, a.URL+"/login", "alice"); !strings.Contains(got, "the application refused") ||
		!strings.Contains(got, "403 Forbidden\n") || !strings.Contains(got, "audience") {
		t.Errorf("an ID Token for another: got %q", got)
	}
	p.Misbehave()
	if got := failure(t, p, a.URL+"/login", "alice"); got != "" {
		t.Errorf("behaving again: got %q", got)
	}
}

func TestTheBrowserKeepsTheProvidersSession(t *testing.T) {
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
