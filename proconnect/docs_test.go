package proconnect_test

// This file tests docs/en and docs/fr: they say the same, their programs compile, and
// the names in them exist.

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/proconnect"
)

// docPairs are the pages that both languages have.
var docPairs = []struct{ en, fr string }{
	{"en/guide.md", "fr/guide.md"},
	{"en/production.md", "fr/production.md"},
	{"en/origins.md", "fr/origines.md"},
	{"en/recipes.md", "fr/recettes.md"},
	{"en/troubleshooting.md", "fr/depannage.md"},
	{"en/franceconnect.md", "fr/franceconnect.md"},
}

// A doc is a page in its parts.
type doc struct {
	name   string
	text   string
	blocks []block // between fences
	prose  string  // the rest, without code spans
	levels []int   // of its headings, in order
}

type block struct{ language, code string }

var (
	fence    = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	heading  = regexp.MustCompile(`(?m)^(#+) \S`)
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

func readDoc(t *testing.T, name string) doc {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	d := doc{name: name, text: string(text)}
	for _, m := range fence.FindAllStringSubmatch(d.text, -1) {
		d.blocks = append(d.blocks, block{m[1], m[2]})
	}
	d.prose = codeSpan.ReplaceAllString(fence.ReplaceAllString(d.text, ""), "")
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(d.text, ""), -1) {
		d.levels = append(d.levels, len(m[1]))
	}
	return d
}

