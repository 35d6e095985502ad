package main

import (
	"os"
	"strings"
	"testing"
)

// The program in the README is this one, so that it compiles.
func TestREADME_ShowsThisProgram(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(source), "package main")
	if !strings.Contains(string(readme), "```go\npackage main"+program+"```") {
		t.Error("README.md does not show main.go as it is")
	}
}
