package oidctest_test

import (
	"go/build"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestNew_InAServerOfYourOwn(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p, err := oidctest.New(oidctest.Config{Issuer: server.URL + "/op/", AutoLogin: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/op/", p)
	a := newApp(t, p)
	p.SignIn(t, a.URL+"/login", "")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestProvider_SetDownAndHandle(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	c := newRaw(t, p)
	p.SetDown(true)
	for _, endpoint := range []string{oidctest.EndpointDiscovery, oidctest.EndpointJWKS, oidctest.EndpointUserInfo} {
		if r := c.get(endpoint, nil); r.status != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d", endpoint, r.status)
		}
	}
	p.SetDown(false)
	p.Handle(oidctest.EndpointJWKS, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, r.Form.Get("a"))
	})
	if r := c.get(oidctest.EndpointJWKS, url.Values{"a": {"b"}}); r.status != http.StatusTeapot || r.body != "b" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	p.Handle(oidctest.EndpointJWKS, nil)
	if r := c.get(oidctest.EndpointJWKS, nil); r.status != http.StatusOK {
		t.Errorf("got %d", r.status)
	}
}

func TestProvider_ConcurrentLogins(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c := newRaw(t, p)
			_, interaction := c.page(authRequest(), nil)
			r := c.post(oidctest.EndpointLogin, url.Values{"interaction": {interaction}, "persona": {"alice"}})
			if r := c.post(oidctest.EndpointToken, tokenRequest(r.back.Get("code"))); r.status != http.StatusOK {
				t.Errorf("got %d %s", r.status, r.body)
			}
			p.Requests()
			if i == 4 {
				p.RotateKeysKeepingOld()
				p.Misbehave(fault.TokenNoExpiresIn)
			}
		})
	}
	wg.Wait()
	if n := p.Count(oidctest.EndpointToken); n != 8 {
		t.Errorf("%d token requests are recorded", n)
	}
}

// Programs link these packages: the quickstart example does. And the root package's own
// tests use them, so they must not import it.
func TestImports_NeitherHTTPTestNorTheRoot(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{".", "fault", "internal/wire"} {
		pkg, err := build.ImportDir(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range pkg.Imports {
			own := strings.HasPrefix(path, "github.com/oidcrp/") &&
				!strings.HasPrefix(path, "github.com/oidcrp/oidcrp/oidctest/")
			if strings.Contains(path, "httptest") || own {
				t.Errorf("the package in %s imports %s", dir, path)
			}
		}
	}
}
