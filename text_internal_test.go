package oidcrp

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func FuzzClean(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text[:min(len(text), 500)], 100)
	}
	f.Add("é", 1)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, limit%1000)
		got := clean(s, limit)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("clean(%q, %d) is %q", s, limit, got)
		}
		if len(got) > limit+len("…") {
			t.Fatalf("clean(%q, %d) has %d bytes", s, limit, len(got))
		}
		if len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
			return !unicode.IsPrint(r) || r == unicode.ReplacementChar
		}) && got != s {
			t.Fatalf("clean(%q, %d) is %q, and there was nothing to clean", s, limit, got)
		}
	})
}
