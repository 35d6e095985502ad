package oidcrp_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// A provider on loopback may have its endpoints there, and nowhere else inside.
func TestProvider_MetadataCannotReachIntoTheNetwork(t *testing.T) {
	t.Parallel()
	guarded := func(c *oidcrp.Config) { c.Provider.Transport = nil }
	app := newTestApp(t, setup{config: guarded})
	if got := app.who(t, app.signIn(t), "/me").Sub; got != "alice" {
		t.Fatalf("on loopback, %q is signed in", got)
	}
	for _, member := range []string{"jwks_uri", "token_endpoint", "userinfo_endpoint", "pushed_authorization_request_endpoint"} {
		app := newTestApp(t, setup{config: guarded, provider: oidctest.Config{
			RequirePAR: true, Metadata: map[string]any{member: "http://169.254.169.254/latest/meta-data/"}}})
		res, err := app.provider.Visit(app.provider.Browser(), app.URL+"/me", "alice")
		if err != nil {
			t.Fatal(err)
		}
		readBody(t, res)
		if res.StatusCode != http.StatusBadGateway ||
			!strings.Contains(app.log.String(), "the host 169.254.169.254 has the link-local address") {
			t.Errorf("%s answered %s:\n%s", member, res.Status, app.log)
		}
	}
}
