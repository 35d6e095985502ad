package strictjson

import (
	"bytes"
	"encoding/json"
	"iter"
	"reflect"
	"slices"
	"strings"
)

// A Member is a member of an object: its name, and its value as JSON text.
type Member struct {
	Name, Value string
	// NameAt and ValueAt are where In found these in the text, in bytes. NameAt
	// is -1 if the text has the name with escapes.
	NameAt, ValueAt int
}

// Ordered returns the members of text in their order. It refuses what [Object] refuses.
// The members share memory with text.
func Ordered(text string) ([]Member, error) {
	found, err := Object([]byte(text))
	if err != nil {
		return nil, err
	}
	return found.In(text), nil
}

// In returns the members in their order in text, from which [Object] has read them.
func (found Members) In(text string) []Member {
	data := []byte(text)
	members := make([]Member, 0, len(found))
	s := scanner{data: data, text: text, pos: bytes.IndexByte(data, '{') + 1, depth: MaxDepth - 1}
	for len(members) < len(found) {
		_, _ = s.next('}', len(members) == 0) // neither this nor what follows fails: Object has read it
		m := Member{NameAt: s.pos + 1}
		m.Name, _ = s.name()
		if s.pos != m.NameAt+len(m.Name)+1 {
			m.NameAt = -1
		}
		_ = s.colon()
		m.ValueAt = s.pos
		_ = s.value(nil)
		m.Value = text[m.ValueAt:s.pos]
		members = append(members, m)
	}
	return members
}

// A Source has the members of an object, each name once.
type Source interface {
	// Find returns the value of the member of that name.
	Find(name string) (value string, ok bool)
	// Members yields the name and the value of each member.
	Members() iter.Seq2[string, string]
}

// DecodeFrom is [Decode] for the members of source.
func DecodeFrom(source Source, v any) error {
	if m, ok := v.(*map[string]any); ok && m != nil {
		if *m == nil {
			*m = make(map[string]any, count(source))
		}
		return decodeMap(source, *m)
	}
	text, err := selected(source, reflect.ValueOf(v))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// sorted are members sorted by name.
type sorted []Member

func (s sorted) Find(name string) (string, bool) {
	i, ok := slices.BinarySearchFunc(s, name, func(m Member, name string) int { return strings.Compare(m.Name, name) })
	if !ok {
		return "", false
	}
	return s[i].Value, true
}

func (s sorted) Members() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, m := range s {
			if !yield(m.Name, m.Value) {
				return
			}
		}
	}
}

// Unquote returns the text of value if it is a string. The value must be valid JSON.
func Unquote(value string) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	text, err := unquoteString(value)
	return text, err == nil
}

// selected returns the members that v has a field for, by exact name, as one object.
func selected(members Source, v reflect.Value) ([]byte, error) {
	if !v.IsValid() {
		return []byte("{}"), nil // for the error of json.Unmarshal
	}
	s, v := shapeOf(v.Type()).target(v)
	if s.kind == structShape {
		return s.appendFields(make([]byte, 0, 512), members, v)
	}
	values := whole
	if s.kind == mapShape {
		values = s.elem
	}
	return appendMembers(make([]byte, 0, sizeOf(members)), members, values)
}

// sizeOf returns about how many bytes the members take as JSON.
func sizeOf(members Source) int {
	n := len("{}")
	for name, value := range members.Members() {
		n += len(name) + len(value) + len(`"":,`)
	}
	return n
}
