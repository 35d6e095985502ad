package strictjson

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// decode returns a T decoded from doc.
func decode[T any](t *testing.T, doc string) T {
	t.Helper()
	var v T
	if err := Decode(object(t, doc), &v); err != nil {
		t.Errorf("%s into %T: %v", doc, v, err)
	}
	return v
}

// want fails unless got is want.
func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

type person struct {
	Sub  string `json:"sub"`
	Mail string `json:"email"`
}

func TestDecode_NamesAreExactAtEveryLevel(t *testing.T) {
	t.Parallel()
	const theirs, mine = `{"SUB":"eve","Sub":"eve","\u017fub":"eve","email":"a@b"}`, `{"s\u0075b":"alice","SUB":"eve","Email":"e@v"}`
	alice, nobody := person{Sub: "alice"}, person{Mail: "a@b"}
	want(t, "a struct", decode[person](t, mine), alice)
	want(t, "a struct without its member", decode[person](t, theirs), nobody)
	want(t, "a pointer", *decode[*person](t, mine), alice)

	doc := `{"one":` + mine + `,"two":` + theirs + `,"One":` + theirs + `}`
	want(t, "structs in a struct", decode[struct {
		One person  `json:"one"`
		Two *person `json:"two"`
	}](t, doc), struct {
		One person  `json:"one"`
		Two *person `json:"two"`
	}{alice, &nobody})
	want(t, "structs in a map", decode[map[string]person](t, doc),
		map[string]person{"one": alice, "two": nobody, "One": nobody})

	list := `{"all":[` + mine + `, [] ,` + theirs + `]}`
	type holder[T any] struct {
		All T `json:"all"`
	}
	var wrong *json.UnmarshalTypeError
	var people holder[[]person]
	if err := Decode(object(t, list), &people); !errors.As(err, &wrong) { // for the [] in the middle
		t.Errorf("an array for a person: %v", err)
	}
	want(t, "structs in a slice", people.All, []person{alice, {}, nobody})
	list = `{"all":[ ` + mine + ` , ` + theirs + `,` + mine + `]}`
	want(t, "structs in an array", decode[holder[[2]person]](t, list).All, [2]person{alice, nobody})
	want(t, "structs in lists in maps", decode[map[string][][]*person](t, `{"a":[[`+mine+`],[],[`+theirs+`,null]]}`),
		map[string][][]*person{"a": {{&alice}, {}, {&nobody, nil}}})
	want(t, "structs in maps in lists", decode[holder[[]map[string]person]](t, `{"all":[{"X":`+mine+`}]}`).All,
		[]map[string]person{{"X": alice}})
}

func TestDecode_EmbeddedStructsAreExact(t *testing.T) {
	t.Parallel()
	type Address struct {
		City string `json:"city"`
	}
	type inner struct {
		Address
		Street string
	}
	type outer struct {
		*person
		inner
		Home    inner  `json:"home"`
		Address string // hides the embedded struct's name, not its fields
	}
	// An embedded pointer to an unexported struct cannot be set.
	v := outer{person: new(person)}
	const doc = `{"sub":"alice","CITY":"x","city":"Paris","street":"x","Street":"Segur","address":"y",` +
		`"home":{"City":"x","city":"Lyon","Sub":"x"}}`
	if err := Decode(object(t, doc), &v); err != nil {
		t.Fatal(err)
	}
	want(t, "decoded", v, outer{
		person: &person{Sub: "alice"}, inner: inner{Address{"Paris"}, "Segur"}, Home: inner{Address: Address{"Lyon"}},
	})
	var nothing outer
	if err := Decode(object(t, doc), &nothing); err == nil {
		t.Error("an embedded pointer that cannot be set gives no error")
	}
}

// upper decodes itself, whatever the case of the names.
type upper struct{ got string }

func (u *upper) UnmarshalJSON(raw []byte) error { u.got = string(raw); return nil }

// texted decodes itself from a string.
type texted struct{ Sub string }

func (x *texted) UnmarshalText(text []byte) error { x.Sub = "text " + string(text); return nil }

func TestDecode_WhatDecodesItselfGetsEverything(t *testing.T) {
	t.Parallel()
	const doc = `{"GOT": 1, "got" :2}`
	want(t, "at the top", decode[upper](t, doc).got, `{"GOT":1,"got":2}`)
	want(t, "a pointer", decode[*upper](t, `{"GOT": 1}`).got, `{"GOT":1}`)
	type fields struct {
		Value   upper            `json:"value"`
		Pointer *upper           `json:"pointer"`
		List    []upper          `json:"list"`
		ByName  map[string]upper `json:"by_name"`
		At      time.Time        `json:"at"`
		Text    texted           `json:"text"`
		Raw     json.RawMessage  `json:"raw"`
	}
	got := decode[fields](t, `{"value":`+doc+`,"pointer":`+doc+`,"list":[`+doc+`],"by_name":{"x":`+doc+
		`},"at":"2026-01-02T03:04:05Z","text":"t","raw":`+doc+`}`)
	want(t, "in a struct", got, fields{
		upper{doc}, &upper{doc}, []upper{{doc}}, map[string]upper{"x": {doc}},
		time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), texted{"text t"}, json.RawMessage(doc),
	})
	type embeds struct{ upper }
	want(t, "by a promoted method", decode[embeds](t, `{"GOT":1}`).got, `{"GOT":1}`)
	if err := Decode(object(t, `{"text":{"Sub":"x"}}`), new(fields)); err == nil {
		t.Error("an object for a type that decodes text gives no error")
	}
}

