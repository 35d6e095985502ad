package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var kinds = []string{proconnect, modern}

func TestSignIn(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		for _, alg := range []string{"ES256", "RS256", "HS256"} {
			for _, userInfo := range []string{"JSON", "JWT"} {
				t.Run(fmt.Sprintf("%s %s UserInfo %s", kind, alg, userInfo), func(t *testing.T) {
					t.Parallel()
					testSignIn(t, kind, alg, userInfo)
				})
			}
		}
	}
}

func testSignIn(t *testing.T, kind, alg, userInfo string) {
	shows(t, productOf[kind], signedWith(alg))
	s := setup{
		kind:   kind,
		client: map[string]any{"id_token_signed_response_alg": alg},
		env:    map[string]string{"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": alg},
	}
	if userInfo == "JWT" {
		shows(t, productOf[kind], signedInfo)
		s.client["userinfo_signed_response_alg"] = alg
		s.env["OIDC_USERINFO_SIGNED_RESPONSE_ALG"] = alg
	}
	w := newWorld(t, s)

	me := w.me(t, newBrowser(t).open(w.base+"/me").signIn(alice))
	if me.Sub != alice.Sub || me.Iss != w.provider.issuer {
		t.Errorf("sub %q, iss %q", me.Sub, me.Iss)
	}
	// Both are in the ID Token only because the app asks with the claims parameter.
	if me.ACR != alice.ACR || !slices.Equal(me.AMR, alice.AMR) {
		t.Errorf("acr %q, amr %q", me.ACR, me.AMR)
	}
	if me.Claims["email"] != alice.Claims["email"] || me.Claims["given_name"] != "Alice" {
		t.Errorf("claims %v", me.Claims)
	}
	if got := len(w.provider.requests(t, "token")); got != 1 {
		t.Errorf("%d token requests", got)
	}
	if got := len(w.provider.requests(t, "userinfo")); got != 1 {
		t.Errorf("%d userinfo requests", got)
	}
	if accept := w.provider.last(t, "token").Accept; !strings.HasPrefix(accept, "application/json") {
		t.Errorf("the token request accepts %q", accept)
	}
}

// TestClaimsKeepTheirTypes: arrays and objects arrive as such.
func TestClaimsKeepTheirTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{kind: proconnect})
	me := w.me(t, newBrowser(t).open(w.base+"/me").signIn(alice))
	want := []any{"agent_public", "agent_public_etat"}
	if !reflect.DeepEqual(me.Claims["roles"], want) {
		t.Errorf("roles %v", me.Claims["roles"])
	}
	if custom, _ := me.Claims["custom"].(map[string]any); custom["bureau"] != "B 12" {
		t.Errorf("custom %v", me.Claims["custom"])
	}
}

// TestSignInSendsWhatItMust looks at the authentication request as the provider saw it.
func TestSignInSendsWhatItMust(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: kind})
			newBrowser(t).open(w.base + "/me")
			query := w.provider.last(t, "authorization").Query
			for _, name := range []string{"state", "nonce", "code_challenge"} {
				if value, _ := query[name].(string); len(value) < 43 {
					t.Errorf("%s is %q", name, query[name])
				}
			}
			if query["code_challenge_method"] != "S256" || query["response_type"] != "code" {
				t.Errorf("query %v", query)
			}
			for name, value := range query {
				if value == "" {
					t.Errorf("%s is sent empty", name)
				}
			}
		})
	}
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind, registered, method string
	}{
		{proconnect, "client_secret_post", "client_secret_post"},
		// ProConnect does not advertise it and still takes it.
		{proconnect, "client_secret_post", "client_secret_basic"},
		{modern, "client_secret_post", "client_secret_post"},
		{modern, "client_secret_basic", "client_secret_basic"},
	} {
		t.Run(test.kind+" "+test.method, func(t *testing.T) {
			t.Parallel()
			shows(t, productOf[test.kind], behaviour("`"+test.method+"`"))
			w := newWorld(t, setup{
				kind:   test.kind,
				client: map[string]any{"token_endpoint_auth_method": test.registered},
				env:    map[string]string{"OIDC_CLIENT_AUTH": test.method},
			})
			w.me(t, newBrowser(t).open(w.base+"/me").signIn(alice))

			token := w.provider.last(t, "token")
			_, inBody := token.Form["client_secret"]
			if wantBasic := test.method == "client_secret_basic"; inBody == wantBasic ||
				(token.Authorization == "Basic") != wantBasic {
				t.Errorf("secret in body %t, Authorization %q", inBody, token.Authorization)
			}
		})
	}
}

func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	shows(t, modernProduct, privateKeyJWT)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client-key.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	jwk := map[string]any{"kty": "EC", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])}

	w := newWorld(t, setup{
		kind: modern,
		client: map[string]any{
			"token_endpoint_auth_method":      "private_key_jwt",
			"token_endpoint_auth_signing_alg": "ES256",
			"jwks":                            map[string]any{"keys": []any{jwk}},
		},
		env: map[string]string{
			"OIDC_CLIENT_AUTH":     "private_key_jwt",
			"OIDC_CLIENT_KEY_FILE": file,
			"OIDC_CLIENT_SECRET":   "",
		},
	})
	w.me(t, newBrowser(t).open(w.base+"/me").signIn(alice))

	form := w.provider.last(t, "token").Form
	if form["client_assertion"] == nil || form["client_secret"] != nil {
		t.Errorf("token request with %v", form)
	}
}

