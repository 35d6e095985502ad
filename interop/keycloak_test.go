package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
)

const (
	keycloakToken    = "/realms/people/protocol/openid-connect/token"
	keycloakUserInfo = "/realms/people/protocol/openid-connect/userinfo"
	keycloakPAR      = "/realms/people/protocol/openid-connect/ext/par/request"
	keycloakLogout   = "/realms/people/protocol/openid-connect/logout"
)

// TestKeycloak starts one server for all of its parts.
func TestKeycloak(t *testing.T) {
	k := launchKeycloak(t)
	t.Parallel()
	k.wait(t)
	people := k.newRealm(t, "people", k.origin)
	// Else the realm makes this key, the only slow one, when an app waits for the first token.
	send(t, k.client, http.MethodPost, k.origin+"/admin/realms/people/components", k.token(t), map[string]any{
		"name": "PS256", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
		"config": map[string]any{"algorithm": []string{"PS256"}, "keySize": []string{"2048"}},
	}, nil)
	people.newBrowser = func(t testing.TB) *browser { return newLoopbackBrowser(t, nil) }
	for name, test := range map[string]func(*testing.T){
		"client authentication": func(t *testing.T) { testKeycloakAuth(t, people) },
		"ID Token":              func(t *testing.T) { testKeycloakAlgs(t, people) },
		"encryption":            func(t *testing.T) { testKeycloakEncryption(t, people) },
		"signed UserInfo":       func(t *testing.T) { testKeycloakSignedUserInfo(t, people) },
		"form_post":             func(t *testing.T) { testFormPost(t, people) },
		"PAR":                   func(t *testing.T) { testKeycloakPAR(t, people) },
		"acr":                   func(t *testing.T) { testKeycloakACR(t, people) },
		"max_age":               func(t *testing.T) { people.testMaxAge(t, people.newBrowser(t)) },
		"rotation":              func(t *testing.T) { people.testRotation(t, people.newBrowser(t), keycloakToken) },
		"another auth_time":     func(t *testing.T) { people.testAnotherAuthTime(t, people.newBrowser(t), true) },
		"sign-out":              func(t *testing.T) { people.testSignOut(t, people.newBrowser(t)) },
		"back channel":          func(t *testing.T) { testKeycloakBackchannel(t, people) },
		"front channel":         func(t *testing.T) { testKeycloakFrontchannel(t, people) },
		"tabs":                  func(t *testing.T) { people.testTabs(t, people.newBrowser(t)) },
		"expired login page":    func(t *testing.T) { testKeycloakExpiredPage(t, people) },
		"HS256":                 func(t *testing.T) { testKeycloakHS256(t, people) },
		"TLS":                   func(t *testing.T) { testKeycloakTLS(t, k) },
		"container split":       func(t *testing.T) { testKeycloakSplit(t, k) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func testKeycloakAuth(t *testing.T, p *realProvider) {
	for method, b := range map[string]behaviour{
		"client_secret_basic": secretBasic, "client_secret_post": secretPost,
		"client_secret_jwt": secretJWT, "private_key_jwt": privateKeyJWT,
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			shows(t, p.product, b)
			r := oidcrp.Registration{TokenEndpointAuthMethod: method}
			if method == "private_key_jwt" {
				r.ClientKeys = []jose.JSONWebKey{signingKey(t)}
			}
			a := p.newApp(t, setupOf{registration: r})
			p.signsIn(t, a, p.newBrowser(t))
			token := a.seen.last(t, keycloakToken)
			if strings.HasSuffix(method, "_jwt") {
				wantAssertion(t, token, "HS256", "ES256")
			} else {
				wantAuth(t, token, method)
			}
		})
	}
}

func testKeycloakAlgs(t *testing.T, p *realProvider) {
	for alg, b := range map[string]behaviour{
		"RS256": signedRS256, "PS256": signedPS256, "ES256": signedES256, "EdDSA": signedEdDSA,
	} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			shows(t, p.product, b)
			a := p.newApp(t, setupOf{registration: oidcrp.Registration{IDTokenSignedResponseAlg: alg}})
			me := p.signsIn(t, a, p.newBrowser(t))
			if me.SID == "" || me.ACR != "bronze" || me.authTime() == 0 {
				t.Errorf("signed in as %+v", me)
			}
			a.wantAlg(t, keycloakToken, alg)
		})
	}
}

// testKeycloakHS256: Keycloak signs with a key of the realm, not with the client's secret, so that
// nobody else can verify it.
func testKeycloakHS256(t *testing.T, p *realProvider) {
	refuses(t, p.product, signedHS256)
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{IDTokenSignedResponseAlg: "HS256"}})
	b := p.newBrowser(t)
	a.wantRefused(t, p.signIn(b.open(a.base+"/me")), "ID Token refused: signature")
	if a.signedIn(b) {
		t.Error("signed in")
	}
	a.wantAlg(t, keycloakToken, "HS256")
}

