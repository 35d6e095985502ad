package oidctest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestUserInfo_TokenInBody(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", TokenInBody: true})
	c := newRaw(t, p)
	access := c.tokens()["access_token"].(string)
	form := url.Values{"access_token": {access}}
	if r := c.post(oidctest.EndpointUserInfo, form); r.json["sub"] != "alice" || p.Violations() != nil {
		t.Errorf("in the body: %d %s %q", r.status, r.body, p.Violations())
	}
	header := http.Header{"Authorization": {"Bearer " + access}}
	for name, r := range map[string]reply{
		"in the header":      c.userInfo(access),
		"in both":            c.do(http.MethodPost, oidctest.EndpointUserInfo, form, header),
		"in the URL":         c.get(oidctest.EndpointUserInfo, form),
		"twice in the body":  c.post(oidctest.EndpointUserInfo, url.Values{"access_token": {access, access}}),
		"in no place at all": c.post(oidctest.EndpointUserInfo, nil),
	} {
		if r.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestUserInfo_ScopesReleaseClaims(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "zoe", Personas: []oidctest.Persona{{
		Subject: "zoe", Name: "Zoé",
		Claims: map[string]any{"email": "zoe@example.org", "siret": "1", "chorusdt:societe": "2", "phone_number": "3"},
	}}})
	c := newRaw(t, p)
	for _, row := range []struct{ scope, param, want string }{
		{"openid", "", "sub"},
		{"openid profile", "", "name sub"},
		{"openid email siret", "", "email siret sub"},
		{"openid chorusdt", "", "chorusdt:societe sub"},
		{"openid phone", "", "phone_number sub"},
		{"openid", `{"userinfo":{"email":null}}`, "email sub"},
	} {
		tokens := c.tokens("scope", row.scope, "claims", row.param)
		var got []string
		for _, name := range []string{"chorusdt:societe", "email", "name", "phone_number", "siret", "sub"} {
			if _, ok := c.userInfo(tokens["access_token"].(string)).json[name]; ok {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("scope %q, claims %s: got %v, want %s", row.scope, row.param, got, row.want)
		}
	}
}

func TestUserInfo_RequiresTheTokenInTheHeader(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice"})
	c := newRaw(t, p)
	access := c.tokens()["access_token"].(string)
	r := c.get(oidctest.EndpointUserInfo, nil)
	if r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") != `Bearer realm="oidctest"` || r.body != "" {
		t.Errorf("without a token: %d %v %q", r.status, r.header, r.body)
	}
	c.wantError(c.get(oidctest.EndpointUserInfo, url.Values{"access_token": {access}}), http.StatusBadRequest, "invalid_request")
	c.wantError(c.post(oidctest.EndpointUserInfo, url.Values{"access_token": {access}}), http.StatusBadRequest, "invalid_request")
	c.wantError(c.userInfo("unknown"), http.StatusUnauthorized, "invalid_token")
	header := http.Header{"Authorization": {"bearer " + access}}
	if r := c.do(http.MethodPost, oidctest.EndpointUserInfo, nil, header); r.json["sub"] != "alice" {
		t.Errorf("by POST: %d %s", r.status, r.body)
	}
}
