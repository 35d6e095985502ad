package oidctest

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Browser returns a client that behaves like a browser between an application and the
// provider: it keeps cookies, follows redirects, sends the Accept header of a browser
// unless the request has one, submits the page of the form_post response mode, loads
// the frames of the front-channel logout page, and follows a page that refreshes at once
// (meta http-equiv="refresh"). It trusts the server's certificate. It
// does not fill in the login page; see [Provider.Visit].
func (p *Provider) Browser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic("oidctest: " + err.Error()) // cookiejar.New does not fail without options
	}
	return &http.Client{Jar: jar, Transport: &browserTransport{next: p.transport(), jar: jar}}
}

// Visit opens a page of an application in a browser made by [Provider.Browser]. If that
// leads to the login page, Visit signs in as the persona. It returns the response at the
// end of all redirects; the caller must close its body.
func (p *Provider) Visit(browser *http.Client, appURL, persona string) (*http.Response, error) {
	res, err := browser.Get(appURL)
	if err != nil {
		return nil, fmt.Errorf("oidctest: visiting %s: %w", appURL, err)
	}
	page, err := readForm(res, "login")
	if err != nil || page == nil {
		return res, err
	}
	fields := url.Values{"interaction": {page.fields.Get("interaction")}, "persona": {persona}}
	if res, err = browser.PostForm(page.action, fields); err != nil {
		return nil, fmt.Errorf("oidctest: signing in as %q: %w", persona, err)
	}
	return res, nil
}

// SignIn returns a browser that is signed in to an application as the persona. It opens
// appURL, which must lead to the provider: the application's login path or a protected
// page. The persona may be empty if Config.AutoLogin is set. SignIn fails the test if
// the login does not end at a 2xx response of the application.
func (p *Provider) SignIn(t testing.TB, appURL, persona string) *http.Client {
	t.Helper()
	browser := p.Browser()
	before := p.Count(EndpointAuthorization)
	res, err := p.Visit(browser, appURL, persona)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 2000))
	ended := fmt.Sprintf("it ended at %s with %s\n%s", res.Request.URL.Redacted(), res.Status, body)
	switch {
	case p.Count(EndpointAuthorization) == before:
		t.Fatalf("oidctest: signing in as %q: %s did not lead to the provider; %s", persona, appURL, ended)
	case strings.HasPrefix(res.Request.URL.String(), p.site.Root+"/"):
		t.Fatalf("oidctest: signing in as %q: the provider did not send the browser back; %s",
			persona, ended)
	case res.StatusCode < 200 || res.StatusCode > 299:
		t.Fatalf("oidctest: signing in as %q: the application refused the login; %s", persona, ended)
	}
	return browser
}

// A form is the form on one of the provider's pages.
type form struct {
	action string
	fields url.Values
}

var (
	formTag     = regexp.MustCompile(`<form method="post" action="([^"]*)" data-oidctest="([a-z_]+)">`)
	frameTag    = regexp.MustCompile(`<iframe hidden src="([^"]*)" data-oidctest="frame">`)
	continueTag = regexp.MustCompile(`<a href="([^"]*)" data-oidctest="continue">`)
	refreshTag  = regexp.MustCompile(`<meta http-equiv="refresh" content="0; ?url=([^"]*)">`)
	inputTag    = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// readForm returns the form of that kind in a response, or nil. If it returns nil, the
// body can be read again.
func readForm(res *http.Response, kind string) (*form, error) {
	body, err := readPage(res)
	if err != nil {
		return nil, err
	}
	tag := formTag.FindSubmatch(body)
	if tag == nil || string(tag[2]) != kind {
		return nil, nil
	}
	res.Body.Close()
	page := &form{action: html.UnescapeString(string(tag[1])), fields: url.Values{}}
	for _, input := range inputTag.FindAllSubmatch(body, -1) {
		page.fields.Add(html.UnescapeString(string(input[1])), html.UnescapeString(string(input[2])))
	}
	return page, nil
}

// readPage returns the body of an HTML response, and nil for any other response. The
// body can be read again.
func readPage(res *http.Response) ([]byte, error) {
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxForm))
	if err != nil {
		return nil, fmt.Errorf("oidctest: reading a page: %w", err)
	}
	rest := io.MultiReader(bytes.NewReader(body), res.Body)
	res.Body = struct {
		io.Reader
		io.Closer
	}{rest, res.Body}
	return body, nil
}

