package interop

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestLemonLDAPSignIn, with everything that the portal does in its own way: an issuer that ends
// with a slash, an audience in an array and azp beside it, no iss in the callback, and "none" among
// its algorithms.
func TestLemonLDAPSignIn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		alg, auth string
		kid       bool
	}{
		{"RS256", "client_secret_basic", true},
		{"RS512", "client_secret_post", false}, // keys of older installations have none
		{"HS256", "client_secret_post", false},
		{"HS512", "client_secret_basic", false},
	} {
		t.Run(test.alg+" "+test.auth, func(t *testing.T) {
			t.Parallel()
			shows(t, lemonProduct, signedWith(test.alg), behaviour("`"+test.auth+"`"))
			w := newLemonLDAP(t, packagedSetup{
				alg:      test.alg,
				env:      map[string]string{"OIDC_CLIENT_AUTH": test.auth},
				nameless: !test.kid,
			})
			b := newBrowser(t)
			me := w.me(t, b.open(w.base+"/me").lemonSignIn("dwho"))
			if me.Sub != "dwho" || me.Iss != w.provider.issuer || me.ACR != "loa-1" || me.AMR != nil {
				t.Errorf("signed in as %+v", me)
			}
			if me.Claims["email"] != "dwho@badwolf.org" || me.Claims["name"] != "Doctor Who" {
				t.Errorf("claims %v", me.Claims)
			}

			token := w.seen.last(t, lemonToken)
			wantAuth(t, token, test.auth)
			if len(token.Form.Get("code_verifier")) < 43 {
				t.Error("no code_verifier for a client that must use PKCE")
			}
			header, claims := jws(t, token.json(t)["id_token"])
			if header["alg"] != test.alg || (header["kid"] != nil) != test.kid {
				t.Errorf("header %v", header)
			}
			wantClaims(t, claims, map[string]any{
				"aud": []any{clientID}, "azp": clientID, "at_hash": claims["at_hash"].(string),
			})
			callback := b.visited(w.base + "/auth/callback").Query()
			if callback.Has("iss") || !callback.Has("session_state") {
				t.Errorf("the callback got %v", callback)
			}
			metadata := w.seen.last(t, "/.well-known/openid-configuration").json(t)
			if algs := metadata["id_token_signing_alg_values_supported"]; !has(algs, "none") {
				t.Errorf("algorithms %v", algs)
			}
		})
	}
}

// TestLemonLDAPSignedUserInfo: the portal signs UserInfo without iss and aud. OIDC Core 5.3.2 has
// required both since its second errata set, so that is refused. Two macros of the portal add them.
func TestLemonLDAPSignedUserInfo(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"RS256", "HS256"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			shows(t, lemonProduct, signedInfo)
			s := packagedSetup{
				alg:    alg,
				env:    map[string]string{"OIDC_USERINFO_SIGNED_RESPONSE_ALG": alg},
				client: map[string]any{"oidcRPMetaDataOptionsUserInfoSignAlg": alg},
			}
			w := newLemonLDAP(t, s)
			b := newBrowser(t)
			w.wantRefused(t, b.open(w.base+"/me").lemonSignIn("dwho"), "UserInfo refused: iss")
			if w.signedIn(b) {
				t.Error("signed in")
			}

			s.macros = map[string]string{"iss": `"http://$ENV{HTTP_HOST}/"`, "aud": "$_clientId"}
			w = newLemonLDAP(t, s)
			me := w.me(t, newBrowser(t).open(w.base+"/me").lemonSignIn("dwho"))
			if me.Claims["email"] != "dwho@badwolf.org" {
				t.Errorf("claims %v", me.Claims)
			}
			_, claims := jws(t, string(w.seen.last(t, lemonUserInfo).Body))
			wantClaims(t, claims, map[string]any{"iss": w.provider.issuer, "aud": clientID})
		})
	}
}

