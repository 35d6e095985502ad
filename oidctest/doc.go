// Package oidctest is an OpenID Provider for tests. It runs inside the test, or inside
// an example program that must work without a real provider. A relying party can use it
// like any other provider: it has discovery, PKCE, a login page, signed tokens,
// UserInfo, refresh and logout. It authenticates nobody: every visitor can sign in as
// any of its personas. It therefore listens on 127.0.0.1 only; never expose it to a
// network.
//
// # Testing an application
//
//	func TestDossiers(t *testing.T) {
//		provider := oidctest.NewServer(t, oidctest.Config{})
//		app := httptest.NewUnstartedServer(nil) // already has an address, for BaseURL
//		key := make([]byte, 32)
//		rand.Read(key)
//		client, err := oidcrp.New(oidcrp.Config{
//			Issuer:       provider.Issuer(),
//			ClientID:     oidctest.ClientID,
//			ClientSecret: oidctest.ClientSecret,
//			BaseURL:      "http://" + app.Listener.Addr().String(),
//			CookieKeys:   oidcrp.Keys(key),
//		})
//		if err != nil {
//			t.Fatal(err)
//		}
//		app.Config.Handler = client.Middleware(client.RequireLogin(dossiers))
//		app.Start()
//		defer app.Close()
//		browser := provider.SignIn(t, app.URL+"/dossiers/", "alice")
//		res, err := browser.Get(app.URL + "/dossiers/42")
//		…
//	}
//
// [NewServer] starts a provider on a free port and closes it when the test ends.
// [Provider.SignIn] opens a page of the application, signs in as the persona on the
// provider's login page, and returns an http.Client that has the session.
// [Provider.Requests] returns the requests that the provider received.
//
// # Testing a relying party
//
// [Provider.Misbehave] makes the provider commit faults of the catalogue in package
// [github.com/oidcrp/oidcrp/oidctest/fault]: an ID Token for another audience, UserInfo
// about another user, a discovery document without end.
//
//	provider.Misbehave(fault.IDTokenWrongAud)
//
// [Provider.Violations] returns the mistakes of the relying party itself, as a
// conformance suite would report them.
//
// For anything that the catalogue lacks, [Provider.Handle] replaces the handler of an
// endpoint and [Provider.SignClaims] signs arbitrary claims.
//
// # Reading the source
//
// The files follow the course of a login: config, provider, server, discovery, par,
// authorize, login, clientauth, token, userinfo, logout; then browser, record and
// violations. The keys, tokens and responses that faults change are in internal/wire.
package oidctest
