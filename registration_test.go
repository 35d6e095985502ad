package oidcrp_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

// metadataOf returns a registration as a provider's registration endpoint gets
// it, indented.
func metadataOf(t *testing.T, r oidcrp.Registration) string {
	t.Helper()
	var b bytes.Buffer
	raw, err := json.Marshal(r)
	if err == nil {
		err = json.Indent(&b, raw, "", " ")
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRegistration_AsJSONIsClientMetadata(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		registration oidcrp.Registration
		want         string
	}{
		{oidcrp.Registration{}, `{
 "application_type": "web",
 "response_types": [
  "code"
 ]
}`},
		{oidcrp.Registration{
			RedirectURI: "https://app.example/cb", PostLogoutRedirectURI: "https://app.example/bye",
			InitiateLoginURI: "https://app.example/start", BackchannelLogoutURI: "https://app.example/bc",
			FrontchannelLogoutURI: "https://app.example/fc", JWKSURI: "https://app.example/keys",
			TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlg: "ES256",
			RequirePushedAuthorizationRequests: true,
			IDTokenSignedResponseAlg:           "PS256", UserInfoSignedResponseAlg: "ES384",
			IDTokenEncryptedResponseAlg: "ECDH-ES", IDTokenEncryptedResponseEnc: "A128GCM",
			UserInfoEncryptedResponseAlg: "RSA-OAEP", UserInfoEncryptedResponseEnc: "A256GCM",
			ClientKeys: []jose.JSONWebKey{{Key: testKeys().P256, KeyID: "the-key"}},
			ClientCertificates: []tls.Certificate{
				certificateFor(t, testKeys().P384, "the client"),
			},
		}, `{
 "application_type": "web",
 "response_types": [
  "code"
 ],
 "redirect_uris": [
  "https://app.example/cb"
 ],
 "post_logout_redirect_uris": [
  "https://app.example/bye"
 ],
 "initiate_login_uri": "https://app.example/start",
 "backchannel_logout_uri": "https://app.example/bc",
 "frontchannel_logout_uri": "https://app.example/fc",
 "jwks_uri": "https://app.example/keys",
 "token_endpoint_auth_method": "private_key_jwt",
 "token_endpoint_auth_signing_alg": "ES256",
 "require_pushed_authorization_requests": true,
 "id_token_signed_response_alg": "PS256",
 "id_token_encrypted_response_alg": "ECDH-ES",
 "id_token_encrypted_response_enc": "A128GCM",
 "userinfo_signed_response_alg": "ES384",
 "userinfo_encrypted_response_alg": "RSA-OAEP",
 "userinfo_encrypted_response_enc": "A256GCM"
}`},
	} {
		if got := metadataOf(t, tt.registration); got != tt.want {
			t.Errorf("the registration is\n%s\nwant\n%s", got, tt.want)
		}
	}
}

// Every field but the keys is part of the client metadata, under its registered name.
func TestRegistration_EveryFieldIsMetadata(t *testing.T) {
	t.Parallel()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[oidcrp.Registration]()) {
		if field.Name == "ClientKeys" || field.Name == "ClientCertificates" {
			continue
		}
		var r oidcrp.Registration
		value := reflect.ValueOf(&r).Elem().FieldByIndex(field.Index)
		want := `"m4rker"`
		switch value.Kind() {
		case reflect.String:
			value.SetString("m4rker")
		case reflect.Bool:
			value.SetBool(true)
			want = "true"
		default:
			t.Fatalf("%s is a %s: how is it to be tested?", field.Name, value.Type())
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(metadataOf(t, r)), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "application_type")
		delete(members, "response_types")
		if len(members) != 1 {
			t.Errorf("%s makes the members %s, want one", field.Name, members)
		}
		for name, got := range members {
			spelled := field.Name
			if got[0] == '[' { // RedirectURI is the only one of redirect_uris
				spelled += "s"
			}
			if !strings.EqualFold(strings.ReplaceAll(name, "_", ""), spelled) || !strings.Contains(string(got), want) {
				t.Errorf("%s makes the member %s: %s", field.Name, name, got)
			}
		}
		if text := fmt.Sprintf("%+v", r); !strings.Contains(text, want) {
			t.Errorf("printed, %s is missing: %s", field.Name, text)
		}
	}
}

func TestClientRegistration_FillsInEveryURI(t *testing.T) {
	t.Parallel()
	keys := []jose.JSONWebKey{{Key: testKeys().P256}}
	certificates := []tls.Certificate{certificateFor(t, testKeys().P256, "the client")}
	for what, tt := range map[string]struct {
		change func(*oidcrp.Config)
		prefix string
		served bool // the keys
	}{
		"the usual":          {nil, "https://app.example/auth/", false},
		"a slash at the end": {func(c *oidcrp.Config) { c.BaseURL += "/" }, "https://app.example/auth/", false},
		"paths": {func(c *oidcrp.Config) { c.BaseURL, c.PathPrefix = "https://app.example:8443/pro", "/sso/" },
			"https://app.example:8443/pro/sso/", false},
		"keys":         {func(c *oidcrp.Config) { c.Registration.ClientKeys = keys }, "https://app.example/auth/", true},
		"certificates": {func(c *oidcrp.Config) { c.Registration.ClientCertificates = certificates }, "https://app.example/auth/", true},
	} {
		got := mustNew(t, tt.change).Registration()
		want := oidcrp.Registration{
			RedirectURI: tt.prefix + "callback", PostLogoutRedirectURI: tt.prefix + "logout/callback",
			InitiateLoginURI: tt.prefix + "initiate", BackchannelLogoutURI: tt.prefix + "backchannel-logout",
			FrontchannelLogoutURI: tt.prefix + "frontchannel-logout",
		}
		if tt.served {
			want.JWKSURI = tt.prefix + "jwks"
		}
		if got, want := metadataOf(t, got), metadataOf(t, want); got != want {
			t.Errorf("%s: the registration is\n%s\nwant\n%s", what, got, want)
		}
	}
	c := mustNew(t, func(c *oidcrp.Config) { c.ClientSecret, c.Registration.ClientKeys = "", keys })
	if got := c.Registration(); got.TokenEndpointAuthMethod != "private_key_jwt" || len(got.ClientKeys) != 1 {
		t.Errorf("with keys alone it is %v", got)
	}
	c = mustNew(t, func(c *oidcrp.Config) { c.Registration.JWKSURI = "https://app.example/keys" })
	if got := c.Registration().JWKSURI; got != "" {
		t.Errorf("jwks_uri is %q, and there is nothing to serve", got)
	}
}

