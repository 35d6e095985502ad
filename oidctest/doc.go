// Package oidctest is an OpenID Provider that runs inside a test, or inside an example
// program that should work without one. It is a real provider as far as a relying
// party can see: discovery, PKCE, a login page, signed tokens, UserInfo, refresh,
// logout. What it does not do is authenticate anybody: whoever reaches it can be any
// of its personas, so it listens on 127.0.0.1 only and belongs on no network.
//
// # Testing an application
//
//	func TestDossiers(t *testing.T) {
//		provider := oidctest.NewServer(t, oidctest.Config{})
//		app := httptest.NewUnstartedServer(nil) // has its address already, for BaseURL
//		app.Config.Handler = newHandler(oidcrp.Config{
//			Issuer:       provider.Issuer(),
//			ClientID:     oidctest.ClientID,
//			ClientSecret: oidctest.ClientSecret,
//			BaseURL:      "http://" + app.Listener.Addr().String(),
//			CookieKeys:   [][]byte{make([]byte, 32)},
//		})
//		app.Start()
//		defer app.Close()
//		browser := provider.SignIn(t, app.URL+"/dossiers/", "alice")
//		res, err := browser.Get(app.URL + "/dossiers/42")
//		…
//	}
//
// [NewServer] starts a provider on a free port and stops it with the test.
// [Provider.SignIn] opens the application's page, follows it to the provider, chooses
// the persona there, and follows the way back; the client it returns has the session.
// [Provider.Requests] tells what reached the provider meanwhile.
//
// # Testing a relying party
//
// [Provider.Misbehave] makes the provider commit named faults: an ID Token for another
// audience, a UserInfo answer about somebody else, a discovery document that never
// ends. Each says what a sound relying party does, so one test can walk the catalogue:
//
//	for _, fault := range oidctest.Faults() {
//		provider.Misbehave(fault)
//		…
//		if fault.Verdict == oidctest.Reject && signedIn {
//			t.Errorf("%s: %s", fault.Name, fault.Doc)
//		}
//	}
//
// [Provider.Violations] tells what the relying party itself did wrong meanwhile, as a
// conformance suite would count it.
//
// For what the catalogue lacks there are [Provider.Handle], which puts another handler
// in the place of an endpoint, and [Provider.SignClaims], which signs anything.
//
// # Testing a session store
//
// [TestStore] tests that a store of your own keeps the contract of oidcrp.Store.
//
// # Reading the source
//
// The files follow the way of a sign-in: config, provider, server, discovery, keys,
// par, authorize, login, clientauth, token, userinfo, logout; then browser, record,
// violations, and the faults. What tests session stores is in the files store, store_probe
// and store_checks.
package oidctest
