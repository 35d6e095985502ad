package strictjson

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
)

// Types whose fields have to be found as encoding/json finds them.
type (
	level3  struct{ Deep, Name string }
	level2a struct{ level3 }
	level2b struct{ level3 }
	level1  struct{ Name, Twin string }
	twin    struct{ Twin string }
	tagged  struct {
		X string `json:"Name"`
	}
	text    string
	Text    string
	iface   interface{ F() }
	mutual1 struct {
		*mutual2
		Name string
	}
	mutual2 struct {
		*mutual1
		Name, Other string
	}
	Exported struct{ Name string }
	diamond1 struct{ level2a }
	diamond2 struct{ level2a }
)

// withTags returns a struct with a field for each tag, each with another value.
// Linters refuse some of the tags.
func withTags(tags ...string) any {
	var fields []reflect.StructField
	for i, tag := range tags {
		fields = append(fields, reflect.StructField{
			Name: string(rune('A' + i)), Type: reflect.TypeFor[string](), Tag: reflect.StructTag(fmt.Sprintf("json:%q", tag)),
		})
	}
	v := reflect.New(reflect.StructOf(fields)).Elem()
	for i := range fields {
		v.Field(i).SetString(fields[i].Name)
	}
	return v.Interface()
}

// structs are what TestShape looks at.
var structs = []any{
	struct{}{},
	struct{ A, b string }{},
	struct {
		level1
		twin
	}{},
	struct {
		level1
		tagged
	}{},
	struct {
		tagged
		level1
	}{},
	struct {
		level1
		tagged
		*Exported
	}{Exported: &Exported{}},
	struct {
		level1
		Name int
	}{},
	struct {
		level2a
		level2b
	}{},
	struct {
		level2a
		level2b
		level3
	}{},
	struct {
		level2a
		level1
	}{},
	struct {
		diamond1
		diamond2
	}{},
	struct {
		text
		Text
		iface
	}{},
	struct {
		*text
		A string
	}{},
	struct{ mutual1 }{mutual1{mutual2: &mutual2{}}},
	struct {
		level1 `json:"tag"`
		A      string
	}{},
	struct {
		Exported `json:"-"`
		A        string
	}{},
	struct {
		Exported `json:",omitzero"`
		A        string
	}{},
	struct{ *Exported }{&Exported{}},
	struct {
		Exported `json:"a"`
		text     `json:"b"`
		Text     `json:"c"`
	}{},
	withTags("B", ""), withTags("B", "", "B"), withTags("", "A"), withTags("B", "B"),
	withTags("é", "a b", "-,", "-", "a\\b", "a,b", "a'b", "a\"b", ",string", "a-b/c.d:e", "_", "z,", "a\u00a0b", "€", "`", "٣", "<&>", "\x7f", " "),
}

func TestShape_HasTheFieldsOfEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, v := range structs {
		doc, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range shapeOf(reflect.TypeOf(v)).fields {
			names = append(names, f.name)
		}
		slices.Sort(names)
		if want := slices.Sorted(maps.Keys(object(t, string(doc)))); !slices.Equal(names, want) {
			t.Errorf("%T has the fields %q, for encoding/json %q", v, names, want)
		}
		got, want := reflect.New(reflect.TypeOf(v)), reflect.New(reflect.TypeOf(v))
		gotErr, wantErr := Decode(object(t, string(doc)), got.Interface()), json.Unmarshal(doc, want.Interface())
		if (gotErr == nil) != (wantErr == nil) || !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s decodes to %+v, %v, with encoding/json to %+v, %v", doc, got, gotErr, want, wantErr)
		}
	}
}
