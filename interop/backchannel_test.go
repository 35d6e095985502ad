package interop

import "testing"

// TestSignOutElsewhere: two apps share a provider. Signing out of one reaches the other through
// the back channel, and its session ends without the browser.
func TestSignOutElsewhere(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"cookie", "memory"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			shows(t, modernProduct, backChannel)
			base := origin(freePort(t))
			second := clientAt(modern, "second", base)
			second["backchannel_logout_uri"] = base + "/auth/backchannel-logout"
			second["backchannel_logout_session_required"] = true
			w := newWorld(t, setup{kind: modern, provider: settings{Clients: []map[string]any{second}}})
			env := environment(t, modern, w.provider.issuer, "second", base)
			env["SESSION_STORE"] = store
			other := &world{app: startApp(t, base, env), provider: w.provider}

			b := newBrowser(t)
			other.me(t, b.open(other.base+"/me").signIn(alice))
			w.me(t, toLogin(b.open(w.base+"/me"), alice))
			if !other.signedIn(b) {
				t.Fatal("not signed in at the other app")
			}
			w.signOut(b)
			if other.signedIn(b) {
				t.Error("still signed in at the other app")
			}
			other.me(t, b.open(other.base+"/me").signIn(alice))
		})
	}
}
