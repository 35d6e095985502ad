package strictjson

import (
	"cmp"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// decodeMap decodes the members of source into m. Most values need no decoder; a text of
// m may be a part of the text of source.
func decodeMap(source Source, m map[string]any) error {
	var first error
	for name, text := range source.Members() {
		value, ok := simple(text)
		if !ok {
			err := json.Unmarshal([]byte(text), &value)
			first = cmp.Or(first, err)
		}
		m[name] = value
	}
	return first
}

// count returns how many members source has.
func count(source Source) (n int) {
	for range source.Members() {
		n++
	}
	return n
}

// simple decodes a string without escapes, a whole number that is not large, or a literal.
func simple(text string) (value any, ok bool) {
	switch text {
	case "":
		return nil, false
	case "true", "false":
		return text == "true", true
	case "null":
		return nil, true
	}
	if text[0] == '"' {
		return plainString(text)
	}
	if n, ok := smallNumber(text); ok {
		return n, true
	}
	return nil, false
}

func plainString(text string) (value any, ok bool) {
	inner, closed := strings.CutSuffix(text[1:], `"`)
	if !closed || !utf8.ValidString(inner) {
		return nil, false
	}
	for i := range len(inner) {
		if c := inner[i]; c < ' ' || c == '"' || c == '\\' {
			return nil, false
		}
	}
	return inner, true
}

// smallNumber returns a whole number that a float64 holds exactly.
func smallNumber(text string) (n float64, ok bool) {
	if len(text) > 15 || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + float64(c-'0')
	}
	return n, true
}
