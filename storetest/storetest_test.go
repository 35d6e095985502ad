package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oidcrp/oidcrp"
)

// A plainStore is a correct Store.
type plainStore struct {
	mu      sync.Mutex
	entries map[string]stored // guarded by mu
}

type stored struct {
	value   []byte
	expires time.Time
}

func (s *plainStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.entries[key]
	if !ok || !time.Now().Before(entry.expires) {
		return nil, oidcrp.ErrNotFound
	}
	return bytes.Clone(entry.value), nil
}

func (s *plainStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.keep(ctx, key, bytes.Clone(value), ttl)
}

func (s *plainStore) keep(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = map[string]stored{}
	}
	s.entries[key] = stored{value, time.Now().Add(ttl)}
	return nil
}

func (s *plainStore) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
	return nil
}

// A sharedStore is a correct SharedStore.
type sharedStore struct {
	plainStore
	adding sync.Mutex
}

func (s *sharedStore) Touch(ctx context.Context, key string, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry, ok := s.entries[key]; ok && time.Now().Before(entry.expires) {
		s.entries[key] = stored{entry.value, time.Now().Add(ttl)}
	}
	return ctx.Err()
}

func (s *sharedStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	s.adding.Lock()
	defer s.adding.Unlock()
	if _, err := s.Get(ctx, key); !errors.Is(err, oidcrp.ErrNotFound) {
		return false, err
	}
	return true, s.Set(ctx, key, value, ttl)
}

func (s *sharedStore) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		value, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, oidcrp.ErrNotFound) {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

func TestRun_CorrectStoresPass(t *testing.T) {
	t.Parallel()
	t.Run("Store", func(t *testing.T) {
		Run(t, func(testing.TB) oidcrp.Store { return new(plainStore) })
	})
	t.Run("SharedStore", func(t *testing.T) {
		shared := new(sharedStore)
		Run(t, func(testing.TB) oidcrp.Store { return shared })
	})
}

// A faultyStore is a sharedStore with a method replaced.
type faultyStore struct {
	sharedStore
	get     func(ctx context.Context, key string) ([]byte, error)
	set     func(ctx context.Context, key string, value []byte, ttl time.Duration) error
	del     func(ctx context.Context, key string) error
	touch   func(ctx context.Context, key string, ttl time.Duration) error
	add     func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error)
	getMany func(ctx context.Context, keys []string) ([][]byte, error)
}

func (s *faultyStore) Get(ctx context.Context, key string) ([]byte, error) {
	if s.get != nil {
		return s.get(ctx, key)
	}
	return s.sharedStore.Get(ctx, key)
}

func (s *faultyStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.set != nil {
		return s.set(ctx, key, value, ttl)
	}
	return s.sharedStore.Set(ctx, key, value, ttl)
}

func (s *faultyStore) Delete(ctx context.Context, key string) error {
	if s.del != nil {
		return s.del(ctx, key)
	}
	return s.sharedStore.Delete(ctx, key)
}

func (s *faultyStore) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if s.touch != nil {
		return s.touch(ctx, key, ttl)
	}
	return s.sharedStore.Touch(ctx, key, ttl)
}

func (s *faultyStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	if s.add != nil {
		return s.add(ctx, key, value, ttl)
	}
	return s.sharedStore.Add(ctx, key, value, ttl)
}

func (s *faultyStore) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	if s.getMany != nil {
		return s.getMany(ctx, keys)
	}
	return s.sharedStore.GetMany(ctx, keys)
}

// A fault breaks a store so that the named checks fail.
type fault struct {
	name   string
	breaks func(*faultyStore)
	caught []string
}

const expiryCheck = "an entry expires when its ttl has passed, not before"

