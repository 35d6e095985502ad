package oidcrp

import (
	"strings"
	"testing"
)

// target_link_uri is an absolute URL that anybody may have written.
func TestInitiate_LeadsToThisAppAlone(t *testing.T) {
	t.Parallel()
	c := mustNew(t, func(c *Config) { c.BaseURL = "https://app.example/base" })
	for _, tt := range []struct{ target, want string }{
		{"https://app.example/base/dossiers/12?tab=2", "/base/dossiers/12?tab=2"},
		{"https://app.example/elsewhere", "/elsewhere"},
		{"https://app.example/a%20b?c=%2F", "/a%20b?c=%2F"},
		{"https://app.example/page#part", "/page"},
		{"https://app.example", "/base/"},
		{"https://app.example?a=b", "/?a=b"},
		{"HTTPS://app.example/page", "/page"},
		{"https://app.example/base/auth/logout", "/base/"},
		{"https://app.example/base/auth/login?return_to=/x", "/base/"},
		{"", "/base/"},
		{"/page", "/base/"},
		{"page", "/base/"},
		{"//app.example/page", "/base/"},
		{"http://app.example/page", "/base/"},
		{"https://app.example:8443/page", "/base/"},
		{"https://evil.example/page", "/base/"},
		{"https://app.example.evil.example/page", "/base/"},
		{"https://app.example@evil.example/page", "/base/"},
		{"https://evil.example/https://app.example/", "/base/"},
		{"https://evil.example\\@app.example/page", "/base/"},
		{"https:app.example/page", "/base/"},
		{"https:///app.example/page", "/base/"},
		{"https:\\\\app.example\\page", "/base/"},
		{" https://app.example/page", "/base/"},
		{"https://app.example//evil.example", "/base/"},
		{"https://app.example/%2F/evil.example", "/base/"},
		{"https://app.example/%2f%2fevil.example", "/base/"},
		{"https://app.example/\\evil.example", "/base/"},
		{"https://app.example/%5Cevil.example", "/base/"},
		{"https://app.example/\t/evil.example", "/base/"},
		{"https://app.example/%0d%0aSet-Cookie:a=b", "/base/"},
		{"https://app.example/..//evil.example", "/base/"},
		{"https://app.example/" + strings.Repeat("a", maxReturnTo), "/base/"},
		{"javascript://app.example/%0aalert(1)", "/base/"},
		{"data:text/html,https://app.example/", "/base/"},
		{"https://user:password@app.example/page", "/page"},
	} {
		if got := c.returnTo(c.ownPage(tt.target)); got != tt.want {
			t.Errorf("%q leads to %q, want %q", tt.target, got, tt.want)
		}
	}
}
