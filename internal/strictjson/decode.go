package strictjson

import (
	"bytes"
	"reflect"
)

// Decode decodes members into v as [json.Unmarshal] decodes an object, except that
// member names match exactly, in nested objects too: a field tagged "sub" is never
// filled by "SUB". Members without a field are ignored. A [json.Unmarshaler]
// receives its JSON unchanged.
//
// Its errors are those of encoding/json; they may quote a number, or a string that
// was expected to be one.
func Decode(members Members, v any) error { return DecodeFrom(members.sorted(), v) }

// appendFields appends the members that are fields of the struct v as one object. A
// v that does not exist yet is invalid.
func (s *shape) appendFields(b []byte, members Source, v reflect.Value) (_ []byte, err error) {
	b = append(b, '{')
	empty := len(b)
	for i := range s.fields {
		f := &s.fields[i]
		value, ok := members.Find(f.name)
		if !ok {
			continue
		}
		if len(b) > empty {
			b = append(b, ',')
		}
		b = append(b, f.key...)
		if b, err = f.shape.appendValue(b, value, f.in(v)); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendMembers appends members as one object. Their values have the shape s.
func appendMembers(b []byte, members Source, s *shape) (_ []byte, err error) {
	b = append(b, '{')
	empty := len(b)
	for name, value := range members.Members() {
		if len(b) > empty {
			b = append(b, ',')
		}
		b = append(appendQuoted(b, name), ':')
		if b, err = s.appendValue(b, value, reflect.Value{}); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendValue appends value without the members that v, of the shape s, has no field
// for.
func (s *shape) appendValue(b []byte, value string, v reflect.Value) ([]byte, error) {
	if s.kind == wholeShape {
		return append(b, value...), nil
	}
	w := selection{scanner: scanner{data: []byte(value), text: value, depth: MaxDepth}, out: b}
	err := w.copy(s, v)
	return w.out, err
}

// A selection copies a JSON value without the members that no field names exactly,
// which encoding/json might match by another case.
type selection struct {
	scanner
	out []byte
}

// copy copies the next value, for v of the shape s.
func (w *selection) copy(s *shape, v reflect.Value) error {
	s, v = s.target(v)
	switch c := w.peek(); {
	case c == '{' && s.kind == structShape:
		return w.nested(func() error { return w.copyStruct(s, v) })
	case c == '{' && s.kind == mapShape:
		return w.nested(func() error { return w.copyMap(s) })
	case c == '[' && s.kind == listShape:
		return w.nested(func() error { return w.copyList(s, v) })
	}
	start := w.pos
	err := w.value(nil)
	w.out = append(w.out, w.data[start:w.pos]...)
	return err
}

func (w *selection) copyStruct(s *shape, v reflect.Value) error {
	return w.copyMembers(func(name []byte) (*shape, reflect.Value, bool) {
		f := s.byName[string(name)]
		if f == nil {
			return nil, reflect.Value{}, false
		}
		return f.shape, f.in(v), true
	})
}

func (w *selection) copyMap(s *shape) error {
	return w.copyMembers(func([]byte) (*shape, reflect.Value, bool) { return s.elem, reflect.Value{}, true })
}

// copyMembers copies the members of an object for which place reports true. Place
// returns the shape and the value that each is for.
func (w *selection) copyMembers(place func(name []byte) (*shape, reflect.Value, bool)) error {
	w.out = append(w.out, '{')
	empty := len(w.out)
	for first := true; ; first = false {
		if done, err := w.next('}', first); done || err != nil {
			w.out = append(w.out, '}')
			return err
		}
		raw, name, err := w.member()
		if err != nil {
			return err
		}
		s, v, ok := place(name)
		if !ok {
			if err := w.value(nil); err != nil {
				return err
			}
			continue
		}
		if len(w.out) > empty {
			w.out = append(w.out, ',')
		}
		w.out = append(append(w.out, raw...), ':')
		if err := w.copy(s, v); err != nil {
			return err
		}
	}
}

// member passes over a member's name and colon. It returns the name as written
// and unescaped.
func (w *selection) member() (raw, name []byte, err error) {
	if raw, err = w.rawName(); err != nil {
		return nil, nil, err
	}
	if name = raw[1 : len(raw)-1]; bytes.IndexByte(name, '\\') >= 0 {
		text, err := unquote(raw)
		if err != nil {
			return nil, nil, err
		}
		name = []byte(text)
	}
	return raw, name, w.colon()
}

// copyList copies an array. encoding/json decodes its elements into those that v has
// already.
func (w *selection) copyList(s *shape, v reflect.Value) error {
	if v.IsValid() && v.Kind() == reflect.Slice {
		v = v.Slice(0, v.Cap()) // even beyond its length
	}
	w.out = append(w.out, '[')
	for i := 0; ; i++ {
		if done, err := w.next(']', i == 0); done || err != nil {
			w.out = append(w.out, ']')
			return err
		}
		if i > 0 {
			w.out = append(w.out, ',')
		}
		var element reflect.Value
		if v.IsValid() && i < v.Len() {
			element = v.Index(i)
		}
		if err := w.copy(s.elem, element); err != nil {
			return err
		}
	}
}
