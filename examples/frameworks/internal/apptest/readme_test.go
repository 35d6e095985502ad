package apptest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The README shows lines of the programs, so that they always compile.
func TestREADME_ShowsThePrograms(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../*/main.go")
	if err != nil || len(files) != 3 {
		t.Fatalf("the programs are %q, %v; want 3", files, err)
	}
	var programs [][]string
	for _, file := range files {
		programs = append(programs, lines(read(t, file)))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "../../README.md"), -1)
	if len(blocks) != 5 {
		t.Errorf("README.md has %d blocks of Go, want 5", len(blocks))
	}
	for _, block := range blocks {
		if !slices.ContainsFunc(programs, func(program []string) bool { return inOrder(program, lines(block[1])) }) {
			t.Errorf("no program has these lines of README.md in this order:\n%s", block[1])
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// lines returns the lines of text without their indentation.
func lines(text string) []string {
	var trimmed []string
	for line := range strings.Lines(text) {
		trimmed = append(trimmed, strings.TrimSpace(line))
	}
	return trimmed
}

// inOrder reports whether program has every line of shown, in this order.
func inOrder(program, shown []string) bool {
	for _, line := range shown {
		at := slices.Index(program, line)
		if at < 0 {
			return false
		}
		program = program[at+1:]
	}
	return true
}
