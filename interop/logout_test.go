package interop

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// signOut posts the app's sign-out form and follows it to the end, with the question that the
// modern provider asks.
func (w *world) signOut(b *browser) *page {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodPost, w.base+"/auth/logout", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Origin", w.base)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return w.confirm(b.submitAll(b.navigate(req)))
}

func (w *world) confirm(p *page) *page {
	p.browser.t.Helper()
	if strings.Contains(p.Body, "Sign out?") {
		return p.form().submit()
	}
	return p
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			shows(t, productOf[kind], signsOut)
			w := newWorld(t, setup{kind: kind})
			b := newBrowser(t)
			w.me(t, b.open(w.base+"/me").signIn(alice))

			out := w.signOut(b)
			if out.Status != http.StatusOK || out.URL.Host != w.base[len("http://"):] {
				t.Errorf("ended on %s with %d\n%s", out.URL, out.Status, out.Body)
			}
			if w.signedIn(b) {
				t.Error("still signed in at the app")
			}
			if page := b.open(w.base + "/me"); !strings.Contains(page.Body, `id="login"`) {
				t.Errorf("still signed in at the provider: %s\n%s", page.URL, page.Body)
			}
			asked := w.provider.last(t, "end_session").Query
			back := b.visited(w.base + "/auth/logout/callback")
			if asked["id_token_hint"] == nil || asked["state"] == nil ||
				asked["state"] != back.Query().Get("state") {
				t.Errorf("asked %v, came back to %s", asked, back)
			}
		})
	}
}

// TestSignOutByLink: a link on another site must not sign anybody out; the person must confirm.
func TestSignOutByLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{kind: proconnect})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").signIn(alice))

	question := b.open(w.base + "/auth/logout")
	if !w.signedIn(b) {
		t.Fatal("a plain GET has ended the session")
	}
	w.confirm(question.form().submit())
	if w.signedIn(b) {
		t.Error("still signed in after the answer")
	}
}

// TestSignedOutPageWithAnotherState: with any state, the person is signed out, and the page says so.
func TestSignedOutPageWithAnotherState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{kind: proconnect})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").signIn(alice))
	w.signOut(b)

	page := b.open(w.base + "/auth/logout/callback?" + url.Values{"state": {"forged"}}.Encode())
	if page.Status != http.StatusOK {
		t.Errorf("got %d on %s\n%s", page.Status, page.URL, page.Body)
	}
}

// TestSignOutWithoutProvider: the provider is down, and the session at the app ends all the same.
func TestSignOutWithoutProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{kind: modern})
	b := newBrowser(t)
	w.me(t, b.open(w.base+"/me").signIn(alice))
	w.provider.stop(t)

	b.client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	w.signOut(b)
	if w.signedIn(b) {
		t.Error("still signed in")
	}
}
