package oidctest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/oidcrp/oidcrp/internal/store"
)

// storeTTL is for entries that are to expire during a check: long enough for the few
// calls that must come before.
const storeTTL = 2 * time.Second

var storeChecks = []storeCheck{
	{"a key that was never set is not found", func(p *storeProbe) error {
		return errors.Join(p.hasNot(newKey()), p.hasNot(newShortKey()))
	}},
	{"a value that was set is there", func(p *storeProbe) error {
		session, mark := newKey(), newShortKey()
		return errors.Join(p.set(session, "session", time.Hour), p.set(mark, "mark", time.Hour),
			p.has(session, "session"), p.has(mark, "mark"), p.has(session, "session"))
	}},
	{"Set replaces what was there", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "a long value", time.Hour), p.set(key, "short", time.Hour), p.has(key, "short"),
			p.set(key, "a longer value", time.Hour), p.has(key, "a longer value"))
	}},
	{"an empty value is a value", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "", time.Hour), p.has(key, ""))
	}},
	{"every byte comes back", func(p *storeProbe) error {
		var all strings.Builder
		for b := range 256 {
			all.WriteByte(byte(b))
		}
		key, zeros := newKey(), newKey()
		return errors.Join(p.set(key, all.String(), time.Hour), p.has(key, all.String()),
			p.set(zeros, "\x00a\x00\r\n\x00", time.Hour), p.has(zeros, "\x00a\x00\r\n\x00"))
	}},
	{"a session of 256 KiB, sealed, has room", func(p *storeProbe) error {
		key, value := newKey(), strings.Repeat("0123456789abcde\xff", 16<<10)+strings.Repeat("x", 64)
		return errors.Join(p.set(key, value, time.Hour), p.has(key, value))
	}},
	{"Set keeps a copy of the value", func(p *storeProbe) error {
		key, value := newKey(), []byte("mine")
		if err := returns("Set", func() error { return p.store.Set(p.ctx, key, value, time.Hour) }); err != nil {
			return because("Set", err)
		}
		clear(value)
		return p.has(key, "mine")
	}},
	{"keys that differ in case are two", func(p *storeProbe) error {
		upper := strings.ToUpper(newKey()[:42]) + "A"
		lower := strings.ToLower(upper)
		return errors.Join(p.set(upper, "upper", time.Hour), p.hasNot(lower), p.set(lower, "lower", time.Hour),
			p.has(upper, "upper"), p.delete(lower), p.has(upper, "upper"))
	}},
	{"keys that differ in one character are two", func(p *storeProbe) error {
		key := newKey()[:42]
		return errors.Join(p.set(key+"_", "under", time.Hour), p.hasNot(key+"-"), p.set(key+"-", "dash", time.Hour),
			p.has(key+"_", "under"), p.delete(key+"_"), p.hasNot(key+"_"), p.has(key+"-", "dash"))
	}},
	{"a deleted key is not found", func(p *storeProbe) error {
		key, other := newKey(), newKey()
		return errors.Join(p.set(key, "x", time.Hour), p.set(other, "y", time.Hour), p.delete(key), p.hasNot(key),
			p.has(other, "y"), p.set(key, "again", time.Hour), p.has(key, "again"))
	}},
	{"Delete of a key that is not there is no error", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.delete(key), p.set(key, "x", time.Hour), p.delete(key), p.delete(key), p.hasNot(key))
	}},
	{"an entry expires when its ttl has passed, not before", func(p *storeProbe) error {
		key, lasting, start := newKey(), newKey(), time.Now()
		return errors.Join(p.set(key, "x", storeTTL), p.set(lasting, "y", time.Hour),
			p.expires(key, start, storeTTL), p.has(lasting, "y"))
	}},
	{"Set begins the ttl anew", func(p *storeProbe) error {
		longer, shorter := newKey(), newKey()
		return errors.Join(p.set(longer, "x", storeTTL), p.set(longer, "x", time.Hour), p.set(shorter, "y", time.Hour),
			p.set(shorter, "y", storeTTL), p.pass(storeTTL), p.has(longer, "x"), p.hasNot(shorter))
	}},
	{"a key can be set again once it has expired", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "first", storeTTL), p.pass(storeTTL), p.set(key, "second", time.Hour), p.has(key, "second"))
	}},
	{"many can use it at once", manyAtOnce},
	{"a call whose ctx has ended is not taken for a key that is not there", endedContext},
}

