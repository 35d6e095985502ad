package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// axe is the accessibility engine, to be run in a page.
var axe = filepath.Join("axe", "node_modules", "axe-core", "axe.min.js")

// axeReport is what axe finds in a page.
type axeReport struct {
	Passes     int      `json:"passes"`
	Violations []string `json:"violations"`
	Incomplete []string `json:"incomplete"` // what a person has to decide
}

// judge runs the engine.
const judge = `
axe.run(document, {
	runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
	resultTypes: ['violations', 'incomplete'],
}).then(({ passes, violations, incomplete }) => {
	const short = (rules) => rules.map((rule) =>
		[rule.id, rule.help, ...rule.nodes.map((node) => node.html)].join('\n'));
	return JSON.stringify({
		passes: passes.length, violations: short(violations), incomplete: short(incomplete),
	});
})`

// runAxe has the engine judge the page as it is now.
func (b *tab) runAxe() axeReport {
	b.t.Helper()
	engine, err := os.ReadFile(axe)
	if err != nil {
		b.t.Fatal(err)
	}
	b.eval("if (typeof axe === 'undefined') {" + string(engine) + "\n}''")
	ctx, cancel := context.WithTimeout(b.chromium(), patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](judge, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("axe on %s: %v", b.address(), err)
	}
	var report axeReport
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		b.t.Fatal(err)
	}
	return report
}

// look is how a person's screen shows a page.
type look struct {
	width  int64
	scheme string
}

var looks = []look{{1280, "light"}, {1280, "dark"}, {320, "light"}, {320, "dark"}}

// put shows the page in that way.
func (b *tab) put(l look) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(l.width, 640))
	b.media(map[string]string{"prefers-color-scheme": l.scheme, "forced-colors": "none"})
}

// media sets what the person has chosen in the system's settings.
func (b *tab) media(features map[string]string) {
	b.t.Helper()
	var params emulation.SetEmulatedMediaParams
	for name, value := range features {
		params.Features = append(params.Features, &emulation.MediaFeature{Name: name, Value: value})
	}
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, params)
		return err
	}))
}

// wantEdge looks for a border around a button when the system's colours replace the page's, so
// that it does not look like text.
func (b *tab) wantEdge(name, selector string) {
	b.t.Helper()
	b.media(map[string]string{"forced-colors": "active"})
	b.screenshot(name + " forced colours")
	edge := b.eval(`(({ borderTopStyle, borderTopWidth, borderTopColor }) =>
		[borderTopStyle, borderTopWidth, borderTopColor].join(' '))(getComputedStyle(document.querySelector('` +
		selector + `')))`)
	if !strings.HasPrefix(edge, "solid 1px rgb(") {
		b.t.Errorf("%s: the button has the border %q", name, edge)
	}
	b.media(map[string]string{"forced-colors": "none"})
}

// prefer sets the language that the person reads.
func (b *tab) prefer(language string) {
	b.t.Helper()
	headers := network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}}
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.SetExtraHTTPHeaders, headers)
		return err
	}))
}

// wantAccessible checks the page against axe's rules in every look, and that it does not scroll
// sideways, even with the reader's own styles.
func (b *tab) wantAccessible(name string) {
	b.t.Helper()
	for _, l := range looks {
		b.put(l)
		where := fmt.Sprintf("%s, %d px, %s", name, l.width, l.scheme)
		// Colours need both schemes and reflow both widths; the other two looks are for the eye.
		if (l.width == 320) == (l.scheme == "dark") {
			report := b.runAxe()
			if report.Passes == 0 {
				b.t.Errorf("%s: axe looked at nothing", where)
			}
			for _, finding := range slices.Concat(report.Violations, report.Incomplete) {
				b.t.Errorf("%s: %s", where, finding)
			}
		}
		if got := b.eval("String(document.scrollingElement.scrollWidth)"); got != fmt.Sprint(l.width) {
			b.t.Errorf("%s: the page is %s px wide", where, got)
		}
		b.screenshot(fmt.Sprintf("%s-%d-%s", name, l.width, l.scheme))
	}
	b.put(look{320, "light"})
	for _, style := range readerStyles {
		b.eval("readers = new CSSStyleSheet(), readers.replaceSync(`" + style.css + "`)," +
			"document.adoptedStyleSheets = [readers], ''")
		if got := b.eval("String(document.scrollingElement.scrollWidth)"); got != "320" {
			b.t.Errorf("%s, 320 px, %s: the page is %s px wide", name, style.name, got)
		}
		b.screenshot(name + "-320-" + style.name)
	}
	b.eval("document.adoptedStyleSheets = [], ''")
}

