package oidcrp

// This file makes and bounds small texts.

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/oidcrp/oidcrp/internal/printable"
)

// randomText returns 32 random bytes as 43 characters, enough for a state or a
// nonce (ProConnect requires at least 32 characters, the conformance suite at most
// 43).
func randomText() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// A settingName returns how errors name a field of the Config: by the variable that
// sets it, if the Config came from the environment. A nil one returns the field.
type settingName func(field string) string

func (s settingName) name(field string) string {
	if s == nil {
		return field
	}
	return s(field)
}

// isRandomText reports whether randomText may have made s.
func isRandomText(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == 32
}

// quoteList returns a list from outside as bounded, clean text for an error.
func quoteList(values []string) string {
	const limit = 300
	size := 0
	for i, value := range values {
		if size += len(value) + len(`"" `); size > limit {
			values = values[:i+1] // no more than can be shown is formatted
			break
		}
	}
	return clean(fmt.Sprintf("%q", cleanList(values, len(values), limit+1)), limit)
}

// cleanList returns at most n of values, each of them clean.
func cleanList(values []string, n, limit int) []string {
	var list []string
	for _, value := range values[:min(n, len(values))] {
		list = append(list, clean(value, limit))
	}
	if len(values) > n {
		list = append(list, "…")
	}
	return list
}

// clean returns text from outside for an error or a log line: as valid UTF-8,
// without unprintable characters, cut after limit bytes.
func clean(s string, limit int) string { return printable.Text(s, limit) }

// distance is how many characters must be changed, added or removed to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal, row[j+1] = row[j+1], min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
