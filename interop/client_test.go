package interop

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// browser is a scripted one: a cookie jar that all its pages share, redirects, forms, and the
// headers that browsers send with a navigation. It runs no script, but it submits the forms that
// a script would.
type browser struct {
	t      testing.TB
	client *http.Client
	trail  []*url.URL // the redirects it followed

	language string // what it prefers; English from the start
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, client: &http.Client{Jar: jar, Timeout: patience}, language: "en"}
	b.client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errTooManyRedirects
		}
		b.trail = append(b.trail, req.URL)
		from := via[len(via)-1].URL
		if req.Header.Get("Sec-Fetch-Site") != "none" && !sameOrigin(from, req.URL) {
			// Ports do not make another site.
			req.Header.Set("Sec-Fetch-Site", "same-site")
		}
		if req.Method == http.MethodGet {
			req.Header.Del("Origin")
		}
		return nil
	}
	return b
}

// visited returns the newest redirect that led to that address, whatever its query.
func (b *browser) visited(address string) *url.URL {
	b.t.Helper()
	for _, u := range slices.Backward(b.trail) {
		if strings.HasPrefix(u.String(), address+"?") {
			return u
		}
	}
	b.t.Fatalf("no redirect to %s in %v", address, b.trail)
	return nil
}

type redirectError string

func (e redirectError) Error() string { return string(e) }

const errTooManyRedirects = redirectError("stopped after 10 redirects")

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && a.Host == b.Host
}

// open types an address.
func (b *browser) open(address string) *page {
	b.t.Helper()
	return b.submitAll(b.get(address))
}

// get opens an address and stays on the page, even if it would submit itself.
func (b *browser) get(address string) *page {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "none")
	return b.navigate(req)
}

func (b *browser) navigate(req *http.Request) *page {
	b.t.Helper()
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	req.Header.Set("Accept-Language", b.language)
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	req.Header.Set("Sec-Fetch-User", "?1")
	return b.do(req)
}

// fetch is what a script on the app's own page does.
func (b *browser) fetch(method, address string) *page {
	b.t.Helper()
	req, err := http.NewRequest(method, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Sec-Fetch-Mode", "cors")
	req.Header.Set("Sec-Fetch-Dest", "empty")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if method != http.MethodGet {
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	}
	return b.do(req)
}

func (b *browser) do(req *http.Request) *page {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return &page{
		browser: b, URL: res.Request.URL, Status: res.StatusCode, Header: res.Header, Body: string(body),
	}
}

// submitAll follows pages that submit themselves.
func (b *browser) submitAll(p *page) *page {
	b.t.Helper()
	for range 5 {
		if !strings.Contains(p.Body, ".submit()") {
			return p
		}
		p = p.form().post()
	}
	b.t.Fatalf("%s submits itself for ever", p.URL)
	return nil
}

// page is what a tab shows.
type page struct {
	browser *browser
	URL     *url.URL
	Status  int
	Header  http.Header
	Body    string
}

// json decodes the page into v.
func (p *page) json(v any) {
	p.browser.t.Helper()
	if err := json.Unmarshal([]byte(p.Body), v); err != nil {
		p.browser.t.Fatalf("%s answered %d, no JSON: %v\n%s", p.URL, p.Status, err, p.Body)
	}
}

// form is the first one of a page, filled with the values it came with.
type form struct {
	page   *page
	method string
	action *url.URL
	values url.Values
	button url.Values // of the first button
}

func (p *page) form() *form {
	p.browser.t.Helper()
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		p.browser.t.Fatal(err)
	}
	f := &form{page: p, values: url.Values{}, button: url.Values{}}
	for node := range doc.Descendants() {
		f.read(node)
	}
	if f.action == nil {
		p.browser.t.Fatalf("no form on %s (%d):\n%s", p.URL, p.Status, p.Body)
	}
	return f
}

// read takes in one element. A second form on the page is not expected.
func (f *form) read(node *html.Node) {
	attributes := map[string]string{}
	for _, a := range node.Attr {
		attributes[a.Key] = a.Val
	}
	name, value := attributes["name"], attributes["value"]
	switch node.Data {
	case "form":
		action, err := f.page.URL.Parse(attributes["action"])
		if err != nil {
			f.page.browser.t.Fatal(err)
		}
		f.action, f.method = action, strings.ToUpper(attributes["method"])
	case "input":
		kind := attributes["type"]
		_, checked := attributes["checked"]
		if name != "" && (checked || kind != "radio" && kind != "checkbox") {
			f.values.Set(name, value)
		}
	case "button":
		if len(f.button) == 0 && name != "" {
			f.button.Set(name, value)
		}
	}
}

// set fills a field in.
func (f *form) set(name, value string) *form {
	f.values.Set(name, value)
	return f
}

// submit presses the first button and follows pages that submit themselves.
func (f *form) submit() *page {
	f.page.browser.t.Helper()
	return f.page.browser.submitAll(f.post())
}

// post presses the first button.
func (f *form) post() *page {
	b := f.page.browser
	b.t.Helper()
	for name, values := range f.button {
		if !f.values.Has(name) {
			f.values[name] = values
		}
	}
	if f.method != http.MethodPost {
		target := *f.action
		target.RawQuery = f.values.Encode()
		return b.get(target.String())
	}
	req, err := http.NewRequest(http.MethodPost, f.action.String(), strings.NewReader(f.values.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", f.page.URL.Scheme+"://"+f.page.URL.Host)
	req.Header.Set("Sec-Fetch-Site", "same-site")
	if sameOrigin(f.page.URL, f.action) {
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return b.navigate(req)
}

// signIn fills the stand-in's login page in as that account.
func (p *page) signIn(a account) *page {
	p.browser.t.Helper()
	return p.form().set("sub", a.Sub).submit()
}

// fail has the sign-in of a ProConnect end on its page with that code.
func (p *page) fail(code string) *page {
	p.browser.t.Helper()
	return p.form().set("fails", code).submit()
}

// follow clicks the first link that leads to a path with that end.
func (p *page) follow(end string) *page {
	p.browser.t.Helper()
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		p.browser.t.Fatal(err)
	}
	for node := range doc.Descendants() {
		for _, a := range node.Attr {
			target, err := p.URL.Parse(a.Val)
			if node.Data == "a" && a.Key == "href" && err == nil && strings.HasSuffix(target.Path, end) {
				return p.browser.submitAll(p.browser.get(target.String()))
			}
		}
	}
	p.browser.t.Fatalf("no link to %s on %s (%d):\n%s", end, p.URL, p.Status, p.Body)
	return nil
}
