// Package fault is a catalogue of the ways in which an OpenID Provider can misbehave,
// for testing a relying party. Pass a fault to Provider.Misbehave of package oidctest:
//
//	provider := oidctest.NewServer(t, oidctest.Config{})
//	provider.Misbehave(fault.IDTokenWrongAud)
//
// Each fault states what a sound relying party does about it, so one test can cover
// the catalogue:
//
//	for _, f := range fault.All() {
//		provider.Misbehave(f)
//		…
//		if f.Verdict == fault.Reject && signedIn {
//			t.Errorf("%s: %s", f.Name, f.Doc)
//		}
//	}
//
// The variables are grouped by the message that is wrong: the discovery document, the
// JWK Set, the authorization response, the token response, the ID Token, the UserInfo
// response, the refresh response, the logout token, and the redirect after a logout.
// [Transport] returns the faults that any of the HTTP responses can have, and
// [AtRefresh] moves a fault from the login to a refresh.
package fault
