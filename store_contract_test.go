package oidcrp_test

import (
	"testing"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/storetest"
)

func TestNewMemoryStore_KeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(testing.TB) oidcrp.Store { return oidcrp.NewMemoryStore(0) })
}

// The double must not differ from a Store, or the tests that use it prove nothing.
func TestHookStore_KeepsTheContract(t *testing.T) {
	t.Parallel()
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(testing.TB) oidcrp.Store { return oidcrp.NewHookStore(nil) })
	})
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		store := oidcrp.PlainStore(oidcrp.NewHookStore(nil))
		if _, ok := store.(oidcrp.SharedStore); ok {
			t.Error("PlainStore returns a SharedStore")
		}
		storetest.Run(t, func(testing.TB) oidcrp.Store { return store })
	})
}
