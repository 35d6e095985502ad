package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oidcrp/oidcrp"
)

// shortTTL is for entries that must expire during a check. It is long enough for the
// few calls that come before.
const shortTTL = 2 * time.Second

var storeChecks = []check{
	{"a key that was never set is not found", func(p *probe) error {
		return errors.Join(p.hasNot(newKey()), p.hasNot(newShortKey()))
	}},
	{"a value that was set is there", func(p *probe) error {
		session, mark := newKey(), newShortKey()
		return errors.Join(p.set(session, "session", time.Hour), p.set(mark, "mark", time.Hour),
			p.has(session, "session"), p.has(mark, "mark"), p.has(session, "session"))
	}},
	{"Set replaces what was there", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "a long value", time.Hour), p.set(key, "short", time.Hour), p.has(key, "short"),
			p.set(key, "a longer value", time.Hour), p.has(key, "a longer value"))
	}},
	{"an empty value is a value", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "", time.Hour), p.has(key, ""))
	}},
	{"every byte comes back", func(p *probe) error {
		var all strings.Builder
		for b := range 256 {
			all.WriteByte(byte(b))
		}
		key, zeros := newKey(), newKey()
		return errors.Join(p.set(key, all.String(), time.Hour), p.has(key, all.String()),
			p.set(zeros, "\x00a\x00\r\n\x00", time.Hour), p.has(zeros, "\x00a\x00\r\n\x00"))
	}},
	{"a session of 256 KiB, sealed, has room", func(p *probe) error {
		key, value := newKey(), strings.Repeat("0123456789abcde\xff", 16<<10)+strings.Repeat("x", 64)
		return errors.Join(p.set(key, value, time.Hour), p.has(key, value))
	}},
	{"Set keeps a copy of the value", func(p *probe) error {
		key, value := newKey(), []byte("mine")
		if err := returns("Set", func() error { return p.store.Set(p.ctx, key, value, time.Hour) }); err != nil {
			return because("Set", err)
		}
		clear(value)
		return p.has(key, "mine")
	}},
	{"keys that differ in case are two", func(p *probe) error {
		upper := strings.ToUpper(newKey()[:42]) + "A"
		lower := strings.ToLower(upper)
		return errors.Join(p.set(upper, "upper", time.Hour), p.hasNot(lower), p.set(lower, "lower", time.Hour),
			p.has(upper, "upper"), p.delete(lower), p.has(upper, "upper"))
	}},
	{"keys that differ in one character are two", func(p *probe) error {
		key := newKey()[:42]
		return errors.Join(p.set(key+"_", "under", time.Hour), p.hasNot(key+"-"), p.set(key+"-", "dash", time.Hour),
			p.has(key+"_", "under"), p.delete(key+"_"), p.hasNot(key+"_"), p.has(key+"-", "dash"))
	}},
	{"keys that differ before the dot are two", func(p *probe) error {
		one, two := newKey(), newKey()
		two = two[:11] + one[11:]
		return errors.Join(p.set(one, "one", time.Hour), p.hasNot(two), p.set(two, "two", time.Hour),
			p.has(one, "one"), p.delete(two), p.hasNot(two), p.has(one, "one"))
	}},
	{"a deleted key is not found", func(p *probe) error {
		key, other := newKey(), newKey()
		return errors.Join(p.set(key, "x", time.Hour), p.set(other, "y", time.Hour), p.delete(key), p.hasNot(key),
			p.has(other, "y"), p.set(key, "again", time.Hour), p.has(key, "again"))
	}},
	{"Delete of a key that does not exist returns nil", func(p *probe) error {
		key := newKey()
		return errors.Join(p.delete(key), p.set(key, "x", time.Hour), p.delete(key), p.delete(key), p.hasNot(key))
	}},
	{"an entry expires when its ttl has passed, not before", func(p *probe) error {
		key, lasting, start := newKey(), newKey(), time.Now()
		return errors.Join(p.set(key, "x", shortTTL), p.set(lasting, "y", time.Hour),
			p.expires(key, start, shortTTL), p.has(lasting, "y"))
	}},
	{"Set restarts the ttl", func(p *probe) error {
		longer, shorter := newKey(), newKey()
		return errors.Join(p.set(longer, "x", shortTTL), p.set(longer, "x", time.Hour), p.set(shorter, "y", time.Hour),
			p.set(shorter, "y", shortTTL), p.pass(shortTTL), p.has(longer, "x"), p.hasNot(shorter))
	}},
	{"a key can be set again once it has expired", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "first", shortTTL), p.pass(shortTTL), p.set(key, "second", time.Hour), p.has(key, "second"))
	}},
	{"concurrent calls do not disturb each other", concurrentCalls},
	{"a call whose ctx has ended does not report a missing key", endedContext},
}

