package oidcrp_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
)

func TestUserInfo_Request(t *testing.T) {
	t.Parallel()
	for pin, accept := range map[string]string{
		"":      "application/json, application/jwt;q=0.5",
		"ES256": "application/jwt",
	} {
		s := algSetup("ES256", func(c *oidcrp.Config) { c.Registration.UserInfoSignedResponseAlg = pin })
		s.provider.Clients[0].UserInfoSignedResponseAlg = pin
		app := newTestApp(t, s)
		app.signIn(t)
		requests := app.provider.RequestsTo(oidctest.EndpointUserInfo)
		if len(requests) != 1 {
			t.Fatalf("%d UserInfo requests, want one", len(requests))
		}
		r := requests[0]
		if got := r.Header.Values("Authorization"); len(got) != 1 || !strings.HasPrefix(got[0], "Bearer ") || len(got[0]) < 20 {
			t.Errorf("Authorization is %q", got)
		}
		if r.Method != "GET" || r.URL.RawQuery != "" || len(r.Form) > 0 || r.Header.Get("Accept") != accept {
			t.Errorf("the request is %s %s, form %v, Accept %q", r.Method, r.URL, r.Form, r.Header.Get("Accept"))
		}
	}
}

func TestUserInfo_MayBeMissing(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{
		provider: oidctest.Config{Metadata: map[string]any{"userinfo_endpoint": nil}},
		routes: func(c *oidcrp.Client, mux *http.ServeMux) {
			mux.HandleFunc("/claims", func(w http.ResponseWriter, r *http.Request) {
				s, _ := oidcrp.SessionFromContext(r.Context())
				fmt.Fprintf(w, "%s %v", s.Subject(), s.Claims(new(map[string]any)) == nil)
			})
		},
	})
	browser := app.signIn(t)
	if _, got := get(t, browser, app.URL+"/claims"); got != "alice true" {
		t.Errorf("the session says %q", got)
	}
}

func TestUserInfo_TokenInTheBody(t *testing.T) {
	t.Parallel()
	for _, inBody := range []bool{false, true} {
		app := newTestApp(t, setup{config: func(c *oidcrp.Config) { c.Provider.UserInfoTokenInBody, c.Tokens.Keep = inBody, true }})
		app.provider.Handle(oidctest.EndpointUserInfo, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(`{"sub":"alice"}`))
		})
		app.signIn(t)
		asked := app.provider.RequestsTo(oidctest.EndpointUserInfo)
		if len(asked) != 1 || asked[0].URL.RawQuery != "" {
			t.Fatalf("in the body %t: %+v", inBody, asked)
		}
		r := asked[0]
		inHeader := strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ")
		posted := r.Method == "POST" && r.Header.Get("Content-Type") == "application/x-www-form-urlencoded"
		if inHeader == inBody || posted != inBody || (r.Form.Get("access_token") != "") != inBody {
			t.Errorf("in the body %t: %s, %v, %v", inBody, r.Method, r.Header, r.Form)
		}
	}
}
