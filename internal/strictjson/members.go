package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Members holds the members of an object that [Object] has checked.
//
// Most of its methods read one member. A member that is null counts as absent:
// OIDC Core 5.3.2 says to omit a claim without a value, and providers that write
// null mean the same. A member of another type than the method's is an error; it
// is never converted.
type Members map[string]json.RawMessage

// Has reports whether name is present and not null.
func (m Members) Has(name string) bool {
	raw, ok := m[name]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// String returns a string.
func (m Members) String(name string) (value string, present bool, err error) {
	if !m.Has(name) {
		return "", false, nil
	}
	if m[name][0] != '"' {
		return "", true, fmt.Errorf("%s is not a string", name)
	}
	value, err = unquote(m[name])
	return value, true, err
}

// Strings returns an array of strings.
func (m Members) Strings(name string) (values []string, present bool, err error) {
	if !m.Has(name) {
		return nil, false, nil
	}
	raw := m[name]
	s := scanner{data: raw, text: string(raw), pos: 1, depth: MaxDepth} // valid: Object has read it
	values = make([]string, 0, bytes.Count(raw, []byte(`"`))/2)
	for raw[0] == '[' {
		if done, _ := s.next(']', len(values) == 0); done {
			return values, true, nil
		}
		if s.peek() != '"' {
			break
		}
		start := s.pos
		_, _ = s.string()
		value, err := unquoteString(s.text[start:s.pos])
		if err != nil {
			return nil, true, err
		}
		values = append(values, value)
	}
	return nil, true, fmt.Errorf("%s is not an array of strings", name)
}

// StringOrStrings returns a string or an array of strings, the two forms of
// "aud" (RFC 7519 section 4.1.3). A string is returned as a slice of one.
func (m Members) StringOrStrings(name string) (values []string, present bool, err error) {
	if m.Has(name) && m[name][0] == '"' {
		value, present, err := m.String(name)
		return []string{value}, present, err
	}
	values, present, err = m.Strings(name)
	if err != nil {
		err = fmt.Errorf("%s is neither a string nor an array of strings", name)
	}
	return values, present, err
}

// maxTime is the last second of the year 9999, in seconds since 1970.
const maxTime = 253402300799

// Time returns a NumericDate: a number of seconds since 1970, which may have a
// fraction (RFC 7519 section 2). A string, a time before 1970 and one after the
// year 9999 are errors.
func (m Members) Time(name string) (value time.Time, present bool, err error) {
	if !m.Has(name) {
		return time.Time{}, false, nil
	}
	raw := m[name]
	if raw[0] != '-' && !isDigit(raw[0]) {
		return time.Time{}, true, fmt.Errorf("%s is not a number", name)
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, true, fmt.Errorf("%s is not a time between 1970 and 9999", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}

// AppendJSON appends the members to b as one JSON object, sorted by name.
func (m Members) AppendJSON(b []byte) []byte {
	b, _ = appendMembers(b, m.sorted(), whole) // of the values as they are, which cannot fail
	return b
}

func (m Members) sorted() sorted {
	members := make(sorted, 0, len(m))
	for name, value := range m {
		members = append(members, Member{Name: name, Value: string(value)})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members
}

func appendQuoted(b []byte, name string) []byte {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' }) {
		quoted, _ := json.Marshal(name)
		return append(b, quoted...)
	}
	return append(append(append(b, '"'), name...), '"')
}

// unquote returns the text of a string that has been checked.
func unquote(raw []byte) (string, error) { return unquoteString(string(raw)) }

func unquoteString(raw string) (string, error) {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var text string
	err := json.Unmarshal([]byte(raw), &text)
	return text, err
}