// Raw decodes itself.
type Raw struct{ Text string }

func (r *Raw) UnmarshalJSON(raw []byte) error { r.Text = string(raw); return nil }

// encoding/json does not call a promoted UnmarshalJSON on a value whose type has no
// name, but decodes its fields.
func TestDecode_UnnamedStructsAreStructs(t *testing.T) {
	t.Parallel()
	type fields struct {
		Value   struct{ Raw }
		Pointer *struct{ Raw }
		List    []struct{ Raw }
	}
	got := decode[fields](t, `{"Value":{"TEXT":"x"},"Pointer":{"TEXT":"x"},"List":[{"Text":"t"},{"text":"x"}]}`)
	want(t, "decoded", got, fields{
		Pointer: &struct{ Raw }{Raw{`{"TEXT":"x"}`}}, List: []struct{ Raw }{{Raw{"t"}}, {}},
	})
}

func TestDecode_PointersInInterfacesAreFollowed(t *testing.T) {
	t.Parallel()
	const doc = `{"SUB":"eve","email":"a@b"}`
	nobody := person{Mail: "a@b"}
	var a, b, c, d person
	var anything any = &a
	if err := Decode(object(t, doc), &anything); err != nil || anything != any(&a) {
		t.Errorf("%v, %v", anything, err)
	}
	want(t, "at the top", a, nobody)
	pointer := &d
	v := struct {
		One  any    `json:"one"`
		List []any  `json:"list"`
		Two  any    `json:"two"`
		Pair [2]any `json:"pair"`
	}{&b, []any{1, &c}, any(&pointer), [2]any{}}
	v.List = v.List[:0] // encoding/json fills what the slice holds beyond its end
	if err := Decode(object(t, `{"one":`+doc+`,"list":[`+doc+`,`+doc+`],"two":`+doc+`,"pair":[`+doc+`]}`), &v); err != nil {
		t.Fatal(err)
	}
	want(t, "in a field", b, nobody)
	want(t, "in a list", c, nobody)
	want(t, "two pointers", d, nobody)
	whole := map[string]any{"SUB": "eve", "email": "a@b"}
	want(t, "a value that is not a pointer", v.List[0], any(whole))
	want(t, "an array of nothing", v.Pair, [2]any{whole, nil})

	type Inner struct {
		One any `json:"one"`
	}
	type embeds struct{ *Inner }
	var e person
	if err := Decode(object(t, `{"one":`+doc+`}`), &embeds{&Inner{&e}}); err != nil {
		t.Fatal(err)
	}
	want(t, "behind an embedded pointer", e, nobody)
	want(t, "behind one that is nil", decode[embeds](t, `{"one":`+doc+`}`), embeds{&Inner{any(whole)}})

	var self any
	self = &self
	if err := Decode(object(t, doc), self); err != nil {
		t.Fatal(err)
	}
	want(t, "a pointer to itself", self, any(whole))
}

func TestDecode_NumbersAreExact(t *testing.T) {
	t.Parallel()
	type numbers struct {
		Number  json.Number  `json:"number"`
		Pointer *json.Number `json:"pointer"`
		Int     int64        `json:"int"`
		Uint    uint64       `json:"uint"`
		Any     any          `json:"any"`
		Quoted  int64        `json:"quoted,string"`
	}
	got := decode[numbers](t, `{"number":9007199254740993.10,"pointer":1e400,"int":-9007199254740993,`+
		`"uint":18446744073709551615,"any":1.5,"quoted":"9007199254740993"}`)
	huge := json.Number("1e400")
	want(t, "numbers", got, numbers{"9007199254740993.10", &huge, -9007199254740993, 18446744073709551615, 1.5, 9007199254740993})
	for _, doc := range []string{`{"int":1.0}`, `{"int":9223372036854775808}`, `{"uint":-1}`, `{"any":1e400}`, `{"number":"x"}`} {
		if err := Decode(object(t, doc), new(numbers)); err == nil {
			t.Errorf("%s gives no error", doc)
		}
	}
}

