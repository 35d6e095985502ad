package oidctest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/oidcrp/oidcrp/internal/store"
)

// A storeProbe calls the store under test. Its methods return what is wrong, so that
// a check is a list of them under errors.Join.
type storeProbe struct {
	ctx   context.Context
	store Store
}

// newKey returns a key like a session's.
func newKey() string { return randomKey(32) }

// newShortKey returns a key like that of the mark which ends sessions.
func newShortKey() string { return randomKey(16) }

func randomKey(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (p *storeProbe) set(key, value string, ttl time.Duration) error {
	err := returns("Set", func() error { return p.store.Set(p.ctx, key, []byte(value), ttl) })
	return because("Set", err)
}

func (p *storeProbe) delete(key string) error {
	err := returns("Delete", func() error { return p.store.Delete(p.ctx, key) })
	return because("Delete", err)
}

func (p *storeProbe) touch(key string, ttl time.Duration) error {
	err := returns("Touch", func() error { return p.store.(touchStore).Touch(p.ctx, key, ttl) })
	return because("Touch", err)
}

func (p *storeProbe) tryAdd(key, value string, ttl time.Duration) (bool, error) {
	added, err := within("Add", func() (bool, error) {
		return p.store.(addStore).Add(p.ctx, key, []byte(value), ttl)
	})
	return added, because("Add", err)
}

// add wants Add to report want.
func (p *storeProbe) add(want bool, key, value string, ttl time.Duration) error {
	added, err := p.tryAdd(key, value, ttl)
	if err == nil && added != want {
		err = wrong("Add reports %t, want %t", added, want)
	}
	return err
}

var errGetMany = errors.New("GetMany fails")

// getMany wants GetMany to return the values want, of which nil is a key not there.
func (p *storeProbe) getMany(keys []string, want ...[]byte) error {
	got, err := within("GetMany", func() ([][]byte, error) { return p.store.(getManyStore).GetMany(p.ctx, keys) })
	if errors.Is(err, errStuck) {
		return err
	}
	if err != nil {
		return errors.Join(errGetMany, err)
	}
	if len(got) != len(want) {
		return wrong("GetMany returns %d values for %d keys", len(got), len(keys))
	}
	for i := range want {
		switch {
		case want[i] == nil && got[i] != nil:
			err = wrong("GetMany returns %s at %d, want nil: the key is not there", show(got[i]), i)
		case want[i] != nil && got[i] == nil:
			err = wrong("GetMany returns nil at %d, want %s", i, show(want[i]))
		case !bytes.Equal(got[i], want[i]):
			err = wrong("GetMany returns %s at %d, want %s", show(got[i]), i, show(want[i]))
		}
	}
	return err
}

func (p *storeProbe) get(ctx context.Context, key string) ([]byte, error) {
	return within("Get", func() ([]byte, error) { return p.store.Get(ctx, key) })
}

// has wants key to have value.
func (p *storeProbe) has(key, value string) error {
	got, err := p.get(p.ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return wrong("Get says that the key is not there, want %s", show([]byte(value)))
	case err == nil && string(got) != value:
		return wrong("Get returns %s, want %s", show(got), show([]byte(value)))
	}
	return because("Get", err)
}

// hasNot wants key not to be there.
func (p *storeProbe) hasNot(key string) error {
	switch got, err := p.get(p.ctx, key); {
	case err == nil:
		return wrong("Get returns %s, want an error that is ErrNotFound", show(got))
	case !errors.Is(err, store.ErrNotFound):
		return wrong("Get of a key that is not there fails with %w, want an error that is ErrNotFound", err)
	}
	return nil
}

// A store keeps an entry that was set at start with this ttl until the ttl has
// passed, but for a rounding of its clock.
const storeSlack = 10 * time.Millisecond

// expires wants key, which was set with ttl after start, to be there until then and
// gone soon after.
func (p *storeProbe) expires(key string, start time.Time, ttl time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		before := time.Now()
		_, err := p.get(p.ctx, key)
		switch after := time.Since(start); {
		case errors.Is(err, store.ErrNotFound) && after < ttl-storeSlack:
			return fmt.Errorf("an entry set for %v is gone after %v", ttl, after)
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return because("Get", err)
		case before.Sub(start) > ttl+storePatience:
			return fmt.Errorf("an entry set for %v is there after %v", ttl, before.Sub(start))
		}
		<-tick.C
	}
}

// pass waits until an entry that is set now with ttl has expired. So have those set
// before with that ttl or less, and the store was not asked for them meanwhile.
func (p *storeProbe) pass(ttl time.Duration) error {
	witness, start := newKey(), time.Now()
	if err := p.set(witness, "x", ttl); err != nil {
		return err
	}
	return p.expires(witness, start, ttl)
}

// wrong returns an error that is a sentence of a test's log.
func wrong(format string, args ...any) error { return fmt.Errorf(format, args...) }

func because(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// show abbreviates a value.
func show(value []byte) string {
	if len(value) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", value[:20], len(value))
	}
	return fmt.Sprintf("%q", value)
}
