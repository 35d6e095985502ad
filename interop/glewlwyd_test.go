package interop

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestGlewlwydSignIn, with everything that Glewlwyd does in its own way: token_type in lower case,
// an auth_time of 0, an access token that is a JWT too, claims that nobody asked for.
func TestGlewlwydSignIn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ alg, auth string }{
		{"ES256", "client_secret_basic"},
		{"RS256", "client_secret_post"},
	} {
		t.Run(test.alg+" "+test.auth, func(t *testing.T) {
			t.Parallel()
			shows(t, glewProduct, signedWith(test.alg), behaviour("`"+test.auth+"`"))
			w := newGlewlwyd(t, packagedSetup{
				alg: test.alg,
				env: map[string]string{"OIDC_CLIENT_AUTH": test.auth},
			})
			b := newBrowser(t)
			me := w.me(t, b.open(w.base+"/me").glewSignIn())
			if me.Sub == "" || me.Iss != w.provider.issuer || me.ACR != "" ||
				!slices.Equal(me.AMR, []string{"session"}) {
				t.Errorf("signed in as %+v", me)
			}
			if me.Claims["email"] != "alice@ministere.example" || me.Claims["name"] != "Alice Martin" {
				t.Errorf("claims %v", me.Claims)
			}

			token := w.seen.last(t, glewToken)
			wantAuth(t, token, test.auth)
			if len(token.Form.Get("code_verifier")) < 43 {
				t.Error("no code_verifier for a provider that requires PKCE")
			}
			answer := token.json(t)
			wantClaims(t, answer, map[string]any{"token_type": "bearer", "scope": "openid"})
			access, _ := jws(t, answer["access_token"])
			wantClaims(t, access, map[string]any{"typ": "at+jwt", "alg": test.alg})
			header, claims := jws(t, answer["id_token"])
			wantClaims(t, header, map[string]any{"typ": "JWT", "alg": test.alg})
			wantClaims(t, claims, map[string]any{
				"aud": clientID, "azp": clientID, "auth_time": 0.0, "sid": me.SID,
				"at_hash": halfHash(answer["access_token"]),
				"c_hash":  halfHash(token.Form.Get("code")),
			})
			if iss := b.visited(w.base + "/auth/callback").Query().Get("iss"); iss != w.provider.issuer {
				t.Errorf("the callback's iss is %q", iss)
			}
		})
	}
}

// halfHash is at_hash with SHA-256.
func halfHash(token any) string {
	sum := sha256.Sum256([]byte(token.(string)))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// TestGlewlwydEdDSA: Glewlwyd makes at_hash with SHA-256 under EdDSA, where the hash of Ed25519 is
// SHA-512 (RFC 8032 section 5.1; OIDC Core 3.1.3.6: the hash algorithm of alg). So it is refused,
// and at nothing before that: the signature is good.
func TestGlewlwydEdDSA(t *testing.T) {
	t.Parallel()
	refuses(t, glewProduct, signedEdDSA)
	w := newGlewlwyd(t, packagedSetup{alg: "EdDSA"})
	b := newBrowser(t)
	w.wantRefused(t, b.open(w.base+"/me").glewSignIn(), "ID Token refused: at_hash")
	if w.signedIn(b) {
		t.Error("signed in")
	}
	answer := w.seen.last(t, glewToken).json(t)
	header, claims := jws(t, answer["id_token"])
	wantClaims(t, header, map[string]any{"alg": "EdDSA"})
	wantClaims(t, claims, map[string]any{"at_hash": halfHash(answer["access_token"])})
}

// TestGlewlwydSignedUserInfo: Glewlwyd signs when Accept is application/jwt and nothing else, and
// leaves aud out. OIDC Core 5.3.2 has required it since its second errata set, so that is refused,
// and at nothing before that: the signature and iss are good.
func TestGlewlwydSignedUserInfo(t *testing.T) {
	t.Parallel()
	refuses(t, glewProduct, signedInfo)
	w := newGlewlwyd(t, packagedSetup{
		alg: "ES256",
		env: map[string]string{"OIDC_USERINFO_SIGNED_RESPONSE_ALG": "ES256"},
	})
	b := newBrowser(t)
	w.wantRefused(t, b.open(w.base+"/me").glewSignIn(), "UserInfo refused: aud")
	if w.signedIn(b) {
		t.Error("signed in")
	}
	header, claims := jws(t, string(w.seen.last(t, glewUserInfo).Body))
	wantClaims(t, header, map[string]any{"typ": "token-userinfo+jwt", "alg": "ES256"})
	wantClaims(t, claims, map[string]any{"iss": w.provider.issuer, "aud": nil})
}

// TestGlewlwydRefresh: no ID Token comes with it, and another refresh token only as configured.
func TestGlewlwydRefresh(t *testing.T) {
	t.Parallel()
	for use, oneUse := range map[string]bool{"never": false, "always": true} {
		t.Run("one use "+use, func(t *testing.T) {
			t.Parallel()
			shows(t, glewProduct, refreshes)
			if oneUse {
				shows(t, glewProduct, rotates)
			}
			w := newGlewlwyd(t, packagedSetup{
				alg:    "ES256",
				env:    map[string]string{"KEEP_TOKENS": "1"},
				plugin: map[string]any{"refresh-token-one-use": use},
			})
			b := newBrowser(t)
			first := w.me(t, b.open(w.base+"/me").glewSignIn())
			for range 2 {
				refreshed := b.fetch(http.MethodPost, w.base+"/refresh")
				var me who
				if refreshed.json(&me); refreshed.Status != http.StatusOK || me.Sub != first.Sub {
					t.Fatalf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
				}
				answer := w.seen.last(t, glewToken).json(t)
				if answer["id_token"] != nil || (answer["refresh_token"] != nil) != oneUse {
					t.Errorf("the provider answered %v", answer)
				}
			}
			asked := w.seen.all(glewToken)
			same := asked[1].Form.Get("refresh_token") == asked[2].Form.Get("refresh_token")
			if len(asked) != 3 || same == oneUse {
				t.Errorf("%d token requests, the same refresh token twice: %t", len(asked), same)
			}
		})
	}
}

// TestGlewlwydSignOut: Glewlwyd asks on its login page, in scripts, and comes back with the state.
func TestGlewlwydSignOut(t *testing.T) {
	t.Parallel()
	shows(t, glewProduct, signsOut)
	w := newGlewlwyd(t, packagedSetup{alg: "ES256"})
	b := newBrowser(t)
	me := w.me(t, b.open(w.base+"/me").glewSignIn())
	question := w.signOut(b).URL.Query()
	if question.Get("prompt") != "end_session" || question.Get("sid") != me.SID {
		t.Errorf("the provider asks %v", question)
	}
	b.send(http.MethodDelete, w.provider.issuer+"/session/"+me.SID, nil)
	b.send(http.MethodDelete, strings.TrimSuffix(w.provider.issuer, "oidc")+"auth/", nil)
	w.wantSignedOut(t, b, b.open(question.Get("callback_url")), glewEndSession)
	if page := b.open(w.base + "/me"); page.URL.Path != "/login.html" {
		t.Errorf("still signed in at the provider: %s\n%s", page.URL, page.Body)
	}
}

// TestGlewlwydSignOutElsewhere: the session ends at the provider, and Glewlwyd notifies the app,
// directly or through the browser.
func TestGlewlwydSignOutElsewhere(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{"back", "front"} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			shows(t, glewProduct, behaviour(channel+"-channel logout"))
			w := newGlewlwyd(t, packagedSetup{
				alg: "ES256", plugin: map[string]any{channel + "-channel-logout-allowed": true},
			})
			b := newBrowser(t)
			me := w.me(t, b.open(w.base+"/me").glewSignIn())
			if channel == "front" {
				b.get(w.base + "/auth/frontchannel-logout?iss=" + w.provider.issuer + "&sid=" + me.SID)
			} else {
				b.send(http.MethodDelete, w.provider.issuer+"/session/"+me.SID, nil)
			}
			// Glewlwyd responds before it has notified the app.
			w.app.poll(t, "end of the session", func() bool { return !w.signedIn(b) })
		})
	}
}

