package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// database is the schema of Debian's glewlwyd package, with an administrator whose password is in
// the package's documentation.
const database = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3"

// The provider's paths.
const (
	glewAuthorize  = "/api/oidc/auth"
	glewToken      = "/api/oidc/token"
	glewUserInfo   = "/api/oidc/userinfo"
	glewEndSession = "/api/oidc/end_session"
)

// newGlewlwyd starts Glewlwyd and an app. It knows one person, alice.
func newGlewlwyd(t testing.TB, s packagedSetup) *packaged {
	t.Helper()
	port, backend, base := freePort(t), freePort(t), origin(freePort(t))
	issuer := origin(port) + "/api/oidc"
	p := &provider{issuer: issuer, process: startGlewlwyd(t, backend, origin(port))}
	setUpGlewlwyd(t, backend, issuer, base, s)
	return &packaged{
		seen:  startRecorder(t, port, origin(backend)),
		world: &world{provider: p, app: startPackagedApp(t, issuer, base, s)},
	}
}

// setUpGlewlwyd does what an administrator does after the installation.
func setUpGlewlwyd(t testing.TB, port int, issuer, base string, s packagedSetup) {
	t.Helper()
	admin := newGlewlwydAdmin(t, origin(port))
	admin.do(http.MethodPost, "/api/auth/", map[string]any{"username": "admin", "password": "password"})

	var plugin map[string]any
	text := filled(t, "glewlwyd/plugin.json", map[string]any{"Issuer": issuer, "JWKS": glewlwydKeys(t, s.alg)})
	if err := json.Unmarshal(text, &plugin); err != nil {
		t.Fatal(err)
	}
	maps.Copy(plugin["parameters"].(map[string]any), s.plugin)
	admin.do(http.MethodPost, "/api/mod/plugin/", plugin)

	client := map[string]any{
		"client_id":                  clientID,
		"name":                       "interop",
		"enabled":                    true,
		"confidential":               true,
		"client_secret":              clientSecret,
		"redirect_uri":               []string{base + "/auth/callback"},
		"post_logout_redirect_uris":  []string{base + "/auth/logout/callback"},
		"token_endpoint_auth_method": []string{"client_secret_basic", "client_secret_post"},
		"authorization_type":         []string{"code", "refresh_token"},
	}
	maps.Copy(client, s.client)
	admin.allowLogoutURIs()
	admin.do(http.MethodPost, "/api/client/", client)
	admin.do(http.MethodPost, "/api/user/", map[string]any{
		"username": "alice", "name": "Alice Martin", "email": "alice@ministere.example",
		"password": "correct horse", "enabled": true, "scope": []string{"openid"},
	})
}

func startGlewlwyd(t testing.TB, port int, public string) *process {
	t.Helper()
	dir := t.TempDir()
	db, err := os.Open(database)
	if err != nil {
		t.Fatalf("this test needs Glewlwyd: %v; `bash interop/run` installs it", err)
	}
	defer db.Close()
	file := filepath.Join(dir, "glewlwyd.db")
	create := exec.Command(need(t, "sqlite3", "sqlite3"), file)
	create.Stdin = db
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create the database: %v\n%s", err, out)
	}
	conf := filepath.Join(dir, "glewlwyd.conf")
	fill(t, "glewlwyd/glewlwyd.conf", conf, map[string]any{
		"Port": port, "Origin": public, "Database": file,
	})
	cmd := exec.Command(need(t, "glewlwyd", "glewlwyd"), "--config-file="+conf)
	cmd.Dir = dir
	p := startProcess(t, "glewlwyd", cmd)
	p.poll(t, "glewlwyd", func() bool { return listens(port) })
	return p
}

