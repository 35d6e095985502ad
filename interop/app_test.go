package interop

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"testing"
)

const (
	clientID     = "interop"
	clientSecret = "4f2d8c0b6a1e97354f2d8c0b6a1e97354f2d8c0b6a1e97354f2d8c0b6a1e9735"
)

// world is one webapp and the stand-in it signs people in with.
type world struct {
	*app
	provider *provider
}

// setup says how a world departs from the usual: client_secret_post, ES256, UserInfo as JSON.
type setup struct {
	kind     string
	client   map[string]any    // more metadata of the client at the provider
	env      map[string]string // more environment of the app
	provider settings          // more settings of the provider
	down     bool              // do not start the provider
}

// newWorld starts both on free ports.
func newWorld(t testing.TB, s setup) *world {
	t.Helper()
	base := origin(freePort(t))
	s.provider.Port = freePort(t)
	issuer := issuerAt(s.kind, origin(s.provider.Port))

	client := clientAt(s.kind, clientID, base)
	maps.Copy(client, s.client)
	s.provider.Clients = append(s.provider.Clients, client)
	env := environment(t, s.kind, issuer, clientID, base)
	maps.Copy(env, s.env)

	w := &world{provider: &provider{kind: s.kind, settings: s.provider, issuer: issuer}}
	if !s.down {
		w.provider = startProvider(t, s.kind, s.provider)
	}
	w.app = startApp(t, base, env)
	return w
}

// scope is what a client asks for and, at ProConnect, all that it may ask for.
func scope(kind string) string {
	if kind == proconnect {
		return "openid email given_name usual_name uid siret idp_id roles custom"
	}
	return "openid email profile"
}

// clientAt is an app as it is registered with a stand-in.
func clientAt(kind, id, base string) map[string]any {
	client := map[string]any{
		"client_id":                    id,
		"client_secret":                clientSecret,
		"token_endpoint_auth_method":   "client_secret_post",
		"id_token_signed_response_alg": "ES256",
		"grant_types":                  []string{"authorization_code", "refresh_token"},
		"redirect_uris":                []string{base + "/auth/callback"},
		"post_logout_redirect_uris":    []string{base + "/auth/logout/callback"},
	}
	if kind == proconnect {
		client["scope"] = scope(kind)
	}
	return client
}

// environment configures webapp to match clientAt.
func environment(t testing.TB, kind, issuer, id, base string) map[string]string {
	t.Helper()
	return map[string]string{
		"OIDC_ISSUER":                       issuer,
		"OIDC_CLIENT_ID":                    id,
		"OIDC_CLIENT_SECRET":                clientSecret,
		"OIDC_CLIENT_AUTH":                  "client_secret_post",
		"OIDC_BASE_URL":                     base,
		"OIDC_SCOPES":                       scope(kind),
		"OIDC_ID_TOKEN_SIGNED_RESPONSE_ALG": "ES256",
		"OIDC_COOKIE_KEYS":                  cookieKey(t),
	}
}

func origin(port int) string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func cookieKey(t testing.TB) string {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	return base64.StdEncoding.EncodeToString(key)
}

// app is a running webapp or service.
type app struct {
	*process
	base string
}

// startApp runs webapp with nothing but env in its environment, and returns when it answers.
func startApp(t testing.TB, base string, env map[string]string) *app {
	t.Helper()
	return startBuild(t, webapp, base, env)
}

// startBuild is startApp for either build of webapp.
func startBuild(t testing.TB, path, base string, env map[string]string) *app {
	t.Helper()
	env = maps.Clone(env)
	env["LISTEN"] = base[len("http://"):]
	a := startProgram(t, "webapp", path, base, env)
	a.poll(t, "webapp", func() bool { return a.status(t, "/healthz") == http.StatusOK })
	return a
}

// startProgram runs an app with nothing but env in its environment.
func startProgram(t testing.TB, name, path, base string, env map[string]string) *app {
	t.Helper()
	cmd := exec.Command(path)
	cmd.Dir = t.TempDir()
	for name, value := range env {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s", name, value))
	}
	return &app{process: startProcess(t, name, cmd), base: base}
}

// status asks like a load balancer: no cookies, no browser's headers. 0 means no answer.
func (a *app) status(t testing.TB, path string) int {
	t.Helper()
	res, err := http.Get(a.base + path)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// who is the app's /me.
type who struct {
	Sub      string         `json:"sub"`
	Iss      string         `json:"iss"`
	ACR      string         `json:"acr"`
	AMR      []string       `json:"amr"`
	SID      string         `json:"sid"`
	AuthTime any            `json:"auth_time"`
	Claims   map[string]any `json:"claims"`
}

// me reads the page that the app ended a login on.
func (w *world) me(t testing.TB, p *page) who {
	t.Helper()
	if p.Status != http.StatusOK || p.URL.Path != "/me" || p.URL.Host != w.base[len("http://"):] {
		t.Fatalf("ended on %s with %d, not on /me\n%s", p.URL, p.Status, p.Body)
	}
	var me who
	p.json(&me)
	return me
}

// signedIn reports whether the browser has a session, without starting a login.
func (w *world) signedIn(b *browser) bool {
	b.t.Helper()
	return b.fetch(http.MethodGet, w.base+"/api/me").Status == http.StatusOK
}
