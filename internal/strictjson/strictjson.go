// Package strictjson reads the JSON that a relying party decides by: claims,
// metadata, keys, token responses. Two readers of one document must not come to
// different conclusions, so [Object] refuses what encoding/json accepts: a member
// given twice, text that is not UTF-8, and nesting without a limit (RFC 8259
// section 4, RFC 7519 section 4). [Members] and [Decode] match member names
// exactly, where encoding/json ignores their case.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how deeply arrays and objects may be nested; the outermost object
// is the first level.
const MaxDepth = 32

// usualMembers is how many members Object makes room for at once.
const usualMembers = 32

// Object returns the members of data by exact name. Data must be one JSON object
// in valid UTF-8, without a member name given twice in any object and with at
// most [MaxDepth] levels. Names are compared after unescaping, so "sub" and
// "s\u0075b" are the same name. Its errors name a byte offset and quote nothing.
// The values share memory with data.
func Object(data []byte) (Members, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	s := &scanner{data: data, text: string(data), depth: MaxDepth}
	s.space()
	if s.peek() != '{' {
		return nil, errors.New("not a JSON object")
	}
	members := make(Members, min(bytes.Count(data, []byte(`":`)), usualMembers))
	if err := s.value(members); err != nil {
		return nil, err
	}
	s.space()
	if s.pos < len(data) {
		return nil, s.fail("more after the JSON value")
	}
	return members, nil
}

// A scanner walks over one document. It recurses at most depth levels.
type scanner struct {
	data  []byte
	text  string // data as a string; member names are substrings of it
	pos   int
	depth int // how many more levels may be opened
}

// value passes over one value. The members of an object are kept in members
// when that is not nil.
func (s *scanner) value(members Members) error {
	switch c := s.peek(); {
	case c == '{':
		return s.nested(func() error { return s.object(members) })
	case c == '[':
		return s.nested(s.array)
	case c == '"':
		_, err := s.string()
		return err
	case c == '-' || isDigit(c):
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if s.word(word) {
			return nil
		}
	}
	return s.fail("not a JSON value")
}

// nested runs read one level deeper.
func (s *scanner) nested(read func() error) error {
	if s.depth <= 0 {
		return s.fail("nested too deeply")
	}
	s.depth--
	s.pos++
	err := read()
	s.depth++
	return err
}

func (s *scanner) object(members Members) error {
	if members == nil {
		members = make(Members)
	}
	for first := true; ; first = false {
		if done, err := s.next('}', first); done || err != nil {
			return err
		}
		start := s.pos
		name, err := s.name()
		if err != nil {
			return err
		}
		if _, twice := members[name]; twice {
			s.pos = start
			return s.fail("a member is given twice")
		}
		if err := s.colon(); err != nil {
			return err
		}
		start = s.pos
		if err := s.value(nil); err != nil {
			return err
		}
		members[name] = json.RawMessage(s.data[start:s.pos:s.pos])
	}
}

func (s *scanner) array() error {
	for first := true; ; first = false {
		if done, err := s.next(']', first); done || err != nil {
			return err
		}
		if err := s.value(nil); err != nil {
			return err
		}
	}
}

// next moves to the next element of an array or object and reports whether end
// closed it instead.
func (s *scanner) next(end byte, first bool) (done bool, err error) {
	s.space()
	if s.peek() == end {
		s.pos++
		return true, nil
	}
	if first {
		return false, nil
	}
	if !s.word(",") {
		return false, s.fail("a comma is missing")
	}
	s.space()
	if s.peek() == end {
		return false, s.fail("a comma too many")
	}
	return false, nil
}

// name passes over a member name and returns it unescaped.
func (s *scanner) name() (string, error) {
	start := s.pos
	raw, err := s.rawName()
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return s.text[start+1 : s.pos-1], nil
	}
	return unquote(raw)
}

// rawName passes over a member name and returns it as written.
func (s *scanner) rawName() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.fail("a member name is missing")
	}
	return s.string()
}

// colon passes over the colon after a member name.
func (s *scanner) colon() error {
	s.space()
	if !s.word(":") {
		return s.fail("a colon is missing")
	}
	s.space()
	return nil
}

// string passes over a string and returns it as written, quotes included.
func (s *scanner) string() ([]byte, error) {
	start := s.pos
	s.pos++
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start:s.pos], nil
		case c < 0x20:
			return nil, s.fail("a control character in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		default:
			s.pos++
		}
	}
	return nil, s.fail("a string without end")
}

func (s *scanner) escape() error {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			if !isHex(s.peek()) {
				return s.fail("a broken escape in a string")
			}
			s.pos++
		}
		return nil
	}
	return s.fail("a broken escape in a string")
}

// number passes over a number as RFC 8259 section 6 spells it.
func (s *scanner) number() error {
	s.word("-")
	if !s.word("0") && !s.digits() {
		return s.fail("a broken number")
	}
	if s.word(".") && !s.digits() {
		return s.fail("a broken number")
	}
	if s.word("e") || s.word("E") {
		if !s.word("+") {
			s.word("-")
		}
		if !s.digits() {
			return s.fail("a broken number")
		}
	}
	return nil
}

// digits passes over digits and reports whether there were any.
func (s *scanner) digits() bool {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}

// word passes over word if it comes next.
func (s *scanner) word(word string) bool {
	end := s.pos + len(word)
	if end > len(s.data) || string(s.data[s.pos:end]) != word {
		return false
	}
	s.pos = end
	return true
}

// peek returns the next byte, 0 at the end of the document. A zero byte is
// never part of valid JSON, so the two need not be distinguished.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) fail(what string) error {
	return fmt.Errorf("invalid JSON at byte %d: %s", s.pos, what)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
