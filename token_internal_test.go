package oidcrp

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzCallbackParameters checks that what comes back from the browser is read
// the same as by net/url, without a parameter given twice and without an
// unbounded error.
func FuzzCallbackParameters(f *testing.F) {
	for _, query := range []string{
		"code=a&state=b&iss=https://op.example", "code=a&code=b", "state=&state=", "error=access_denied&error_description=%00%ff",
		"error", "iss", "%zz", "a;b=c", "code=a&session_state=x&session_state=y", strings.Repeat("a=b&", 1000), "",
	} {
		f.Add(query, true)
		f.Add(query, false)
	}
	f.Fuzz(func(t *testing.T, query string, post bool) {
		r := httptest.NewRequest("GET", "/auth/callback", nil)
		r.URL.RawQuery = query
		if post {
			r = httptest.NewRequest("POST", "/auth/callback?code=from-the-query&state=from-the-query", strings.NewReader(query))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		got, err := readAuthenticationResponse(r)
		if err != nil {
			if codeOf(err) != CodeInvalidRequest {
				t.Fatalf("the code of %v is %s", err, codeOf(err))
			}
			checkText(t, err)
			return
		}
		want, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("read what cannot be: %v", err)
		}
		for name, value := range map[string]string{"state": got.state, "code": got.code, "iss": got.iss} {
			if len(want[name]) > 1 || want.Get(name) != value {
				t.Fatalf("%s is %q, and in full %q", name, value, want[name])
			}
		}
		if got.hasIss != want.Has("iss") || (got.err != nil) != want.Has("error") {
			t.Fatalf("read as %+v", got)
		}
		if got.err != nil {
			checkText(t, got.err)
		}
	})
}