// decryptionKey makes a key that the provider encrypts for.
func decryptionKey(t testing.TB, alg string) jose.JSONWebKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: alg, Use: "enc"}
}

// testKeycloakEncryption: both are encrypted, around a signature.
func testKeycloakEncryption(t *testing.T, p *realProvider) {
	shows(t, p.product, encryptedToken, encryptedInfo)
	const alg, enc = "RSA-OAEP-256", "A256GCM"
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{
		ClientKeys:               []jose.JSONWebKey{decryptionKey(t, alg)},
		TokenEndpointAuthMethod:  "client_secret_basic",
		IDTokenSignedResponseAlg: "ES256", UserInfoSignedResponseAlg: "PS256",
		IDTokenEncryptedResponseAlg: alg, IDTokenEncryptedResponseEnc: enc,
		UserInfoEncryptedResponseAlg: alg, UserInfoEncryptedResponseEnc: enc,
	}})
	b := p.newBrowser(t)
	p.signsIn(t, a, b)
	for what, token := range map[string]string{
		"ID Token": a.seen.last(t, keycloakToken).json(t)["id_token"].(string),
		"UserInfo": string(a.seen.last(t, keycloakUserInfo).Body),
	} {
		if parts := strings.Count(token, "."); parts != 4 {
			t.Errorf("%s is not encrypted: %s", what, token)
		}
	}
	// What came encrypted is no hint, so Keycloak asks.
	question := a.signOut(b)
	if got := b.visited(strings.TrimSuffix(p.issuer, "/") + strings.TrimPrefix(keycloakLogout, "/realms/people")); got.Query().Has("id_token_hint") {
		t.Errorf("asked with a hint: %s", got)
	}
	p.wantBack(t, a, b, question.form().submit())
}

func testKeycloakSignedUserInfo(t *testing.T, p *realProvider) {
	shows(t, p.product, signedInfo)
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{UserInfoSignedResponseAlg: "ES256"}})
	p.signsIn(t, a, p.newBrowser(t))
	header, _ := jws(t, string(a.seen.last(t, keycloakUserInfo).Body))
	if header["alg"] != "ES256" {
		t.Errorf("header %v", header)
	}
}

// testKeycloakPAR: that the client must push is in no metadata, so the app is configured to.
func testKeycloakPAR(t *testing.T, p *realProvider) {
	shows(t, p.product, pushed)
	a := p.newApp(t, setupOf{registration: oidcrp.Registration{RequirePushedAuthorizationRequests: true}})
	p.signsIn(t, a, p.newBrowser(t))
	if got := len(a.seen.all(keycloakPAR)); got != 1 {
		t.Errorf("%d pushed requests", got)
	}
	forgetful := p.newApp(t, setupOf{
		registration: oidcrp.Registration{RequirePushedAuthorizationRequests: true},
		config:       func(cfg *oidcrp.Config) { cfg.Registration.RequirePushedAuthorizationRequests = false },
	})
	refused := p.newBrowser(t).open(forgetful.base + "/me")
	if refused.Status < 400 || refused.URL.Query().Get("error") != "invalid_request" {
		t.Errorf("without pushing: %s with %d\n%s", refused.URL, refused.Status, refused.Body)
	}
}

// testKeycloakACR: the realm maps the names of levels to its own steps, and the second one asks for the
// password again.
func testKeycloakACR(t *testing.T, p *realProvider) {
	shows(t, p.product, stepUpACR)
	a := p.newApp(t, setupOf{acr: "silver"})
	b := p.newBrowser(t)
	if me := p.signsIn(t, a, b); me.ACR != "bronze" {
		t.Errorf("acr %q", me.ACR)
	}
	step := b.open(a.base + "/admin")
	if step.URL.Path == "/admin" {
		t.Fatalf("no step up\n%s", step.Body)
	}
	page := p.signIn(step)
	var me who
	if page.json(&me); page.URL.Path != "/admin" || me.ACR != "silver" {
		t.Errorf("ended on %s as %+v", page.URL, me)
	}
}

// testKeycloakBackchannel: and the Logout Token is of its own type.
func testKeycloakBackchannel(t *testing.T, p *realProvider) {
	header, claims := p.testBackchannel(t, p.newBrowser(t))
	if header["typ"] != "logout+jwt" || claims["sid"] == nil || claims["sub"] == nil || claims["exp"] == nil {
		t.Errorf("header %v, claims %v", header, claims)
	}
}

