package strictjson

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// A shape is what Decode must know about a type: where its JSON has members that
// encoding/json would match to the fields of a struct.
type shape struct {
	kind   shapeKind
	elem   *shape            // of a pointer, a map or a list
	fields []field           // of a struct
	byName map[string]*field // the same
}

type shapeKind int

const (
	wholeShape     shapeKind = iota // contains no struct: everything is copied
	pointerShape                    // its JSON is that of elem
	interfaceShape                  // may hold a pointer to decode into
	structShape
	mapShape
	listShape // a slice or an array
)

// A field is a struct field that a member can fill.
type field struct {
	name  string
	key   string // the name as JSON, with the colon
	index []int  // for reflect
	shape *shape
}

// in returns the value of the field in the struct v; the zero Value if it does not
// exist yet, or does not matter because its JSON is copied whole.
func (f *field) in(v reflect.Value) reflect.Value {
	if !v.IsValid() || f.shape.kind == wholeShape {
		return reflect.Value{}
	}
	for i, n := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v
}

// maxHops bounds how many pointers and interfaces target follows; a value may
// point to itself.
const maxHops = 64

// target follows pointers and interfaces from v, whose shape is s, to the value
// that encoding/json decodes into: invalid if that does not exist yet.
func (s *shape) target(v reflect.Value) (*shape, reflect.Value) {
	for range maxHops {
		switch {
		case s.kind == pointerShape:
			s = s.elem
			if v.IsValid() {
				v = v.Elem() // invalid if v is nil
			}
		case s.kind == interfaceShape && v.IsValid() && v.Elem().Kind() == reflect.Pointer && !v.Elem().IsNil():
			v = v.Elem()
			s = shapeOf(v.Type())
		case s.kind == interfaceShape:
			return whole, reflect.Value{}
		default:
			return s, v
		}
	}
	return whole, reflect.Value{}
}

var (
	whole = new(shape)

	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()

	shapes sync.Map // from reflect.Type to *shape; a shape in it never changes
)

// shapeOf returns the shape of t.
func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	made := make(shaper)
	s := made.shape(t)
	for t, s := range made {
		shapes.LoadOrStore(t, s)
	}
	return s
}

// A shaper makes shapes. It holds those that it has begun, for types that
// contain themselves.
type shaper map[reflect.Type]*shape

func (m shaper) shape(t reflect.Type) *shape {
	if s, ok := m[t]; ok {
		return s
	}
	s := new(shape)
	m[t] = s
	if decodesItself(t) {
		return s
	}
	switch t.Kind() {
	case reflect.Interface:
		s.kind = interfaceShape
	case reflect.Pointer:
		m.contain(s, pointerShape, t.Elem())
	case reflect.Slice, reflect.Array:
		m.contain(s, listShape, t.Elem())
	case reflect.Map:
		m.contain(s, mapShape, t.Elem())
		if s.kind == mapShape && s.elem.kind == interfaceShape {
			*s = shape{} // the values of a map are always new and hold no pointers
		}
	case reflect.Struct:
		m.structure(s, t)
	}
	return s
}

// contain makes s a shape that contains one for elem, if that makes a difference.
func (m shaper) contain(s *shape, kind shapeKind, elem reflect.Type) {
	s.kind = kind // elem may contain s
	if s.elem = m.shape(elem); s.elem.kind == wholeShape {
		*s = shape{}
	}
}

// decodesItself reports whether encoding/json passes the JSON for a t to its
// UnmarshalJSON. It looks for the method on every pointer, and on the address of a
// value whose type has a name.
func decodesItself(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer {
		if t.Name() == "" {
			return false
		}
		t = reflect.PointerTo(t)
	}
	return t.Implements(unmarshalerType)
}

// structure makes s the shape of the struct t.
func (m shaper) structure(s *shape, t reflect.Type) {
	s.kind = structShape
	s.byName = make(map[string]*field)
	for _, found := range visible(t) {
		s.fields = append(s.fields, field{
			name:  found.name,
			key:   string(append(appendQuoted(nil, found.name), ':')),
			index: found.index,
			shape: m.shape(found.typ),
		})
	}
	for i := range s.fields {
		s.byName[s.fields[i].name] = &s.fields[i]
	}
}

// A candidate is a struct field that a member could fill.
type candidate struct {
	name      string
	tagged    bool // the name comes from a tag
	index     []int
	typ       reflect.Type
	ambiguous bool // another candidate has the same right to the name: neither gets it
}

// visible returns the fields of the struct t that encoding/json fills, the least
// deeply embedded first.
func visible(t reflect.Type) []candidate {
	var all []candidate
	seen := make(map[reflect.Type]bool)
	for level := []candidate{{typ: t}}; len(level) > 0; {
		var here, deeper []candidate
		for _, outer := range level {
			if seen[outer.typ] {
				continue
			}
			seen[outer.typ] = true
			named, embedded := direct(outer)
			here = append(here, named...)
			for _, c := range embedded {
				if i := slices.IndexFunc(deeper, func(d candidate) bool { return d.typ == c.typ }); i >= 0 {
					deeper[i].ambiguous = true // its fields can be reached in two ways
				} else {
					deeper = append(deeper, c)
				}
			}
		}
		all = append(all, here...)
		level = deeper
	}
	return dominant(all)
}

// dominant returns the candidates that get their names. A name belongs to the
// field that is embedded least deeply; of several at the same depth, to the only
// one or to the only one with a tag.
func dominant(all []candidate) []candidate {
	var chosen []candidate
	byName := make(map[string]int) // indices in chosen
	for _, c := range all {
		i, ok := byName[c.name]
		if !ok {
			byName[c.name] = len(chosen)
			chosen = append(chosen, c)
			continue
		}
		switch best := &chosen[i]; {
		case len(best.index) < len(c.index) || best.tagged && !c.tagged:
		case c.tagged && !best.tagged:
			*best = c
		default:
			best.ambiguous = true
		}
	}
	return slices.DeleteFunc(chosen, func(c candidate) bool { return c.ambiguous })
}

// direct returns the fields of the struct outer: those that have a name, and the
// embedded structs whose fields count as outer's.
func direct(outer candidate) (named, embedded []candidate) {
	for i := range outer.typ.NumField() {
		sf := outer.typ.Field(i)
		under := sf.Type
		if under.Kind() == reflect.Pointer && under.Name() == "" {
			under = under.Elem()
		}
		embeds := sf.Anonymous && under.Kind() == reflect.Struct
		tag := sf.Tag.Get("json")
		if tag == "-" || !sf.IsExported() && !embeds {
			continue
		}
		index := append(outer.index[:len(outer.index):len(outer.index)], i)
		name, _, _ := strings.Cut(tag, ",")
		switch tagged := isName(name); {
		case tagged:
			named = append(named, candidate{name, true, index, sf.Type, outer.ambiguous})
		case embeds:
			embedded = append(embedded, candidate{index: index, typ: under})
		default:
			named = append(named, candidate{sf.Name, false, index, sf.Type, outer.ambiguous})
		}
	}
	return named, embedded
}

// isName reports whether encoding/json takes a tag for the name of a member.
func isName(tag string) bool {
	return tag != "" && !strings.ContainsFunc(tag, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r)
	})
}
