package interop

import (
	"fmt"
	"testing"
)

// TestFiveTabs: five logins under way in one browser, finished in another order than started,
// each ends on the page it began with.
func TestFiveTabs(t *testing.T) {
	t.Parallel()
	shows(t, modernProduct, severalTabs)
	w := newWorld(t, setup{kind: modern})
	b := newBrowser(t)
	var tabs [5]*page
	for i := range tabs {
		tabs[i] = b.open(fmt.Sprintf("%s/me?tab=%d", w.base, i))
	}
	for _, i := range []int{3, 0, 4, 1, 2} {
		done := tabs[i].signIn(alice)
		w.me(t, done)
		if want := fmt.Sprintf("tab=%d", i); done.URL.RawQuery != want {
			t.Errorf("tab %d ended on %s", i, done.URL)
		}
	}
}

// TestTwoTabsAtProConnect: ProConnect remembers one login per browser, so the first tab comes
// back with the second one's state. That is still a login. The second tab is lost at ProConnect,
// and opening its page again is enough.
func TestTwoTabsAtProConnect(t *testing.T) {
	t.Parallel()
	shows(t, proconnectProduct, severalTabs)
	w := newWorld(t, setup{kind: proconnect})
	b := newBrowser(t)
	first := b.open(w.base + "/me?tab=1")
	b.open(w.base + "/me?tab=2")

	done := first.signIn(alice)
	w.me(t, done)
	if done.URL.RawQuery != "tab=2" {
		t.Errorf("ended on %s", done.URL)
	}
	w.me(t, b.open(w.base+"/me?tab=1"))
}

// TestBackButtonAtProConnect: the login page from the browser's history is dead at ProConnect,
// and the app's page behind it begins again.
func TestBackButtonAtProConnect(t *testing.T) {
	t.Parallel()
	shows(t, proconnectProduct, staleLoginPage)
	w := newWorld(t, setup{kind: proconnect})
	b := newBrowser(t)
	login := b.open(w.base + "/me")
	w.me(t, login.signIn(alice))
	login.signIn(alice)
	w.me(t, b.open(w.base+"/me"))
}