// A browserTransport requests pages, submits the form of form_post pages and loads the
// frames of other pages. Because an http.Client only follows redirects, the response to
// the form is returned as the response to the page.
type browserTransport struct {
	next http.RoundTripper
	jar  http.CookieJar
}

// acceptPages distinguishes a page load from a request by a script.
const acceptPages = "text/html,application/xhtml+xml,*/*;q=0.8"

func (t *browserTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Accept") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("Accept", acceptPages)
	}
	res, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	page, err := readForm(res, "form_post")
	if err != nil {
		return res, err
	}
	if page != nil {
		t.jar.SetCookies(req.URL, res.Cookies())
		return t.submit(req, page)
	}
	body, err := readPage(res)
	if err != nil {
		return res, err
	}
	frames := frameTag.FindAllSubmatch(body, -1)
	for _, frame := range frames {
		if err := t.load(req, html.UnescapeString(string(frame[1]))); err != nil {
			return res, err
		}
	}
	if next := continueTag.FindSubmatch(body); len(frames) > 0 && next != nil {
		// The page's script would follow the link.
		leadOn(res, next[1])
	}
	followRefresh(res, body)
	return res, nil
}

// followRefresh makes a redirect of a page that leads on at once.
func followRefresh(res *http.Response, body []byte) {
	if next := refreshTag.FindSubmatch(body); next != nil && res.StatusCode == http.StatusOK {
		leadOn(res, next[1])
	}
}

// leadOn makes a redirect to an escaped URL of a page.
func leadOn(res *http.Response, next []byte) {
	res.StatusCode, res.Status = http.StatusSeeOther, "303 See Other"
	res.Header.Set("Location", html.UnescapeString(string(next)))
}

// load loads a frame of a page with its cookies, and discards its content.
func (t *browserTransport) load(page *http.Request, src string) error {
	frame, err := http.NewRequestWithContext(page.Context(), http.MethodGet, browserURL(src), nil)
	if err != nil {
		return fmt.Errorf("oidctest: loading a frame: %w", err)
	}
	frame.Header.Set("Accept", acceptPages)
	frame.Header.Set("Sec-Fetch-Dest", "iframe")
	frame.Header.Set("Sec-Fetch-Mode", "navigate")
	for _, cookie := range t.jar.Cookies(frame.URL) {
		frame.AddCookie(cookie)
	}
	res, err := t.next.RoundTrip(frame)
	if err != nil {
		return fmt.Errorf("oidctest: loading a frame: %w", err)
	}
	defer res.Body.Close()
	t.jar.SetCookies(frame.URL, res.Cookies())
	return nil
}

// browserURL returns a URL as a browser requests it: without its fragment, and with the
// characters escaped that are not allowed in a query.
func browserURL(src string) string {
	src, _, _ = strings.Cut(src, "#")
	return strings.NewReplacer(" ", "%20", `"`, "%22", "<", "%3C", ">", "%3E", "'", "%27").Replace(src)
}

// submit posts the form as a browser would, with the cookies of its target. It makes the
// Location of the response absolute, because the client resolves it against the page.
func (t *browserTransport) submit(page *http.Request, f *form) (*http.Response, error) {
	body := strings.NewReader(f.fields.Encode())
	post, err := http.NewRequestWithContext(page.Context(), http.MethodPost, f.action, body)
	if err != nil {
		return nil, fmt.Errorf("oidctest: submitting the form_post page: %w", err)
	}
	post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	post.Header.Set("Accept", acceptPages)
	post.Header.Set("Origin", page.URL.Scheme+"://"+page.URL.Host)
	for _, cookie := range t.jar.Cookies(post.URL) {
		post.AddCookie(cookie)
	}
	res, err := t.next.RoundTrip(post)
	if err != nil {
		return nil, err
	}
	t.jar.SetCookies(post.URL, res.Cookies())
	res.Header.Del("Set-Cookie")
	answer, err := readPage(res)
	if err != nil {
		return nil, err
	}
	followRefresh(res, answer)
	if location, err := res.Location(); err == nil {
		res.Header.Set("Location", location.String())
	}
	return res, nil
}
