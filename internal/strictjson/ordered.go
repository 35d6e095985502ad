package strictjson

import (
	"bytes"
	"reflect"
)

// A Member is a member of an object: its name, and its value as JSON text.
type Member struct{ Name, Value string }

// Ordered returns the members of data in their order. It refuses what [Object] refuses.
// The members share memory with the text that they were read from.
func Ordered(text string) ([]Member, error) {
	data := []byte(text)
	found, err := Object(data)
	if err != nil {
		return nil, err
	}
	members := make([]Member, 0, len(found))
	s := scanner{data: data, text: text, pos: bytes.IndexByte(data, '{') + 1, depth: MaxDepth - 1}
	for len(members) < len(found) {
		_, _ = s.next('}', len(members) == 0) // neither this nor what follows fails: Object has read it
		name, _ := s.name()
		_ = s.colon()
		start := s.pos
		_ = s.value(nil)
		members = append(members, Member{name, text[start:s.pos]})
	}
	return members, nil
}

// DecodeOrdered is [Decode] for members in their order, each name once.
func DecodeOrdered(members []Member, v any) error { return decodeInto(members, v) }

// Unquote returns the text of value if it is a string. The value must be valid JSON.
func Unquote(value string) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	text, err := unquoteString(value)
	return text, err == nil
}

// valueOf returns the value of the member of that name.
func valueOf(members []Member, name string) (value string, ok bool) {
	for i := range members {
		if members[i].Name == name {
			return members[i].Value, true
		}
	}
	return "", false
}

// selected returns the members that v has a field for, by exact name, as one object.
func selected(members []Member, v reflect.Value) ([]byte, error) {
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
func sizeOf(members []Member) int {
	n := len("{}")
	for i := range members {
		n += len(members[i].Name) + len(members[i].Value) + len(`"":,`)
	}
	return n
}
