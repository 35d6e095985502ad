package oidctest

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

	"github.com/oidcrp/oidcrp/internal/store"
)

// A plainTestStore is a sound Store of three methods.
type plainTestStore struct {
	mu      sync.Mutex
	entries map[string]testEntry // guarded by mu
}

type testEntry struct {
	value   []byte
	expires time.Time
}

func (s *plainTestStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, ok := s.entries[key]
	if !ok || !time.Now().Before(entry.expires) {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(entry.value), nil
}

func (s *plainTestStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.keep(ctx, key, bytes.Clone(value), ttl)
}

func (s *plainTestStore) keep(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = map[string]testEntry{}
	}
	s.entries[key] = testEntry{value, time.Now().Add(ttl)}
	return nil
}

func (s *plainTestStore) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
	return nil
}

// A fullTestStore has the optional methods as well.
type fullTestStore struct {
	plainTestStore
	adding sync.Mutex
}

func (s *fullTestStore) Touch(ctx context.Context, key string, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry, ok := s.entries[key]; ok && time.Now().Before(entry.expires) {
		s.entries[key] = testEntry{entry.value, time.Now().Add(ttl)}
	}
	return ctx.Err()
}

func (s *fullTestStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	s.adding.Lock()
	defer s.adding.Unlock()
	if _, err := s.Get(ctx, key); !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	return true, s.Set(ctx, key, value, ttl)
}

func (s *fullTestStore) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		value, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

func TestASoundStorePasses(t *testing.T) {
	t.Parallel()
	t.Run("three methods", func(t *testing.T) {
		TestStore(t, func(testing.TB) *plainTestStore { return new(plainTestStore) })
	})
	t.Run("all methods", func(t *testing.T) {
		shared := new(fullTestStore)
		TestStore(t, func(testing.TB) *fullTestStore { return shared })
	})
}

// A faultyStore is a fullTestStore of which one method is another.
type faultyStore struct {
	fullTestStore
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
	return s.fullTestStore.Get(ctx, key)
}

func (s *faultyStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.set != nil {
		return s.set(ctx, key, value, ttl)
	}
	return s.fullTestStore.Set(ctx, key, value, ttl)
}

func (s *faultyStore) Delete(ctx context.Context, key string) error {
	if s.del != nil {
		return s.del(ctx, key)
	}
	return s.fullTestStore.Delete(ctx, key)
}

func (s *faultyStore) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if s.touch != nil {
		return s.touch(ctx, key, ttl)
	}
	return s.fullTestStore.Touch(ctx, key, ttl)
}

func (s *faultyStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	if s.add != nil {
		return s.add(ctx, key, value, ttl)
	}
	return s.fullTestStore.Add(ctx, key, value, ttl)
}

func (s *faultyStore) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	if s.getMany != nil {
		return s.getMany(ctx, keys)
	}
	return s.fullTestStore.GetMany(ctx, keys)
}

// A storeFault breaks a store, and the checks named say so.
type storeFault struct {
	name   string
	breaks func(*faultyStore)
	caught []string
}

const expiryCheck = "an entry expires when its ttl has passed, not before"

