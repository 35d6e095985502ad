package strictjson

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMembers_ReadWhatIsThere(t *testing.T) {
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

func TestMembers_NullOrMissingIsAbsent(t *testing.T) {
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

func TestMembers_AnotherTypeIsAnError(t *testing.T) {
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

func TestMembers_TimeIsBounded(t *testing.T) {
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

func TestMembers_AppendJSONWritesWhatObjectRead(t *testing.T) {
	t.Parallel()
	const text = `{"a":1,"a\"b\\c\u0000":[true,{"d":null}],"é\u2028":"<\u003c>"}`
	members := object(t, text)
	written := members.AppendJSON([]byte("before "))[len("before "):]
	again := object(t, string(written))
	if !reflect.DeepEqual(members, again) {
		t.Errorf("wrote %s for %s", written, text)
	}
	if got, want := string(object(t, `{"b": [1, 2] , "a":"x"}`).AppendJSON(nil)), `{"a":"x","b":[1, 2]}`; got != want {
		t.Errorf("wrote %s, want %s", got, want)
	}
	if empty := string(Members(nil).AppendJSON(nil)); empty != "{}" {
		t.Errorf("wrote %s for no members", empty)
	}
}
