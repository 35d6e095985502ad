package interop

import (
	"strings"
	"testing"
)

const (
	signInButton  = ".proconnect-button"
	loginButton   = `button[value="login"]`
	codeButton    = "#code button"
	signOutButton = `form[action^="/auth/logout"] button`
)

// as chooses a person on the login page of the stand-in and signs in.
func (b *tab) as(a account) {
	b.t.Helper()
	b.click(`input[value="` + a.Sub + `"]`)
	b.click(loginButton)
}

// shows waits for a page of the service and its text.
func (b *tab) shows(address, text string) {
	b.t.Helper()
	if shown := b.arrive(address); !strings.Contains(shown.text, text) {
		b.t.Fatalf("%s lacks %q:\n%s", shown.address, text, shown.text)
	}
}

// TestChromiumService goes the ways of a person through examples/proconnect, in one browser and
// with a profile for each.
func TestChromiumService(t *testing.T) {
	t.Parallel()
	chromium := newChromium(t)
	w := newService(t, nil, nil)
	silent := newService(t, map[string]string{"SILENT": "1"}, nil)
	for _, test := range []struct {
		name string
		run  func(b *tab, base string)
	}{
		{"sign in and out", (*tab).signsInAndOut},
		{"step up", (*tab).stepsUp},
		{"step up refused", (*tab).isRefused},
		{"two tabs", (*tab).usesTwoTabs},
		{"failure", (*tab).meetsAFailure},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(chromium.profile(t), w.base) })
	}
	t.Run("silent with a session", func(t *testing.T) {
		b := chromium.profile(t)
		b.open(silent.other.authorizeURL(nil))
		b.as(alice)
		b.arrive(silent.other.callback)
		b.open(silent.base + "/")
		b.shows(silent.base+"/", "S'identifier avec")
		b.open(silent.base + "/")
		b.shows(silent.base+"/", "Alice Martin")
	})
	t.Run("silent without a session", func(t *testing.T) {
		b := chromium.profile(t)
		before := len(silent.provider.requests(t, "authorization"))
		for range 4 {
			b.open(silent.base + "/")
			b.shows(silent.base+"/", "S'identifier avec")
		}
		if got := len(silent.provider.requests(t, "authorization")) - before; got != 1 {
			t.Errorf("%d authentication requests", got)
		}
		b.click(signInButton)
		b.as(alice)
		b.shows(silent.base+"/agent", "Alice Martin")

		// A logout stays one.
		b.click(signOutButton)
		b.arrive(silent.base + "/auth/logout/callback")
		for range 2 {
			b.open(silent.base + "/")
			b.shows(silent.base+"/", "S'identifier avec")
		}
	})
}

// signsInAndOut: the button, the page, the way out, and the back button after it.
func (b *tab) signsInAndOut(base string) {
	b.open(base + "/")
	b.click(signInButton)
	b.as(alice)
	b.shows(base+"/agent", "Alice Martin")

	b.click(signOutButton)
	b.shows(base+"/auth/logout/callback?state=", "")
	b.backTo(base + "/agent")
	b.lacks("Alice Martin")
	b.open(base + "/agent")
	b.arriveAtLogin()
}

// stepsUp: from one factor to a page for two, and the session keeps them.
func (b *tab) stepsUp(base string) {
	b.open(base + "/")
	b.click(signInButton)
	b.as(alice)
	b.shows(base+"/agent", "eidas1")
	b.click(`a[href="/sensitive"]`)
	b.as(alice)
	b.click(codeButton)
	b.shows(base+"/sensitive", "eidas1-mfa")
	b.open(base + "/agent")
	b.shows(base+"/agent", "eidas1-mfa")
}

// isRefused: an explanation, no loop, and the session that was there before.
func (b *tab) isRefused(base string) {
	b.open(base + "/agent")
	b.as(carol)
	b.shows(base+"/agent", "Carol Petit")
	b.click(`a[href="/sensitive"]`)
	b.as(carol)
	b.shows(base+"/auth/callback", "second factor")
	b.open(base + "/agent")
	b.shows(base+"/agent", "Carol Petit")
}

// usesTwoTabs: the second tab's login ends in the first one, and the second only has to be opened
// again.
func (b *tab) usesTwoTabs(base string) {
	second := b.newTab()
	b.open(base + "/agent?tab=1")
	second.open(base + "/agent?tab=2")
	b.as(alice)
	b.shows(base+"/agent?tab=2", "Alice Martin")
	second.as(alice)
	second.reads("session-not-found")
	second.open(base + "/agent?tab=2")
	second.shows(base+"/agent?tab=2", "Alice Martin")
}

// meetsAFailure: from ProConnect's page with a code back to the service, and to another try.
func (b *tab) meetsAFailure(base string) {
	b.open(base + "/agent")
	b.fill(`input[name="fails"]`, "Y500015")
	b.as(bob)
	b.click(`a[href*="/error"]`)
	b.shows(base+"/auth/callback", "public agents")
	b.click("a.button")
	b.as(alice)
	b.shows(base+"/agent", "Alice Martin")
}
