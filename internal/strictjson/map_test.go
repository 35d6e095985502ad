package strictjson

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestDecode_MapAsEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`true`, `false`, `null`, `""`, `"a"`, `"é"`, `"\u00e9"`, `"a\"b"`, `"\\"`, "\"\x7f\"", `{"a":"b"}`, `[1,"a"]`,
		`0`, `1`, `-1`, `-0`, `1.5`, `1e2`, `999999999999999`, `9007199254740993`, `18446744073709551616`, `1e400`,
		// Object lets none of these pass.
		``, `"`, `"a`, `"a"b"`, `"\"`, "\"\n\"", "\"\xff\"", `01`, `00`, `0x1`, `1_0`, `Inf`, `+1`, `tru`, `{`, `1 2`,
	} {
		var want any
		wantErr := json.Unmarshal([]byte(text), &want)
		got := make(map[string]any)
		err := Decode(Members{"a": json.RawMessage(text)}, &got)
		if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, map[string]any{"a": want}) {
			t.Errorf("%q: got %#v, %v, want %#v, %v", text, got["a"], err, want, wantErr)
		}
	}
}
