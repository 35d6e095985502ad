package oidcrp

// This file makes and bounds small texts.

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
)

// randomText returns 32 random bytes as 43 characters, enough for a state or a
// nonce anywhere (ProConnect asks for 32 characters, the conformance suite for
// 43 at most).
func randomText() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// quoteList makes a list from outside fit for an error.
func quoteList(values []string) string {
	return clean(fmt.Sprintf("%q", values), 300)
}

// clean makes text from outside fit for an error or a log line: valid UTF-8,
// no control or other unprintable characters, cut after limit bytes.
func clean(s string, limit int) string {
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
