package oidctest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// A Store is what [TestStore] tests: an oidcrp.Store, which says what each method
// promises.
type Store interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error
	Delete(ctx context.Context, key string) error
}

// The optional parts of the contract.
type (
	touchStore interface {
		Touch(ctx context.Context, key string, ttl time.Duration) error
	}
	addStore interface {
		Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error)
	}
	getManyStore interface {
		GetMany(ctx context.Context, keys []string) ([][]byte, error)
	}
)

// A storeCheck is one promise of the contract.
type storeCheck struct {
	name string // a sentence that is true of a sound store
	run  func(*storeProbe) error
}

// A storePart is a part of the contract, which a store has or has not.
type storePart struct {
	name   string
	has    func(Store) bool
	checks []storeCheck
}

func storeParts() []storePart {
	return []storePart{
		{"Get, Set and Delete", func(Store) bool { return true }, storeChecks},
		{"Touch", func(s Store) bool { _, ok := s.(touchStore); return ok }, touchChecks},
		{"Add", func(s Store) bool { _, ok := s.(addStore); return ok }, addChecks},
		{"GetMany", func(s Store) bool { _, ok := s.(getManyStore); return ok }, getManyChecks},
	}
}

// TestStore tests that a session store keeps the contract of oidcrp.Store, each
// promise in a subtest, and the contracts of TouchStore, AddStore and GetManyStore
// where the store has the methods; the test's log says which. Run it with the race
// detector:
//
//	func TestMyStore(t *testing.T) {
//		oidctest.TestStore(t, func(t testing.TB) *MyStore {
//			return NewMyStore(t.TempDir())
//		})
//	}
//
// newStore is called with t for each subtest, and may return the same store every
// time: no key is used twice, and nothing is expected of keys that others use. What
// the subtests report runs all at once, whatever -parallel says, and takes a few
// seconds, since entries must expire. The clock of a store that is told when an entry
// expires, rather than after how long, must agree with this machine's.
//
// A store within the process may ignore that ctx has ended. That a slow store gives
// up when ctx ends is not tested, since only the store's author can make it slow.
func TestStore[S Store](t *testing.T, newStore func(t testing.TB) S) {
	probe := Store(newStore(t))
	var wg sync.WaitGroup
	defer wg.Wait() // before the cleanups of newStore
	type running struct {
		name string
		done chan error
	}
	var all []running
	for _, part := range storeParts() {
		if !part.has(probe) {
			t.Logf("without %s, which %T does not have", part.name, probe)
			continue
		}
		t.Logf("with %s", part.name)
		for _, check := range part.checks {
			store, done := newStore(t), make(chan error, 1)
			all = append(all, running{check.name, done})
			wg.Go(func() { done <- runStoreCheck(t.Context(), store, check) })
		}
	}
	for _, check := range all {
		t.Run(check.name, func(t *testing.T) {
			if err := <-check.done; err != nil {
				t.Error(err)
			}
		})
	}
}

// storePatience bounds each call of a store under test, and how late it may forget
// what has expired.
const storePatience = 5 * time.Second

func runStoreCheck(ctx context.Context, store Store, check storeCheck) error {
	ctx, cancel := context.WithTimeout(ctx, 12*storePatience)
	defer cancel()
	return check.run(&storeProbe{ctx: ctx, store: store})
}

var errStuck = errors.New("has not returned")

// within returns what call returns, or an error when it takes longer than
// storePatience.
func within[T any](what string, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := call()
		done <- result{value, err}
	}()
	timeout := time.NewTimer(storePatience)
	defer timeout.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timeout.C:
		return *new(T), fmt.Errorf("%s %w after %v", what, errStuck, storePatience)
	}
}

// returns is within for a call that returns no value.
func returns(what string, call func() error) error {
	_, err := within(what, func() (struct{}, error) { return struct{}{}, call() })
	return err
}
