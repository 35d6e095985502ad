package interop

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// zitadelVersion is the one that interop/run installs.
const zitadelVersion = "zitadel-v3.52.0"

// newZitadel is the example server of the library zitadel/oidc. It is told the redirect URI of its one client
// when it starts, so it starts with the first app that registers, which must be the only one. It knows one
// person, alice.
func newZitadel(t testing.TB) *realProvider {
	t.Helper()
	port := freePort(t)
	issuer := "http://localhost:" + strconv.Itoa(port) + "/"
	return &realProvider{
		product: zitadelProduct, issuer: issuer,
		signIn: func(login *page) *page {
			return login.form().set("username", "alice").set("password", "a password").submit()
		},
		asks:       func(p *page) bool { return strings.HasPrefix(p.URL.String(), issuer+"login/") },
		newBrowser: newBrowser,
		scopes:     []string{"openid", "email", "offline_access"},
		register: func(t testing.TB, client map[string]any) (id, secret string) {
			t.Helper()
			startZitadel(t, port, client["redirect_uris"])
			return "web", "secret"
		},
	}
}

// startZitadel starts the server, and returns when it answers.
func startZitadel(t testing.TB, port int, redirectURIs any) {
	t.Helper()
	uris, _ := redirectURIs.([]any)
	if len(uris) != 1 {
		t.Fatalf("redirect URIs %v", redirectURIs)
	}
	users, err := json.Marshal(map[string]any{"alice-1": map[string]any{
		"ID": "alice-1", "Username": "alice", "Password": "a password",
		"Email": "alice@ministere.example", "EmailVerified": true, "PreferredLanguage": "fr",
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(file, users, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(installed(t, zitadelVersion))
	cmd.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "USERS_FILE="+file, "REDIRECT_URI="+uris[0].(string))
	address := url.URL{Scheme: "http", Host: "localhost:" + strconv.Itoa(port), Path: "/.well-known/openid-configuration"}
	startProcess(t, "zitadel", cmd).poll(t, "zitadel", func() bool {
		res, err := http.Get(address.String())
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}
