package interop

import (
	"net/http"
	"testing"
)

// TestProviderDownAtStart: the app serves what needs no login, says so to the load balancer, and
// begins to sign people in when the provider appears.
func TestProviderDownAtStart(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: kind, down: true})
			b := newBrowser(t)
			if got := b.open(w.base + "/").Status; got != http.StatusOK {
				t.Errorf("/ answered %d", got)
			}
			if got := w.status(t, "/readyz"); got != http.StatusServiceUnavailable {
				t.Errorf("/readyz answered %d", got)
			}
			login := b.open(w.base + "/auth/login")
			if login.Status != http.StatusServiceUnavailable || login.Header.Get("Retry-After") == "" {
				t.Errorf("/auth/login answered %d, Retry-After %q", login.Status, login.Header.Get("Retry-After"))
			}

			w.provider = startProvider(t, kind, w.provider.settings)
			w.app.poll(t, "/readyz", func() bool { return w.status(t, "/readyz") == http.StatusOK })
			w.me(t, b.open(w.base+"/me").signIn(alice))
		})
	}
}

// TestKeyRotation: the provider comes back with other keys while the app still holds the old.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: kind})
			w.me(t, newBrowser(t).open(w.base+"/me").signIn(alice))

			w.provider = w.provider.restart(t)
			w.me(t, newBrowser(t).open(w.base+"/me").signIn(bob))
			if got := len(w.provider.requests(t, "jwks")); got != 1 {
				t.Errorf("%d requests for the new keys", got)
			}
		})
	}
}

// TestSessionOutlivesTheProvider: a person who is signed in stays signed in while the provider is
// down.
func TestSessionOutlivesTheProvider(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"cookie", "memory"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{kind: modern, env: map[string]string{"SESSION_STORE": store}})
			b := newBrowser(t)
			w.me(t, b.open(w.base+"/me").signIn(alice))
			w.provider.stop(t)
			w.me(t, b.open(w.base+"/me"))
		})
	}
}
