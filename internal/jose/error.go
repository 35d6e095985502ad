package jose

import (
	"fmt"
	"strings"
	"unicode"
)

// maxGot is how many bytes of a token's text are shown in an [Error].
const maxGot = 100

// Error says which rule a token broke. Its texts are bounded and printable, and
// hold no key, no secret and no part of a payload.
type Error struct {
	// Check is the rule: "format", "signature", "encryption", or the header
	// parameter that it reads, such as "alg", "kid" or "crit".
	Check string
	// Expected and Got are empty where they would say nothing or too much. Got
	// comes from the token: at most 100 bytes of it, without control characters.
	Expected, Got string
}

func (e *Error) Error() string {
	msg := e.Check
	if e.Expected != "" {
		msg += ": expected " + e.Expected
	}
	if e.Got != "" {
		msg += fmt.Sprintf(", got %q", e.Got)
	}
	return msg
}

// refuse makes an Error. expected must be bounded; got need not be.
func refuse(check, expected, got string) *Error {
	return &Error{Check: check, Expected: expected, Got: clean(got)}
}

// clean makes a token's text fit for an error or a log line: valid UTF-8, no
// control or other unprintable characters, cut after maxGot bytes.
func clean(s string) string {
	if len(s) > maxGot {
		s = strings.ToValidUTF8(s[:maxGot], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, s)
}
