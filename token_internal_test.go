package oidcrp

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// readTokens reads a token response with these members beside the required ones.
func readTokens(t *testing.T, members string, now time.Time) (*tokenResponse, error) {
	t.Helper()
	object, err := strictjson.Object([]byte(`{"token_type":"Bearer"` + members + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return readTokenResponse(object, now)
}

// Some providers write a number of seconds as text or with a fraction. A value that
// was ignored would leave the tokens without a refresh, and nobody would know.
func TestTokenResponse_ExpiresInIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	now := newTestClock().Now()
	for value, want := range map[string]time.Duration{
		`3600`: time.Hour, `"3600"`: time.Hour, `3600.0`: time.Hour, `"3600.0"`: time.Hour, `3.6e3`: time.Hour,
		`36E+2`: time.Hour, `1.5`: 1500 * time.Millisecond, `59`: 59 * time.Second, `"86399"`: 86399 * time.Second,
		`2147483647`: 2147483647 * time.Second, `1234567`: 1234567 * time.Second, `null`: 0,
	} {
		got, err := readTokens(t, `,"access_token":"a","expires_in":`+value, now)
		if err != nil || got.oddExpiresIn != "" {
			t.Errorf("%s: %+v, %v", value, got, err)
			continue
		}
		if want == 0 != got.expiry.IsZero() || want != 0 && !got.expiry.Equal(now.Add(want)) {
			t.Errorf("%s: the token expires at %v, want after %v", value, got.expiry, want)
		}
	}
	for _, value := range []string{
		`-1`, `0`, `"0"`, `-3600.5`, `1e9999`, `2147483648`, `1e300`, `""`, `"soon"`, `"NaN"`, `"Inf"`, `"0x10"`, `"1_0"`, `" 60"`,
		`true`, `[3600]`, `{}`, `"` + strings.Repeat("9", 500) + `"`,
	} {
		got, err := readTokens(t, `,"access_token":"a","expires_in":`+value, now)
		if err != nil || !got.expiry.IsZero() || got.oddExpiresIn == "" || len(got.oddExpiresIn) > 40 {
			t.Errorf("%s: %+v, %v; want no expiry, and a note of it", value, got, err)
		}
	}
}

func TestTokenResponse_RefusesTokensThatNoHeaderCarries(t *testing.T) {
	t.Parallel()
	for token, sound := range map[string][2]bool{ // as an access token, and as a refresh token
		"abc-._~+/=": {true, true}, "a|b{}!,;%~": {true, true},
		"two words": {false, true}, " zz": {false, true}, // RFC 6749 appendix A.17 allows a space
		`a\tb`: {false, false}, `a\r\nb`: {false, false}, `\u0000`: {false, false}, `a\u007f`: {false, false},
		"jéton": {false, false}, `\u00a0a`: {false, false}, `\u2028`: {false, false},
	} {
		for i, members := range []string{`,"access_token":"%s"`, `,"access_token":"a","refresh_token":"%s"`} {
			_, err := readTokens(t, fmt.Sprintf(members, token), time.Now())
			if (err == nil) != sound[i] {
				t.Errorf("%s: %v", fmt.Sprintf(members, token), err)
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Errorf("the error holds the token: %v", err)
			}
		}
	}
}

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