// TestLemonLDAPRefresh: the refresh token stays the same, the new ID Token has no nonce, and both
// end with the session at the portal.
func TestLemonLDAPRefresh(t *testing.T) {
	t.Parallel()
	shows(t, lemonProduct, refreshes)
	w := newLemonLDAP(t, packagedSetup{alg: "RS256", env: map[string]string{"KEEP_TOKENS": "1"}})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").lemonSignIn("dwho"))
	for range 2 {
		refreshed := b.fetch(http.MethodPost, w.base+"/refresh")
		var me who
		if refreshed.json(&me); refreshed.Status != http.StatusOK || me.Sub != "dwho" {
			t.Fatalf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
		}
		answer := w.seen.last(t, lemonToken).json(t)
		if answer["refresh_token"] != nil {
			t.Error("another refresh token")
		}
		if _, claims := jws(t, answer["id_token"]); claims["nonce"] != nil {
			t.Errorf("nonce %v", claims["nonce"])
		}
	}
	b.open(w.provider.issuer + "?logout=1")
	refreshed := b.fetch(http.MethodPost, w.base+"/refresh")
	if refreshed.Status != http.StatusUnauthorized {
		t.Errorf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
	w.me(t, b.open(w.base+"/auth/login?return_to=/me").lemonSignIn("dwho"))
}

// TestLemonLDAPForgottenRefreshToken: the portal calls that invalid_request, not invalid_grant. The
// app cannot tell it from a mistake of its own, so the session stays, and works again after a new
// login.
func TestLemonLDAPForgottenRefreshToken(t *testing.T) {
	t.Parallel()
	w := newLemonLDAP(t, packagedSetup{alg: "RS256", env: map[string]string{"KEEP_TOKENS": "1"}})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").lemonSignIn("dwho"))
	token := w.seen.last(t, lemonToken).json(t)["refresh_token"].(string)
	if err := os.Remove(filepath.Join(w.provider.cmd.Dir, "sessions", token)); err != nil {
		t.Fatal(err)
	}
	refreshed := b.fetch(http.MethodPost, w.base+"/refresh")
	if refreshed.Status != http.StatusBadGateway || !w.signedIn(b) {
		t.Errorf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
	wantClaims(t, w.seen.last(t, lemonToken).json(t), map[string]any{"error": "invalid_request"})
	w.me(t, b.open(w.base+"/auth/login?return_to=/me"))
	if refreshed = b.fetch(http.MethodPost, w.base+"/refresh"); refreshed.Status != http.StatusOK {
		t.Errorf("after the new login refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
}

// TestLemonLDAPFrontchannelLogout: the portal frames the app's page with the person's name as sid,
// where its ID Token has no sid at all. That names no session, so the app's stays.
func TestLemonLDAPFrontchannelLogout(t *testing.T) {
	t.Parallel()
	refuses(t, lemonProduct, frontChannel)
	w := newLemonLDAP(t, packagedSetup{alg: "RS256"})
	b := newBrowser(t)
	me := w.me(t, b.open(w.base+"/me").lemonSignIn("dwho"))
	page := b.open(w.provider.issuer + "?logout=1")
	frame := regexp.MustCompile(`<iframe src="([^"]+)"`).FindStringSubmatch(page.Body)
	if frame == nil || !strings.HasSuffix(frame[1], "&sid=dwho") || me.SID != "" {
		t.Fatalf("frame %q, sid %q\n%s", frame, me.SID, page.Body)
	}
	framed := b.get(frame[1])
	if framed.Status != http.StatusOK || framed.Header.Get("X-Frame-Options") != "" || !w.signedIn(b) {
		t.Errorf("framed %s with %d, signed in %t", framed.URL, framed.Status, w.signedIn(b))
	}
}

// TestLemonLDAPSignOut: the portal asks before it ends its session, unless the client is trusted,
// and then shows a page with the app's frame in it, which leads back.
func TestLemonLDAPSignOut(t *testing.T) {
	t.Parallel()
	shows(t, lemonProduct, signsOut)
	for _, asks := range []bool{true, false} {
		t.Run(fmt.Sprintf("asks %t", asks), func(t *testing.T) {
			t.Parallel()
			w := newLemonLDAP(t, packagedSetup{
				alg:    "RS256",
				client: map[string]any{"oidcRPMetaDataOptionsLogoutBypassConfirm": !asks},
			})
			b := newBrowser(t)
			w.me(t, b.open(w.base+"/me").lemonSignIn("dwho"))
			out := w.signOut(b)
			if asks {
				out = out.form().submit()
			}
			w.wantSignedOut(t, b, out.form().submit(), lemonLogout)
			if page := b.open(w.base + "/me"); !strings.Contains(page.Body, `name="password"`) {
				t.Errorf("still signed in at the provider: %s\n%s", page.URL, page.Body)
			}
		})
	}
}

// TestLemonLDAPTabs: the portal remembers the first of the pending logins, so the tab that is
// finished first ends on that login's page. The others end on their own.
func TestLemonLDAPTabs(t *testing.T) {
	t.Parallel()
	shows(t, lemonProduct, severalTabs)
	w := newLemonLDAP(t, packagedSetup{alg: "RS256"})
	b := newBrowser(t)
	var tabs [5]*page
	for i := range tabs {
		tabs[i] = b.open(fmt.Sprintf("%s/me?tab=%d", w.base, i))
	}
	for i, tab := range []int{3, 0, 4, 1, 2} {
		done := tabs[tab].lemonSignIn("dwho")
		w.me(t, done)
		want := fmt.Sprintf("tab=%d", tab)
		if i == 0 {
			want = "tab=0"
		}
		if done.URL.RawQuery != want {
			t.Errorf("tab %d ended on %s", tab, done.URL)
		}
	}
}

// TestLemonLDAPPromptNone: without a session the portal shows its login page instead of
// login_required, and a person who uses that page signs in as usual.
func TestLemonLDAPPromptNone(t *testing.T) {
	t.Parallel()
	w := newLemonLDAP(t, packagedSetup{alg: "RS256"})
	b := newBrowser(t)
	b.open(w.base + "/me")
	silent := w.seen.last(t, lemonAuthorize).Query
	silent.Set("prompt", "none")
	p := b.open(w.provider.issuer + lemonAuthorize[1:] + "?" + silent.Encode())
	if !strings.Contains(p.Body, `name="password"`) {
		t.Fatalf("%s shows\n%s", p.URL, p.Body)
	}
	w.me(t, p.lemonSignIn("dwho"))
}

// TestLemonLDAPACR: the portal knows one level per way to sign in, and does not read what the app
// asks for. The app gets the level that it needs, or refuses access once.
func TestLemonLDAPACR(t *testing.T) {
	t.Parallel()
	for acr, want := range map[string]int{
		"loa-1 loa-2": http.StatusOK,
		"loa-2 loa-3": http.StatusForbidden,
	} {
		t.Run(acr, func(t *testing.T) {
			t.Parallel()
			w := newLemonLDAP(t, packagedSetup{alg: "RS256", env: map[string]string{"REQUIRE_ACR": acr}})
			b := newBrowser(t)
			p := b.open(w.base + "/admin").lemonSignIn("dwho")
			if p.Status != want || p.URL.Host != w.base[len("http://"):] {
				t.Errorf("ended on %s with %d\n%s", p.URL, p.Status, p.Body)
			}
			if got := len(w.seen.all(lemonToken)); got != 1 {
				t.Errorf("%d token requests", got)
			}
			w.me(t, b.open(w.base+"/me"))
		})
	}
}

// TestLemonLDAPConsent: refused, it is an error of the provider's; given, a login.
func TestLemonLDAPConsent(t *testing.T) {
	t.Parallel()
	w := newLemonLDAP(t, packagedSetup{
		alg:    "RS256",
		client: map[string]any{"oidcRPMetaDataOptionsBypassConsent": 0},
	})
	b := newBrowser(t)
	question := b.open(w.base + "/me").lemonSignIn("dwho").form()
	no := question.set("confirm", "-"+question.values.Get("confirm")).submit()
	if no.Status < 400 || no.URL.Query().Get("error") != "consent_required" || w.signedIn(b) {
		t.Errorf("ended on %s with %d\n%s", no.URL, no.Status, no.Body)
	}
	w.me(t, b.open(w.base+"/me").form().submit())
}

// TestLemonLDAPFormPost: the page that posts the callback submits itself in a script of its own.
func TestLemonLDAPFormPost(t *testing.T) {
	t.Parallel()
	shows(t, lemonProduct, formPost)
	w := newLemonLDAP(t, packagedSetup{
		alg: "RS256",
		env: map[string]string{"OIDC_RESPONSE_MODE": "form_post"},
	})
	posting := newBrowser(t).open(w.base + "/me").lemonSignIn("dwho")
	w.me(t, posting.form().submit())
}

// TestChromiumLemonLDAP goes through the portal's own pages with a real browser, and leaves it
// through the one that frames the app.
func TestChromiumLemonLDAP(t *testing.T) {
	t.Parallel()
	w := newLemonLDAP(t, packagedSetup{alg: "RS256"})
	b := newChromium(t)
	b.open(w.base + "/me")
	b.do(chromedp.SendKeys("#userfield", "dwho"), chromedp.SendKeys("#passwordfield", "dwho"))
	b.click("#lform button.btn-success")
	if shown := b.arrive(w.base + "/me"); !strings.Contains(shown.text, `"sub":"dwho"`) {
		t.Errorf("/me shows\n%s", shown.text)
	}

	b.open(w.base + "/auth/logout")
	b.click("form button")
	b.arrive(w.provider.issuer)
	b.click("#form button.btn-success") // yes
	b.do(chromedp.WaitVisible("iframe"))
	b.click("#form button.btn-success") // go on
	b.arrive(w.base + "/auth/logout/callback")
	b.open(w.base + "/me")
	b.do(chromedp.WaitVisible("#userfield"))
}