// manyAtOnce has goroutines that each use keys of their own and one in common.
func manyAtOnce(p *storeProbe) error {
	const workers, rounds = 8, 20
	common := newKey()
	value := func(worker int) string { return strings.Repeat(string(rune('a'+worker)), 4000) }
	if err := p.set(common, value(0), time.Hour); err != nil {
		return err
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for round := range rounds {
				key, mine := newKey(), fmt.Sprint(worker, " ", round)
				err := errors.Join(p.set(key, mine, time.Hour), p.set(common, value(worker), time.Hour), p.has(key, mine),
					p.delete(key), p.hasNot(key))
				got, getErr := p.get(p.ctx, common)
				if getErr == nil && (len(got) != 4000 || string(got) != strings.Repeat(string(got[:1]), 4000)) {
					getErr = fmt.Errorf("a value that nobody set: %s", show(got))
				}
				if errs[worker] = errors.Join(err, because("Get", getErr)); errs[worker] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// endedContext lets a store answer all the same, but not wrongly.
func endedContext(p *storeProbe) error {
	key := newKey()
	if err := p.set(key, "x", time.Hour); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(p.ctx)
	cancel()
	value, err := p.get(ended, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return wrong("Get says that a key is not there which is: somebody would be signed out by a slow store")
	case err == nil && string(value) != "x":
		return wrong("Get returns %s and no error", show(value))
	case errors.Is(err, errStuck):
		return err
	}
	// These may fail, but must return, must not pretend, and leave a store that works.
	other := newKey()
	setErr := returns("Set", func() error { return p.store.Set(ended, other, []byte("y"), time.Hour) })
	if setErr == nil {
		if err := p.has(other, "y"); err != nil {
			return wrong("Set gave no error: %w", err)
		}
	}
	deleteErr := returns("Delete", func() error { return p.store.Delete(ended, other) })
	if deleteErr == nil {
		if err := p.hasNot(other); err != nil {
			return wrong("Delete gave no error: %w", err)
		}
	}
	if errors.Is(setErr, errStuck) || errors.Is(deleteErr, errStuck) {
		return errors.Join(setErr, deleteErr)
	}
	return p.has(key, "x")
}

var touchChecks = []storeCheck{
	{"Touch puts off the expiry and leaves the value", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", storeTTL), p.touch(key, time.Hour), p.pass(storeTTL), p.has(key, "x"))
	}},
	{"Touch can bring the expiry forward", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", time.Hour), p.touch(key, storeTTL), p.has(key, "x"), p.pass(storeTTL), p.hasNot(key))
	}},
	{"Touch of a key that is not there does nothing", func(p *storeProbe) error {
		never, deleted := newKey(), newKey()
		return errors.Join(p.touch(never, time.Hour), p.hasNot(never), p.set(deleted, "x", time.Hour), p.delete(deleted),
			p.touch(deleted, time.Hour), p.hasNot(deleted))
	}},
	{"Touch does not bring back what has expired", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", storeTTL), p.pass(storeTTL), p.touch(key, time.Hour), p.hasNot(key))
	}},
}

