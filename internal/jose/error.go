package jose

import (
	"fmt"

	"github.com/oidcrp/oidcrp/internal/printable"
)

// maxGot is how many bytes of a token's text are shown in an [Error], and
// maxExpected how many of what it should be.
const (
	maxGot      = 100
	maxExpected = 300
)

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

// refuse makes an Error, and cuts both texts.
func refuse(check, expected, got string) *Error {
	return &Error{Check: check, Expected: printable.Text(expected, maxExpected), Got: printable.Text(got, maxGot)}
}
