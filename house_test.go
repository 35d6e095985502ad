package oidcrp

// This file tests the structure of the package: who may know whom, how large
// the public surface is, and how long functions are.

import (
	"bytes"
	"go/ast"
	"go/constant"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms are the owners of this package, from the top down, each with its files.
// A declaration may refer to those of its own room and of the rooms below it.
var rooms = []struct{ owner, files string }{
	{"Client and its handlers", "client config deviations doc env middleware crossorigin request callback initiate clientkeys " +
		"group group_choice logout logout_backchannel logout_frontchannel logout_query pages pages_texts silent"},
	{"requirements", "requirement"},
	{"refresher", "refresh refresh_auto refresh_lease session_context session_response"},
	{"logins", "login transaction"},
	{"sessions", "session session_claims session_object session_format session_keeper session_cookie session_store session_cache session_marks session_retry session_limit"},
	{"flow", "authorize token idtoken userinfo logouttoken"},
	{"provider", "discovery jwks clientauth encryption registration"},
	{"stores", "store store_memory"},
	{"cookies", "cookies cookiekeys"},
	{"leaf", "errors events returnto text"},
}

// roomOf returns the position of a file's room, -1 if it has none.
func roomOf(file string) int {
	name := strings.TrimSuffix(file, ".go")
	return slices.IndexFunc(rooms, func(room struct{ owner, files string }) bool {
		return slices.Contains(strings.Fields(room.files), name)
	})
}

// A house is the package's production code, parsed and type-checked.
type house struct {
	fset  *token.FileSet
	files map[string]*ast.File // by name
	info  *types.Info
	pkg   *types.Package
}

// openHouse reads the package, and planted as further files of it.
func openHouse(t *testing.T, planted map[string]string) *house {
	t.Helper()
	h := &house{
		fset:  token.NewFileSet(),
		files: make(map[string]*ast.File),
		info:  &types.Info{Uses: make(map[*ast.Ident]types.Object)},
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	add := func(name string, source any) {
		file, err := parser.ParseFile(h.fset, name, source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		h.files[name] = file
		files = append(files, file)
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			add(name, nil)
		}
	}
	for name, source := range planted {
		add(name, source)
	}
	config := types.Config{Importer: importer.ForCompiler(h.fset, "gc", exportData(t))}
	if h.pkg, err = config.Check("github.com/oidcrp/oidcrp", h.fset, files, h.info); err != nil {
		t.Fatal(err)
	}
	return h
}

// exportData returns a lookup of the compiled form of this package's imports.
func exportData(t *testing.T) importer.Lookup {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
}

// upward lists the references of the package that lead to a room above. room
// tells the position of a file's room.
func (h *house) upward(room func(file string) int) []string {
	var found []string
	for use, object := range h.info.Uses {
		if object.Pkg() != h.pkg || !object.Pos().IsValid() {
			continue
		}
		from, to := h.fset.Position(use.Pos()), h.fset.Position(object.Pos()).Filename
		if room(from.Filename) > room(to) {
			found = append(found, from.String()+" refers to "+object.Name()+" in "+to)
		}
	}
	slices.Sort(found)
	return found
}

func TestHouse_EveryFileHasARoom(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	for name := range h.files {
		if roomOf(name) < 0 {
			t.Errorf("%s is in no room: add it to the table", name)
		}
	}
	for _, room := range rooms {
		for _, name := range strings.Fields(room.files) {
			if h.files[name+".go"] == nil {
				t.Errorf("the room of the %s lists %s.go, which is not there", room.owner, name)
			}
		}
	}
}

func TestHouse_NothingRefersUpwards(t *testing.T) {
	t.Parallel()
	for _, reference := range openHouse(t, nil).upward(roomOf) {
		t.Error(reference)
	}
}

func TestHouse_AnUpwardReferenceIsFound(t *testing.T) {
	t.Parallel()
	for file, source := range map[string]string{
		"text.go":    `func planted(c *Client) {}`,
		"cookies.go": `func planted(s *Session) string { return s.id }`,
		"token.go":   `func (f *flow) planted() { _ = newPages }`,
		"session.go": `func (m *sessions) planted(l *logins) { l.openState("") }`,
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			h := openHouse(t, map[string]string{"planted.go": "package oidcrp\n" + source})
			found := h.upward(func(name string) int {
				if name == "planted.go" {
					name = file
				}
				return roomOf(name)
			})
			if len(found) == 0 {
				t.Errorf("an upward reference in %s is not found", file)
			}
		})
	}
}