var storeFaults = []storeFault{
	{"Get fails in its own way when there is nothing", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.fullTestStore.Get(ctx, key)
			if err != nil {
				err = errors.New("no rows")
			}
			return value, err
		}
	}, []string{"a key that was never set is not found", "a deleted key is not found"}},
	{"Get returns nothing and no error", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.fullTestStore.Get(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return value, err
		}
	}, []string{"a key that was never set is not found"}},
	{"every error is ErrNotFound", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.fullTestStore.Get(ctx, key)
			if err != nil {
				err = fmt.Errorf("%w: %w", store.ErrNotFound, err)
			}
			return value, err
		}
	}, []string{"a call whose ctx has ended is not taken for a key that is not there"}},
	{"Get does not return when ctx has ended", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			if ctx.Err() != nil {
				time.Sleep(time.Minute)
			}
			return s.fullTestStore.Get(ctx, key)
		}
	}, []string{"a call whose ctx has ended is not taken for a key that is not there"}},
	{"Set does nothing when ctx has ended, and says nothing", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			_ = s.fullTestStore.Set(ctx, key, value, ttl)
			return nil
		}
	}, []string{"a call whose ctx has ended is not taken for a key that is not there"}},
	{"an empty value is nothing", func(s *faultyStore) {
		s.get = func(ctx context.Context, key string) ([]byte, error) {
			value, err := s.fullTestStore.Get(ctx, key)
			if err == nil && len(value) == 0 {
				err = store.ErrNotFound
			}
			return value, err
		}
	}, []string{"an empty value is a value"}},
	{"values are text", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return s.fullTestStore.Set(ctx, key, []byte(strings.ToValidUTF8(string(value), "?")), ttl)
		}
	}, []string{"every byte comes back"}},
	{"values end at a zero byte", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			value, _, _ = bytes.Cut(value, []byte{0})
			return s.fullTestStore.Set(ctx, key, value, ttl)
		}
	}, []string{"every byte comes back"}},
	{"values are cut at 64 KiB", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return s.fullTestStore.Set(ctx, key, value[:min(len(value), 64<<10)], ttl)
		}
	}, []string{"a session of 256 KiB, sealed, has room"}},
	{"Set keeps the value it was given", func(s *faultyStore) { s.set = s.keep }, []string{"Set keeps a copy of the value"}},
	{"Set does nothing", func(s *faultyStore) {
		s.set = func(context.Context, string, []byte, time.Duration) error { return nil }
	}, []string{"a value that was set is there"}},
	{"Set leaves what is there", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			_, err := s.Add(ctx, key, value, ttl)
			return err
		}
	}, []string{"Set replaces what was there", "Set begins the ttl anew"}},
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
	}, []string{"a deleted key is not found", "many can use it at once"}},
	{"Delete of nothing fails", func(s *faultyStore) {
		s.del = func(ctx context.Context, key string) error {
			_, err := s.Get(ctx, key)
			return errors.Join(err, s.fullTestStore.Delete(ctx, key))
		}
	}, []string{"Delete of a key that is not there is no error"}},
	{"entries stay", func(s *faultyStore) { s.mapTTL(func(time.Duration) time.Duration { return time.Hour }) }, []string{expiryCheck}},
	{"entries go early", func(s *faultyStore) {
		s.mapTTL(func(ttl time.Duration) time.Duration { return ttl - ttl/10 })
	}, []string{expiryCheck}},
	{"a ttl is a number of milliseconds too many", func(s *faultyStore) {
		s.mapTTL(func(ttl time.Duration) time.Duration { return ttl / 1000 })
	}, []string{expiryCheck}},
	{"Set keeps the ttl of what was there", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			s.mu.Lock()
			if entry, ok := s.entries[key]; ok && time.Now().Before(entry.expires) {
				ttl = time.Until(entry.expires)
			}
			s.mu.Unlock()
			return s.fullTestStore.Set(ctx, key, value, ttl)
		}
	}, []string{"Set begins the ttl anew"}},
	{"values of two callers are mixed", func(s *faultyStore) {
		s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			half := len(value) / 2
			old, err := s.Get(ctx, key)
			if err == nil && len(old) == len(value) {
				value = slices.Concat(value[:half], old[half:])
			}
			return s.fullTestStore.Set(ctx, key, value, ttl)
		}
	}, []string{"many can use it at once"}},

	{"Touch does nothing", func(s *faultyStore) {
		s.touch = func(context.Context, string, time.Duration) error { return nil }
	}, []string{"Touch puts off the expiry and leaves the value", "Touch can bring the expiry forward"}},
	{"Touch forgets the value", func(s *faultyStore) {
		s.touch = func(ctx context.Context, key string, ttl time.Duration) error {
			if _, err := s.Get(ctx, key); err != nil {
				return nil
			}
			return s.Set(ctx, key, nil, ttl)
		}
	}, []string{"Touch puts off the expiry and leaves the value"}},
	{"Touch of nothing fails", func(s *faultyStore) {
		s.touch = func(ctx context.Context, key string, ttl time.Duration) error {
			_, err := s.Get(ctx, key)
			return errors.Join(err, s.fullTestStore.Touch(ctx, key, ttl))
		}
	}, []string{"Touch of a key that is not there does nothing"}},
	{"Touch makes what is not there", func(s *faultyStore) {
		s.touch = func(ctx context.Context, key string, ttl time.Duration) error {
			value, _ := s.Get(ctx, key)
			return s.Set(ctx, key, value, ttl)
		}
	}, []string{"Touch of a key that is not there does nothing"}},
	{"Touch brings back what has expired", func(s *faultyStore) {
		s.touch = func(_ context.Context, key string, ttl time.Duration) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if entry, ok := s.entries[key]; ok {
				s.entries[key] = testEntry{entry.value, time.Now().Add(ttl)}
			}
			return nil
		}
	}, []string{"Touch does not bring back what has expired"}},

	{"Add always reports true", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			_, err := s.fullTestStore.Add(ctx, key, value, ttl)
			return true, err
		}
	}, []string{"Add leaves a key that is there", "of many that add a key at once, one succeeds"}},
	{"Add never reports true", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			_, err := s.fullTestStore.Add(ctx, key, value, ttl)
			return false, err
		}
	}, []string{"Add sets a key that is not there", "of many that add a key at once, one succeeds"}},
	{"Add replaces what is there", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			_, err := s.Get(ctx, key)
			return err != nil, s.Set(ctx, key, value, ttl)
		}
	}, []string{"Add leaves a key that is there"}},
	{"Add looks first and sets then", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			if _, err := s.Get(ctx, key); err == nil {
				return false, nil
			}
			time.Sleep(time.Millisecond)
			return true, s.Set(ctx, key, value, ttl)
		}
	}, []string{"of many that add a key at once, one succeeds"}},
	{"Add has no ttl", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, _ time.Duration) (bool, error) {
			return s.fullTestStore.Add(ctx, key, value, time.Hour)
		}
	}, []string{"an entry that was added expires, and can be added again"}},
	{"Add puts off the expiry", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			added, err := s.fullTestStore.Add(ctx, key, value, ttl)
			return added, errors.Join(err, s.Touch(ctx, key, ttl))
		}
	}, []string{"Add that finds a key there does not put off its expiry"}},
	{"Add takes what has expired as there", func(s *faultyStore) {
		s.add = func(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
			s.mu.Lock()
			_, ok := s.entries[key]
			s.mu.Unlock()
			if ok {
				return false, nil
			}
			return s.fullTestStore.Add(ctx, key, value, ttl)
		}
	}, []string{"Add sets a key again that has expired and was not asked for"}},

	{"GetMany has an order of its own", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			return s.fullTestStore.GetMany(ctx, slices.Sorted(slices.Values(keys)))
		}
	}, []string{"GetMany returns the values in the order of the keys"}},
	{"GetMany leaves out what is not there", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.fullTestStore.GetMany(ctx, keys)
			return slices.DeleteFunc(values, func(value []byte) bool { return value == nil }), err
		}
	}, []string{"GetMany returns nil for a key that is not there"}},
	{"GetMany fails for what is not there", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.fullTestStore.GetMany(ctx, keys)
			if slices.ContainsFunc(values, func(value []byte) bool { return value == nil }) {
				err = store.ErrNotFound
			}
			return values, err
		}
	}, []string{"GetMany returns nil for a key that is not there"}},
	{"GetMany returns an empty value for what is not there", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.fullTestStore.GetMany(ctx, keys)
			for i := range values {
				values[i] = append([]byte{}, values[i]...)
			}
			return values, err
		}
	}, []string{"GetMany returns nil for a key that is not there", "GetMany returns nil for what has expired"}},
	{"GetMany returns nil for an empty value", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values, err := s.fullTestStore.GetMany(ctx, keys)
			for i := range values {
				values[i] = append([]byte(nil), values[i]...)
			}
			return values, err
		}
	}, []string{"GetMany returns an empty value that is not nil"}},
	{"GetMany returns what has expired", func(s *faultyStore) {
		s.getMany = func(_ context.Context, keys []string) ([][]byte, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			values := make([][]byte, len(keys))
			for i, key := range keys {
				values[i] = s.entries[key].value
			}
			return values, nil
		}
	}, []string{"GetMany returns nil for what has expired"}},
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
	}, []string{"GetMany may be given a key twice"}},
	{"GetMany fails without keys", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			if len(keys) == 0 {
				return nil, errors.New("wrong number of arguments")
			}
			return s.fullTestStore.GetMany(ctx, keys)
		}
	}, []string{"GetMany of no keys is no values and no error"}},
	{"GetMany takes an error as nothing there", func(s *faultyStore) {
		s.getMany = func(ctx context.Context, keys []string) ([][]byte, error) {
			values := make([][]byte, len(keys))
			for i, key := range keys {
				values[i], _ = s.Get(ctx, key)
			}
			return values, nil
		}
	}, []string{"GetMany whose ctx has ended takes no key for one that is not there"}},
}

