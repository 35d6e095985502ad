package interop

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// keycloakVersion is the one that interop/run installs.
const keycloakVersion = "keycloak-26.7.3"

// Keycloak starts within seconds on a free machine, and within minutes on one that others use too.
const keycloakPatience = 5 * time.Minute

// keycloak is a server without a disk. It speaks plain http at origin, and TLS at secure.
type keycloak struct {
	*process
	origin, secure string
	admin          string // the secret of the administrator
	certificate    tls.Certificate
	roots          *x509.CertPool
	client         *http.Client
}

// launchKeycloak starts the server and does not wait for it.
func launchKeycloak(t testing.TB) *keycloak {
	t.Helper()
	home := installed(t, keycloakVersion)
	dir := t.TempDir()
	port, securePort := freePort(t), freePort(t)
	k := &keycloak{
		origin: origin(port), secure: "https://127.0.0.1:" + strconv.Itoa(securePort), admin: rand.Text(),
		certificate: newCertificate(t, "keycloak"), roots: x509.NewCertPool(),
		client: &http.Client{Timeout: patience},
	}
	k.roots.AddCert(k.certificate.Leaf)
	certFile, keyFile := writePEM(t, dir, k.certificate)
	// As bin/kc.sh runs it, which does not pass a kill on.
	cmd := exec.Command(need(t, "java", "openjdk-17-jre-headless"),
		"-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
		"--add-opens=java.base/java.security=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
		"-Djava.util.concurrent.ForkJoinPool.common.threadFactory="+
			"io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
		"-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-Djava.io.tmpdir="+dir,
		"-Dkc.home.dir="+home, "-cp", filepath.Join(home, "lib", "quarkus-run.jar"),
		"io.quarkus.bootstrap.runner.QuarkusEntryPoint", "start", "--optimized",
		"--hostname="+k.origin, "--hostname-backchannel-dynamic=true",
		"--proxy-headers=xforwarded", "--http-enabled=true",
		"--http-host=127.0.0.1", "--http-port="+strconv.Itoa(port), "--https-port="+strconv.Itoa(securePort),
		"--https-certificate-file="+certFile, "--https-certificate-key-file="+keyFile,
		"--https-trust-store-file="+certFile)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_CLIENT_ID=interop", "KC_BOOTSTRAP_ADMIN_CLIENT_SECRET="+k.admin)
	k.process = startProcess(t, "keycloak", cmd)
	return k
}

// wait returns when the server answers.
func (k *keycloak) wait(t testing.TB) {
	t.Helper()
	k.pollFor(t, keycloakPatience, "keycloak", func() bool {
		res, err := k.client.Get(k.origin + "/realms/master")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// token is an administrator's access token, which lives for a minute.
func (k *keycloak) token(t testing.TB) string {
	t.Helper()
	res, err := k.client.PostForm(k.origin+"/realms/master/protocol/openid-connect/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"interop"}, "client_secret": {k.admin},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("keycloak answered the administrator with %d %v", res.StatusCode, err)
	}
	return answer.AccessToken
}

// newRealm makes a realm with one person, alice. Browsers reach it at public.
func (k *keycloak) newRealm(t testing.TB, name, public string) *realProvider {
	t.Helper()
	var realm map[string]any
	text := filled(t, "keycloak/realm.json", map[string]any{"Name": name, "Public": public, "Password": keycloakPassword})
	if err := json.Unmarshal(text, &realm); err != nil {
		t.Fatal(err)
	}
	send(t, k.client, http.MethodPost, k.origin+"/admin/realms", k.token(t), realm, nil)
	p := &realProvider{
		product: keycloakProduct, issuer: public + "/realms/" + name,
		signIn: (*page).keycloakSignIn,
		asks:   func(p *page) bool { return strings.Contains(p.Body, `id="kc-form-login"`) },
	}
	var initial struct {
		Token string `json:"token"`
	}
	send(t, k.client, http.MethodPost, k.origin+"/admin/realms/"+name+"/clients-initial-access", k.token(t),
		map[string]any{"count": 100, "expiration": 0}, &initial)
	p.register = func(t testing.TB, client map[string]any) (id, secret string) {
		t.Helper()
		var registered struct {
			ID     string `json:"client_id"`
			Secret string `json:"client_secret"`
		}
		address := k.origin + "/realms/" + name + "/clients-registrations/openid-connect"
		send(t, k.client, http.MethodPost, address, initial.Token, client, &registered)
		return registered.ID, registered.Secret
	}
	return p
}

const keycloakPassword = "correct horse"

// keycloakSignIn fills the login page in. One that asks for the password alone ignores the name.
func (p *page) keycloakSignIn() *page {
	p.browser.t.Helper()
	return p.form().set("username", "alice").set("password", keycloakPassword).submit()
}

// terminateTLS starts a proxy that speaks https to browsers, at localhost, and http to the server.
func (k *keycloak) terminateTLS(t testing.TB) (public string) {
	t.Helper()
	target, err := url.Parse(k.origin)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
	})
	front.TLS = &tls.Config{Certificates: []tls.Certificate{k.certificate}}
	front.StartTLS()
	t.Cleanup(front.Close)
	return strings.Replace(front.URL, "127.0.0.1", "localhost", 1)
}
