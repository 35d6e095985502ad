package interop

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// tab is one of a real browser.
type tab struct {
	t testing.TB
	engine
	steps []string // so far, for the report of a failure
}

// screen is what a tab shows, found in one look: a second look may find another document.
type screen struct{ address, text string }

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
	return &tab{t: b.t, engine: other}
}

// profile opens a tab of the same browser that shares nothing with the others, for another test.
func (b *tab) profile(t testing.TB) *tab {
	t.Helper()
	other, err := b.stranger(t)
	if err != nil {
		t.Fatal(err)
	}
	return &tab{t: t, engine: other}
}

func (b *tab) open(address string) {
	b.t.Helper()
	b.did("open %s", address)
	if err := b.load(address); err != nil {
		b.fail("%v", err)
	}
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.did("click %s", selector)
	if err := b.press(selector); err != nil {
		b.fail("%v", err)
	}
}

// fill sets the value of a field as soon as it is there.
func (b *tab) fill(selector, value string) {
	b.t.Helper()
	b.did("fill %s", selector)
	set := fmt.Sprintf("document.readyState === 'complete' ? document.querySelector(%q).value = %q : ''", selector, value)
	if err := eventually("no "+selector, func() bool { return b.eval(set) == value }); err != nil {
		b.fail("%v", err)
	}
}

func (b *tab) did(format string, args ...any) {
	b.steps = append(b.steps, fmt.Sprintf(format, args...))
}

// fail ends the test and says what the tab shows, and which way led there.
func (b *tab) fail(format string, args ...any) {
	b.t.Helper()
	b.t.Fatalf("%s, on %s\n%s\nafter these steps:\n%s",
		fmt.Sprintf(format, args...), b.address(), b.text(), strings.Join(b.steps, "\n"))
}

// eval returns the value of an expression, "" while a navigation is under way.
func (b *tab) eval(expression string) string {
	value, err := b.value(expression)
	if err != nil {
		return ""
	}
	return value
}

// ask returns the value of an expression without effects, from the first document that has one.
func (b *tab) ask(expression string) (value string) {
	b.t.Helper()
	if err := eventually("no "+expression, func() bool {
		value = b.eval(expression)
		return value != ""
	}); err != nil {
		b.fail("%v", err)
	}
	return value
}

func (b *tab) address() string { return b.eval("location.href") }
func (b *tab) text() string    { return b.eval("document.body.innerText") }

// arrive waits until the tab shows an address that begins with prefix.
func (b *tab) arrive(prefix string) screen {
	b.t.Helper()
	return b.wait("for "+prefix, func(s screen) bool { return strings.HasPrefix(s.address, prefix) })
}

// arriveAtLogin waits for the provider's login page.
func (b *tab) arriveAtLogin() screen {
	b.t.Helper()
	return b.wait("to sign in", func(s screen) bool { return strings.Contains(s.address, "/interaction/") })
}

// reads waits for a whole page with that text, whatever its address is.
func (b *tab) reads(text string) {
	b.t.Helper()
	b.wait("for "+strconv.Quote(text), func(s screen) bool { return strings.Contains(s.text, text) })
}

// lacks waits for a page that says something, which must not be that text.
func (b *tab) lacks(text string) {
	b.t.Helper()
	if s := b.wait("for any text", func(s screen) bool { return s.text != "" }); strings.Contains(s.text, text) {
		b.t.Errorf("%s brings back\n%s", s.address, s.text)
	}
}

// wait polls until the tab shows a whole page that is right, and returns that.
func (b *tab) wait(what string, right func(screen) bool) (shown screen) {
	b.t.Helper()
	b.did("wait %s", what)
	if err := eventually("waiting "+what, func() bool {
		shown = b.look()
		return shown.address != "" && right(shown)
	}); err != nil {
		b.fail("%v", err)
	}
	b.did("  at %s", shown.address)
	return shown
}

// look returns what the tab shows, empty as long as it is no whole page. No page of a test is
// about:blank: that is a document of the browser's own, which Firefox shows between two pages.
func (b *tab) look() screen {
	address, text, _ := strings.Cut(b.eval(
		"document.readyState === 'complete' ? location.href + '\\n' + document.body.innerText : ''"), "\n")
	if address == "about:blank" {
		return screen{}
	}
	return screen{address, text}
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
	from := b.ask("location.href")
	b.did("go back by %d from %s", steps, from)
	b.eval(fmt.Sprintf("history.go(-%d), ''", steps))
	b.wait("to leave "+from, func(s screen) bool { return s.address != from })
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
	if shown := b.arrive(s.base + path); !strings.Contains(shown.text, `"sub"`) {
		b.t.Fatalf("%s shows\n%s", shown.address, shown.text)
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
			b.lacks(`"sub"`)
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
