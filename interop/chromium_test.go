package interop

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// chromium is a tab of Chromium, driven by the DevTools protocol.
type chromium struct {
	t   testing.TB
	ctx context.Context
}

// newChromium starts a browser with a fresh profile and returns its first tab.
func newChromium(t testing.TB) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("this test needs Chromium: %v; `bash interop/run` or `apt-get install chromium`", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // the tests may run as root
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(patience),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	c, err := startTab(t, allocator)
	if err != nil {
		t.Fatal(err)
	}
	return &tab{t: t, engine: c}
}

// startTab opens a tab that closes with the test.
func startTab(t testing.TB, parent context.Context, options ...chromedp.ContextOption) (*chromium, error) {
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	// The first call has no deadline of its own: it would become the browser's.
	return &chromium{t, ctx}, chromedp.Do(ctx)
}

func (c *chromium) another() (engine, error) { return startTab(c.t, c.ctx) }

func (c *chromium) stranger(t testing.TB) (engine, error) {
	return startTab(t, c.ctx, chromedp.WithNewBrowserContext())
}

func (c *chromium) do(actions ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

func (c *chromium) load(address string) error { return c.do(chromedp.Navigate(address)) }

func (c *chromium) press(selector string) (err error) {
	late := eventually("the page keeps changing", func() bool {
		err = c.do(chromedp.Click(chromedp.CSS(selector)))
		// The page was replaced after the element was found in it.
		return err == nil || !strings.Contains(err.Error(), "Could not find node with given id")
	})
	return errors.Join(late, err)
}

func (c *chromium) resize(width int) error {
	return c.do(chromedp.EmulateViewport(int64(width), 640))
}

func (c *chromium) value(expression string) (string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](expression))
}

// chromium is for what only Chromium's driver can do.
func (b *tab) chromium() context.Context { return b.engine.(*chromium).ctx }

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := b.engine.(*chromium).do(actions...); err != nil {
		b.fail("%v", err)
	}
}
