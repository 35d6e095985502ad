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
// nonce (ProConnect requires at least 32 characters, the conformance suite at most
// 43).
func randomText() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// quoteList returns a list from outside as bounded, clean text for an error.
func quoteList(values []string) string {
	return clean(fmt.Sprintf("%q", values), 300)
}

// clean returns text from outside for an error or a log line: as valid UTF-8,
// without unprintable characters, cut after limit bytes.
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
