package interop

import (
	"crypto/rand"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// portal is the program of Debian's liblemonldap-ng-portal-perl.
const portal = "/usr/share/lemonldap-ng/portal/htdocs/index.psgi"

// The provider's paths.
const (
	lemonAuthorize = "/oauth2/authorize"
	lemonToken     = "/oauth2/token"
	lemonUserInfo  = "/oauth2/userinfo"
	lemonLogout    = "/oauth2/logout"
)

// newLemonLDAP starts a LemonLDAP::NG portal and an app. Its people are the package's own
// demonstration accounts, whose password is their name.
func newLemonLDAP(t testing.TB, s packagedSetup) *packaged {
	t.Helper()
	port, backend, base := freePort(t), freePort(t), origin(freePort(t))
	issuer := origin(port) + "/" // as in the portal's documentation
	client := map[string]any{
		"oidcRPMetaDataOptionsClientID":               clientID,
		"oidcRPMetaDataOptionsClientSecret":           clientSecret,
		"oidcRPMetaDataOptionsIDTokenSignAlg":         s.alg,
		"oidcRPMetaDataOptionsRedirectUris":           base + "/auth/callback",
		"oidcRPMetaDataOptionsPostLogoutRedirectUris": base + "/auth/logout/callback",
		"oidcRPMetaDataOptionsLogoutUrl":              base + "/auth/frontchannel-logout",
		"oidcRPMetaDataOptionsLogoutType":             "front",
		"oidcRPMetaDataOptionsLogoutSessionRequired":  1,
		"oidcRPMetaDataOptionsBypassConsent":          1,
		"oidcRPMetaDataOptionsRefreshToken":           1,
		"oidcRPMetaDataOptionsRequirePKCE":            1,
	}
	maps.Copy(client, s.client)
	p := &provider{issuer: issuer, process: startLemonLDAP(t, backend, issuer, client, s)}
	return &packaged{
		seen:  startRecorder(t, port, origin(backend)),
		world: &world{provider: p, app: startPackagedApp(t, issuer, base, s)},
	}
}

// startLemonLDAP runs the portal in one process that serves one request at a time.
func startLemonLDAP(t testing.TB, port int, issuer string, client map[string]any,
	s packagedSetup) *process {
	t.Helper()
	if _, err := os.Stat(portal); err != nil {
		t.Fatalf("this test needs LemonLDAP::NG: %v; `bash interop/run` installs it", err)
	}
	dir := t.TempDir()
	for _, folder := range []string{"conf", "sessions", "locks"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	claims := map[string]string{"email": "mail", "name": "cn", "preferred_username": "uid"}
	for name := range s.macros {
		claims[name] = name
	}
	private, public := rsaKey(t)
	keyID := rand.Text()
	if s.nameless {
		keyID = ""
	}
	fill(t, "lemonldap/lemonldap-ng.ini", filepath.Join(dir, "lemonldap-ng.ini"), dir)
	fill(t, "lemonldap/lmConf-1.json", filepath.Join(dir, "conf", "lmConf-1.json"), map[string]any{
		"Portal":     issuer,
		"Key":        rand.Text(),
		"Sessions":   filepath.Join(dir, "sessions"),
		"Locks":      filepath.Join(dir, "locks"),
		"PrivateKey": private,
		"PublicKey":  public,
		"KeyID":      keyID,
		"Client":     client,
		"Claims":     claims,
		"Macros":     s.macros,
	})
	cmd := exec.Command(need(t, "plackup", "libplack-perl"),
		"--server", "HTTP::Server::PSGI", "--env", "deployment",
		"--host", "127.0.0.1", "--port", strconv.Itoa(port), portal)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LLNG_DEFAULTCONFFILE="+filepath.Join(dir, "lemonldap-ng.ini"))
	p := startProcess(t, "lemonldap", cmd)
	p.poll(t, "lemonldap", func() bool { return listens(port) })
	return p
}

// listens reports whether a connection to that port is taken.
func listens(port int) bool {
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// lemonSignIn fills the portal's login page in.
func (p *page) lemonSignIn(user string) *page {
	p.browser.t.Helper()
	return p.form().set("user", user).set("password", user).submit()
}
