package interop

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
)

const zitadelToken = "/oauth/token"

// TestZitadel has a server for each part, since a server has one client.
func TestZitadel(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		run  func(*testing.T, *realProvider)
	}{
		{"client_secret_basic", func(t *testing.T, p *realProvider) { testZitadelAuth(t, p, "client_secret_basic", secretBasic) }},
		{"client_secret_post", func(t *testing.T, p *realProvider) { testZitadelAuth(t, p, "client_secret_post", secretPost) }},
		{"rotation", func(t *testing.T, p *realProvider) { p.testRotation(t, newBrowser(t), zitadelToken) }},
		{"tabs", func(t *testing.T, p *realProvider) { p.testTabs(t, newBrowser(t)) }},
		{"form_post", testFormPost},
		{"max_age", func(t *testing.T, p *realProvider) { p.testMaxAge(t, newBrowser(t)) }},
		{"sign-out", testZitadelSignOut},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newZitadel(t))
		})
	}
}

// testZitadelAuth: the issuer ends in a slash.
func testZitadelAuth(t *testing.T, p *realProvider, method string, b behaviour) {
	shows(t, p.product, b, signedRS256)
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{TokenEndpointAuthMethod: method}})
	me := p.signsIn(t, a, p.newBrowser(t))
	if me.Sub != "alice-1" || me.Iss[len(me.Iss)-1] != '/' || me.authTime() == 0 {
		t.Errorf("signed in as %+v", me)
	}
	wantAuth(t, a.seen.last(t, zitadelToken), method)
	a.wantAlg(t, zitadelToken, "RS256")
}

// testZitadelSignOut: no post_logout_redirect_uri can be registered, so the app sends none, and the person stays
// at the provider.
func testZitadelSignOut(t *testing.T, p *realProvider) {
	shows(t, p.product, signsOut)
	a := p.newApp(t, setupOf{config: func(cfg *oidcrp.Config) { cfg.Registration.PostLogoutRedirectURI = "none" }})
	b := p.newBrowser(t)
	p.signsIn(t, a, b)
	out := a.signOut(b)
	if out.Status != http.StatusOK || out.URL.String() != p.issuer+"logged-out" || !strings.Contains(out.Body, "signed out") {
		t.Errorf("ended on %s with %d\n%s", out.URL, out.Status, out.Body)
	}
	if a.signedIn(b) {
		t.Error("still signed in at the app")
	}
}