var faults = []fault{
	{"Get has an error of its own for a missing key", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.sharedStore.Get(ctx, key)
			if err != nil {
				err = errors.New("no rows")
			}
			return value, err
		}
	}, []string{"a key that was never set is not found", "a deleted key is not found"}},
	{"Get returns nil and no error for a missing key", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.sharedStore.Get(ctx, key)
			if errors.Is(err, oidcrp.ErrNotFound) {
				err = nil
			}
			return value, err
		}
	}, []string{"a key that was never set is not found"}},
	{"every error is ErrNotFound", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.sharedStore.Get(ctx, key)
			if err != nil {
				err = fmt.Errorf("%w: %w", oidcrp.ErrNotFound, err)
			}
			return value, err
		}
	}, []string{"a call whose ctx has ended does not report a missing key"}},
	{"Get does not return when ctx has ended", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			if ctx.Err() != nil {
				time.Sleep(time.Minute)
			}
			return s.sharedStore.Get(ctx, key)
		}
	}, []string{"a call whose ctx has ended does not report a missing key"}},
	{"Set does nothing when ctx has ended, and returns nil", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			_ = s.sharedStore.Set(ctx, key, value, ttl)
			return nil
		}
	}, []string{"a call whose ctx has ended does not report a missing key"}},
	{"an empty value is a missing key", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.sharedStore.Get(ctx, key)
			if err == nil && len(value) == 0 {
				err = oidcrp.ErrNotFound
			}
			return value, err
		}
	}, []string{"an empty value is a value"}},
	{"values are text", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return s.sharedStore.Set(ctx, key, []byte(strings.ToValidUTF8(string(value), "?")), ttl)
		}
	}, []string{"every byte comes back"}},
	{"values end at a zero byte", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			value, _, _ = bytes.Cut(value, []byte{0})
			return s.sharedStore.Set(ctx, key, value, ttl)
		}
	}, []string{"every byte comes back"}},
	{"values are cut at 64 KiB", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return s.sharedStore.Set(ctx, key, value[:min(len(value), 64<<10)], ttl)
		}
	}, []string{"a session of 256 KiB, sealed, has room"}},
	{"Set does not copy the value", func(s *faultyStore) { s.set = s.keep }, []string{"Set keeps a copy of the value"}},
	{"Set does nothing", func(s *faultyStore) {
		s.set = func(context.Context, string, []byte, time.Duration) error { return nil }
	}, []string{"a value that was set is there"}},
	{"Set leaves a key that exists", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			_, err := s.Add(ctx, key, value, ttl)
			return err
		}
	}, []string{"Set replaces what was there", "Set restarts the ttl"}},
	{"keys are compared without case", func(s *faultyStore) { s.mapKeys(strings.ToLower) }, []string{"keys that differ in case are two"}},
	{"keys are cut", func(s *faultyStore) {
		s.mapKeys(func(key string) string { return key[:min(len(key), 32)] })
	}, []string{"keys that differ in one character are two"}},
	{"keys are patterns", func(s *faultyStore) {
		s.mapKeys(func(key string) string { return strings.ReplaceAll(key, "_", "-") })
	}, []string{"keys that differ in one character are two"}},
	{"Delete does nothing", func(s *faultyStore) {
		s.del = func(context.Context, string) error { return nil }
	}, []string{"a deleted key is not found"}},
	{"Delete empties the store", func(s *faultyStore) {
		s.del = func(context.Context, string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			clear(s.entries)
			return nil
		}
	}, []string{"a deleted key is not found", "concurrent calls do not disturb each other"}},
	{"Delete of a missing key fails", func(s *faultyStore) {
		s.del = func(ctx context.Context, key string) error {
			_, err := s.Get(ctx, key)
			return errors.Join(err, s.sharedStore.Delete(ctx, key))
		}
	}, []string{"Delete of a key that does not exist returns nil"}},
	{"entries never expire", func(s *faultyStore) { s.mapTTL(func(time.Duration) time.Duration { return time.Hour }) }, []string{expiryCheck}},
	{"entries expire early", func(s *faultyStore) {
		s.mapTTL(func(ttl time.Duration) time.Duration { return ttl - ttl/10 })
	}, []string{expiryCheck}},
	{"the unit of the ttl is wrong", func(s *faultyStore) {
		s.mapTTL(func(ttl time.Duration) time.Duration { return ttl / 1000 })
	}, []string{expiryCheck}},
	{"Set keeps the earlier ttl", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			s.mu.Lock()
			if entry, ok := s.entries[key]; ok && time.Now().Before(entry.expires) {
				ttl = time.Until(entry.expires)
			}
			s.mu.Unlock()
			return s.sharedStore.Set(ctx, key, value, ttl)
		}
	}, []string{"Set restarts the ttl"}},
	{"the values of two callers are mixed", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			half := len(value) / 2
			old, err := s.Get(ctx, key)
			if err == nil && len(old) == len(value) {
				value = slices.Concat(value[:half], old[half:])
			}
			return s.sharedStore.Set(ctx, key, value, ttl)
		}
	}, []string{"concurrent calls do not disturb each other"}},

	{"Touch does nothing", func(s *faultyStore) {
		s.touch = func(context.Context, string, time.Duration) error { return nil }
	}, []string{"Touch extends an entry and leaves its value", "Touch can shorten an entry's life"}},
	{"Touch drops the value", func(s *faultyStore) {
		s.touch = func(ctx context.Context, key string, ttl time.Duration) error {
			if _, err := s.Get(ctx, key); err != nil {
				return nil
			}
			return s.Set(ctx, key, nil, ttl)
		}
	}, []string{"Touch extends an entry and leaves its value"}},
	{"Touch of a missing key fails", func(s *faultyStore) {
		s.touch = func(ctx context.Context, key string, ttl time.Duration) error {
			_, err := s.Get(ctx, key)
			return errors.Join(err, s.sharedStore.Touch(ctx, key, ttl))
		}
	}, []string{"Touch of a key that does not exist does nothing"}},
	{"Touch creates a missing key", func(s *faultyStore) {
		s.touch = func(ctx context.Context, key string, ttl time.Duration) error {
			value, _ := s.Get(ctx, key)
			return s.Set(ctx, key, value, ttl)
		}
	}, []string{"Touch of a key that does not exist does nothing"}},
	{"Touch revives an expired entry", func(s *faultyStore) {
		s.touch = func(_ context.Context, key string, ttl time.Duration) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if entry, ok := s.entries[key]; ok {
				s.entries[key] = stored{entry.value, time.Now().Add(ttl)}
			}
			return nil
		}
	}, []string{"Touch does not revive an expired entry"}},

	{"Add always reports true", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			_, err := s.sharedStore.Add(ctx, key, value, ttl)
			return true, err
		}
	}, []string{"Add leaves a key that exists", "one of many concurrent Adds succeeds"}},
	{"Add never reports true", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			_, err := s.sharedStore.Add(ctx, key, value, ttl)
			return false, err
		}
	}, []string{"Add sets a key that does not exist", "one of many concurrent Adds succeeds"}},
	{"Add replaces a key that exists", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			_, err := s.Get(ctx, key)
			return err != nil, s.Set(ctx, key, value, ttl)
		}
	}, []string{"Add leaves a key that exists"}},
	{"Add is two steps", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			if _, err := s.Get(ctx, key); err == nil {
				return false, nil
			}
			time.Sleep(time.Millisecond)
			return true, s.Set(ctx, key, value, ttl)
		}
	}, []string{"one of many concurrent Adds succeeds"}},
	{"Add has no ttl", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, _ time.Duration) (bool, error) {
			return s.sharedStore.Add(ctx, key, value, time.Hour)
		}
	}, []string{"an entry that was added expires, and can be added again"}},
	{"Add extends a key that exists", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			added, err := s.sharedStore.Add(ctx, key, value, ttl)
			return added, errors.Join(err, s.Touch(ctx, key, ttl))
		}
	}, []string{"Add that finds a key does not extend it"}},
	{"Add finds an expired key", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			s.mu.Lock()
			_, ok := s.entries[key]
			s.mu.Unlock()
			if ok {
				return false, nil
			}
			return s.sharedStore.Add(ctx, key, value, ttl)
		}
	}, []string{"Add sets a key that has expired and was not read since"}},

	{"GetMany has an order of its own", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			return s.sharedStore.GetMany(ctx, slices.Sorted(slices.Values(keys)))
		}
	}, []string{"GetMany returns the values in the order of the keys"}},
	{"GetMany leaves out missing keys", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.sharedStore.GetMany(ctx, keys)
			return slices.DeleteFunc(values, func(value []byte) bool { return value == nil }), err
		}
	}, []string{"GetMany returns nil for a key that does not exist"}},
	{"GetMany fails for a missing key", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.sharedStore.GetMany(ctx, keys)
			if slices.ContainsFunc(values, func(value []byte) bool { return value == nil }) {
				err = oidcrp.ErrNotFound
			}
			return values, err
		}
	}, []string{"GetMany returns nil for a key that does not exist"}},
	{"GetMany returns an empty value for a missing key", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.sharedStore.GetMany(ctx, keys)
			for i := range values {
				values[i] = append([]byte{}, values[i]...)
			}
			return values, err
		}
	}, []string{"GetMany returns nil for a key that does not exist", "GetMany returns nil for an expired entry"}},
	{"GetMany returns nil for an empty value", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.sharedStore.GetMany(ctx, keys)
			for i := range values {
				values[i] = append([]byte(nil), values[i]...)
			}
			return values, err
		}
	}, []string{"GetMany does not return nil for an empty value"}},
	{"GetMany returns expired values", func(s *faultyStore) {
		s.getMany = func(_ context.Context, keys []string) ([][]byte, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			values := make([][]byte, len(keys))
			for i, key := range keys {
				values[i] = s.entries[key].value
			}
			return values, nil
		}
	}, []string{"GetMany returns nil for an expired entry"}},
	{"GetMany returns each value once", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			places := map[string]int{}
			for i, key := range keys {
				places[key] = i
			}
			values := make([][]byte, len(keys))
			for key, i := range places {
				values[i], _ = s.Get(ctx, key)
			}
			return values, ctx.Err()
		}
	}, []string{"GetMany accepts a key twice"}},
	{"GetMany fails without keys", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			if len(keys) == 0 {
				return nil, errors.New("wrong number of arguments")
			}
			return s.sharedStore.GetMany(ctx, keys)
		}
	}, []string{"GetMany of no keys returns no values and no error"}},
	{"GetMany takes an error for a missing key", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values := make([][]byte, len(keys))
			for i, key := range keys {
				values[i], _ = s.Get(ctx, key)
			}
			return values, nil
		}
	}, []string{"GetMany whose ctx has ended does not report a missing key"}},
}

