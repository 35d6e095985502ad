package strictjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{}`, `[]`, `null`, `true`, `false`, `""`, ` 0 `,
		`{"a":1,"A":2}`,
		`{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}`,
		"\t{\"a\" :\r\n[ 1 , 2 ] } ",
		`-0.5e+10`, `1E9`, `0`, `10`, `-0`,
		`"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00é😀"`,
		`"\ud83d"`, // half of a pair is a strange text, but one text
	} {
		if err := Check([]byte(doc), MaxDepth); err != nil {
			t.Errorf("Check(%s) = %v", doc, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ why, doc string }{
		{"a member is given twice", `{"sub":"a","sub":"b"}`},
		{"a member is given twice", `{"sub":"a","s\u0075b":"b"}`},
		{"a member is given twice", `{"x":{"y":[{"a":1,"b":2,"a":3}]}}`},
		{"a member is given twice", `{"\ud800":1,"\udfff":2}`},

		{"more after", `{} {}`},
		{"more after", `{}x`},
		{"more after", `1 2`},
		{"more after", "{}\x00"},
		{"more after", `01`},

		{"UTF-8", "\"\xff\""},
		{"UTF-8", "\"\xed\xa0\x80\""},
		{"not a JSON value", "\ufeff{}"},

		{"not a JSON value", ``},
		{"not a JSON value", ` `},
		{"not a JSON value", `nul`},
		{"not a JSON value", `TRUE`},
		{"not a JSON value", `'a'`},
		{"not a JSON value", `NaN`},
		{"not a JSON value", `+1`},
		{"not a JSON value", `{"a":}`},
		{"not a JSON value", `[,1]`},
		{"a member name is missing", `{a:1}`},
		{"a member name is missing", `{,}`},
		{"a member name is missing", `{1:1}`},
		{"a member name is missing", `{`},
		{"a colon is missing", `{"a"1}`},
		{"a comma is missing", `[1 2]`},
		{"a comma is missing", `[1`},
		{"a comma is missing", `{"a":1`},
		{"a comma too many", `[1,]`},
		{"a comma too many", `{"a":1,}`},
		{"a broken number", `-`},
		{"a broken number", `1.`},
		{"a broken number", `1e`},
		{"a broken number", `1e+-1`},
		{"a broken number", `-a`},
		{"a string without end", `"a`},
		{"a string without end", `{"a`},
		{"a broken escape", `"\x"`},
		{"a broken escape", `"\u12g4"`},
		{"a broken escape", `"\u12`},
		{"a control character", "\"a\nb\""},
	} {
		err := Check([]byte(row.doc), MaxDepth)
		if err == nil || !strings.Contains(err.Error(), row.why) {
			t.Errorf("Check(%q) = %v, want %q", row.doc, err, row.why)
		}
	}
}

func TestCheckBoundsDepth(t *testing.T) {
	t.Parallel()
	nested := func(depth int) []byte {
		return []byte(strings.Repeat(`[{"a":`, depth/2) + "1" + strings.Repeat(`}]`, depth/2))
	}
	if err := Check(nested(MaxDepth), MaxDepth); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
	for _, depth := range []int{MaxDepth + 2, 200_000} {
		for _, doc := range [][]byte{nested(depth), nested(depth)[:depth*3]} {
			if err := Check(doc, MaxDepth); err == nil || !strings.Contains(err.Error(), "too deeply") {
				t.Errorf("depth %d: %v", depth, err)
			}
		}
	}
	if err := Check([]byte(`[]`), 0); err == nil {
		t.Error("an array is accepted where no depth is allowed")
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{"s3cret":1,"s3cret":2}`, `{"a":"s3cret`, `s3cret`, `{} s3cret`, "\"s3cret\xff\"",
	} {
		if err := Check([]byte(doc), MaxDepth); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Check(%q) = %v", doc, err)
		}
	}
}

func TestObject(t *testing.T) {
	t.Parallel()
	members, err := Object([]byte(` {"sub": "a", "SUB":"b", "\u0061ud":["c"], "nested":{"x": 1} }`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"sub": `"a"`, "SUB": `"b"`, "aud": `["c"]`, "nested": `{"x": 1}`,
	} {
		if got := string(members[name]); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if len(members) != 4 {
		t.Errorf("%d members, want 4", len(members))
	}
	for _, doc := range []string{`[]`, `null`, `"a"`, ``, `{"a":1}1`} {
		if _, err := Object([]byte(doc)); err == nil {
			t.Errorf("Object(%s) succeeds", doc)
		}
	}
}

func object(t *testing.T, doc string) Members {
	t.Helper()
	members, err := Object([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return members
}

func TestMembersReadWhatIsThere(t *testing.T) {
	t.Parallel()
	m := object(t, `{"s":"a\u00e9\n","list":["a","b"],"empty":[],"when":1700000000.5,"zero":0}`)
	if v, ok, err := m.String("s"); v != "aé\n" || !ok || err != nil {
		t.Errorf("String = %q, %v, %v", v, ok, err)
	}
	if v, ok, err := m.Strings("list"); strings.Join(v, " ") != "a b" || !ok || err != nil {
		t.Errorf("Strings = %q, %v, %v", v, ok, err)
	}
	if v, ok, err := m.Strings("empty"); len(v) != 0 || !ok || err != nil {
		t.Errorf("Strings = %q, %v, %v", v, ok, err)
	}
	if v, ok, err := m.StringOrStrings("s"); strings.Join(v, " ") != "aé\n" || !ok || err != nil {
		t.Errorf("StringOrStrings = %q, %v, %v", v, ok, err)
	}
	if v, ok, err := m.StringOrStrings("list"); strings.Join(v, " ") != "a b" || !ok || err != nil {
		t.Errorf("StringOrStrings = %q, %v, %v", v, ok, err)
	}
	if v, ok, err := m.Time("when"); !v.Equal(time.Unix(1700000000, 5e8)) || !ok || err != nil {
		t.Errorf("Time = %v, %v, %v", v, ok, err)
	}
	if v, ok, err := m.Time("zero"); !v.Equal(time.Unix(0, 0)) || !ok || err != nil {
		t.Errorf("Time = %v, %v, %v", v, ok, err)
	}
}

func TestMembersThatAreNullOrMissingAreAbsent(t *testing.T) {
	t.Parallel()
	m := object(t, `{"null":null}`)
	for _, name := range []string{"null", "missing"} {
		_, s, err1 := m.String(name)
		_, list, err2 := m.Strings(name)
		_, either, err3 := m.StringOrStrings(name)
		_, when, err4 := m.Time(name)
		if s || list || either || when || m.Has(name) {
			t.Errorf("%s counts as present", name)
		}
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestMembersOfAnotherTypeAreErrors(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"string": `"1700000000"`, "number": `1700000000`, "bool": `true`, "object": `{"a":"b"}`,
		"strings": `["a"]`, "mixed": `["a",1]`, "nulls": `["a",null]`, "nested": `[["a"]]`,
	}
	for kind, value := range values {
		m := object(t, `{"x":`+value+`}`)
		_, _, err1 := m.String("x")
		_, _, err2 := m.Strings("x")
		_, _, err3 := m.StringOrStrings("x")
		_, _, err4 := m.Time("x")
		for _, row := range []struct {
			getter string
			err    error
			right  bool
		}{
			{"String", err1, kind == "string"},
			{"Strings", err2, kind == "strings"},
			{"StringOrStrings", err3, kind == "string" || kind == "strings"},
			{"Time", err4, kind == "number"},
		} {
			if (row.err == nil) != row.right {
				t.Errorf("%s of %s: %v", row.getter, value, row.err)
			}
		}
	}
}

func TestTimeIsBounded(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"-1", "253402300800", "1e300", "1e999999999", "-0.5"} {
		if v, _, err := object(t, `{"exp":`+number+`}`).Time("exp"); err == nil {
			t.Errorf("Time(%s) = %v", number, v)
		}
	}
	for _, number := range []string{"0", "253402300799", "1.7e9", "1700000000.999999999"} {
		if _, _, err := object(t, `{"exp":`+number+`}`).Time("exp"); err != nil {
			t.Errorf("Time(%s): %v", number, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e3,true,false,null,"\u00e9\n",{"b":{}}],"c":""}`, `{"a":1,"\u0061":2}`,
		`[[[[]]]]`, "\xff", `{"a":1}}`, `{"\ud83d\ude00":1,"\ud83d":2}`, `1e5`, `"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Check(data, MaxDepth)
		members, objectErr := Object(data)
		if err != nil {
			if objectErr == nil {
				t.Fatal("Object accepts what Check refuses")
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted, but not JSON")
		}
		if objectErr != nil {
			return
		}
		var loose map[string]json.RawMessage
		if err := json.Unmarshal(data, &loose); err != nil || len(loose) != len(members) {
			t.Fatalf("%d members, encoding/json sees %d (%v)", len(members), len(loose), err)
		}
		for name, raw := range loose {
			if !bytes.Equal(raw, members[name]) {
				t.Fatalf("%q is %s, encoding/json sees %s", name, members[name], raw)
			}
		}
	})
}

func BenchmarkObject(b *testing.B) {
	claims := []byte(`{"iss":"https://login.example.gouv.fr/api/v2","sub":"704e024229015d2bd47f7a5e5ab05b35c8336ab403c38022985f8cfadc86fe91",` +
		`"aud":"6925fb8143c76eded44d32b40c0cb1006065f7f003de52712b78985704f39950","exp":1800000300,"iat":1800000000,` +
		`"nonce":"n-0S6_WzA2Mj","acr":"eidas1","amr":["pwd","mfa"],"auth_time":1800000000,"at_hash":"MTIzNDU2Nzg5MDEyMzQ1Ng"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Object(claims); err != nil {
			b.Fatal(err)
		}
	}
}

func TestAppendJSONWritesWhatObjectRead(t *testing.T) {
	t.Parallel()
	const text = `{"a":1,"a\"b\\c\u0000":[true,{"d":null}],"é\u2028":"<\u003c>"}`
	members, err := Object([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	written := members.AppendJSON([]byte("before "))[len("before "):]
	again, err := Object(written)
	if err != nil {
		t.Fatalf("%s: %v", written, err)
	}
	if !reflect.DeepEqual(members, again) {
		t.Errorf("wrote %s for %s", written, text)
	}
	if empty := string(Members(nil).AppendJSON(nil)); empty != "{}" {
		t.Errorf("wrote %s for no members", empty)
	}
}
