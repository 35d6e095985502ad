package oidcrp

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

// returnTos are what people, links and attackers ask to come back to, and the
// path where a login then ends.
var returnTos = []struct{ asked, want string }{
	{"/", "/"},
	{"/tab/1", "/tab/1"},
	{"/tab/1?q=a%20b&r=https%3A%2F%2Fevil.example", "/tab/1?q=a%20b&r=https%3A%2F%2Fevil.example"},
	{"/tab/1?next=//evil.example", "/tab/1?next=//evil.example"},
	{"/tab/1?next=\\\\evil.example", "/tab/1?next=\\\\evil.example"},
	{"/tab/1#part", "/tab/1#part"},
	{"/tab/caf%C3%A9", "/tab/caf%C3%A9"},
	{"/tab/café", "/tab/caf%c3%a9"},
	{"/tab/a:b@c", "/tab/a:b@c"},
	{"/tab/100%25", "/tab/100%25"},
	{"/tab/1?q=100%", "/tab/1?q=100%"},
	{"/tab/a..b/...", "/tab/a..b/..."},

	{"", "/"},
	{"tab/1", "/"},
	{"?q=1", "/"},
	{" /tab/1", "/"},
	{"https://evil.example/", "/"},
	{"https:evil.example", "/"},
	{"https:/evil.example", "/"},
	{"http://127.0.0.1/tab/1", "/"},
	{"javascript:alert(1)", "/"},
	{"JavaScript:alert(1)//", "/"},
	{"data:text/html,x", "/"},

	{"//evil.example", "/"},
	{"//evil.example/%2f..", "/"},
	{"///evil.example", "/"},
	{"////evil.example", "/"},
	{"/\\evil.example", "/"},
	{"\\/evil.example", "/"},
	{"\\\\evil.example", "/"},
	{"/\\/evil.example", "/"},
	{"/tab\\..\\..\\evil.example", "/"},
	{"/tab/1\\evil.example", "/"},
	{"//user:password@evil.example", "/"},
	{"//evil.example@127.0.0.1/", "/"},
	{"//evil%E3%80%82example", "/"},

	{"/%2fevil.example", "/"},
	{"/%2Fevil.example", "/"},
	{"/%5cevil.example", "/"},
	{"/%5Cevil.example", "/"},
	{"%2f%2fevil.example", "/"},
	{"/%252fevil.example", "/"},
	{"/%25252fevil.example", "/"},
	{"/%255cevil.example", "/"},
	{"/%2525252525252525252fevil.example", "/"},
	{"/%09/evil.example", "/"},
	{"/%0d%0aLocation:%20https://evil.example", "/"},
	{"/%00/evil.example", "/"},
	{"/%2509/evil.example", "/"},
	{"/%25zz%252f/x", "/%25zz%252f/x"},
	{"/%25zz/%252e%252e/x", "/"},
	{"/%5ctab%5c..%5cx", "/"},
	{"/tab%5c..%5cx", "/"},
	{"/%zz", "/"},
	{"/%", "/"},

	{"/\t/evil.example", "/"},
	{"/\n/evil.example", "/"},
	{"/\r/evil.example", "/"},
	{"\t//evil.example", "/"},
	{"/\x00/evil.example", "/"},
	{"/\x7f/evil.example", "/"},
	{"/tab/1\r\nSet-Cookie: a=b", "/"},

	{"/.//evil.example", "/"},
	{"/..//evil.example", "/"},
	{"/./\\evil.example", "/"},
	{"/tab/..//evil.example", "/"},
	{"/%2e%2e//evil.example", "/"},
	{"/tab//evil.example", "/tab//evil.example"},

	{"/" + strings.Repeat("a", maxReturnTo), "/"},
	{"/tab/" + strings.Repeat("a", maxReturnTo-5), "/tab/" + strings.Repeat("a", maxReturnTo-5)},
	{"/tab/" + strings.Repeat("%61", 1000), "/"},

	{"/auth/login", "/"},
	{"/auth/login?return_to=/tab/1", "/"},
	{"/auth/logout", "/"},
	{"/auth/logout/callback", "/"},
	{"/auth/callback?code=x&state=y", "/"},
	{"/auth/%6cogout", "/"},
	{"/./auth/logout", "/"},
	{"/tab/../auth/logout", "/"},
	{"/tab/%2e%2e/auth/logout", "/"},
	{"/auth//logout", "/auth//logout"}, // for a browser, another path
	{"/auth/profile", "/auth/profile"}, // the app's own
}

