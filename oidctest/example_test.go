package oidctest_test

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// newHandler stands for an application with a login.
func newHandler(cfg oidcrp.Config) http.Handler { return http.NotFoundHandler() }

// A test of an application starts a provider, configures the application for it, and
// gets a browser that is signed in.
func ExampleProvider_SignIn() {
	_ = func(t *testing.T) { // func TestDossiers(t *testing.T)
		provider := oidctest.NewServer(t, oidctest.Config{})
		key := make([]byte, 32)
		rand.Read(key)
		app := httptest.NewUnstartedServer(nil) // already has an address, for BaseURL
		app.Config.Handler = newHandler(oidcrp.Config{
			Issuer:       provider.Issuer(),
			ClientID:     oidctest.ClientID,
			ClientSecret: oidctest.ClientSecret,
			BaseURL:      "http://" + app.Listener.Addr().String(),
			CookieKeys:   oidcrp.Keys(key),
		})
		app.Start()
		t.Cleanup(app.Close)

		browser := provider.SignIn(t, app.URL+"/dossiers/", "alice")
		res, err := browser.Get(app.URL + "/dossiers/42")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
}

func ExampleProvider_Misbehave() {
	provider, err := oidctest.Start(oidctest.Config{AutoLogin: "alice"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer provider.Close()

	provider.Misbehave(fault.JWKSEmpty)
	res, err := http.Get(provider.Endpoint(oidctest.EndpointJWKS))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(fault.JWKSEmpty.Doc)
	fmt.Println(string(body))
	// Output:
	// the set has no keys
	// {"keys":[]}
}
