package oidcrp

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// ReturnTos are what people, links and attackers ask to come back to, and the
// path where a login then ends. It is exported for package oidcrp_test.
var ReturnTos = []struct{ Asked, Want string }{
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
	{"/tab/" + strings.Repeat("%61", 1400), "/"},

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

// The path that the page asked for is not to be trusted either: anybody can
// link to https://app.example//evil.example.
func TestReturnTo_AProtectedPageOfAnOddPathDoesNotLeadAway(t *testing.T) {
	t.Parallel()
	c := mustNew(t, nil)
	for _, test := range ReturnTos {
		if !strings.HasPrefix(test.Asked, "/") {
			continue
		}
		r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
		r.RequestURI = test.Asked
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		if got := c.returnTo(c.tryAgainPath(r)); got != test.Want && got != unescaped(test.Want) {
			t.Errorf("request for %.60q comes back to %.60q, want %.60q", test.Asked, got, test.Want)
		}
	}
}

func unescaped(p string) string { return strings.ReplaceAll(p, "caf%c3%a9", "café") }

// BrowserHost returns the host that a browser on page goes to for location. It
// drops what a browser drops and takes a backslash for a slash (WHATWG URL,
// basic URL parser).
func BrowserHost(t *testing.T, page, location string) string {
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
	for _, test := range ReturnTos {
		f.Add(test.Asked)
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
			if host := BrowserHost(t, "https://app.example/auth/callback", strings.ReplaceAll(p, "%", "%25")); host != "app.example" {
				t.Errorf("%q, as %q, leads to %q", asked, p, host)
			}
		}
		if host := BrowserHost(t, "https://app.example/auth/callback", "https://app.example"+local); host != "app.example" {
			t.Errorf("%q leads to %q behind the origin", asked, host)
		}
	})
}

// The two exceptions are what a browser makes of a path that is sent as it is.
func TestLocalPath(t *testing.T) {
	t.Parallel()
	for _, test := range ReturnTos {
		want := test.Want
		switch {
		case strings.HasPrefix(test.Asked, "/auth/"), test.Want == unescaped(test.Want) && test.Asked == test.Want:
			want = test.Asked // the client's own paths are found out elsewhere
		case test.Want == "/tab/caf%c3%a9":
			want = test.Asked
		case test.Want == "/":
			want = ""
		}
		if got := localPath(test.Asked); got != want {
			t.Errorf("localPath(%.60q) is %.60q, want %.60q", test.Asked, got, want)
		}
	}
}

// The host has other apps, and "/" is one of them.
func TestReturnTo_TheRootIsTheAppsHome(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(cfg *Config) { cfg.BaseURL = "https://app.example/myapp" })
	for path, want := range map[string]string{
		"/": "/myapp/", "": "/myapp/", "/myapp": "/myapp", "/myapp/": "/myapp/", "/myapp/a?b=c": "/myapp/a?b=c",
		"/myapp/../other": "/myapp/", "/myapp?x": "/myapp?x", "/myapp/auth/login": "/myapp/", "/other": "/other",
	} {
		if got := c.returnTo(path); got != want {
			t.Errorf("%q leads to %q, want %q", path, got, want)
		}
	}
	if location := c.BeginLogout(httptest.NewRecorder(), requestWith(), "/"); location != "https://app.example/myapp/" {
		t.Errorf("a logout leads to %s", location)
	}
}
