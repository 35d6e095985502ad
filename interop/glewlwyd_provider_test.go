package interop

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
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
	text := filled(t, "glewlwyd/plugin.json", map[string]any{
		"Issuer": issuer,
		"JWKS":   privateJWKS(t, s.alg), // it signs with the first
	})
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
		"backchannel_logout_uri":     base + "/auth/backchannel-logout",
		"frontchannel_logout_uri":    base + "/auth/frontchannel-logout",
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
// leaves out.
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
// scopes, and goes on to the address that the page was given.
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
