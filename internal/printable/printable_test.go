package printable

import "testing"

func TestText_IsPrintableAndCut(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 3, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"aé", 2, "a…"}, // no half of a character
		{"a\r\nb\x00\x1b", 9, "a..b.."},
		{"\xff\u202e\u2028é", 99, "...é"},
		{"…", 3, "…"},
	} {
		if got := Text(row.text, row.limit); got != row.want {
			t.Errorf("Text(%q, %d) = %q, want %q", row.text, row.limit, got, row.want)
		}
	}
}