func TestDecode_KeepsTheRestOfEncodingJSON(t *testing.T) {
	t.Parallel()
	type fields struct {
		Skipped  string `json:"-"`
		Untagged string
		hidden   string
		Set      *string `json:"set"`
		Null     *string `json:"null"`
		Kept     string  `json:"kept"`
		Odd      string  `json:"a<b&c d"`
	}
	old := "old"
	v := fields{Skipped: "s", hidden: "h", Set: &old, Null: &old, Kept: "k"}
	doc := `{"-":"x","Skipped":"x","untagged":"x","Untagged":"u","hidden":"x","set":"new","null":null,` +
		`"a<b&c d":"odd","extra":{"a":[1]}}`
	if err := Decode(object(t, doc), &v); err != nil {
		t.Fatal(err)
	}
	updated := "new"
	want(t, "a struct", v, fields{"s", "u", "h", &updated, nil, "k", "odd"})
	want(t, "what was pointed to", old, "new")

	m := map[string]any{"before": true}
	if err := Decode(object(t, `{"SUB":"x","sub":null,"n":1,"a\"\u0001":[{"B":2}]}`), &m); err != nil {
		t.Fatal(err)
	}
	want(t, "a map", m, map[string]any{"before": true, "SUB": "x", "sub": nil, "n": 1.0, "a\"\x01": []any{map[string]any{"B": 2.0}}})
	want(t, "an interface", decode[any](t, `{"a":[]}`), any(map[string]any{"a": []any{}}))
	want(t, "no members", decode[map[string]any](t, `{}`), map[string]any{})
}

func TestDecode_Fails(t *testing.T) {
	t.Parallel()
	members := object(t, `{"sub":1,"email":"a@b"}`)
	var v person
	var wrong *json.UnmarshalTypeError
	if err := Decode(members, &v); !errors.As(err, &wrong) || wrong.Field != "sub" {
		t.Errorf("a number for a string: %v", err)
	}
	want(t, "the others are decoded all the same", v, person{Mail: "a@b"})
	var invalid *json.InvalidUnmarshalError
	for _, v := range []any{nil, person{}, (*person)(nil), (*map[string]any)(nil)} {
		if err := Decode(members, v); !errors.As(err, &invalid) {
			t.Errorf("into %#v: %v", v, err)
		}
	}
	for _, v := range []any{new(string), new([]person), new([2]person), new(func()), new(map[person]person)} {
		if err := Decode(members, v); !errors.As(err, &wrong) {
			t.Errorf("into %T: %v", v, err)
		}
	}
	// Values that Object did not check.
	for _, raw := range []string{``, `{`, `{"a"`, `{"a":1,}`, `{"\x":1}`, `[{]`, `[1`, `{"sub":"a","SUB":x}`, strings.Repeat(`{"p":`, 100)} {
		type tree struct {
			P *tree           `json:"p"`
			L []person        `json:"l"`
			M map[string]tree `json:"m"`
		}
		for _, name := range []string{"p", "l", "m"} {
			if err := Decode(Members{name: json.RawMessage(raw)}, new(tree)); err == nil {
				t.Errorf("%s: %s gives no error", name, raw)
			}
		}
	}
}