// TestGlewlwydTabs: the login page carries the request in its address, so every tab is its own.
func TestGlewlwydTabs(t *testing.T) {
	t.Parallel()
	shows(t, glewProduct, severalTabs)
	w := newGlewlwyd(t, packagedSetup{alg: "ES256"})
	b := newBrowser(t)
	var tabs [5]*page
	for i := range tabs {
		tabs[i] = b.open(fmt.Sprintf("%s/me?tab=%d", w.base, i))
	}
	for _, tab := range []int{3, 0, 4, 1, 2} {
		done := tabs[tab].glewSignIn()
		w.me(t, done)
		if want := fmt.Sprintf("tab=%d", tab); done.URL.RawQuery != want {
			t.Errorf("tab %d ended on %s", tab, done.URL)
		}
	}
}

// TestGlewlwydPromptNone: Glewlwyd says interaction_required. The app has a page for it, with no
// loop, and the next login works as usual.
func TestGlewlwydPromptNone(t *testing.T) {
	t.Parallel()
	w := newGlewlwyd(t, packagedSetup{alg: "ES256"})
	b := newBrowser(t)
	b.open(w.base + "/me")
	silent := w.seen.last(t, glewAuthorize).Query
	silent.Set("prompt", "none")
	p := b.open(w.provider.issuer + "/auth?" + silent.Encode())
	if p.Status < 400 || p.URL.Path != "/auth/callback" ||
		p.URL.Query().Get("error") != "interaction_required" {
		t.Errorf("ended on %s with %d\n%s", p.URL, p.Status, p.Body)
	}
	w.me(t, b.open(w.base+"/me").glewSignIn())
}

// TestGlewlwydWithoutACR: no acr in the ID Token is less than any that a page needs.
func TestGlewlwydWithoutACR(t *testing.T) {
	t.Parallel()
	w := newGlewlwyd(t, packagedSetup{alg: "ES256", env: map[string]string{"REQUIRE_ACR": "eidas2"}})
	b := newBrowser(t)
	p := b.open(w.base + "/admin").glewSignIn()
	if p.Status != http.StatusForbidden || p.URL.Host != w.base[len("http://"):] {
		t.Errorf("ended on %s with %d\n%s", p.URL, p.Status, p.Body)
	}
	w.me(t, b.open(w.base+"/me").glewSignIn())
}

// TestGlewlwydFormPost: in a form Glewlwyd encodes iss once too often, so that is another issuer.
// Without iss the form is as good as a redirect.
func TestGlewlwydFormPost(t *testing.T) {
	t.Parallel()
	shows(t, glewProduct, formPost)
	s := packagedSetup{alg: "ES256", env: map[string]string{"OIDC_RESPONSE_MODE": "form_post"}}
	w := newGlewlwyd(t, s)
	b := newBrowser(t)
	p := b.open(w.base + "/me").glewSignIn()
	if p.Status != http.StatusBadRequest || w.signedIn(b) || len(w.seen.all(glewToken)) != 0 {
		t.Errorf("ended on %s with %d\n%s", p.URL, p.Status, p.Body)
	}

	s.plugin = map[string]any{"oauth-as-iss-id": false}
	w = newGlewlwyd(t, s)
	w.me(t, newBrowser(t).open(w.base+"/me").glewSignIn())
}
