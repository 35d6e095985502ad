package main

import (
	"testing"

	"github.com/oidcrp/oidcrp/examples/frameworks/internal/apptest"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	apptest.Run(t, newHandler)
}