var addChecks = []storeCheck{
	{"Add sets a key that is not there", func(p *storeProbe) error {
		key, empty := newKey(), newShortKey()
		return errors.Join(p.add(true, key, "x", time.Hour), p.has(key, "x"), p.add(true, empty, "", time.Hour), p.has(empty, ""))
	}},
	{"Add leaves a key that is there", func(p *storeProbe) error {
		added, set := newKey(), newKey()
		return errors.Join(p.add(true, added, "first", time.Hour), p.add(false, added, "second", time.Hour), p.has(added, "first"),
			p.set(set, "first", time.Hour), p.add(false, set, "second", time.Hour), p.has(set, "first"),
			p.set(added, "third", time.Hour), p.has(added, "third"))
	}},
	{"Add of the value that is there changes nothing", func(p *storeProbe) error {
		key := newKey()
		_, err := p.tryAdd(key, "x", time.Hour)
		_, again := p.tryAdd(key, "x", time.Hour) // may report either
		return errors.Join(err, again, p.has(key, "x"), p.add(false, key, "y", time.Hour))
	}},
	{"Add sets a key again that was deleted", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.add(true, key, "first", time.Hour), p.delete(key), p.add(true, key, "second", time.Hour), p.has(key, "second"))
	}},
	{"an entry that was added expires, and can be added again", func(p *storeProbe) error {
		key, start := newKey(), time.Now()
		return errors.Join(p.add(true, key, "x", storeTTL), p.expires(key, start, storeTTL), p.add(true, key, "y", time.Hour), p.has(key, "y"))
	}},
	{"Add sets a key again that has expired and was not asked for", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", storeTTL), p.pass(storeTTL), p.add(true, key, "y", time.Hour), p.has(key, "y"))
	}},
	{"Add that finds a key there does not put off its expiry", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.add(true, key, "x", storeTTL), p.add(false, key, "y", time.Hour), p.pass(storeTTL), p.hasNot(key))
	}},
	{"of many that add a key at once, one succeeds", oneAdder},
}

func oneAdder(p *storeProbe) error {
	const workers, rounds = 8, 10
	for range rounds {
		key := newKey()
		var mu sync.Mutex
		var errs []error
		var winners []string
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				value := fmt.Sprint("worker ", worker)
				added, err := p.tryAdd(key, value, time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if errs = append(errs, err); added {
					winners = append(winners, value)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if len(winners) != 1 {
			return wrong("Add reports true to %d of %d", len(winners), workers)
		}
		if err := p.has(key, winners[0]); err != nil {
			return err
		}
	}
	return nil
}

var getManyChecks = []storeCheck{
	{"GetMany returns the values in the order of the keys", func(p *storeProbe) error {
		var keys []string
		var values [][]byte
		for i := range 50 {
			keys, values = append(keys, newKey()), append(values, fmt.Appendf(nil, "value %d", i))
			if err := p.set(keys[i], string(values[i]), time.Hour); err != nil {
				return err
			}
		}
		return errors.Join(p.getMany(keys, values...), p.getMany(keys[7:8], values[7]))
	}},
	{"GetMany returns nil for a key that is not there", func(p *storeProbe) error {
		a, b, deleted := newKey(), newShortKey(), newKey()
		return errors.Join(p.set(a, "a", time.Hour), p.set(b, "b", time.Hour), p.set(deleted, "x", time.Hour), p.delete(deleted),
			p.getMany([]string{newKey(), a, deleted, b, newKey()}, nil, []byte("a"), nil, []byte("b"), nil),
			p.getMany([]string{newKey(), deleted}, nil, nil))
	}},
	{"GetMany returns nil for what has expired", func(p *storeProbe) error {
		key, lasting := newKey(), newKey()
		return errors.Join(p.set(key, "x", storeTTL), p.set(lasting, "y", time.Hour), p.pass(storeTTL),
			p.getMany([]string{key, lasting}, nil, []byte("y")))
	}},
	{"GetMany returns an empty value that is not nil", func(p *storeProbe) error {
		key := newKey()
		return errors.Join(p.set(key, "", time.Hour), p.getMany([]string{key}, []byte{}))
	}},
	{"GetMany may be given a key twice", func(p *storeProbe) error {
		a, b, missing := newKey(), newKey(), newKey()
		return errors.Join(p.set(a, "a", time.Hour), p.set(b, "b", time.Hour), p.getMany([]string{a, missing, b, a, missing, a},
			[]byte("a"), nil, []byte("b"), []byte("a"), nil, []byte("a")))
	}},
	{"GetMany whose ctx has ended takes no key for one that is not there", func(p *storeProbe) error {
		key := newKey()
		if err := p.set(key, "x", time.Hour); err != nil {
			return err
		}
		ended, cancel := context.WithCancel(p.ctx)
		cancel()
		late := &storeProbe{ctx: ended, store: p.store}
		if err := late.getMany([]string{key}, []byte("x")); !errors.Is(err, errGetMany) {
			return err
		}
		return p.getMany([]string{key}, []byte("x"))
	}},
	{"GetMany of no keys is no values and no error", func(p *storeProbe) error {
		return errors.Join(p.getMany(nil), p.getMany([]string{}))
	}},
}
