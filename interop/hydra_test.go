package interop

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
)

const (
	hydraToken    = "/oauth2/token"
	hydraUserInfo = "/userinfo"
)

// TestHydra starts one server for all of its parts. They run one after the other, since Hydra refuses
// to write to its memory for two requests at once. The last ones change its key.
func TestHydra(t *testing.T) {
	t.Parallel()
	h := startHydra(t)
	p := h.provider()
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"client authentication", func(t *testing.T) { testHydraAuth(t, p) }},
		{"RS256", func(t *testing.T) { testHydraIDToken(t, p, "RS256", signedRS256) }},
		{"signed UserInfo", func(t *testing.T) { testHydraSignedUserInfo(t, p) }},
		{"form_post", func(t *testing.T) { testFormPost(t, p) }},
		{"acr", func(t *testing.T) { testHydraACR(t, p) }},
		{"max_age", func(t *testing.T) { p.testMaxAge(t, newBrowser(t)) }},
		{"rotation", func(t *testing.T) { p.testRotation(t, newBrowser(t), hydraToken) }},
		{"another auth_time", func(t *testing.T) { p.testAnotherAuthTime(t, newBrowser(t), false) }},
		{"sign-out", func(t *testing.T) { p.testSignOut(t, newBrowser(t)) }},
		{"back channel", func(t *testing.T) { testHydraBackchannel(t, p) }},
		{"front channel", func(t *testing.T) { testHydraFrontchannel(t, p) }},
		{"tabs", func(t *testing.T) { p.testTabs(t, newBrowser(t)) }},
		{"expired page", func(t *testing.T) { testHydraExpiredPage(t, p) }},
		{"ES256", func(t *testing.T) {
			h.signWith(t, "ES256")
			testHydraIDToken(t, p, "ES256", signedES256)
		}},
		{"EdDSA", func(t *testing.T) { testHydraEdDSA(t, h, p) }},
	} {
		t.Run(test.name, test.run)
	}
}

// testHydraEdDSA: Hydra makes at_hash with SHA-256 under EdDSA, as Glewlwyd does: see
// TestGlewlwydEdDSA.
func testHydraEdDSA(t *testing.T, h *hydra, p *realProvider) {
	refuses(t, p.product, signedEdDSA)
	h.signWith(t, "EdDSA")
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{IDTokenSignedResponseAlg: "EdDSA"}})
	b := p.newBrowser(t)
	a.wantRefused(t, p.signIn(b.open(a.base+"/me")), "ID Token refused: at_hash")
	if a.signedIn(b) {
		t.Error("signed in")
	}
	answer := a.seen.last(t, hydraToken).json(t)
	header, claims := jws(t, answer["id_token"])
	wantClaims(t, header, map[string]any{"alg": "EdDSA"})
	wantClaims(t, claims, map[string]any{"at_hash": halfHash(answer["access_token"])})
}

// testHydraAuth: the audience of an assertion must be the token endpoint.
func testHydraAuth(t *testing.T, p *realProvider) {
	for method, b := range map[string]behaviour{
		"client_secret_basic": secretBasic, "client_secret_post": secretPost, "private_key_jwt": privateKeyJWT,
	} {
		t.Run(method, func(t *testing.T) {
			shows(t, p.product, b)
			s := setupOf{registration: oidcrp.Registration{TokenEndpointAuthMethod: method}}
			if method == "private_key_jwt" {
				s.registration.ClientKeys = []jose.JSONWebKey{signingKey(t)}
				s.registration.TokenEndpointAuthSigningAlg = "ES256"
				s.config = func(cfg *oidcrp.Config) { cfg.Provider.AssertionAudience = "token_endpoint" }
			}
			a := p.newApp(t, s)
			p.signsIn(t, a, p.newBrowser(t))
			token := a.seen.last(t, hydraToken)
			if method == "private_key_jwt" {
				wantAssertion(t, token, "ES256")
			} else {
				wantAuth(t, token, method)
			}
		})
	}
}

// testHydraIDToken: with an audience in an array, and a claim of Hydra's own.
func testHydraIDToken(t *testing.T, p *realProvider, alg string, b behaviour) {
	shows(t, p.product, b)
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{IDTokenSignedResponseAlg: alg}})
	me := p.signsIn(t, a, p.newBrowser(t))
	if me.Sub != "alice" || me.SID == "" || me.ACR != "bronze" || me.authTime() == 0 {
		t.Errorf("signed in as %+v", me)
	}
	a.wantAlg(t, hydraToken, alg)
	_, claims := jws(t, a.seen.last(t, hydraToken).json(t)["id_token"])
	if _, ok := claims["aud"].([]any); !ok || claims["rat"] == nil {
		t.Errorf("claims %v", claims)
	}
}

