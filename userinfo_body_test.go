package oidcrp

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

func TestUserInfoTokenInTheBody(t *testing.T) {
	t.Parallel()
	for _, inBody := range []bool{false, true} {
		app := newTestApp(t, setup{config: func(c *Config) { c.Provider.UserInfoTokenInBody, c.Tokens.Keep = inBody, true }})
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