// exported returns the exported names by go/doc's count, which are constants,
// variables, functions, types and their methods, and how many exported fields each
// struct has.
func (h *house) exported() (names []string, fields map[string]int) {
	files := slices.Collect(func(yield func(*ast.File) bool) {
		for _, file := range h.files {
			if !yield(file) {
				return
			}
		}
	})
	pkg, err := doc.NewFromFiles(h.fset, files, "github.com/oidcrp/oidcrp")
	if err != nil {
		panic(err)
	}
	values := func(list []*doc.Value) {
		for _, value := range list {
			names = append(names, value.Names...)
		}
	}
	functions := func(of string, list []*doc.Func) {
		for _, f := range list {
			names = append(names, of+f.Name)
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	functions("", pkg.Funcs)
	fields = make(map[string]int)
	for _, typ := range pkg.Types {
		names = append(names, typ.Name)
		values(typ.Consts)
		values(typ.Vars)
		functions("", typ.Funcs)
		functions(typ.Name+".", typ.Methods)
		if s, ok := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				fields[typ.Name] += len(field.Names)
			}
		}
	}
	return names, fields
}

func TestHouse_ThePublicSurfaceIsSmall(t *testing.T) {
	t.Parallel()
	all, fields := openHouse(t, nil).exported()
	var names, group []string // the surface of a Group is counted apart
	for _, name := range all {
		if name == "Group" || name == "NewGroup" || name == "Member" || strings.HasPrefix(name, "Group.") {
			group = append(group, name)
		} else {
			names = append(names, name)
		}
	}
	if len(names) > 120 {
		t.Errorf("%d exported identifiers, at most 120:\n%s", len(names), strings.Join(names, " "))
	}
	if len(group) > 10 || len(group) == 0 {
		t.Errorf("%d exported identifiers of a Group, at most 10:\n%s", len(group), strings.Join(group, " "))
	}
	for name, n := range fields {
		if name != "Metadata" && n > 25 { // its fields are registered names
			t.Errorf("%s has %d exported fields, at most 25", name, n)
		}
	}
}

// codes returns the values of the constants of type Code by name.
func (h *house) codes() map[string]Code {
	codes := make(map[string]Code)
	scope := h.pkg.Scope()
	for _, name := range scope.Names() {
		if c, ok := scope.Lookup(name).(*types.Const); ok && types.TypeString(c.Type(), types.RelativeTo(h.pkg)) == "Code" {
			codes[name] = Code(constant.StringVal(c.Val()))
		}
	}
	return codes
}

// Many tests go through allCodes, and readers through the table in README.
func TestHouse_EveryCodeIsListed(t *testing.T) {
	t.Parallel()
	codes := openHouse(t, nil).codes()
	known := allCodes[:len(allCodes)-1] // the last one is none of this version
	for name, code := range codes {
		if !slices.Contains(known, code) {
			t.Errorf("allCodes lacks %s", name)
		}
	}
	if len(codes) != len(known) || len(codes) == 0 {
		t.Errorf("there are %d codes, and allCodes lists %d", len(codes), len(known))
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}) \\| .+ \\|$").FindAllStringSubmatch(string(readme), -1)
	statuses := make(map[Code]string)
	for _, row := range rows {
		statuses[Code(row[1])] = row[2]
	}
	for name, code := range codes {
		if got, want := statuses[code], strconv.Itoa(statusOf(code)); got != want {
			t.Errorf("README's table has the status %q for %s, want %s", got, name, want)
		}
	}
	if len(rows) != len(codes) {
		t.Errorf("README's table has %d codes, want %d", len(rows), len(codes))
	}
}

func TestHouse_FunctionsFitInTheHead(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	var lengths []int
	for _, file := range h.files {
		for _, declaration := range file.Decls {
			f, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := h.fset.Position(f.End()).Line - h.fset.Position(f.Pos()).Line + 1
			lengths = append(lengths, n)
			if n > 60 {
				t.Errorf("%s has %d lines, at most 60", f.Name.Name, n)
			}
		}
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > 10 {
		t.Errorf("the median function has %d lines, at most 10", median)
	}
	if p95 := lengths[len(lengths)*95/100]; p95 > 51 {
		t.Errorf("one function in twenty has %d lines or more, at most 51", p95)
	}
}

func TestHouse_ThreeDirectDependencies(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for line := range bytes.Lines(mod) {
		if fields := strings.Fields(string(line)); len(fields) >= 2 &&
			strings.Contains(fields[0], "/") && strings.HasPrefix(fields[1], "v") && !strings.Contains(string(line), "// indirect") {
			direct++
		}
	}
	if direct != 3 {
		t.Errorf("%d direct dependencies, want 3:\n%s", direct, mod)
	}
}
