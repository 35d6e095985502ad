package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// tab is one of a real browser.
type tab struct {
	t testing.TB
	engine
}

// engine drives one tab of a browser.
type engine interface {
	// load opens an address and returns when a page is loaded, of that address or of where it leads.
	load(address string) error
	// press clicks the element with the mouse as soon as it is there.
	press(selector string) error
	// value returns the value of an expression, which must be a string.
	value(expression string) (string, error)
	// another opens another tab of the same browser, stranger one that shares nothing with the others.
	another() (engine, error)
	stranger(t testing.TB) (engine, error)
	// resize makes the page that wide, in CSS pixels.
	resize(width int) error
}

// newTab opens another tab of the same browser.
func (b *tab) newTab() *tab {
	b.t.Helper()
	other, err := b.another()
	if err != nil {
		b.t.Fatal(err)
	}
	return &tab{b.t, other}
}

// profile opens a tab of the same browser that shares nothing with the others, for another test.
func (b *tab) profile(t testing.TB) *tab {
	t.Helper()
	other, err := b.stranger(t)
	if err != nil {
		t.Fatal(err)
	}
	return &tab{t, other}
}

func (b *tab) open(address string) {
	b.t.Helper()
	if err := b.load(address); err != nil {
		b.t.Fatalf("open %s: %v", address, err)
	}
}

func (b *tab) click(selector string) {
	b.t.Helper()
	if err := b.press(selector); err != nil {
		b.t.Fatalf("click %s: %v, on %s\n%s", selector, err, b.address(), b.text())
	}
}

// eval returns the value of an expression, "" while a navigation is under way.
func (b *tab) eval(expression string) string {
	value, err := b.value(expression)
	if err != nil {
		return ""
	}
	return value
}

func (b *tab) address() string { return b.eval("location.href") }
func (b *tab) text() string    { return b.eval("document.body.innerText") }

// arrive waits until the tab shows an address that begins with prefix.
func (b *tab) arrive(prefix string) {
	b.t.Helper()
	b.wait("for "+prefix, func(address string) bool { return strings.HasPrefix(address, prefix) })
}

// wait polls until the tab shows a whole page whose address is right.
func (b *tab) wait(what string, right func(address string) bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		address := b.eval("document.readyState === 'complete' ? location.href : ''")
		if address != "" && right(address) {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("waiting %s, still on %s\n%s", what, b.address(), b.text())
		}
		<-tick.C
	}
}

// backTo presses the back button until the tab leaves its page for the newest entry of its
// history with that address, or for where that address leads to now.
func (b *tab) backTo(address string) {
	b.t.Helper()
	history, err := chromedp.Run(b.chromium(), chromedp.NavigationEntries())
	if err != nil {
		b.t.Fatal(err)
	}
	steps := 0
	for i := history.CurrentIndex - 1; i >= 0 && steps == 0; i-- {
		if history.Entries[i].URL == address {
			steps = int(history.CurrentIndex - i)
		}
	}
	if steps == 0 {
		b.t.Fatalf("%s is not in the history", address)
	}
	from := b.address()
	b.eval(fmt.Sprintf("history.go(-%d), ''", steps))
	b.wait("to leave "+from, func(address string) bool { return address != from })
}

// site is an app with a provider, as a person with a browser sees it.
type site struct {
	base string
	// The buttons that sign in at the provider, and out where it asks.
	in, out string
}

// embedded is webapp with no provider configured: it brings its own.
const embedded = "embedded"

func newSite(t testing.TB, kind string, env map[string]string) site {
	t.Helper()
	if kind == embedded {
		base := origin(freePort(t))
		startApp(t, base, map[string]string{"OIDC_BASE_URL": base})
		return site{base: base, in: `button[name="persona"]`}
	}
	s := site{in: `button[value="login"]`}
	if kind == modern {
		s.out = `button[name="logout"]`
	}
	s.base = newWorld(t, setup{kind: kind, env: env}).base
	return s
}

// signIn opens a protected page, signs in and waits for the page.
func (s site) signIn(b *tab, path string) {
	b.t.Helper()
	b.open(s.base + path)
	b.click(s.in)
	b.arrive(s.base + path)
	if text := b.text(); !strings.Contains(text, `"sub"`) {
		b.t.Fatalf("%s shows\n%s", path, text)
	}
}

// TestChromium does what a person does, with every provider: it opens a protected page, signs in,
// reads the page, signs out, and presses the back button.
func TestChromium(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{proconnect, modern, embedded} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, kind, nil)
			b := newChromium(t)
			s.signIn(b, "/me")

			b.open(s.base + "/auth/logout")
			b.click("form button")
			if s.out != "" {
				b.click(s.out)
			}
			b.arrive(s.base + "/auth/logout/callback")
			b.backTo(s.base + "/me")
			if text := b.text(); strings.Contains(text, `"sub"`) {
				t.Errorf("the back button brings back\n%s", text)
			}
			b.open(s.base + "/me")
			b.do(chromedp.WaitVisible(s.in))
		})
	}
}

// TestChromiumTwoTabs: two tabs on the login page, finished in the other order.
func TestChromiumTwoTabs(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{modern, embedded} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, kind, nil)
			first := newChromium(t)
			second := first.newTab()
			first.open(s.base + "/me?tab=1")
			second.open(s.base + "/me?tab=2")
			second.click(s.in)
			second.arrive(s.base + "/me?tab=2")
			first.click(s.in)
			first.arrive(s.base + "/me?tab=1")
		})
	}
}

// TestChromiumFormPost: the callback is a POST from the provider's page, and the cookie of the
// login under way must come with it.
func TestChromiumFormPost(t *testing.T) {
	t.Parallel()
	s := newSite(t, modern, map[string]string{"OIDC_RESPONSE_MODE": "form_post"})
	s.signIn(newChromium(t), "/me")
}
