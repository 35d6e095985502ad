package jose

import (
	"errors"
	"strings"
	"testing"
)

func TestError_SaysWhatWasExpectedAndFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{refuse("alg", "RS256", "none"), `alg: expected RS256, got "none"`},
		{refuse("signature", "one made with the client secret", ""), "signature: expected one made with the client secret"},
		{refuse("kid", "", "a"), `kid, got "a"`},
		{refuse("kid", "", ""), "kid"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("the text is\n%s\nwant\n%s", got, tt.want)
		}
	}
}

func TestError_HostileTextsAreBoundedAndPrintable(t *testing.T) {
	t.Parallel()
	for what, text := range map[string]string{
		"control characters": "a\r\nlevel=INFO msg=\"login succeeded\"\x00\x1b[2J\x7f",
		"invalid UTF-8":      "\xff\xfe\xed\xa0\x80é\xc3",
		"marks that turn":    "\u202egnirts\u2066\u200b\ufeff\u2028\u00a0",
		"a megabyte":         strings.Repeat("é\xff\n", 1<<18),
		"format verbs":       "%s%d%!v(PANIC=",
	} {
		err := refuse("alg", "RS256", text)
		wantCleanText(t, err)
		if len(err.Got) > maxGot+len("…") || err.Got == "" {
			t.Errorf("%s: %d bytes are shown: %q", what, len(err.Got), err.Got)
		}
	}
	if err := refuse("alg", "RS256", strings.Repeat("x", maxGot-1)+"é"); err.Got != strings.Repeat("x", maxGot-1)+"…" {
		t.Errorf("a text is cut to %q", err.Got)
	}
	if err := refuse("alg", "RS256", strings.Repeat("é", maxGot/2)); err.Got != strings.Repeat("é", maxGot/2) {
		t.Errorf("a text of %d bytes is shown as %q", maxGot, err.Got)
	}
}

// What a token says of itself must not get into a log at full length.
func TestParseJWS_HostileHeaderIsCleanedInTheError(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`\n\u202ex`, 5000)
	_, err := ParseJWS(sign(`{"alg":"`+long+`"}`, "{}", nil)+"AA", everyAlg)
	wantRefusal(t, "a long alg", err, "alg")
	// Nor must the algorithms that a provider advertises.
	advertised := make([]string, 0, 20_000)
	for range 10_000 {
		advertised = append(advertised, "ES256", "RS256\n")
	}
	_, err = ParseJWS(sign(head("none", ""), "{}", nil)+"AA", advertised)
	wantRefusal(t, "a long list of algorithms", err, "alg")
	var refused *Error
	if !errors.As(err, &refused) || refused.Expected != "ES256" || refused.Got != "none" {
		t.Errorf("the error is %v", err)
	}
}
