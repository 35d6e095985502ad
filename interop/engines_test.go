package interop

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// engines are the browsers, and scenarios what a person does with each.
var engines = []struct {
	name  string
	start func(testing.TB) *tab
}{
	{"Chromium", newChromium},
	{"Firefox", newFirefox},
	{"WebKitGTK", newWebKit},
}

var scenarios = []struct {
	name string
	run  func(b *tab, w *secureWorld)
}{
	{"sign in", (*tab).signsIn},
	{"step up", (*tab).stepsUpOverHTTPS},
	{"five tabs", (*tab).usesFiveTabs},
	{"form_post across sites", (*tab).isPostedBack},
	{"logout, and the back button", (*tab).goesBack},
	{"logout, and back to a page with its own Cache-Control", (*tab).goesBackToAKeptPage},
	{"logout by another site", (*tab).isLuredAway},
	{"silent sign-in", (*tab).isSignedInSilently},
	{"320 px", (*tab).readsOnAPhone},
	{"worker: sign in, step up, logout", behind("as-it-is", (*tab).livesBehindAWorker)},
	{"worker: silent sign-in", behind("as-it-is", (*tab).isSignedInSilentlyToo)},
	{"worker: logout by another site", behind("as-it-is", (*tab).isLuredAway)},
	{"changing worker: sign in, step up, logout", behind("changed", (*tab).livesBehindAWorker)},
	{"changing worker: silent sign-in", behind("changed", (*tab).isSignedInSilentlyToo)},
}

// TestEngines goes through every scenario in every browser, and logs a table of them.
func TestEngines(t *testing.T) {
	t.Parallel()
	w := newSecureWorld(t)
	results := newMatrix()
	t.Cleanup(func() { t.Logf("\n%s", results) })
	for i, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			root := engine.start(t)
			for j, scenario := range scenarios {
				t.Run(scenario.name, func(t *testing.T) {
					start := time.Now()
					defer func() { results.set(j, i, t.Failed(), time.Since(start)) }()
					scenario.run(root.profile(t), w)
				})
			}
		})
	}
}

// matrix is the table of results.
type matrix struct {
	mu    sync.Mutex // guards cells
	cells [][]string // by scenario and browser
}

func newMatrix() *matrix {
	m := new(matrix)
	for range scenarios {
		m.cells = append(m.cells, slices.Repeat([]string{"not run"}, len(engines)))
	}
	return m
}

func (m *matrix) set(scenario, engine int, failed bool, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	word := "ok"
	if failed {
		word = "FAILED"
	}
	m.cells[scenario][engine] = fmt.Sprintf("%s, %.1f s", word, took.Seconds())
}

func (m *matrix) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "scenario")
	for _, engine := range engines {
		fmt.Fprint(table, "\t", engine.name)
	}
	for i, scenario := range scenarios {
		fmt.Fprint(table, "\n", scenario.name)
		for _, cell := range m.cells[i] {
			fmt.Fprint(table, "\t", cell)
		}
	}
	fmt.Fprintln(table)
	table.Flush()
	return text.String()
}

// aliceWith is what pages of the apps say to Alice.
func aliceWith(acr string) string { return "person " + alice.Sub + " with " + acr }

// entersAs opens a page of an app and signs in as Alice at the provider.
func (b *tab) entersAs(page, acr string) {
	b.t.Helper()
	b.open(page)
	b.arriveAtLogin()
	b.fill(`input[name="acr"]`, acr)
	b.click(loginButton)
	b.arrive(page)
	b.reads(aliceWith(acr))
}

func (b *tab) signsIn(w *secureWorld) {
	for _, button := range []string{"#in", "#login button"} { // a link and a form
		b.open(w.app.base + "/")
		b.reads("nobody")
		b.click(button)
		b.click(loginButton)
		b.arrive(w.app.base + "/me")
		b.reads(aliceWith("eidas1"))
		b.signsOut(w.app)
	}
}

// signsOut presses the app's button and the provider's, and that of the question between.
func (b *tab) signsOut(a *secureApp) {
	b.t.Helper()
	b.open(a.base + "/")
	b.click("#out button")
	question := a.base + "/auth/logout" // behind some workers, the library asks first
	shown := b.wait("to sign out", func(s screen) bool {
		return strings.HasPrefix(s.address, question) || strings.Contains(s.address, "/session/end")
	})
	if strings.HasPrefix(shown.address, question) {
		b.reads("Do you want to sign out")
		b.click("form button")
	}
	b.click(`button[name="logout"]`)
	b.arrive(a.base + "/auth/logout/callback")
	b.reads("You are signed out")
}

func (b *tab) stepsUpOverHTTPS(w *secureWorld) {
	b.entersAs(w.app.base+"/me", "eidas1")
	b.entersAs(w.app.base+"/admin", "eidas2")
	b.open(w.app.base + "/me")
	b.reads(aliceWith("eidas2"))
}

// usesFiveTabs: five logins under way, finished in another order than started.
func (b *tab) usesFiveTabs(w *secureWorld) {
	tabs := []*tab{b, b.newTab(), b.newTab(), b.newTab(), b.newTab()}
	page := func(i int) string { return fmt.Sprintf("%s/me?tab=%d", w.posted.base, i) }
	for i, each := range tabs {
		each.open(page(i))
	}
	for _, i := range []int{3, 0, 4, 1, 2} {
		tabs[i].click(loginButton)
		tabs[i].arrive(page(i))
		tabs[i].reads(aliceWith("eidas1"))
	}
}

