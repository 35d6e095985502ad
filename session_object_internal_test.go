package oidcrp

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestObject_KnowsItsMembersInTheirOrder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][][2]string{
		``:                         nil,
		`{}`:                       nil,
		`{"a":1,"b":"c","d":null}`: {{"a", "1"}, {"b", `"c"`}, {"d", "null"}},
		" { \"a\" :\t[1, 2] ,\n\"\" : {\"a\":3} } ":     {{"a", "[1, 2]"}, {"", `{"a":3}`}},
		`{"s\u0075b":"x","a":"y","\u00e9\n":"z","é":1}`: {{"sub", `"x"`}, {"a", `"y"`}, {"é\n", `"z"`}, {"é", "1"}},
	} {
		o, err := parseObject(text)
		var got [][2]string
		for i := range o.members {
			m := &o.members[i]
			if found := o.find(o.name(m)); found != m {
				t.Errorf("%s: %q is found as %+v", text, o.name(m), found)
			}
			got = append(got, [2]string{o.name(m), o.value(m)})
		}
		if err != nil || !slices.Equal(got, want) || o.find("missing") != nil {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzObject(f *testing.F) {
	for _, seed := range []string{`{"a":1,"s\u0075b":{"b":[true]}}`, " {\n\"\\\\\" :\"\\u0000\", \"é\" : -0.5e+1 } ", `{"a":1,"\u0061":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseObject(text)
		var want map[string]json.RawMessage
		if err != nil || text == "" {
			return
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil || len(want) != len(o.members) {
			t.Fatalf("%d members, want %d (%v)", len(o.members), len(want), err)
		}
		for name, value := range want {
			if m := o.find(name); m == nil || o.value(m) != string(value) {
				t.Fatalf("%q is %+v, want %s", name, m, value)
			}
		}
		v := newVocabulary("https://op.example", "app")
		d := &sessionDecoder{rest: appendObject(nil, &o, v)}
		again := d.object(v)
		if d.failed || again.text != o.text || !slices.Equal(again.members, o.members) || again.escaped != o.escaped {
			t.Fatalf("read back as %+v, want %+v", again, o)
		}
	})
}