// concurrentCalls runs goroutines that each use keys of their own and one in common.
func concurrentCalls(p *probe) error {
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
					getErr = fmt.Errorf("a value that was never set: %s", show(got))
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

// endedContext allows a store to ignore that ctx has ended, but not to answer wrongly.
func endedContext(p *probe) error {
	key := newKey()
	if err := p.set(key, "x", time.Hour); err != nil {
		return err
	}
	ended, cancel := context.WithCancel(p.ctx)
	cancel()
	value, err := p.get(ended, key)
	switch {
	case errors.Is(err, oidcrp.ErrNotFound):
		return wrong("Get returns ErrNotFound for a key that exists: a slow store would sign people out")
	case err == nil && string(value) != "x":
		return wrong("Get returns %s and no error", show(value))
	case errors.Is(err, errStuck):
		return err
	}
	// These may fail, but they must return, must not report a success that was none, and
	// must leave a store that works.
	other := newKey()
	setErr := returns("Set", func() error { return p.store.Set(ended, other, []byte("y"), time.Hour) })
	if setErr == nil {
		if err := p.has(other, "y"); err != nil {
			return wrong("Set returned nil: %w", err)
		}
	}
	deleteErr := returns("Delete", func() error { return p.store.Delete(ended, other) })
	if deleteErr == nil {
		if err := p.hasNot(other); err != nil {
			return wrong("Delete returned nil: %w", err)
		}
	}
	if errors.Is(setErr, errStuck) || errors.Is(deleteErr, errStuck) {
		return errors.Join(setErr, deleteErr)
	}
	return p.has(key, "x")
}

// sharedChecks are for a SharedStore.
var sharedChecks = slices.Concat(touchChecks, addChecks, getManyChecks)

var touchChecks = []check{
	{"Touch extends an entry and leaves its value", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", shortTTL), p.touch(key, time.Hour), p.pass(shortTTL), p.has(key, "x"))
	}},
	{"Touch can shorten an entry's life", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", time.Hour), p.touch(key, shortTTL), p.has(key, "x"), p.pass(shortTTL), p.hasNot(key))
	}},
	{"Touch of a key that does not exist does nothing", func(p *probe) error {
		never, deleted := newKey(), newKey()
		return errors.Join(p.touch(never, time.Hour), p.hasNot(never), p.set(deleted, "x", time.Hour), p.delete(deleted),
			p.touch(deleted, time.Hour), p.hasNot(deleted))
	}},
	{"Touch does not revive an expired entry", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", shortTTL), p.pass(shortTTL), p.touch(key, time.Hour), p.hasNot(key))
	}},
}

