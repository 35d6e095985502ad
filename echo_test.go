package oidcrp_test

// This file has a provider repeat what it was sent, at each of its endpoints.

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

func TestErrors_ShowNothingOfTheRequestThatAProviderRepeats(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"client_secret_basic", "client_secret_post", "client_secret_jwt"} {
		for _, endpoint := range []string{
			oidctest.EndpointPAR, oidctest.EndpointToken, oidctest.EndpointUserInfo, oidctest.EndpointRevocation, "refresh",
		} {
			for _, inBody := range []bool{false, true} {
				t.Run(fmt.Sprint(method, " ", endpoint, " ", inBody), func(t *testing.T) {
					t.Parallel()
					var errs []error
					app := newTestApp(t, setup{
						provider: oidctest.Config{RequirePAR: true, TokenInBody: inBody, Clients: []oidctest.Client{{
							ID: oidctest.ClientID, Secret: oidctest.ClientSecret, TokenEndpointAuthMethod: method}}},
						config: func(c *oidcrp.Config) {
							c.Registration.TokenEndpointAuthMethod, c.Tokens.Keep = method, true
							c.Tokens.RevokeAtLogout = true
							c.Provider.UserInfoTokenInBody = inBody
							c.Trace.LoginRefused = func(_ context.Context, ev oidcrp.LoginEvent) { errs = append(errs, ev.Err) }
							c.Trace.SessionRefreshed = func(_ context.Context, ev oidcrp.SessionEvent) { errs = append(errs, ev.Err) }
						},
						routes: func(c *oidcrp.Client, mux *http.ServeMux) {
							mux.HandleFunc("POST /refresh", func(w http.ResponseWriter, r *http.Request) {
								_, err := c.Refresh(w, r)
								c.ServeError(w, r, err)
							})
						},
					})
					pages := repeats(t, app, endpoint)
					log := app.log.String()
					if !strings.Contains(log, "[hidden]") || !strings.Contains(log, "invalid_request") {
						t.Errorf("the log says nothing of it:\n%s", log)
					}
					for where, text := range map[string]string{"the log": log, "a page": pages, "an event": fmt.Sprintf("%v", errs)} {
						if part := anyPart(text, sentSecrets(app)); part != "" {
							t.Errorf("%s holds %q of a request:\n%s", where, part, text)
						}
					}
				})
			}
		}
	}
}

// repeats makes an endpoint repeat its requests, does what leads to one, and returns
// the pages that the browser got.
func repeats(t *testing.T, app *testApp, endpoint string) (pages string) {
	t.Helper()
	login := func() *http.Client {
		browser := app.provider.Browser()
		res, err := app.provider.Visit(browser, app.URL+"/me", "alice")
		if err != nil {
			t.Fatal(err)
		}
		pages += readBody(t, res)
		return browser
	}
	switch endpoint {
	case "refresh":
		browser := login()
		app.provider.Misbehave(fault.Transport(oidctest.EndpointToken, fault.Echo))
		_, page := app.asks(t, browser, "POST", "/refresh")
		return page
	case oidctest.EndpointRevocation:
		browser := login()
		app.provider.Misbehave(fault.Transport(endpoint, fault.Echo))
		_, page := app.logsOut(t, browser, "/auth/logout")
		return page
	}
	app.provider.Misbehave(fault.Transport(endpoint, fault.Echo))
	login()
	return pages
}

// sentSecrets returns what the app sent to the provider itself and nobody else may
// see.
func sentSecrets(app *testApp) []string {
	secrets := []string{oidctest.ClientSecret}
	for _, r := range app.provider.Requests() {
		if !slices.Contains([]string{
			oidctest.EndpointPAR, oidctest.EndpointToken, oidctest.EndpointUserInfo, oidctest.EndpointRevocation,
		}, r.Endpoint) {
			continue
		}
		for _, name := range []string{
			"code", "code_verifier", "refresh_token", "access_token", "token", "client_assertion", "nonce", "state",
		} {
			secrets = append(secrets, r.Form[name]...)
		}
		if _, credentials, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
			secrets = append(secrets, credentials)
		}
	}
	return secrets
}

// anyPart returns a part of eight bytes of one of secrets that text holds.
func anyPart(text string, secrets []string) string {
	for _, secret := range secrets {
		for i := range len(secret) - 7 {
			if part := secret[i : i+8]; strings.Contains(text, part) {
				return part
			}
		}
	}
	return ""
}