// everyDoc returns the names of the pages below docs/en and docs/fr.
func everyDoc(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, language := range []string{"en", "fr"} {
		err := fs.WalkDir(os.DirFS("../docs"), language, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func TestDocs_SaySameInBothLanguages(t *testing.T) {
	t.Parallel()
	paired := []string{"fr/README.md"} // the README is its counterpart
	for _, pair := range docPairs {
		paired = append(paired, pair.en, pair.fr)
		en, fr := readDoc(t, pair.en), readDoc(t, pair.fr)
		if len(en.levels) < 3 || !slices.Equal(en.levels, fr.levels) {
			t.Errorf("%s has headings of the levels %v, %s of %v", en.name, en.levels, fr.name, fr.levels)
		}
		for i, b := range en.blocks { // a placeholder is translated, too
			en.blocks[i].code = strings.ReplaceAll(b.code, "<this repository>", "<ce dépôt>")
		}
		if !slices.Equal(en.blocks, fr.blocks) {
			t.Errorf("%s and %s have different code:\n%q\n%q", en.name, fr.name, en.blocks, fr.blocks)
		}
		if rows := func(d doc) int { return strings.Count(d.text, "\n|") }; rows(en) != rows(fr) {
			t.Errorf("%s has %d rows in tables, %s %d", en.name, rows(en), fr.name, rows(fr))
		}
		if items := func(d doc) int { return strings.Count(d.text, "\n- ") }; items(en) != items(fr) {
			t.Errorf("%s has %d items in lists, %s %d", en.name, items(en), fr.name, items(fr))
		}
	}
	for _, name := range everyDoc(t) {
		if !slices.Contains(paired, name) {
			t.Errorf("%s is not compared with a page in the other language", name)
		}
	}
}

// fragment is the code around a block that is not a whole program.
const fragment = `package docs

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/franceconnect"
	"github.com/oidcrp/oidcrp/proconnect"
	"github.com/oidcrp/oidcrp/providers"
)

var _ = log.Print
var _ = os.ReadFile
var _ = json.Unmarshal
var _ context.Context
var _ = proconnect.Validate
var _ = franceconnect.Button
var _ = providers.AppleUser

func _(w http.ResponseWriter, r *http.Request, client *oidcrp.Client, mux *http.ServeMux,
	citizenClient, agentClient *oidcrp.Client, cfg oidcrp.Config, page http.Handler, dossier http.HandlerFunc,
	data *struct{ Button franceconnect.ButtonOptions }) {
%s}
`

func TestDocs_ProgramsCompile(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	// The overlay puts the programs into the module without writing them there.
	overlay := map[string]map[string]string{"Replace": {}}
	args := []string{"build", "-o", os.DevNull, "-overlay", filepath.Join(t.TempDir(), "overlay.json")}
	dir := t.TempDir()
	pages := []string{"providers.md"}
	for _, pair := range docPairs {
		pages = append(pages, pair.en) // the French programs are the same
	}
	for i, page := range pages {
		for j, b := range readDoc(t, page).blocks {
			if b.language != "go" {
				continue
			}
			if formatted, err := format.Source([]byte(b.code)); err != nil || string(formatted) != b.code {
				t.Errorf("%s: block %d is not formatted (%v):\n%s", page, j, err, b.code)
			}
			if !strings.HasPrefix(b.code, "package ") {
				b.code = fmt.Sprintf(fragment, b.code)
			}
			name := fmt.Sprintf("docs%d_%d", i, j)
			file := filepath.Join(dir, name+".go")
			if err := os.WriteFile(file, []byte(b.code), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay["Replace"][filepath.Join(root, name, "main.go")] = file
			args = append(args, "./"+name)
		}
	}
	if len(overlay["Replace"]) < 3 {
		t.Fatalf("%d programs: the documentation is not read as it should be", len(overlay["Replace"]))
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(args[4], text, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", args...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("go build: %v\n%s", err, out)
	}
}

func TestDocs_VariablesExist(t *testing.T) {
	source, err := os.ReadFile("../env.go")
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"PROCONNECT_ENVIRONMENT", "FRANCECONNECT_ENVIRONMENT"}
	for _, m := range regexp.MustCompile(`(?m)^\t"(OIDC_[A-Z_]+)":`).FindAllStringSubmatch(string(source), -1) {
		known = append(known, m[1])
	}
	if !slices.Contains(known, "OIDC_COOKIE_KEYS") {
		t.Fatalf("the variables are %q", known)
	}
	variable := regexp.MustCompile(`\b(?:OIDC|PROCONNECT|FRANCECONNECT)_[A-Z_]+\b`)
	for _, name := range append(everyDoc(t), "../README.md", "providers.md") {
		for _, found := range variable.FindAllString(readDoc(t, name).text, -1) {
			if !slices.Contains(known, found) {
				t.Errorf("%s names %s, which does not exist", name, found)
			}
		}
	}
}

func TestDocs_TroubleshootingHasEveryCode(t *testing.T) {
	t.Parallel()
	known := proconnect.KnownCodes()
	code := regexp.MustCompile(`\b(?:Y[0-9][0-9A-F]+…?|oidc-provider-(?:rendered-)?error:(?:[a-z_-]+|…))`)
	for _, name := range everyDoc(t) {
		if path.Base(name) == "franceconnect.md" {
			continue // its codes are FranceConnect's: see the package's own test
		}
		d := readDoc(t, name)
		for _, found := range code.FindAllString(d.text, -1) {
			general := proconnect.ExplainCode("?", "en").Meaning
			if !slices.Contains(known, found) && proconnect.ExplainCode(found, "en").Meaning == general {
				t.Errorf("%s names the unknown code %s", name, found)
			}
		}
	}
	for _, name := range []string{"en/troubleshooting.md", "fr/depannage.md"} {
		d := readDoc(t, name)
		for _, code := range known {
			if !strings.Contains(d.text, "`"+code+"`") {
				t.Errorf("%s does not have %s", name, code)
			}
		}
	}
}

func TestDocs_LinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, name := range append(everyDoc(t), "../README.md", "conformance.md", "security.md", "providers.md") {
		d := readDoc(t, name)
		for _, m := range link.FindAllStringSubmatch(d.prose, -1) {
			target, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if target.IsAbs() {
				if target.Scheme != "https" {
					t.Errorf("%s links to %s", name, m[1])
				}
				continue
			}
			file := filepath.Join("..", "docs", filepath.FromSlash(name), "..", filepath.FromSlash(target.Path))
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) || target.Fragment != "" {
				t.Errorf("%s links to %s, which does not exist", name, m[1])
			}
		}
	}
}

// The French texts have the apostrophes and the spaces that do not break which
// French typography asks for.
func TestDocs_FrenchTypography(t *testing.T) {
	t.Parallel()
	for what, mistake := range map[string]*regexp.Regexp{
		"a typewriter's apostrophe":      regexp.MustCompile(`\pL'\pL`),
		"a space that may break":         regexp.MustCompile(`.{0,20} [;:!?»]|« .{0,20}`),
		"no space":                       regexp.MustCompile(`.{0,20}[\pL\d)][;:!?»](?:\s|$)`),
		"a typewriter's quotation marks": regexp.MustCompile(`"`),
	} {
		for _, name := range everyDoc(t) {
			if !strings.HasPrefix(name, "fr/") {
				continue
			}
			for _, found := range mistake.FindAllString(link.ReplaceAllString(readDoc(t, name).prose, "]"), -1) {
				t.Errorf("%s: %s in %q", name, what, found)
			}
		}
	}
}