// What a caller does to its copy is its own business.
func TestClientRegistration_IsACopy(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: func(c *oidcrp.Config) {
		c.Registration.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256, KeyID: "the-key"}}
	}})
	got := app.client.Registration()
	got.RedirectURI, got.ClientKeys[0] = "x", jose.JSONWebKey{Key: testKeys().Other, KeyID: "x"}
	if again := app.client.Registration(); again.RedirectURI == "x" || again.ClientKeys[0].KeyID != "the-key" {
		t.Errorf("the client's registration became %v with the key %q", again, again.ClientKeys[0].KeyID)
	}
	if body, set := keysAt(t, app.URL); len(set.Keys) != 1 || set.Keys[0].KeyID != "the-key" {
		t.Errorf("the served keys became %s", body)
	}
}

// customURIs moves every registered URI to a path of its own, with a query.
func customURIs(c *oidcrp.Config) {
	r, base := &c.Registration, c.BaseURL
	r.RedirectURI, r.PostLogoutRedirectURI = base+"/oidc/back?tenant=1", base+"/oidc/bye"
	r.InitiateLoginURI, r.JWKSURI = base+"/oidc/start", base+"/oidc/keys"
	r.BackchannelLogoutURI, r.FrontchannelLogoutURI = base+"/oidc/bc", base+"/oidc/fc"
	r.ClientKeys = []jose.JSONWebKey{{Key: testKeys().P256, KeyID: "the-key"}}
}

func TestMiddleware_ServesThePathsThatAreRegistered(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: customURIs})
	browser := app.provider.Browser()
	for _, tt := range []struct {
		method, custom, usual string
		status                int
		says                  string
	}{
		{"GET", "/oidc/back", "/auth/callback", 400, "This sign-in can no longer be completed"},
		{"GET", "/oidc/bye", "/auth/logout/callback", 200, "You are signed out"},
		{"GET", "/oidc/start", "/auth/initiate", 400, "Something went wrong"},
		{"POST", "/oidc/bc", "/auth/backchannel-logout", 400, ""},
		{"GET", "/oidc/fc", "/auth/frontchannel-logout", 200, ""},
		{"GET", "/oidc/keys", "/auth/jwks", 200, `"kid":"the-key"`},
	} {
		res, body := app.asks(t, browser, tt.method, tt.custom, acceptHTML)
		if res.StatusCode != tt.status || !strings.Contains(body, tt.says) {
			t.Errorf("%s answered %s\n%s", tt.custom, res.Status, body)
		}
		if res, _ := app.asks(t, browser, tt.method, tt.usual, acceptHTML); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s answered %s, though it is not registered", tt.usual, res.Status)
		}
	}
	for _, path := range []string{"/auth/login", "/auth/logout"} { // these two are registered nowhere
		if res, _ := app.asks(t, browser, "POST", path, acceptHTML); res.StatusCode != http.StatusSeeOther {
			t.Errorf("%s answered %s", path, res.Status)
		}
	}
}

func TestClientRegistration_IsWhatIsSent(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{config: customURIs})
	registered := app.client.Registration()
	browser := app.signIn(t)
	if got := app.who(t, browser, "/me").Sub; got != "alice" {
		t.Fatalf("signed in as %q, want alice", got)
	}
	for _, endpoint := range []string{oidctest.EndpointAuthorization, oidctest.EndpointToken} {
		if got := app.provider.RequestsTo(endpoint)[0].Form.Get("redirect_uri"); got != registered.RedirectURI {
			t.Errorf("redirect_uri at the %s endpoint is %s, want %s", endpoint, got, registered.RedirectURI)
		}
	}
	res, _ := app.logsOut(t, browser, "/auth/logout")
	location, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	if got := location.Query().Get("post_logout_redirect_uri"); got != registered.PostLogoutRedirectURI {
		t.Errorf("post_logout_redirect_uri is %s, want %s", got, registered.PostLogoutRedirectURI)
	}
	if res, _ := get(t, browser, location.String()); res.Request.URL.Path != "/oidc/bye" {
		t.Errorf("the logout ended at %s", res.Request.URL)
	}
	// The provider's tokens reach the registered path.
	browser = app.signIn(t)
	res, err = http.PostForm(registered.BackchannelLogoutURI, url.Values{"logout_token": {logoutToken(t, app, "")}})
	if err != nil {
		t.Fatal(err)
	}
	readBody(t, res)
	if got := app.who(t, browser, "/").Sub; res.StatusCode != http.StatusOK || got != "" {
		t.Errorf("the back-channel logout answered %s, and %q is signed in", res.Status, got)
	}
}