func testHydraSignedUserInfo(t *testing.T, p *realProvider) {
	shows(t, p.product, signedInfo)
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{UserInfoSignedResponseAlg: "RS256"}})
	p.signsIn(t, a, p.newBrowser(t))
	header, _ := jws(t, string(a.seen.last(t, hydraUserInfo).Body))
	if header["alg"] != "RS256" {
		t.Errorf("header %v", header)
	}
}

// testHydraACR: the level is what the login page says.
func testHydraACR(t *testing.T, p *realProvider) {
	shows(t, p.product, stepUpACR)
	a := p.newApp(t, setupOf{acr: "silver"})
	b := p.newBrowser(t)
	if me := p.signsIn(t, a, b); me.ACR != "bronze" {
		t.Errorf("acr %q", me.ACR)
	}
	page := p.signIn(b.open(a.base + "/admin"))
	var me who
	if page.json(&me); page.URL.Path != "/admin" || me.ACR != "silver" {
		t.Errorf("ended on %s as %+v", page.URL, me)
	}
}

// testHydraBackchannel: the Logout Token has neither exp, nor sub, nor a type of its own.
func testHydraBackchannel(t *testing.T, p *realProvider) {
	header, claims := p.testBackchannel(t, p.newBrowser(t))
	if header["typ"] == "logout+jwt" || claims["sid"] == nil || claims["sub"] != nil || claims["exp"] != nil {
		t.Errorf("header %v, claims %v", header, claims)
	}
}

// testHydraExpiredPage: the person sends a login page, as from another tab, that has served. Hydra
// refuses, and the app offers to begin again, which ends on the page that the person wants.
func testHydraExpiredPage(t *testing.T, p *realProvider) {
	shows(t, p.product, staleLoginPage)
	a := p.newApp(t, setupOf{})
	b := p.newBrowser(t)
	login := b.open(a.tab(0))
	follow := b.client.CheckRedirect
	b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/auth/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	if lost := p.signIn(login); !strings.HasPrefix(lost.Header.Get("Location"), a.base+"/auth/callback?code=") {
		t.Fatalf("Hydra answered %d\n%s", lost.Status, lost.Body)
	}
	b.client.CheckRedirect = follow
	refused := p.signIn(login)
	again := regexp.MustCompile(`<a class="button" href="([^"]+)"`).FindStringSubmatch(refused.Body)
	if refused.URL.Query().Get("error") != "access_denied" || again == nil {
		t.Fatalf("ended on %s with %d\n%s", refused.URL, refused.Status, refused.Body)
	}
	done := b.open(a.base + html.UnescapeString(again[1]))
	a.me(t, done)
	if done.URL.String() != a.tab(0) {
		t.Errorf("ended on %s", done.URL)
	}
}

// testHydraFrontchannel: a script of the page of the sign-out leads back.
func testHydraFrontchannel(t *testing.T, p *realProvider) {
	shows(t, p.product, frontChannel)
	first, framed := p.newApp(t, setupOf{}), p.newApp(t, setupOf{front: true})
	b := p.newBrowser(t)
	me := p.signsIn(t, framed, b)
	first.me(t, b.open(first.base+"/me"))

	page := first.signOut(b)
	frame := regexp.MustCompile(`<iframe src="([^"]+)"`).FindStringSubmatch(page.Body)
	if frame == nil || !strings.HasPrefix(frame[1], framed.base+"/auth/frontchannel-logout?") {
		t.Fatalf("frame %q on %s\n%s", frame, page.URL, page.Body)
	}
	address := strings.ReplaceAll(frame[1], "&amp;", "&")
	if !strings.Contains(address, "sid="+me.SID) || !framed.signedIn(b) {
		t.Errorf("sid %s, frame %s", me.SID, address)
	}
	if got := b.get(address); got.Status != http.StatusOK || framed.signedIn(b) {
		t.Errorf("framed %s with %d\n%s", got.URL, got.Status, got.Body)
	}
	if first.signedIn(b) {
		t.Error("still signed in at the first app")
	}
}