// glewlwydKeys makes a private key set. The provider signs with the first key, which is for alg.
func glewlwydKeys(t testing.TB, alg string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	d, err := ec.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []map[string]any{
		{
			"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "ES256:" + rand.Text(),
			"x": encode(point[1:33]), "y": encode(point[33:]), "d": encode(d),
		},
		{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "EdDSA:" + rand.Text(),
			"x": encode(public), "d": encode(private.Seed()),
		},
		rsaJWK(t),
	}
	wanted := slices.IndexFunc(keys, func(key map[string]any) bool { return key["alg"] == alg })
	keys[0], keys[wanted] = keys[wanted], keys[0]
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// glewlwydAdmin calls the provider's JSON API.
type glewlwydAdmin struct {
	t      testing.TB
	origin string
	client *http.Client
}

func newGlewlwydAdmin(t testing.TB, origin string) *glewlwydAdmin {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &glewlwydAdmin{t, origin, &http.Client{Jar: jar, Timeout: patience}}
}

// allowLogoutURIs lets clients have post_logout_redirect_uris, which the package's configuration
// forgets.
func (a *glewlwydAdmin) allowLogoutURIs() {
	a.t.Helper()
	var module map[string]any
	if err := json.Unmarshal(a.do(http.MethodGet, "/api/mod/client/database", nil), &module); err != nil {
		a.t.Fatal(err)
	}
	parameters, _ := module["parameters"].(map[string]any)
	formats, _ := parameters["data-format"].(map[string]any)
	formats["post_logout_redirect_uris"] = map[string]any{"multiple": true, "read": true, "write": true}
	a.do(http.MethodPut, "/api/mod/client/database", module)
	a.do(http.MethodPut, "/api/mod/client/database/reset", nil)
}

// do returns the answer's body.
func (a *glewlwydAdmin) do(method, path string, body any) []byte {
	a.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	req, err := http.NewRequest(method, a.origin+path, bytes.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		a.t.Fatalf("glewlwyd answered %s with %d %v\n%s", path, res.StatusCode, err, answer)
	}
	return answer
}

// glewSignIn does what the scripts of the provider's login page do: it signs in, grants the
// scopes, and goes on to where the page was told to.
func (p *page) glewSignIn() *page {
	b := p.browser
	b.t.Helper()
	origin := p.URL.Scheme + "://" + p.URL.Host
	b.send(http.MethodPost, origin+"/api/auth/",
		map[string]any{"username": "alice", "password": "correct horse"})
	b.send(http.MethodPut, origin+"/api/auth/grant/"+clientID, map[string]any{"scope": "openid"})
	return b.open(p.URL.Query().Get("callback_url") + "&g_continue")
}

// send is a script's request with a JSON body.
func (b *browser) send(method, address string, body any) {
	b.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequest(method, address, bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if answer := b.do(req); answer.Status != http.StatusOK {
		b.t.Fatalf("%s answered %d\n%s", address, answer.Status, answer.Body)
	}
}

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
			w := newGlewlwyd(t, packagedSetup{
				alg: test.alg,
				env: map[string]string{"OIDC_CLIENT_AUTH": test.auth},
			})
			b := newBrowser(t)
			me := w.me(t, b.open(w.base+"/me").glewSignIn())
			if me.Sub == "" || me.Iss != w.provider.issuer || me.ACR != "" || !slices.Equal(me.AMR, []string{"session"}) {
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

// TestGlewlwydTabs: the login page carries the request in its address, so every tab is its own.
func TestGlewlwydTabs(t *testing.T) {
	t.Parallel()
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
// loop, and the next login is as ever.
func TestGlewlwydPromptNone(t *testing.T) {
	t.Parallel()
	w := newGlewlwyd(t, packagedSetup{alg: "ES256"})
	b := newBrowser(t)
	b.open(w.base + "/me")
	silent := w.seen.last(t, glewAuthorize).Query
	silent.Set("prompt", "none")
	p := b.open(w.provider.issuer + "/auth?" + silent.Encode())
	if p.Status < 400 || p.URL.Path != "/auth/callback" || p.URL.Query().Get("error") != "interaction_required" {
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
