package interop

import (
	"net/http"
	"slices"
	"testing"

	"github.com/oidcrp/oidcrp"
)

// This file holds what several real providers must let an app do in the same way.

// signsIn signs alice in to an app and returns her.
func (p *realProvider) signsIn(t testing.TB, a *testApp, b *browser) who {
	t.Helper()
	me := a.me(t, p.signIn(b.open(a.base+"/me")))
	if me.Sub == "" || me.Iss != p.issuer || me.Claims["email"] != "alice@ministere.example" {
		t.Fatalf("signed in as %+v", me)
	}
	return me
}

// testRotation: each refresh token serves once, and the one that came with a refresh works.
func (p *realProvider) testRotation(t *testing.T, b *browser, tokenPath string) {
	shows(t, p.product, refreshes, rotates)
	a := p.newApp(t, setupOf{keeps: true})
	first := p.signsIn(t, a, b)
	for range 2 {
		refreshed := b.fetch(http.MethodPost, a.base+"/refresh")
		var me who
		if refreshed.json(&me); refreshed.Status != http.StatusOK || me.Sub != first.Sub || me.Claims["email"] == nil {
			t.Fatalf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
		}
	}
	var used []string
	for _, e := range a.seen.all(tokenPath) {
		if token := e.Form.Get("refresh_token"); token != "" {
			used = append(used, token)
		}
		if e.json(t)["id_token"] == nil {
			t.Error("an answer without an ID Token")
		}
	}
	if len(used) != 2 || used[0] == used[1] {
		t.Errorf("%d refreshes, with the tokens %q", len(used), used)
	}
}

// testAnotherAuthTime: the person authenticates again for another app of the same single sign-on. The
// ID Token of the next refresh then has another auth_time than the session.
func (p *realProvider) testAnotherAuthTime(t *testing.T, b *browser, moves bool) {
	shows(t, p.product, anotherAuthTime)
	first := p.newApp(t, setupOf{keeps: true})
	second := p.newApp(t, setupOf{config: func(cfg *oidcrp.Config) { cfg.Login.Prompt = "login" }})
	before := p.signsIn(t, first, b)
	waitForAnotherSecond(t, before.authTime())
	login := b.open(second.base + "/me")
	if !p.asks(login) {
		t.Fatalf("the second app did not ask\n%s", login.Body)
	}
	elsewhere := second.me(t, p.signIn(login))
	if elsewhere.Sub != before.Sub || elsewhere.authTime() <= before.authTime() {
		t.Fatalf("signed in as %+v, before as %+v", elsewhere, before)
	}
	refreshed := b.fetch(http.MethodPost, first.base+"/refresh")
	if refreshed.Status != http.StatusOK {
		t.Fatalf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
	var after who
	if refreshed.json(&after); (after.authTime() > before.authTime()) != moves {
		t.Errorf("auth_time %d, before %d, in the other app %d", after.authTime(), before.authTime(), elsewhere.authTime())
	}
}

// testMaxAge: a page that wants a new authentication gets one.
func (p *realProvider) testMaxAge(t *testing.T, b *browser) {
	shows(t, p.product, stepUpAge)
	a := p.newApp(t, setupOf{})
	before := p.signsIn(t, a, b)
	a.after = before.at()
	waitForAnotherSecond(t, before.authTime())
	login := b.open(a.base + "/fresh")
	if !p.asks(login) {
		t.Fatalf("ended on %s\n%s", login.URL, login.Body)
	}
	page := p.signIn(login)
	var me who
	if page.json(&me); page.URL.Path != "/fresh" || me.authTime() <= before.authTime() {
		t.Errorf("ended on %s as %+v", page.URL, me)
	}
}

func (p *realProvider) testSignOut(t *testing.T, b *browser) {
	shows(t, p.product, signsOut)
	a := p.newApp(t, setupOf{})
	p.signsIn(t, a, b)
	p.wantBack(t, a, b, a.signOut(b))
}

// testBackchannel: signing out of one app ends the session at another one, without the browser. It
// returns the header and the claims of the Logout Token.
func (p *realProvider) testBackchannel(t *testing.T, b *browser) (header, claims map[string]any) {
	shows(t, p.product, backChannel)
	first, second := p.newApp(t, setupOf{}), p.newApp(t, setupOf{})
	p.signsIn(t, first, b)
	second.me(t, b.open(second.base+"/me"))
	other := p.newBrowser(t)
	p.signsIn(t, first, other)

	second.signOut(b)
	first.poll(t, "end of the session", func() bool { return !first.signedIn(b) })
	if !first.signedIn(other) {
		t.Error("the session of another browser has ended too")
	}
	p.signsIn(t, first, b)
	return jws(t, first.logoutToken(t))
}

// testTabs: five logins under way in one browser end on the page that each began with, or tell.
func (p *realProvider) testTabs(t *testing.T, b *browser) {
	shows(t, p.product, severalTabs)
	a := p.newApp(t, setupOf{})
	tabs := []*page{b.open(a.tab(0)), b.open(a.tab(1)), b.open(a.tab(2))}
	for _, i := range []int{2, 0, 1} {
		done := p.signIn(tabs[i])
		a.me(t, done)
		if done.URL.String() != a.tab(i) {
			t.Errorf("tab %d ended on %s", i, done.URL)
		}
	}
}

func testFormPost(t *testing.T, p *realProvider) {
	shows(t, p.product, formPost)
	a := p.newApp(t, setupOf{config: func(cfg *oidcrp.Config) { cfg.ResponseMode = "form_post" }})
	p.signsIn(t, a, p.newBrowser(t))
}

// wantAlg looks at the header of the newest ID Token.
func (a *testApp) wantAlg(t testing.TB, tokenPath, alg string) {
	t.Helper()
	header, _ := jws(t, a.seen.last(t, tokenPath).json(t)["id_token"])
	if header["alg"] != alg {
		t.Errorf("header %v", header)
	}
}

// wantAssertion looks at the JWT of a token request.
func wantAssertion(t testing.TB, token exchange, algs ...string) {
	t.Helper()
	header, claims := jws(t, token.Form.Get("client_assertion"))
	if alg, _ := header["alg"].(string); !slices.Contains(algs, alg) || token.Form.Has("client_secret") ||
		token.Header.Get("Authorization") != "" {
		t.Errorf("header %v, claims %v, form %v", header, claims, token.Form)
	}
}