// mapKeys makes the store use other keys than it is given.
func (s *faultyStore) mapKeys(to func(string) string) {
	s.get = func(ctx context.Context, key string) ([]byte, error) { return s.sharedStore.Get(ctx, to(key)) }
	s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
		return s.sharedStore.Set(ctx, to(key), value, ttl)
	}
	s.del = func(ctx context.Context, key string) error { return s.sharedStore.Delete(ctx, to(key)) }
}

// mapTTL makes Set keep entries for another ttl than it was given.
func (s *faultyStore) mapTTL(to func(time.Duration) time.Duration) {
	s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
		return s.sharedStore.Set(ctx, key, value, to(ttl))
	}
}

// failures runs every check on stores of newStore, in a bubble of its own clock.
func failures(t *testing.T, newStore func() oidcrp.Store) map[string]error {
	t.Helper()
	failed := map[string]error{}
	for _, check := range checksFor(t, newStore()) {
		synctest.Test(t, func(t *testing.T) {
			if err := runCheck(t.Context(), newStore(), check); err != nil {
				failed[check.name] = err
			}
			time.Sleep(time.Hour) // by then every call that hung has returned
		})
	}
	return failed
}

func TestRun_CatchesEveryFault(t *testing.T) {
	t.Parallel()
	correct := failures(t, func() oidcrp.Store { return new(faultyStore) })
	if len(correct) > 0 {
		t.Fatalf("a correct store fails: %v", correct)
	}
	useful := map[string]bool{}
	for _, fault := range faults {
		failed := failures(t, func() oidcrp.Store {
			s := new(faultyStore)
			fault.breaks(s)
			return s
		})
		for _, name := range fault.caught {
			if failed[name] == nil {
				t.Errorf("%s: not noticed by %q, but by %q", fault.name, name, slices.Sorted(maps.Keys(failed)))
			}
		}
		for name := range failed {
			useful[name] = true
		}
	}
	for _, check := range checksFor(t, new(faultyStore)) {
		if !useful[check.name] {
			t.Errorf("no fault is caught by %q", check.name)
		}
	}
}