func TestDecode_ManyAtOnce(t *testing.T) {
	t.Parallel()
	type node struct {
		Sub   string          `json:"sub"`
		Next  *node           `json:"next"`
		All   []node          `json:"all"`
		Named map[string]node `json:"named"`
	}
	members := object(t, `{"sub":"a","Sub":"x","next":{"sub":"b","SUB":"x"},"all":[{"sub":"c","SUB":"x"}],"named":{"X":{"sUb":"x"}}}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var v node
			if err := Decode(members, &v); err != nil {
				t.Error(err)
			}
			want(t, "decoded", v, node{"a", &node{Sub: "b"}, []node{{Sub: "c"}}, map[string]node{"X": {}}})
		})
	}
	wg.Wait()
}

// prune is what the test knows of a type: which names its structs have. A name
// that is nil has no names below it; "" stands for every name, "[" for elements.
type prune map[string]prune

// pruned returns raw without the names that p does not have, by means of
// encoding/json alone.
func pruned(raw json.RawMessage, p prune) json.RawMessage {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case p == nil:
	case p["["] != nil && json.Unmarshal(raw, &list) == nil && list != nil:
		texts := make([]string, len(list))
		for i := range list {
			texts[i] = string(pruned(list[i], p["["]))
		}
		return json.RawMessage("[" + strings.Join(texts, ",") + "]")
	case p["["] == nil && json.Unmarshal(raw, &object) == nil && object != nil:
		var texts []string
		for _, name := range slices.Sorted(maps.Keys(object)) {
			below, ok := p[name]
			if every, all := p[""]; all {
				below, ok = every, true
			}
			if ok {
				key, _ := json.Marshal(name)
				texts = append(texts, string(key)+":"+string(pruned(object[name], below)))
			}
		}
		return json.RawMessage("{" + strings.Join(texts, ",") + "}")
	}
	return raw
}

type fuzzEmbedded struct {
	City  string `json:"city"`
	Clash string `json:"clash"`
}

type fuzzTarget struct {
	Sub    string                `json:"sub"`
	SUB    any                   `json:"SUB"`
	Age    json.Number           `json:"age"`
	N      int64                 `json:"n"`
	Raw    json.RawMessage       `json:"raw"`
	Any    any                   `json:"any"`
	Child  *fuzzTarget           `json:"child"`
	List   []fuzzEmbedded        `json:"list"`
	ByName map[string]fuzzTarget `json:"by_name"`
	Grid   [2][]*fuzzEmbedded    `json:"grid"`
	Self   upper                 `json:"self"`
	Skip   string                `json:"-"`
	Plain  string
	fuzzEmbedded
	Clash struct {
		A int `json:"a"`
	} `json:"clash"`
}

// fuzzPrune are the names of fuzzTarget.
func fuzzPrune() prune {
	embedded := prune{"city": nil, "clash": nil}
	top := prune{
		"sub": nil, "SUB": nil, "age": nil, "n": nil, "raw": nil, "any": nil, "self": nil, "Plain": nil, "city": nil,
		"list": {"[": embedded}, "grid": {"[": {"[": embedded}}, "clash": {"a": nil},
	}
	top["child"], top["by_name"] = top, prune{"": top}
	return top
}

// A generator makes a JSON value of the choices in data. Its names are those of
// fuzzTarget, in several spellings.
type generator struct{ data []byte }

func (g *generator) choose(n int) int {
	if len(g.data) == 0 {
		return 0
	}
	c := int(g.data[0])
	g.data = g.data[1:]
	return c % n
}

func (g *generator) value(depth int) string {
	scalars := []string{`"a"`, `1`, `null`, `9007199254740993`, `-1.5e300`, `true`, ` { } `, `[]`}
	choice := g.choose(len(scalars) + 6)
	switch {
	case choice < len(scalars) || depth > 6:
		return scalars[choice%len(scalars)]
	case choice%3 == 0:
		return "[" + g.value(depth+1) + ", " + g.value(depth+1) + "]"
	}
	return g.object(depth)
}

func (g *generator) object(depth int) string {
	names := slices.Sorted(maps.Keys(fuzzPrune()))
	names = append(names, "SUB", "Sub", `s\u0075b`, `\u017fub`, "A", "Raw", "-", "Skip", "plain", "CITY", "unknown", "Child", "List", "BY_NAME")
	var members []string
	used := make(map[string]bool)
	for range 1 + g.choose(6) {
		if name := names[g.choose(len(names))]; !used[name] {
			used[name] = true
			members = append(members, `"`+name+`" : `+g.value(depth+1))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"a","Sub":"b","SUB":[1],"age":1e400,"n":9007199254740993,"raw": {"X":1} ,"any":{"SUB":1}}`,
		`{"child":{"SUB":"x","sUb":"y","child":null},"CHILD":{},"by_name":{"A":{"sub":"a","N":1},"a":null}}`,
		`{"list":[{"city":"a","CITY":"b"},null,{}],"grid":[[{"city":"a","City":"b"}],[],[{"x":1}]]}`,
		`{"clash":{"a":1,"A":2},"city":"a","plain":"x","Plain":"y","Skip":"z","-":"z","self":{"GOT":1}}`,
		`{"list":{"city":"a"},"child":[{"SUB":1}],"n":1.5,"\u0073ub":"a","\u017fub":"b","clash":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	top := fuzzPrune()
	same := func(t *testing.T, doc []byte, members Members) {
		var got, want fuzzTarget
		gotErr := Decode(members, &got)
		wantErr := json.Unmarshal(pruned(doc, top), &want)
		// A json.Number that is none ends the decoding, wherever it stands.
		whole := wantErr == nil || errors.As(wantErr, new(*json.UnmarshalTypeError))
		if (gotErr == nil) != (wantErr == nil) || whole && !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: got\n%+v, %v, want\n%+v, %v", doc, got, gotErr, want, wantErr)
		}
		var gotMap, wantMap map[string]any
		gotErr, wantErr = Decode(members, &gotMap), json.Unmarshal(doc, &wantMap)
		if (gotErr == nil) != (wantErr == nil) || !reflect.DeepEqual(gotMap, wantMap) {
			t.Fatalf("%s: got\n%+v, %v, want\n%+v, %v", doc, gotMap, gotErr, wantMap, wantErr)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, doc := range [][]byte{data, []byte((&generator{data}).object(0))} {
			if members, err := Object(doc); err == nil {
				same(t, doc, members)
			}
		}
	})
}
