package interop

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"
)

// packaged is a webapp, a provider out of a Debian package, and the record between them.
type packaged struct {
	*world
	seen *recorder
}

// packagedSetup says how a pair departs from the usual: client_secret_basic, UserInfo as JSON.
type packagedSetup struct {
	alg      string            // of ID Tokens
	env      map[string]string // more environment of the app
	client   map[string]any    // more settings of the client, in the provider's own terms
	macros   map[string]string // more claims of UserInfo, as LemonLDAP's Perl expressions
	nameless bool              // LemonLDAP's key has no kid
	plugin   map[string]any    // more settings of Glewlwyd's plugin
}

// startPackagedApp runs webapp in front of a provider, with what differs from environment.
func startPackagedApp(t testing.TB, issuer, base string, s packagedSetup) *app {
	t.Helper()
	env := environment(t, "", issuer, clientID, base)
	env["OIDC_CLIENT_AUTH"] = "client_secret_basic"
	env["OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG"] = s.alg
	maps.Copy(env, s.env)
	return startApp(t, base, env)
}

// need returns the path of a program, or stops the test with the way to get it.
func need(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("this test needs %s: %v; `bash interop/run` or `apt-get install %s`", program, err, pkg)
	}
	return path
}

// fill writes a template of the providers folder to a file.
func fill(t testing.TB, name, file string, data any) {
	t.Helper()
	if err := os.WriteFile(file, filled(t, name, data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// filled returns a template of the providers folder with its values in.
func filled(t testing.TB, name string, data any) []byte {
	t.Helper()
	tmpl := template.New(filepath.Base(name)).Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			text, err := json.Marshal(v)
			return string(text), err
		},
	})
	tmpl, err := tmpl.ParseFiles(filepath.Join("providers", name))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// wantAuth looks at how a token request proves who the client is.
func wantAuth(t testing.TB, token exchange, method string) {
	t.Helper()
	basic := strings.HasPrefix(token.Header.Get("Authorization"), "Basic ")
	post := token.Form.Has("client_secret")
	if basic == post || basic != (method == "client_secret_basic") {
		t.Errorf("secret in the header %t, in the body %t, want %s", basic, post, method)
	}
}

// wantClaims compares some of the claims.
func wantClaims(t testing.TB, claims, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if !reflect.DeepEqual(claims[name], value) {
			t.Errorf("%s is %v, want %v", name, claims[name], value)
		}
	}
}

// has reports whether a list out of JSON has an entry.
func has(list any, entry string) bool {
	values, _ := list.([]any)
	return slices.Contains(values, any(entry))
}

// wantRefused: the app refuses a login on a page of its own, and its log says what was wrong.
func (w *world) wantRefused(t testing.TB, p *page, reason string) {
	t.Helper()
	if p.Status != http.StatusBadGateway || p.URL.Path != "/auth/callback" {
		t.Errorf("ended on %s with %d\n%s", p.URL, p.Status, p.Body)
	}
	w.app.poll(t, "line of the log with "+reason, func() bool {
		return strings.Contains(string(w.app.log.Bytes()), reason)
	})
}

// wantSignedOut: the person came back to the app, with the app's own state, and has no session.
func (w *packaged) wantSignedOut(t testing.TB, b *browser, p *page, endSession string) {
	t.Helper()
	if p.Status != http.StatusOK || !strings.HasPrefix(p.URL.String(), w.base+"/auth/logout/callback?") {
		t.Errorf("ended on %s with %d\n%s", p.URL, p.Status, p.Body)
	}
	if w.signedIn(b) {
		t.Error("still signed in at the app")
	}
	asked := w.seen.all(endSession)[0].Query
	if !asked.Has("id_token_hint") || asked.Get("state") == "" ||
		asked.Get("state") != p.URL.Query().Get("state") {
		t.Errorf("asked %v, came back to %s", asked, p.URL)
	}
}
