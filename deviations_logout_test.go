package oidcrp_test

// This file tests the settings for providers that depart from the specifications, each
// against a provider that needs it.

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

const (
	cognitoLogout = "?client_id={client_id}&logout_uri={post_logout_redirect_uri}"
	auth0Logout   = "/v2/logout?client_id={client_id}&returnTo={post_logout_redirect_uri}"
)

// logsOutThrough logs out at the app and follows the browser to its end.
func (a *testApp) logsOutThrough(t *testing.T, browser *http.Client, path string) (location string, end *http.Response) {
	t.Helper()
	res, _ := a.logsOut(t, browser, path)
	location = res.Header.Get("Location")
	end, _ = get(t, browser, location)
	return location, end
}

func TestEndSessionURL_EndsTheSessionOfAProviderWithItsOwnParameters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what, setting, parameter string
		provider                 oidctest.Config
	}{
		{"the query alone (Cognito)", cognitoLogout, "logout_uri", oidctest.Config{LogoutURIParameter: "logout_uri"}},
		{"the whole URL (Auth0)", auth0Logout, "returnTo", oidctest.Config{
			LogoutURIParameter: "returnTo", Metadata: map[string]any{"end_session_endpoint": nil},
			Paths: map[string]string{oidctest.EndpointEndSession: "/v2/logout"}}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			app := newTestApp(t, setup{provider: tt.provider, config: func(cfg *oidcrp.Config) {
				cfg.Provider.EndSessionURL = tt.setting
				if strings.HasPrefix(tt.setting, "/") {
					cfg.Provider.EndSessionURL = cfg.Issuer + tt.setting
				}
			}})
			browser := app.signIn(t)
			location, end := app.logsOutThrough(t, browser, "/auth/logout?return_to=/?bye=1")
			query := mustQuery(t, location)
			if len(query) != 2 || query.Get("client_id") != oidctest.ClientID ||
				query.Get(tt.parameter) != app.URL+"/auth/logout/callback" {
				t.Errorf("the logout leads to %s", location)
			}
			if end.StatusCode != 200 || end.Request.URL.String() != app.URL+"/?bye=1" {
				t.Errorf("it ends with %s at %s", end.Status, end.Request.URL)
			}
			res, _ := get(t, browser, app.URL+"/me")
			if !strings.HasPrefix(res.Request.URL.String(), app.provider.Issuer()) {
				t.Errorf("the session at the provider goes on: %s", res.Request.URL)
			}
		})
	}
}

// Without the setting, the same provider answers with an error page.
func TestEndSessionURL_IsNeededWhereTheParametersDiffer(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{LogoutURIParameter: "logout_uri"}})
	if _, end := app.logsOutThrough(t, app.signIn(t), "/auth/logout"); end.StatusCode != 400 {
		t.Errorf("the provider took the standard parameters: %s at %s", end.Status, end.Request.URL)
	}
}

func TestEndSessionURL_AddsAParameterToTheStandardOnes(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(cfg *oidcrp.Config) {
		cfg.Provider.EndSessionURL = "?id_token_hint={id_token_hint}&client_id={client_id}" +
			"&post_logout_redirect_uri={post_logout_redirect_uri}&state={state}&federated=a+b"
	}})
	browser := app.signIn(t)
	location, end := app.logsOutThrough(t, browser, "/auth/logout?return_to=/?bye=1")
	query := mustQuery(t, location)
	if len(query) != 5 || query.Get("federated") != "a b" || query.Get("id_token_hint") == "" || query.Get("state") == "" {
		t.Errorf("the logout leads to %s", location)
	}
	if end.Request.URL.String() != app.URL+"/?bye=1" {
		t.Errorf("it ends at %s", end.Request.URL)
	}
	location, _ = app.logsOutThrough(t, browser, "/auth/logout")
	if query := mustQuery(t, location); query.Has("id_token_hint") || len(query) != 4 {
		t.Errorf("without a session, the logout leads to %s", location)
	}
}

// A state that the provider does return is compared, also where none is expected.
func TestEndSessionURL_WithoutStateAForeignStateIsRefused(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{LogoutURIParameter: "logout_uri"},
		config: func(cfg *oidcrp.Config) { cfg.Provider.EndSessionURL = cognitoLogout }})
	browser := app.signIn(t)
	app.logsOut(t, browser, "/auth/logout?return_to=/?bye=1")
	if res, _ := get(t, browser, app.URL+"/auth/logout/callback?state=forged"); res.Request.URL.Path != "/auth/logout/callback" {
		t.Errorf("a forged state leads to %s", res.Request.URL)
	}
	if res, _ := get(t, browser, app.URL+"/auth/logout/callback"); res.Request.URL.Path != "/auth/logout/callback" {
		t.Errorf("a return without a logout under way leads to %s", res.Request.URL)
	}
}

func TestNew_RefusesAnEndSessionURLThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		setting, want string
		change        func(*oidcrp.Config)
	}{
		{"https://{client_id}.example/logout?a=b", "brace outside of its query", nil},
		{"?client_id={clientid}", `the value "{clientid}"`, nil},
		{"?u=x{state}", `the value "x{state}"`, nil},
		{"?token={id_token_hint}", "its parameter is id_token_hint", nil},
		{"?", "no parameters", nil},
		{"?a=%zz", "cannot be read", nil},
		{"https://op.example/logout?a=b#c", "fragment", nil},
		{"http://op.example/logout?a=b", "not an https URL", nil},
		{"/logout?a=b", "not an absolute URL", nil},
		{"?id_token_hint={id_token_hint}", "Provider.LogoutWithoutHint leaves out",
			func(c *oidcrp.Config) { c.Provider.LogoutWithoutHint = true }},
		{cognitoLogout, `Registration.PostLogoutRedirectURI is "none"`,
			func(c *oidcrp.Config) { c.Registration.PostLogoutRedirectURI = "none" }},
	} {
		cfg := soundConfig(nil)
		cfg.Provider.EndSessionURL = tt.setting
		if tt.change != nil {
			tt.change(&cfg)
		}
		_, err := oidcrp.New(cfg)
		if wantCode(t, err, oidcrp.CodeConfigInvalid); err == nil || !strings.Contains(err.Error(), tt.want) ||
			!strings.Contains(err.Error(), "Provider.EndSessionURL") {
			t.Errorf("%s: %v, want %q", tt.setting, err, tt.want)
		}
	}
}

func TestLogoutWithoutHint_EndsTheSessionOfAProviderThatRefusesIt(t *testing.T) {
	t.Parallel()
	for without, status := range map[bool]int{true: 200, false: 400} {
		app := newTestApp(t, setup{provider: oidctest.Config{NoLogoutHint: true},
			config: func(cfg *oidcrp.Config) { cfg.Provider.LogoutWithoutHint = without }})
		if _, end := app.logsOutThrough(t, app.signIn(t), "/auth/logout"); end.StatusCode != status {
			t.Errorf("LogoutWithoutHint %t: %s at %s", without, end.Status, end.Request.URL)
		}
	}
}

// With LogoutHintRequired, a session ends at the provider too, even if its ID Token came
// encrypted, and a logout that has no hint does not end on the provider's error page.
func TestLogoutHintRequired_EndsTheSessionOfAProviderThatNeedsIt(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{true, false} {
		s := encryptedSetup("ECDH-ES", "A256GCM", "A256GCM", "ES256")
		s.provider.NeedLogoutHint = true
		change := s.config
		s.config = func(cfg *oidcrp.Config) {
			change(cfg)
			cfg.Provider.LogoutHintRequired = required
		}
		app := newTestApp(t, s)
		browser := app.signIn(t)
		location, end := app.logsOutThrough(t, browser, "/auth/logout")
		signed := strings.Count(mustQuery(t, location).Get("id_token_hint"), ".") == 2
		back := end.StatusCode == http.StatusOK && end.Request.URL.Path == "/auth/logout/callback"
		if signed != required || back != required {
			t.Errorf("LogoutHintRequired %t: %s at %s", required, end.Status, end.Request.URL)
		}
		asked := app.provider.Count(oidctest.EndpointEndSession)
		_, end = app.logsOutThrough(t, browser, "/auth/logout") // nobody is signed in any more
		stayed := end.StatusCode == http.StatusOK && app.provider.Count(oidctest.EndpointEndSession) == asked
		if stayed != required {
			t.Errorf("LogoutHintRequired %t, without a session: %s at %s", required, end.Status, end.Request.URL)
		}
	}
}

// A provider that needs the hint may take no POST: FranceConnect.
func TestLogoutHintRequired_SendsALongIDTokenInTheURL(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, withLongIDToken(func(cfg *oidcrp.Config) { cfg.Provider.LogoutHintRequired = true }))
	res, _ := app.logsOut(t, app.signIn(t), "/auth/logout")
	if location := res.Header.Get("Location"); len(location) < 2000 || !mustQuery(t, location).Has("id_token_hint") {
		t.Errorf("%s to %.100s", res.Status, location)
	}
}

