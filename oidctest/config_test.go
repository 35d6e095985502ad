package oidctest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestConfig_OddValues(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", OddValues: true, SessionState: true})
	c := newRaw(t, p)
	back := c.get(oidctest.EndpointAuthorization, authRequest()).back
	if back.Get("session_state") == "" {
		t.Errorf("session_state is missing: %v", back)
	}
	tokens := c.post(oidctest.EndpointToken, tokenRequest(back.Get("code"))).json
	sid, _ := claims(t, tokens["id_token"])["sid"].(string)
	for name, value := range map[string]string{"sid": sid, "refresh_token": tokens["refresh_token"].(string)} {
		if !strings.ContainsAny(value[max(0, len(value)-5):], " \"#%&'+/<=>?\\^`{|}~") {
			t.Errorf("%s is %q", name, value)
		}
	}
	if r := c.post(oidctest.EndpointToken, refreshRequest(tokens["refresh_token"].(string))); r.status != http.StatusOK {
		t.Errorf("the refresh token is not taken: %d %s", r.status, r.body)
	}
}

func TestConfig_ClaimsOnRequest(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", ClaimsOnRequest: true})
	c := newRaw(t, p)
	for _, row := range []struct{ claim, param, value string }{
		{"acr", "acr_values", "eidas1"},
		{"acr", "claims", `{"id_token":{"acr":null}}`},
		{"amr", "claims", `{"id_token":{"amr":{"essential":true}}}`},
		{"auth_time", "max_age", "3600"},
		{"auth_time", "claims", `{"id_token":{"auth_time":null}}`},
		{"email", "claims", `{"id_token":{"email":null}}`},
	} {
		if v, ok := claims(t, c.tokens()["id_token"])[row.claim]; ok {
			t.Errorf("%s is %v without a request for it", row.claim, v)
		}
		if _, ok := claims(t, c.tokens(row.param, row.value)["id_token"])[row.claim]; !ok {
			t.Errorf("%s is missing although %s requested it", row.claim, row.param)
		}
	}
}

func TestConfig_Switches(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{AutoLogin: "alice", NoIssParameter: true, NoExpiresIn: true,
		NoRefreshToken: true, NoUserInfoTimes: true, NoPAR: true, Clients: []oidctest.Client{
			{ID: oidctest.ClientID, Secret: oidctest.ClientSecret, UserInfoSignedResponseAlg: "ES256"}}})
	c := newRaw(t, p)
	if r := c.get(oidctest.EndpointAuthorization, authRequest()); r.back.Has("iss") {
		t.Errorf("iss is present: %v", r.back)
	}
	tokens := c.tokens()
	if tokens["expires_in"] != nil || tokens["refresh_token"] != nil {
		t.Errorf("the token response is %v", tokens)
	}
	info := claims(t, c.userInfo(tokens["access_token"].(string)).body)
	if info["iss"] != p.Issuer() || info["aud"] != oidctest.ClientID || info["exp"] != nil || info["iat"] != nil {
		t.Errorf("UserInfo is %v", info)
	}
	if r := c.post(oidctest.EndpointPAR, authRequest()); r.status != http.StatusNotFound {
		t.Errorf("PAR answers %d", r.status)
	}
}

func TestConfig_IssuerPathsAndSlashes(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/api/v2", "/api/v2/"} {
		t.Run("issuer ends in "+path, func(t *testing.T) {
			t.Parallel()
			p := oidctest.NewServer(t, oidctest.Config{Issuer: path, AutoLogin: "alice"})
			if !strings.HasSuffix(p.Issuer(), path) {
				t.Errorf("Issuer() = %q", p.Issuer())
			}
			a := newApp(t, p)
			p.SignIn(t, a.URL+"/login", "")
			for _, r := range p.Requests() {
				if strings.Contains(r.URL.Path, "//") {
					t.Errorf("the path %s has a double slash", r.URL.Path)
				}
			}
		})
	}
}

func TestNew_RefusesInvalidConfigs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		want string
		cfg  oidctest.Config
	}{
		{"Config.Issuer", oidctest.Config{}},
		{"Config.Issuer", oidctest.Config{Issuer: "127.0.0.1:80"}},
		{"Config.Issuer", oidctest.Config{Issuer: "https://127.0.0.1/?a=b"}},
		{"Config.Issuer", oidctest.Config{Issuer: "http://127.0.0.1:x"}},
		{"has no ID", oidctest.Config{Issuer: "http://127.0.0.1", Clients: []oidctest.Client{{}}}},
		{"HS256 requires a Secret", oidctest.Config{Issuer: "http://127.0.0.1",
			Clients: []oidctest.Client{{ID: "c", IDTokenSignedResponseAlg: "HS256"}}}},
		{"ES256K", oidctest.Config{Issuer: "http://127.0.0.1",
			Clients: []oidctest.Client{{ID: "c", IDTokenSignedResponseAlg: "ES256K"}}}},
		{"has no Subject", oidctest.Config{Issuer: "http://127.0.0.1", Personas: []oidctest.Persona{{Name: "x"}}}},
		{"Config.AutoLogin", oidctest.Config{Issuer: "http://127.0.0.1", AutoLogin: "nobody"}},
	} {
		if _, err := oidctest.New(row.cfg); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: got %v, want an error about %s", row.cfg, err, row.want)
		}
	}
	if _, err := oidctest.Start(oidctest.Config{AutoLogin: "nobody"}); err == nil {
		t.Error("Start: no error")
	}
}
