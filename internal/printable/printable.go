// Package printable makes text from outside fit for an error or a log line.
package printable

import (
	"strings"
	"unicode"
)

// Text returns s as valid UTF-8 without unprintable characters, cut after limit
// bytes.
func Text(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
}