func TestRevocationWithoutHint_RevokesWhereTheHintIsRefused(t *testing.T) {
	t.Parallel()
	for without, status := range map[bool]int{true: 200, false: 400} {
		app := newTestApp(t, setup{provider: oidctest.Config{NoTokenTypeHint: true},
			config: func(cfg *oidcrp.Config) {
				cfg.Provider.RevocationWithoutHint = without
				cfg.Tokens.Keep, cfg.Tokens.RevokeAtLogout = true, true
			}})
		app.logsOut(t, app.signIn(t), "/auth/logout")
		revoked := app.provider.RequestsTo(oidctest.EndpointRevocation)
		if len(revoked) != 1 || revoked[0].Status != status || revoked[0].Form.Has("token_type_hint") == without {
			t.Errorf("RevocationWithoutHint %t: %+v", without, revoked)
		}
		if logged := strings.Contains(app.log.String(), "could not revoke the tokens"); logged == without {
			t.Errorf("RevocationWithoutHint %t: the log says %s", without, app.log.String())
		}
	}
}

// The provider loads the frame with the sid alone, and the person's browser sends the
// session's cookie.
func TestFrontchannelLogoutWithoutIssuer_EndsTheSessionOfTheSID(t *testing.T) {
	t.Parallel()
	for without, ended := range map[bool]bool{true: true, false: false} {
		client := oidctest.Client{ID: oidctest.ClientID, Secret: oidctest.ClientSecret,
			FrontchannelLogoutURI: "http://app.invalid/auth/frontchannel-logout", FrontchannelLogoutSessionRequired: true}
		a := &logoutApp{testApp: newTestApp(t, setup{provider: oidctest.Config{NoFrameIssuer: true, Clients: []oidctest.Client{client}},
			config: func(c *oidcrp.Config) { c.Provider.FrontchannelLogoutWithoutIssuer = without }})}
		browser, elsewhere := a.signIn(t), a.signIn(t)
		_, page := get(t, &http.Client{Jar: browser.Jar}, a.provider.Endpoint(oidctest.EndpointEndSession))
		_, frame, _ := strings.Cut(page, client.FrontchannelLogoutURI)
		query, _, found := strings.Cut(frame, `"`)
		if !found || strings.Contains(query, "iss") || !strings.Contains(query, "sid=") {
			t.Fatalf("the provider loads %q:\n%s", query, page)
		}
		a.frame(t, browser, query)
		if a.signedIn(t, browser) == ended || !a.signedIn(t, elsewhere) {
			t.Errorf("FrontchannelLogoutWithoutIssuer %t: signed in: %t, and elsewhere: %t",
				without, a.signedIn(t, browser), a.signedIn(t, elsewhere))
		}
	}
}

func TestFrontchannelLogoutWithoutIssuer_StillChecksTheSIDAndAnIssuer(t *testing.T) {
	t.Parallel()
	a := newLogoutApp(t, setup{config: func(c *oidcrp.Config) { c.Provider.FrontchannelLogoutWithoutIssuer = true }})
	browser, elsewhere := a.signIn(t), a.signIn(t)
	sid := url.QueryEscape(a.sid(t, browser))
	for _, query := range []string{
		"", "?sid=", "?sid=other", "?sid=" + sid + "x", "?sid=" + sid + "&sid=" + sid, "?iss=&sid=" + sid,
		"?iss=https%3A%2F%2Fevil.example&sid=" + sid, "?sid=" + url.QueryEscape(a.sid(t, elsewhere)),
	} {
		if res := a.frame(t, browser, query); len(res.Cookies()) > 0 || !a.signedIn(t, browser) || !a.signedIn(t, elsewhere) {
			t.Fatalf("%q ended a session: %v", query, res.Header)
		}
	}
}

func TestNew_LogsEachWayOutOnce(t *testing.T) {
	t.Parallel()
	log := new(testLog)
	cfg := soundConfig(nil)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	cfg.Provider.EndSessionURL, cfg.Provider.LogoutWithoutHint = cognitoLogout, true
	cfg.Provider.RevocationWithoutHint, cfg.Provider.FrontchannelLogoutWithoutIssuer = true, true
	cfg.Provider.InsecureHTTPHosts = []string{"keycloak", "op.internal"}
	if _, err := oidcrp.New(cfg); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"EndSessionURL", "LogoutWithoutHint", "RevocationWithoutHint", "FrontchannelLogoutWithoutIssuer"} {
		if n := strings.Count(log.String(), "Provider."+field); n != 1 {
			t.Errorf("%s is logged %d times:\n%s", field, n, log.String())
		}
	}
	if n := strings.Count(log.String(), `level=WARN msg="requests to these hosts`); n != 1 ||
		!strings.Contains(log.String(), `setting=Provider.InsecureHTTPHosts hosts="keycloak op.internal"`) {
		t.Errorf("the hosts are logged %d times:\n%s", n, log.String())
	}
	log = new(testLog)
	cfg = soundConfig(nil)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	if _, err := oidcrp.New(cfg); err != nil || strings.Contains(log.String(), "departs") {
		t.Errorf("without any: %v, %s", err, log.String())
	}
}