// readerStyles is what people do to pages to read them: WCAG 2.1, 1.4.4 and 1.4.12.
var readerStyles = []struct{ name, css string }{
	{"large", `html { font-size: 200% !important }`},
	{"spaced", `* { line-height: 1.5 !important; letter-spacing: .12em !important; word-spacing: .16em !important }
p { margin-bottom: 2em !important }`},
}

// screenshot writes a picture of the whole page to the folder that SCREENSHOTS names.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(b.chromium(), chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	file := strings.NewReplacer(" ", "-", ",", "").Replace(name) + ".png"
	if err := os.WriteFile(filepath.Join(folder, file), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// focus is the element that has the keyboard's focus, and its ring.
type focus struct {
	Class   string   `json:"class"`
	Visible bool     `json:"visible"` // :focus-visible
	Style   string   `json:"style"`
	Width   string   `json:"width"`
	Offset  string   `json:"offset"`
	Ring    [3]uint8 `json:"ring"`
	Page    [3]uint8 `json:"page"`
}

func (b *tab) focus() focus {
	b.t.Helper()
	var f focus
	text := b.eval(`(() => {
		const e = document.activeElement, style = getComputedStyle(e);
		const rgb = (color) => color.match(/\d+/g).slice(0, 3).map(Number);
		return JSON.stringify({
			class: e.className, visible: e.matches(':focus-visible'), style: style.outlineStyle,
			width: style.outlineWidth, offset: style.outlineOffset, ring: rgb(style.outlineColor),
			page: rgb(getComputedStyle(document.body).backgroundColor),
		});
	})()`)
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		b.t.Fatalf("focus %q: %v", text, err)
	}
	return f
}

// wantRing looks for a ring around the focus that can be seen: WCAG 2.1, 2.4.7 and 1.4.11.
func (f focus) wantRing(t testing.TB, where string) {
	t.Helper()
	if !f.Visible || f.Style != "solid" || f.Width != "2px" || !strings.HasSuffix(f.Offset, "px") || f.Offset == "0px" {
		t.Errorf("%s: %+v", where, f)
	}
	if got := contrast(f.Ring, f.Page); got < 3 {
		t.Errorf("%s: the ring has a contrast of %.1f", where, got)
	}
}

// contrast is WCAG's ratio of two colours.
func contrast(a, b [3]uint8) float64 {
	luminance := func(color [3]uint8) (sum float64) {
		for i, weight := range [3]float64{0.2126, 0.7152, 0.0722} {
			c := float64(color[i]) / 255
			if c <= 0.03928 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	first, second := luminance(a), luminance(b)
	return (max(first, second) + 0.05) / (min(first, second) + 0.05)
}

// names returns the accessible names of the elements with a role, as Chromium computes them.
func (b *tab) names(role string) (names []string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		tree, err := cdp.Call(ctx, t, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			return err
		}
		for _, node := range tree.Nodes {
			if !node.Ignored && node.Role != nil && string(node.Role.Value) == `"`+role+`"` {
				var name string
				if err := json.Unmarshal([]byte(node.Name.Value), &name); err != nil {
					return err
				}
				names = append(names, name)
			}
		}
		return nil
	}))
	return names
}
