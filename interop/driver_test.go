package interop

import (
	"errors"
	"slices"
	"testing"
)

// flickering is an engine whose every look finds another document, as Firefox may between two pages.
type flickering struct {
	engine
	documents []string // an address and a text each; "" fails
	pressed   []string
}

func (f *flickering) load(string) error { return nil }

func (f *flickering) press(selector string) error {
	f.pressed = append(f.pressed, selector)
	return nil
}

func (f *flickering) value(string) (string, error) {
	if len(f.documents) == 0 {
		return "", errors.New("no document")
	}
	document := f.documents[0]
	f.documents = f.documents[1:]
	if document == "" {
		return "", errors.New("the realm is gone")
	}
	return document, nil
}

// TestTab_WaitsThroughDocumentsInBetween: a document that is none of the app's decides nothing, and
// what a step found is not asked for again.
func TestTab_WaitsThroughDocumentsInBetween(t *testing.T) {
	t.Parallel()
	app := &secureApp{base: "https://app.test"}
	question := app.base + "/auth/logout\nDo you want to sign out?"
	out := app.base + "/auth/logout/callback\nYou are signed out"
	for _, test := range []struct {
		name      string
		documents []string
		want      []string
	}{
		{"asked", []string{app.base + "/\nnobody", "", "about:blank\n", "", question, "about:blank\n", question,
			"https://op.test/session/end\n", "about:blank\n", out, "", out},
			[]string{"#out button", "form button", `button[name="logout"]`}},
		{"not asked", []string{"about:blank\n", "https://op.test/session/end\n", "about:blank\n", "", out, out},
			[]string{"#out button", `button[name="logout"]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &flickering{documents: test.documents}
			(&tab{t: t, engine: f}).signsOut(app)
			if !slices.Equal(f.pressed, test.want) {
				t.Errorf("pressed %q, want %q", f.pressed, test.want)
			}
		})
	}
}

// TestTab_WaitIgnoresBlankDocuments: a page is left when the next one is there.
func TestTab_WaitIgnoresBlankDocuments(t *testing.T) {
	t.Parallel()
	f := &flickering{documents: []string{"https://app.test/\nApp", "about:blank\n", "https://op.test/\nProvider"}}
	shown := (&tab{t: t, engine: f}).wait("to leave", func(s screen) bool { return s.address != "https://app.test/" })
	if want := (screen{"https://op.test/", "Provider"}); shown != want {
		t.Errorf("stopped at %q, want %q", shown, want)
	}
}

// TestTab_LacksIsNoEmptyCheck: a text that could not be read is not a text that lacks something.
func TestTab_LacksIsNoEmptyCheck(t *testing.T) {
	t.Parallel()
	f := &flickering{documents: []string{"", "about:blank\n", "https://app.test/me\n", "https://app.test/me\nAlice"}}
	(&tab{t: t, engine: f}).lacks("Bob")
	if len(f.documents) != 0 {
		t.Errorf("%d documents were not looked at", len(f.documents))
	}
}