func TestNew_RefusesInsecureHTTPHostsOfTheInternet(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"keycloak", "my-op_1", "op.internal", "op.ns.svc", "op.ns.svc.cluster.local", "op.test", "op.home.arpa",
		"10.1.2.3", "192.168.1.1", "172.16.0.1", "fd00::1", "127.0.0.1", "localhost", "op.localhost",
	} {
		cfg := soundConfig(func(c *oidcrp.Config) { c.Provider.InsecureHTTPHosts = []string{host} })
		if _, err := oidcrp.New(cfg); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{
		"", "op.example.fr", "example.com", "internal.example.com", "evilinternal.com", "op.internal.", ".internal", "Keycloak",
		"keycloak:8080", "http://keycloak", "keycloak/x", "*.internal", "8.8.8.8", "169.254.169.254", "2001:db8::1", "[fd00::1]",
		"2130706433", "0x7f000001", "10.1", "fe80::1",
	} {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) { c.Provider.InsecureHTTPHosts = []string{"keycloak", host} }))
		if wantCode(t, err, oidcrp.CodeConfigInvalid); err == nil ||
			!strings.Contains(err.Error(), "Provider.InsecureHTTPHosts [1]") || !strings.Contains(err.Error(), "Use https, or a name") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestNew_AnIssuerMayBePlainAtANamedHost(t *testing.T) {
	t.Parallel()
	plain := func(hosts ...string) error {
		_, err := oidcrp.New(soundConfig(func(c *oidcrp.Config) {
			c.Issuer, c.Provider.Metadata, c.Provider.InsecureHTTPHosts = "http://keycloak:8080/realms/a", nil, hosts
		}))
		return err
	}
	if err := plain("keycloak"); err != nil {
		t.Error(err)
	}
	wantCode(t, plain(), oidcrp.CodeConfigInvalid)
	wantCode(t, plain("other"), oidcrp.CodeConfigInvalid)
}

// newSplitApp starts an app in a network of containers. Browsers reach the provider by https
// under its public name, and the app by http as keycloak:8080, where it asks for metadata.
func newSplitApp(t *testing.T, hosts ...string) *testApp {
	t.Helper()
	var app *testApp
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { app.provider.ServeHTTP(w, r) }))
	t.Cleanup(inside.Close)
	app = newTestApp(t, setup{
		provider: oidctest.Config{TLS: true, BackchannelDynamic: true},
		config: func(c *oidcrp.Config) {
			transport := c.Provider.Transport.(*http.Transport)
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address != "keycloak:8080" {
					return nil, errors.New("no route to " + address)
				}
				return new(net.Dialer).DialContext(ctx, network, inside.Listener.Addr().String())
			}
			if c.Provider.InsecureHTTPHosts = hosts; hosts != nil {
				c.Provider.MetadataURL = "http://keycloak:8080/.well-known/openid-configuration"
				return
			}
			c.Provider.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
					r = r.Clone(r.Context())
					r.URL.Scheme, r.URL.Host, r.Host = "http", "keycloak:8080", ""
				}
				return transport.RoundTrip(r)
			})
		},
	})
	return app
}

// Keycloak with hostname-backchannel-dynamic behind TLS termination.
func TestInsecureHTTPHosts_TheBrowserAndTheAppReachTheProviderUnderTwoNames(t *testing.T) {
	t.Parallel()
	app := newSplitApp(t, "keycloak")
	browser := app.signIn(t)
	s := app.sessionOf(t, browser)
	if s.Subject() != "alice" || s.Issuer() != app.provider.Issuer() || !strings.HasPrefix(s.Issuer(), "https://127.0.0.1:") {
		t.Errorf("signed in: %v", s)
	}
	public := strings.TrimPrefix(app.provider.Issuer(), "https://")
	for endpoint, host := range map[string]string{
		oidctest.EndpointAuthorization: public, oidctest.EndpointToken: "keycloak:8080",
		oidctest.EndpointUserInfo: "keycloak:8080", oidctest.EndpointJWKS: "keycloak:8080",
	} {
		requests := app.provider.RequestsTo(endpoint)
		if len(requests) == 0 || requests[0].Host != host {
			t.Errorf("%s was reached as %+v, want %s", endpoint, requests, host)
		}
	}
	location, end := app.logsOutThrough(t, browser, "/auth/logout")
	if !strings.HasPrefix(location, app.provider.Issuer()) || end.Request.URL.Path != "/auth/logout/callback" {
		t.Errorf("the logout leads to %s and ends at %s", location, end.Request.URL)
	}
}

func TestInsecureHTTPHosts_AreNeededForPlainEndpoints(t *testing.T) {
	t.Parallel()
	app := newSplitApp(t)
	_, err := app.client.Metadata(t.Context())
	if wantCode(t, err, oidcrp.CodeProviderInvalid); err == nil || !strings.Contains(err.Error(), "OIDC_INSECURE_HTTP_HOSTS") {
		t.Errorf("without the setting: %v", err)
	}
}