// almostShared has two of the three methods of a SharedStore, one of them with
// another signature.
type almostShared struct{ plainStore }

func (*almostShared) Touch(context.Context, string, time.Duration) error { return nil }
func (*almostShared) Add(context.Context, string, []byte) (bool, error)  { return true, nil }

// TestRun_FailsItsTest runs itself in a process of its own, where a fault must fail
// the test given to Run, and the log must say which contract was tested.
func TestRun_FailsItsTest(t *testing.T) {
	t.Parallel()
	const flag = "STORETEST_FAULTY_STORE"
	if os.Getenv(flag) != "" {
		Run(t, func(testing.TB) oidcrp.Store { return new(almostShared) })
		t.Run("faulty", func(t *testing.T) {
			Run(t, func(testing.TB) oidcrp.Store {
				s := new(faultyStore)
				s.del = func(context.Context, string) error { return nil }
				return s
			})
		})
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRun_FailsItsTest$", "-test.v")
	child.Env = append(os.Environ(), flag+"=1")
	out, err := child.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatalf("the child ended with %v\n%s", err, out)
	}
	for _, want := range []string{
		"--- PASS: TestRun_FailsItsTest/a_deleted_key_is_not_found",
		"--- FAIL: TestRun_FailsItsTest/faulty/a_deleted_key_is_not_found",
		"--- PASS: TestRun_FailsItsTest/faulty/GetMany_accepts_a_key_twice",
		"*storetest.almostShared is a Store but not a SharedStore; missing or with another signature: Add, GetMany",
		"*storetest.faultyStore is a SharedStore",
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the child does not say %q:\n%s", want, out)
		}
	}
}
