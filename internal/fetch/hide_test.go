package fetch

import (
	"encoding/base64"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// odd is a secret with what the encodings change.
const odd = "S3cr+t/é %=&:\"end?>~ of_it-all"

// numbered returns text with each character in this format.
func numbered(format, text string) (s string) {
	for _, r := range text {
		s += fmt.Sprintf(format, r)
	}
	return s
}

func TestHide_FindsWhatTheRequestCarried(t *testing.T) {
	t.Parallel()
	lower := func(s string) string {
		for _, escape := range []string{"%2B", "%2F", "%C3", "%A9", "%3D", "%3A", "%3F", "%3E"} {
			s = strings.ReplaceAll(s, escape, strings.ToLower(escape))
		}
		return s
	}
	std, web := base64.StdEncoding, base64.URLEncoding
	for name, text := range map[string]string{
		"itself":                 odd,
		"its beginning":          odd[:9],
		"its end":                odd[len(odd)-8:],
		"its middle":             odd[3:15],
		"in a form":              url.QueryEscape(odd),
		"in a path":              url.PathEscape(odd),
		"in lower case":          lower(url.QueryEscape(odd)),
		"encoded twice":          url.QueryEscape(url.QueryEscape(odd)),
		"a part of it encoded":   url.QueryEscape(odd)[6:30],
		"every byte encoded":     "%" + strings.ReplaceAll(fmt.Sprintf("% x", odd), " ", "%"),
		"base64":                 std.EncodeToString([]byte(odd)),
		"base64url":              web.EncodeToString([]byte(odd)),
		"base64 behind one byte": std.EncodeToString([]byte("x" + odd + "more")),
		"base64 behind two":      web.EncodeToString([]byte("xy" + odd + "m")),
		"base64 in a URL":        url.QueryEscape(std.EncodeToString([]byte(odd))),
		"twice":                  odd + odd,
		"in HTML":                html.EscapeString(odd),
		"in HTML by numbers":     numbered("&#%d;", odd),
		"in HTML, hexadecimal":   numbered("&#x%X;", odd),
		"in HTML, padded":        numbered("&#x%05x;", odd),
		"in HTML by names":       strings.NewReplacer("+", "&plus;", "/", "&sol;", "=", "&equals;", "%", "&percnt;", "é", "&eacute;").Replace(odd),
		"a URL in HTML":          strings.ReplaceAll(url.QueryEscape(odd), "%", "&#37;"),
		"base64 in HTML":         strings.NewReplacer("+", "&#43;", "/", "&#x2F;").Replace(base64.RawStdEncoding.EncodeToString([]byte(odd))),
	} {
		got := hide("the value <"+text+"> is wrong", []string{odd})
		inner, ok := strings.CutPrefix(got, "the value <")
		inner, ok2 := strings.CutSuffix(inner, "> is wrong")
		inner = strings.ReplaceAll(inner, hidden, "")
		// What is left may be a letter of base64 that also encodes its neighbour.
		if !ok || !ok2 || !strings.Contains(got, hidden) || len(inner) > 8 {
			t.Errorf("%s: %q has become %q", name, text, got)
		}
	}
	for text, want := range map[string]string{
		"":                               "",
		"nothing to hide, 100% sure %zz": "nothing to hide, 100% sure %zz",
		"code abcd!":                     "code [hidden]!",
		"Q&A; &;&amp &#;&#x; ab&#99;d&":  "Q&A; &;&amp &#;&#x; [hidden]&",
		"&lt;abcd&gt;":                   "&lt;[hidden]&gt;",
		"&amp&#97;bcd":                   "&amp[hidden]",
		"a%62cd":                         "[hidden]",
		"the S3cr+ is":                   "the S3cr+ is", // too little to be worth anything
	} {
		if got := hide(text, []string{odd, "abcd", "abc", ""}); got != want {
			t.Errorf("%q has become %q, want %q", text, got, want)
		}
	}
}

// Where a text is cut, no part of a secret may be left.
func TestHide_ALongTextIsCutWithoutHalfASecret(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("0123456789", 3_000)
	for _, before := range []int{0, maxScanned - 300, maxScanned - 50, maxScanned - 9, maxScanned - 1, maxScanned} {
		for _, text := range []string{secret, url.QueryEscape("%%" + odd + odd), html.EscapeString("%%" + odd + odd), numbered("&#x%05X;", odd)} {
			got := hide(strings.Repeat("x", before)+text, []string{secret, "%%" + odd + odd})
			if strings.ContainsAny(strings.ReplaceAll(got, hidden, ""), "0123456789S%") || len(got) > maxScanned+20 {
				t.Errorf("behind %d bytes: %d bytes that end in %q", before, len(got), got[max(0, len(got)-60):])
			}
		}
	}
}

func TestResponse_HidesTheSecretsOfItsRequest(t *testing.T) {
	t.Parallel()
	u := serve(t, answer(400, "text/plain", "x"))
	r := http.Request{Header: make(http.Header)}
	r.SetBasicAuth("client-id", url.QueryEscape("the/client/secret"))
	res, err := New(nil, 0).Do(t.Context(), Request{URL: u, Header: r.Header, Form: url.Values{
		"code": {"the-code"}, "grant_type": {"authorization_code"}, "redirect_uri": {"https://app.example/callback"},
		"extra": {"something else", "twice"}, "client_id": {"client-id"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"the-code", "the/client/secret", "the%2Fclient%2Fsecret", "something else", "twice",
		strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "),
	} {
		if got := res.Hide("<" + text + ">"); got != "<[hidden]>" {
			t.Errorf("%q has become %q", text, got)
		}
	}
	const says = "authorization_code for client-id at https://app.example/callback"
	if got := res.Hide(says); got != says {
		t.Errorf("%q has become %q", says, got)
	}
	res, err = New(nil, 0).Do(t.Context(), Request{URL: u, Header: http.Header{"Authorization": {"Bearer the-token"}}})
	if err != nil || res.Hide("the-token") != hidden {
		t.Errorf("a Bearer token is shown, or %v", err)
	}
}