// testKeycloakFrontchannel: the page of the sign-out frames the other app's address.
func testKeycloakFrontchannel(t *testing.T, p *realProvider) {
	shows(t, p.product, frontChannel)
	first := p.newApp(t, setupOf{})
	framed := p.newApp(t, setupOf{front: true})
	b := p.newBrowser(t)
	me := p.signsIn(t, framed, b)
	first.me(t, b.open(first.base+"/me"))

	page := first.signOut(b)
	frame := regexp.MustCompile(`<iframe[^>]* src="([^"]+)"`).FindStringSubmatch(page.Body)
	if frame == nil || !strings.HasPrefix(frame[1], framed.base+"/auth/frontchannel-logout?") {
		t.Fatalf("frame %q on %s\n%s", frame, page.URL, page.Body)
	}
	address := strings.ReplaceAll(frame[1], "&amp;", "&")
	if !strings.Contains(address, "sid="+me.SID) || !framed.signedIn(b) {
		t.Errorf("sid %s, frame %s", me.SID, address)
	}
	if got := b.get(address); got.Status != http.StatusOK || framed.signedIn(b) {
		t.Errorf("framed %s with %d\n%s", got.URL, got.Status, got.Body)
	}
	p.wantBack(t, first, b, page.follow("/auth/logout/callback"))
}

// testKeycloakExpiredPage: the callback does not load, so the person goes back to the login page, which
// has served. Keycloak sends the app an error that asks for a new login, and the person ends up signed
// in.
func testKeycloakExpiredPage(t *testing.T, p *realProvider) {
	shows(t, p.product, staleLoginPage)
	a := p.newApp(t, setupOf{})
	b := p.newBrowser(t)
	login := b.open(a.tab(0))
	follow := b.client.CheckRedirect
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if lost := p.signIn(login); !strings.HasPrefix(lost.Header.Get("Location"), a.base+"/auth/callback?") {
		t.Fatalf("Keycloak answered %d\n%s", lost.Status, lost.Body)
	}
	b.client.CheckRedirect, b.trail = follow, nil
	done := p.signIn(login)
	a.me(t, done)
	if done.URL.String() != a.tab(0) {
		t.Errorf("ended on %s", done.URL)
	}
	var expired []string
	for _, u := range b.trail {
		if query := u.Query(); u.Path == "/auth/callback" && query.Has("error") {
			expired = append(expired, query.Get("error")+" "+query.Get("error_description"))
		}
	}
	if !slices.Equal(expired, []string{"temporarily_unavailable authentication_expired"}) {
		t.Errorf("errors %q in %v", expired, b.trail)
	}
}

// testKeycloakTLS: a client that authenticates with a certificate.
func testKeycloakTLS(t *testing.T, k *keycloak) {
	shows(t, keycloakProduct, tlsClientAuth)
	public := strings.Replace(k.secure, "127.0.0.1", "localhost", 1)
	p := k.newRealm(t, "certificates", public)
	a := p.newApp(t, setupOf{
		registration: oidcrp.Registration{
			TokenEndpointAuthMethod: "tls_client_auth",
			ClientCertificates:      []tls.Certificate{k.certificate},
		},
		more:    map[string]any{"tls_client_auth_subject_dn": "CN=keycloak"},
		keeps:   true,
		guarded: true, // a record would hide the certificate
		config:  func(cfg *oidcrp.Config) { cfg.Provider.RootCAs = k.roots },
	})
	b := newLoopbackBrowser(t, k.roots)
	p.signsIn(t, a, b)
	if refreshed := b.fetch(http.MethodPost, a.base+"/refresh"); refreshed.Status != http.StatusOK {
		t.Errorf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
}

// testKeycloakSplit: browsers use a public name, behind a proxy that terminates TLS, and the app another
// name by plain http, as docs/en/recipes.md says. The option hostname-backchannel-dynamic puts that one
// into the metadata, beside the public one for browsers.
func testKeycloakSplit(t *testing.T, k *keycloak) {
	shows(t, keycloakProduct, otherName)
	public := k.terminateTLS(t)
	p := k.newRealm(t, "split", public)
	well := k.origin + "/realms/split/.well-known/openid-configuration"
	a := p.newApp(t, setupOf{keeps: true, guarded: true, config: func(cfg *oidcrp.Config) {
		cfg.Provider.MetadataURL = well
		cfg.Provider.InsecureHTTPHosts = []string{"127.0.0.1"}
	}})
	b := newLoopbackBrowser(t, k.roots)
	p.signsIn(t, a, b)
	if refreshed := b.fetch(http.MethodPost, a.base+"/refresh"); refreshed.Status != http.StatusOK {
		t.Errorf("refresh answered %d\n%s", refreshed.Status, refreshed.Body)
	}
	var metadata map[string]any
	send(t, k.client, http.MethodGet, well, "", nil, &metadata)
	for name, origin := range map[string]string{
		"issuer": public, "authorization_endpoint": public, "end_session_endpoint": public,
		"token_endpoint": k.origin, "userinfo_endpoint": k.origin, "jwks_uri": k.origin,
	} {
		if address, _ := metadata[name].(string); !strings.HasPrefix(address, origin+"/realms/split") {
			t.Errorf("%s is %s", name, address)
		}
	}
	p.wantBack(t, a, b, a.signOut(b))
}