func TestFormPost(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			shows(t, productOf[kind], formPost)
			w := newWorld(t, setup{
				kind: kind,
				env:  map[string]string{"OIDC_RESPONSE_MODE": "form_post"},
			})
			me := w.me(t, newBrowser(t).open(w.base+"/me").signIn(alice))
			if me.Sub != alice.Sub {
				t.Errorf("sub %q", me.Sub)
			}
			if got := w.provider.last(t, "authorization").Query["response_mode"]; got != "form_post" {
				t.Errorf("response_mode %v", got)
			}
		})
	}
}

func TestPushedAuthorizationRequest(t *testing.T) {
	t.Parallel()
	shows(t, modernProduct, pushed)
	w := newWorld(t, setup{
		kind:     modern,
		provider: settings{RequirePushedAuthorizationRequests: true},
	})
	w.me(t, newBrowser(t).open(w.base+"/me").signIn(alice))

	if got := len(w.provider.requests(t, "pushed_authorization_request")); got != 1 {
		t.Errorf("%d pushed requests", got)
	}
	query := w.provider.last(t, "authorization").Query
	if query["request_uri"] == nil || query["nonce"] != nil {
		t.Errorf("the browser carried %v", query)
	}
}

// TestRefusedACR: a person below the level that a page requires ends on a page of the app, without
// a session and without a loop, and can sign in to the rest of the app.
func TestRefusedACR(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: kind, env: map[string]string{"REQUIRE_ACR": "eidas2 eidas3"}})
			b := newBrowser(t)

			refused := b.open(w.base + "/admin").signIn(alice)
			if refused.Status != http.StatusForbidden || refused.URL.Host != w.base[len("http://"):] {
				t.Errorf("refused with %d on %s\n%s", refused.Status, refused.URL, refused.Body)
			}
			if got := b.visited(w.base + "/auth/callback").Query().Get("error"); got != "access_denied" {
				t.Errorf("the callback got error %q", got)
			}
			if w.signedIn(b) {
				t.Error("signed in after a refusal")
			}
			if me := w.me(t, toLogin(b.open(w.base+"/me"), alice)); me.Sub != alice.Sub {
				t.Errorf("sub %q", me.Sub)
			}
		})
	}
}

// toLogin signs in where the provider still asks: its session may serve.
func toLogin(p *page, a account) *page {
	if strings.Contains(p.Body, `id="login"`) {
		return p.signIn(a)
	}
	return p
}

// TestStepUp: a session below the level is asked to sign in again, once, and then has it.
func TestStepUp(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			shows(t, productOf[kind], stepUpACR)
			w := newWorld(t, setup{kind: kind, env: map[string]string{"REQUIRE_ACR": "eidas2 eidas3"}})
			b := newBrowser(t)
			w.me(t, b.open(w.base+"/me").signIn(alice))

			login := b.open(w.base + "/admin")
			admin := login.form().set("sub", alice.Sub).set("acr", "eidas2").set("amr", "pwd otp").submit()
			if admin.Status != http.StatusOK || admin.URL.Path != "/admin" {
				t.Fatalf("ended on %s with %d\n%s", admin.URL, admin.Status, admin.Body)
			}
			me := w.me(t, b.open(w.base+"/me"))
			if me.ACR != "eidas2" {
				t.Errorf("acr %q", me.ACR)
			}
		})
	}
}

// TestCancel: the person changes their mind at the provider.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: kind})
			b := newBrowser(t)
			stopped := b.open(w.base+"/me").form().set("do", "cancel").submit()
			if stopped.Status < 400 || stopped.URL.Host != w.base[len("http://"):] {
				t.Errorf("ended on %s with %d\n%s", stopped.URL, stopped.Status, stopped.Body)
			}
			if w.signedIn(b) {
				t.Error("signed in after cancelling")
			}
			w.me(t, b.open(w.base+"/me").signIn(alice))
		})
	}
}

// TestCallbackTwice: the address of a callback opened again, as a browser does that restores its
// tabs, leads to the page and spends nothing.
func TestCallbackTwice(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: kind})
			b := newBrowser(t)
			w.me(t, b.open(w.base+"/me").signIn(alice))

			again := b.open(b.visited(w.base + "/auth/callback").String())
			if me := w.me(t, again); me.Sub != alice.Sub {
				t.Errorf("sub %q", me.Sub)
			}
			if got := len(w.provider.requests(t, "token")); got != 1 {
				t.Errorf("%d token requests", got)
			}
		})
	}
}

// TestCallbackInAnotherBrowser: the login began elsewhere, so its code is not spent here; the
// login begins again and ends on the page.
func TestCallbackInAnotherBrowser(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: kind})
			first, second := newBrowser(t), newBrowser(t)
			w.me(t, first.open(w.base+"/me?from=mail").signIn(alice))

			login := second.open(first.visited(w.base + "/auth/callback").String())
			done := login.signIn(bob)
			if me := w.me(t, done); me.Sub != bob.Sub || done.URL.RawQuery != "from=mail" {
				t.Errorf("%q on %s", me.Sub, done.URL)
			}
			if got := len(w.provider.requests(t, "token")); got != 2 {
				t.Errorf("%d token requests", got)
			}
		})
	}
}