func TestALoginNeverLeadsOffTheApp(t *testing.T) {
	t.Parallel()
	app := newTestApp(t, setup{provider: oidctest.Config{AutoLogin: "alice"}})
	browser := app.provider.Browser()
	browser.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if via[len(via)-1].URL.Path == "/auth/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	for _, test := range returnTos {
		res, _ := get(t, browser, app.URL+"/auth/login?"+url.Values{"return_to": {test.asked}}.Encode())
		location := res.Header.Get("Location")
		if got, ok := strings.CutPrefix(location, app.URL); !ok || got != test.want {
			t.Errorf("return_to %.60q led to %.100q, want %.60q", test.asked, location, test.want)
		}
		if host := browserHost(t, app.URL+"/auth/callback", location); app.URL != "http://"+host {
			t.Errorf("return_to %.60q led to the host %q", test.asked, host)
		}
	}
}

// The path that the page asked for is not to be trusted either: anybody can
// link to https://app.example//evil.example.
func TestAProtectedPageOfAnOddPathDoesNotLeadAway(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, test := range returnTos {
		if !strings.HasPrefix(test.asked, "/") {
			continue
		}
		r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
		r.RequestURI = test.asked
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		if got := c.returnTo(c.tryAgainPath(r)); got != test.want && got != unescaped(test.want) {
			t.Errorf("request for %.60q comes back to %.60q, want %.60q", test.asked, got, test.want)
		}
	}
}

func unescaped(p string) string { return strings.ReplaceAll(p, "caf%c3%a9", "café") }

func TestLoginAndLogoutURLsCarryLocalPathsOnly(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	for _, test := range []struct{ returnTo, login, logout string }{
		{"", "/auth/login", "/auth/logout"},
		{"/", "/auth/login", "/auth/logout?return_to=%2F"},
		{"/a?b=c&d", "/auth/login?return_to=%2Fa%3Fb%3Dc%26d", "/auth/logout?return_to=%2Fa%3Fb%3Dc%26d"},
		{"https://evil.example", "/auth/login", "/auth/logout"},
		{"//evil.example", "/auth/login", "/auth/logout"},
		{"/\\evil.example", "/auth/login", "/auth/logout"},
	} {
		if login, logout := c.LoginURL(test.returnTo), c.LogoutURL(test.returnTo); login != test.login || logout != test.logout {
			t.Errorf("for %q: %s and %s", test.returnTo, login, logout)
		}
	}
}

// browserHost returns the host that a browser on page goes to for location. It
// drops what a browser drops and takes a backslash for a slash (WHATWG URL,
// basic URL parser).
func browserHost(t *testing.T, page, location string) string {
	t.Helper()
	base, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	location = strings.TrimFunc(location, func(r rune) bool { return r <= ' ' })
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(location)
	path, rest, cut := strings.Cut(location, "?")
	location = strings.ReplaceAll(path, "\\", "/")
	if cut {
		location += "?" + rest
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatalf("%q: %v", location, err)
	}
	return base.ResolveReference(u).Host
}

func FuzzReturnTo(f *testing.F) {
	for _, test := range returnTos {
		f.Add(test.asked)
	}
	f.Fuzz(func(t *testing.T, asked string) {
		local := localPath(asked)
		if local == "" {
			return
		}
		if local != asked || local[0] != '/' || len(local) > maxReturnTo {
			t.Fatalf("%q became %q", asked, local)
		}
		once, err := url.PathUnescape(cutQuery(local))
		if err != nil {
			t.Fatalf("%q cannot be decoded: %v", local, err)
		}
		for _, p := range []string{local, once} {
			if host := browserHost(t, "https://app.example/auth/callback", strings.ReplaceAll(p, "%", "%25")); host != "app.example" {
				t.Errorf("%q, as %q, leads to %q", asked, p, host)
			}
		}
		if host := browserHost(t, "https://app.example/auth/callback", "https://app.example"+local); host != "app.example" {
			t.Errorf("%q leads to %q behind the origin", asked, host)
		}
	})
}