// mapKeys makes the store use other keys than it is given.
func (s *faultyStore) mapKeys(to func(string) string) {
	s.get = func(ctx context.Context, key string) ([]byte, error) { return s.fullTestStore.Get(ctx, to(key)) }
	s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
		return s.fullTestStore.Set(ctx, to(key), value, ttl)
	}
	s.del = func(ctx context.Context, key string) error { return s.fullTestStore.Delete(ctx, to(key)) }
}

// mapTTL makes Set keep entries for another time than it is told.
func (s *faultyStore) mapTTL(to func(time.Duration) time.Duration) {
	s.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
		return s.fullTestStore.Set(ctx, key, value, to(ttl))
	}
}

// failures runs every check against a store, in a time that takes no time.
func failures(t *testing.T, newStore func() Store) map[string]error {
	failed := map[string]error{}
	for _, part := range storeParts() {
		for _, check := range part.checks {
			synctest.Test(t, func(t *testing.T) {
				if err := runStoreCheck(t.Context(), newStore(), check); err != nil {
					failed[check.name] = err
				}
				time.Sleep(time.Hour) // by when whatever was stuck has returned
			})
		}
	}
	return failed
}

func TestEveryFaultOfAStoreIsCaught(t *testing.T) {
	t.Parallel()
	sound := failures(t, func() Store { return new(faultyStore) })
	if len(sound) > 0 {
		t.Fatalf("a sound store fails: %v", sound)
	}
	useful := map[string]bool{}
	for _, fault := range storeFaults {
		failed := failures(t, func() Store {
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
	for _, part := range storeParts() {
		for _, check := range part.checks {
			if !useful[check.name] {
				t.Errorf("no fault is caught by %q", check.name)
			}
		}
	}
}

// A fault fails the test that TestStore is given, and the log tells which methods
// were tested: seen in a test process of its own.
func TestTestStoreFailsItsTest(t *testing.T) {
	t.Parallel()
	const flag = "OIDCTEST_FAULTY_STORE"
	if os.Getenv(flag) != "" {
		TestStore(t, func(testing.TB) *plainTestStore { return new(plainTestStore) })
		t.Run("faulty", func(t *testing.T) {
			TestStore(t, func(testing.TB) *faultyStore {
				s := new(faultyStore)
				s.del = func(context.Context, string) error { return nil }
				return s
			})
		})
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTestStoreFailsItsTest$", "-test.v")
	child.Env = append(os.Environ(), flag+"=1")
	out, err := child.CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Fatalf("the child ended with %v\n%s", err, out)
	}
	for _, want := range []string{
		"--- PASS: TestTestStoreFailsItsTest/a_deleted_key_is_not_found",
		"--- FAIL: TestTestStoreFailsItsTest/faulty/a_deleted_key_is_not_found",
		"--- PASS: TestTestStoreFailsItsTest/faulty/GetMany_may_be_given_a_key_twice",
		"without Touch", "without Add", "without GetMany", "with Add",
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the child does not say %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
