// Package storetest tests implementations of [oidcrp.Store] and
// [oidcrp.SharedStore].
package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
)

// Run tests that a store keeps the contract of [oidcrp.Store], and that of
// [oidcrp.SharedStore] if it is one; the test's log says so. Each promise is a
// subtest. Run it with the race detector:
//
//	func TestMyStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) oidcrp.Store {
//			return NewMyStore(t.TempDir())
//		})
//	}
//
// Run calls newStore with t for each subtest. NewStore may return the same store
// every time: no key is used twice, and the tests ignore the keys of others. The
// subtests run at the same time, whatever -parallel says, and take a few seconds
// because entries must expire. If the store computes the time at which an entry
// expires, its clock must agree with this machine's.
//
// A store in memory may ignore that ctx has ended. Whether a slow store returns when
// ctx ends is not tested, because only the store's author can make it slow.
func Run(t *testing.T, newStore func(t testing.TB) oidcrp.Store) {
	t.Helper()
	probe := newStore(t)
	var wg sync.WaitGroup
	defer wg.Wait() // before the cleanups of newStore
	type running struct {
		name string
		done chan error
	}
	var all []running
	for _, check := range checksFor(t, probe) {
		store, done := newStore(t), make(chan error, 1)
		all = append(all, running{check.name, done})
		wg.Go(func() { done <- runCheck(t.Context(), store, check) })
	}
	for _, check := range all {
		t.Run(check.name, func(t *testing.T) {
			if err := <-check.done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A check is one promise of the contract.
type check struct {
	name string // a sentence that is true of a correct store
	run  func(*probe) error
}

// checksFor returns the checks for store, and logs which contract it has.
func checksFor(t *testing.T, store oidcrp.Store) []check {
	t.Helper()
	if _, ok := store.(oidcrp.SharedStore); ok {
		t.Logf("%T is a SharedStore", store)
		return append(append([]check(nil), storeChecks...), sharedChecks...)
	}
	t.Logf("%T is a Store but not a SharedStore; missing or with another signature: %s", store, strings.Join(missing(store), ", "))
	return storeChecks
}

// missing returns the methods of SharedStore that store does not have.
func missing(store oidcrp.Store) []string {
	var names []string
	if _, ok := store.(interface {
		Touch(ctx context.Context, key string, ttl time.Duration) error
	}); !ok {
		names = append(names, "Touch")
	}
	if _, ok := store.(interface {
		Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error)
	}); !ok {
		names = append(names, "Add")
	}
	if _, ok := store.(interface {
		GetMany(ctx context.Context, keys []string) ([][]byte, error)
	}); !ok {
		names = append(names, "GetMany")
	}
	return names
}

// patience bounds each call of a store under test, and how late it may drop what
// has expired.
const patience = 5 * time.Second

func runCheck(ctx context.Context, store oidcrp.Store, check check) error {
	ctx, cancel := context.WithTimeout(ctx, 12*patience)
	defer cancel()
	return check.run(&probe{ctx: ctx, store: store})
}

var errStuck = errors.New("has not returned")

// within returns what call returns, or an error if it takes longer than patience.
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
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timeout.C:
		return *new(T), fmt.Errorf("%s %w after %v", what, errStuck, patience)
	}
}

// returns is within for a call that returns no value.
func returns(what string, call func() error) error {
	_, err := within(what, func() (struct{}, error) { return struct{}{}, call() })
	return err
}