var addChecks = []check{
	{"Add sets a key that does not exist", func(p *probe) error {
		key, empty := newKey(), newShortKey()
		return errors.Join(p.add(true, key, "x", time.Hour), p.has(key, "x"), p.add(true, empty, "", time.Hour), p.has(empty, ""))
	}},
	{"Add leaves a key that exists", func(p *probe) error {
		added, set := newKey(), newKey()
		return errors.Join(p.add(true, added, "first", time.Hour), p.add(false, added, "second", time.Hour), p.has(added, "first"),
			p.set(set, "first", time.Hour), p.add(false, set, "second", time.Hour), p.has(set, "first"),
			p.set(added, "third", time.Hour), p.has(added, "third"))
	}},
	{"Add of the same value changes nothing", func(p *probe) error {
		key := newKey()
		_, err := p.tryAdd(key, "x", time.Hour)
		_, again := p.tryAdd(key, "x", time.Hour) // may report either
		return errors.Join(err, again, p.has(key, "x"), p.add(false, key, "y", time.Hour))
	}},
	{"Add sets a key that was deleted", func(p *probe) error {
		key := newKey()
		return errors.Join(p.add(true, key, "first", time.Hour), p.delete(key), p.add(true, key, "second", time.Hour), p.has(key, "second"))
	}},
	{"an entry that was added expires, and can be added again", func(p *probe) error {
		key, start := newKey(), time.Now()
		return errors.Join(p.add(true, key, "x", shortTTL), p.expires(key, start, shortTTL), p.add(true, key, "y", time.Hour), p.has(key, "y"))
	}},
	{"Add sets a key that has expired and was not read since", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "x", shortTTL), p.pass(shortTTL), p.add(true, key, "y", time.Hour), p.has(key, "y"))
	}},
	{"Add that finds a key does not extend it", func(p *probe) error {
		key := newKey()
		return errors.Join(p.add(true, key, "x", shortTTL), p.add(false, key, "y", time.Hour), p.pass(shortTTL), p.hasNot(key))
	}},
	{"one of many concurrent Adds succeeds", oneAdder},
}

func oneAdder(p *probe) error {
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

var getManyChecks = []check{
	{"GetMany returns the values in the order of the keys", func(p *probe) error {
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
	{"GetMany returns nil for a key that does not exist", func(p *probe) error {
		a, b, deleted := newKey(), newShortKey(), newKey()
		return errors.Join(p.set(a, "a", time.Hour), p.set(b, "b", time.Hour), p.set(deleted, "x", time.Hour), p.delete(deleted),
			p.getMany([]string{newKey(), a, deleted, b, newKey()}, nil, []byte("a"), nil, []byte("b"), nil),
			p.getMany([]string{newKey(), deleted}, nil, nil))
	}},
	{"GetMany returns nil for an expired entry", func(p *probe) error {
		key, lasting := newKey(), newKey()
		return errors.Join(p.set(key, "x", shortTTL), p.set(lasting, "y", time.Hour), p.pass(shortTTL),
			p.getMany([]string{key, lasting}, nil, []byte("y")))
	}},
	{"GetMany does not return nil for an empty value", func(p *probe) error {
		key := newKey()
		return errors.Join(p.set(key, "", time.Hour), p.getMany([]string{key}, []byte{}))
	}},
	{"GetMany accepts a key twice", func(p *probe) error {
		a, b, missing := newKey(), newKey(), newKey()
		return errors.Join(p.set(a, "a", time.Hour), p.set(b, "b", time.Hour), p.getMany([]string{a, missing, b, a, missing, a},
			[]byte("a"), nil, []byte("b"), []byte("a"), nil, []byte("a")))
	}},
	{"GetMany whose ctx has ended does not report a missing key", func(p *probe) error {
		key := newKey()
		if err := p.set(key, "x", time.Hour); err != nil {
			return err
		}
		ended, cancel := context.WithCancel(p.ctx)
		cancel()
		late := &probe{ctx: ended, store: p.store}
		if err := late.getMany([]string{key}, []byte("x")); !errors.Is(err, errGetMany) {
			return err
		}
		return p.getMany([]string{key}, []byte("x"))
	}},
	{"GetMany of no keys returns no values and no error", func(p *probe) error {
		return errors.Join(p.getMany(nil), p.getMany([]string{}))
	}},
}