// isPostedBack: the callback is a POST from the provider's site.
func (b *tab) isPostedBack(w *secureWorld) {
	b.entersAs(w.posted.base+"/me", "eidas1")
	callback := w.posted.last(b, "/auth/callback")
	if site := callback.Header.Get("Sec-Fetch-Site"); callback.Method != http.MethodPost || site != "cross-site" {
		b.t.Errorf("the callback is %s from %q", callback.Method, site)
	}
}

// leavesFrom signs in to a page, signs out, and goes back to it in the browser's history.
func (b *tab) leavesFrom(a *secureApp, page string) {
	b.entersAs(page, "eidas1")
	length := func() int {
		n, err := strconv.Atoi(b.ask("String(history.length)"))
		if err != nil {
			b.t.Fatal(err)
		}
		return n
	}
	from := length()
	b.signsOut(a)
	b.eval(fmt.Sprintf("history.go(%d), ''", from-length()))
	b.wait("to leave the signed-out page", func(s screen) bool {
		return !strings.HasPrefix(s.address, a.base+"/auth/logout/callback")
	})
}

func (b *tab) goesBack(w *secureWorld) {
	b.leavesFrom(w.app, w.app.base+"/me")
	b.arriveAtLogin()
	b.lacks(alice.Sub)
	b.open(w.app.base + "/")
	b.reads("nobody")
}

// goesBackToAKeptPage: the price of a Cache-Control of the app's own, which RequireLogin documents.
func (b *tab) goesBackToAKeptPage(w *secureWorld) {
	b.leavesFrom(w.app, w.app.base+"/kept")
	b.reads(aliceWith("eidas1"))
	b.open(w.app.base + "/")
	b.reads("nobody")
}

// isLuredAway: a form of another site that posts to the logout signs nobody out.
func (b *tab) isLuredAway(w *secureWorld) {
	b.entersAs(w.app.base+"/me", "eidas1")
	b.open(w.evil)
	b.click("button")
	b.wait("for an answer", func(s screen) bool { return !strings.HasPrefix(s.address, w.evil) })
	if logout := w.app.last(b, "/auth/logout"); logout.Method != http.MethodPost {
		b.t.Errorf("the other site's form came as %s", logout.Method)
	}
	b.open(w.app.base + "/") // a protected page would sign her in again
	b.reads(aliceWith("eidas1"))
}

// isSignedInSilently: a session at the provider, from another app, serves at the second page.
func (b *tab) isSignedInSilently(w *secureWorld) {
	b.entersAs(w.posted.base+"/me", "eidas1")
	b.open(w.app.base + "/news")
	b.reads("nobody")
	b.open(w.app.base + "/news")
	b.arrive(w.app.base + "/news")
	b.reads(aliceWith("eidas1"))
}

// isSignedInSilentlyToo: while WebKit wakes the worker up, it sends the first request itself, and
// then the worker sends it too, so that the first page may already be the second load.
func (b *tab) isSignedInSilentlyToo(w *secureWorld) {
	b.entersAs(w.posted.base+"/me", "eidas1")
	for range 2 {
		b.open(w.app.base + "/news")
		b.arrive(w.app.base + "/news")
	}
	b.reads(aliceWith("eidas1"))
}

// readsOnAPhone: the library's pages fit, and a person can sign in and out.
func (b *tab) readsOnAPhone(w *secureWorld) {
	if err := b.resize(320); err != nil {
		b.t.Fatal(err)
	}
	fits := func(path, text string) {
		b.t.Helper()
		b.open(w.app.base + path)
		b.reads(text)
		if got := b.ask("innerWidth + ' ' + document.scrollingElement.scrollWidth"); got != "320 320" {
			b.t.Errorf("%s: the window and the page are %s px wide", path, got)
		}
	}
	fits("/auth/callback?code=x&state=x", "can no longer be completed")
	fits("/auth/initiate?iss=https://evil.example/"+strings.Repeat("long", 30), "Home page")
	fits("/auth/logout", "Do you want to sign out")
	b.signsIn(w)
	fits("/auth/logout/callback", "You are signed out")
}

// behind has a scenario run with a service worker installed.
func behind(worker string, run func(*tab, *secureWorld)) func(*tab, *secureWorld) {
	return func(b *tab, w *secureWorld) {
		b.open(w.app.base + "/worker?" + worker)
		b.reads("installed")
		before := len(w.app.requests(b))
		run(b, w)
		// The browser itself says that the worker has loaded pages. WebKit does not ask it where
		// another site redirects to the app.
		if !slices.ContainsFunc(w.app.requests(b)[before:], func(r *http.Request) bool {
			return r.Header.Get("Sec-Fetch-Dest") == "empty" && strings.Contains(r.Header.Get("Accept"), "text/html")
		}) {
			b.t.Error("the worker has loaded no page")
		}
	}
}

// livesBehindAWorker: protected pages, forms, and the paths of the library itself.
func (b *tab) livesBehindAWorker(w *secureWorld) {
	b.open(w.app.base + "/")
	b.click("#form button") // a protected form, without a session
	b.arrive(w.app.base + "/me")
	b.reads("Sign in")
	b.signsIn(w)
	b.open(w.app.base + "/auth/initiate?iss=" + url.QueryEscape(w.provider.issuer))
	b.click(loginButton)
	b.arrive(w.app.base + "/")
	b.reads(aliceWith("eidas1"))
	b.entersAs(w.app.base+"/admin", "eidas2")
	b.open(w.app.base + "/")
	b.click("#form button")
	b.arrive(w.app.base + "/me")
	b.reads(aliceWith("eidas2"))
	b.signsOut(w.app)
	b.open(w.app.base + "/me")
	b.arriveAtLogin()
}
