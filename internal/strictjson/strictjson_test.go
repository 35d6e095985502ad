package strictjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestObject_AcceptsEveryKindOfValue(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`{}`, `[]`, `null`, `true`, `false`, `""`, ` 0 `,
		`{"a":1,"A":2}`,
		`{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}`,
		"\t{\"a\" :\r\n[ 1 , 2 ] } ",
		`-0.5e+10`, `1E9`, `0`, `10`, `-0`,
		`"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00é😀"`,
		`"\ud83d"`, // half of a surrogate pair is strange, but it is one text
	} {
		members, err := Object([]byte(" {\"a\":" + value + "}\n"))
		if err != nil {
			t.Errorf("%s: %v", value, err)
		} else if got := string(members["a"]); got != strings.TrimSpace(value) || len(members) != 1 {
			t.Errorf("%s is read as %d members, a = %s", value, len(members), got)
		}
	}
	if members, err := Object([]byte(`{}`)); err != nil || len(members) != 0 || members == nil {
		t.Errorf("{} is read as %v, %v", members, err)
	}
}

// refused are documents, and why Object refuses them.
var refused = []struct{ why, doc string }{
	{"a member is given twice", `{"sub":"a","sub":"b"}`},
	{"a member is given twice", `{"sub":"a","s\u0075b":"b"}`},
	{"a member is given twice", `{"x":{"y":[{"a":1,"b":2,"a":3}]}}`},
	{"a member is given twice", `{"\ud800":1,"\udfff":2}`},

	{"more after", `{} {}`},
	{"more after", `{}x`},
	{"more after", "{}\x00"},
	{"more after", `{"a":1}1`},

	{"UTF-8", "{\"a\":\"\xff\"}"},
	{"UTF-8", "{\"a\":\"\xed\xa0\x80\"}"},

	{"not a JSON object", ``},
	{"not a JSON object", ` `},
	{"not a JSON object", "\ufeff{}"},
	{"not a JSON object", `[]`},
	{"not a JSON object", `null`},
	{"not a JSON object", `"a"`},
	{"not a JSON object", `1 2`},

	{"not a JSON value", `{"a":nul}`},
	{"not a JSON value", `{"a":TRUE}`},
	{"not a JSON value", `{"a":'a'}`},
	{"not a JSON value", `{"a":NaN}`},
	{"not a JSON value", `{"a":+1}`},
	{"not a JSON value", `{"a":}`},
	{"not a JSON value", `{"a":[,1]}`},
	{"a member name is missing", `{a:1}`},
	{"a member name is missing", `{,}`},
	{"a member name is missing", `{1:1}`},
	{"a member name is missing", `{`},
	{"a colon is missing", `{"a"1}`},
	{"a comma is missing", `{"a":[1 2]}`},
	{"a comma is missing", `{"a":[1`},
	{"a comma is missing", `{"a":1`},
	{"a comma is missing", `{"a":01}`},
	{"a comma too many", `{"a":[1,]}`},
	{"a comma too many", `{"a":1,}`},
	{"a broken number", `{"a":-}`},
	{"a broken number", `{"a":1.}`},
	{"a broken number", `{"a":1e}`},
	{"a broken number", `{"a":1e+-1}`},
	{"a broken number", `{"a":-a}`},
	{"a string without end", `{"a":"a`},
	{"a string without end", `{"a`},
	{"a broken escape", `{"a":"\x"}`},
	{"a broken escape", `{"a":"\u12g4"}`},
	{"a broken escape", `{"a":"\u12`},
	{"a control character", "{\"a\":\"a\nb\"}"},
}

func TestObject_Refuses(t *testing.T) {
	t.Parallel()
	for _, row := range refused {
		members, err := Object([]byte(row.doc))
		if err == nil || !strings.Contains(err.Error(), row.why) || members != nil {
			t.Errorf("Object(%q) = %v, %v, want %q", row.doc, members, err, row.why)
		}
	}
}

// nested returns an object whose innermost level is the depth'th.
func nested(depth int) []byte {
	open, closed := `{"a":`, `}`
	for i := range depth - 1 {
		if i%2 == 0 {
			open, closed = open+"[", "]"+closed
		} else {
			open, closed = open+`{"a":`, "}"+closed
		}
	}
	return []byte(open + "1" + closed)
}

func TestObject_BoundsDepth(t *testing.T) {
	t.Parallel()
	if _, err := Object(nested(MaxDepth)); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
	deep := bytes.Repeat([]byte(`{"a":[`), 100_000)
	for what, doc := range map[string][]byte{"one level more": nested(MaxDepth + 1), "100000 levels, never closed": deep} {
		if _, err := Object(doc); err == nil || !strings.Contains(err.Error(), "too deeply") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Only what is open counts.
	wide := `{"a":[` + strings.Repeat(`[{"b":[]}],`, 2*MaxDepth) + `{}]}`
	if _, err := Object([]byte(wide)); err != nil {
		t.Errorf("many arrays beside each other: %v", err)
	}
}

func TestObject_ErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		`{"s3cret":1,"s3cret":2}`, `{"a":"s3cret`, `s3cret`, `{} s3cret`, "{\"s3cret\":\"\xff\"}", `{"a":s3cret}`,
	} {
		if _, err := Object([]byte(doc)); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Object(%q) = %v", doc, err)
		}
	}
}

func TestObject_KeepsNamesExactly(t *testing.T) {
	t.Parallel()
	members := object(t, ` {"sub": "a", "SUB":"b", "\u0061ud":["c"], "nested":{"x": 1} }`)
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
}

func object(t testing.TB, doc string) Members {
	t.Helper()
	members, err := Object([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return members
}

func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.5e3,true,false,null,"\u00e9\n",{"b":{}}],"c":""}`, `{"a":1,"\u0061":2}`,
		`{"a":[[[[]]]]}`, "{\"a\":\"\xff\"}", `{"a":1}}`, `{"\ud83d\ude00":1,"\ud83d":2}`, `{"a":1e5}`, `{"a":"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := Object(data)
		if err != nil {
			isObject := json.Valid(data) && utf8.Valid(data) && bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{"))
			if isObject && !strings.Contains(err.Error(), "twice") && !strings.Contains(err.Error(), "deeply") {
				t.Fatalf("refused a sound object: %v", err)
			}
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
