package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/oidcrp/oidcrp"
)

// A probe calls the store under test. Its methods return what is wrong, so that
// a check is a list of them under errors.Join.
type probe struct {
	ctx   context.Context
	store oidcrp.Store
}

func (p *probe) shared() oidcrp.SharedStore { return p.store.(oidcrp.SharedStore) }

// newKey returns a key like a session's.
func newKey() string { return random(8) + "." + random(23) }

// newShortKey returns a key like that of the record of a logout.
func newShortKey() string { return random(8) + "." + random(16) }

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (p *probe) set(key, value string, ttl time.Duration) error {
	err := returns("Set", func() error { return p.store.Set(p.ctx, key, []byte(value), ttl) })
	return because("Set", err)
}

func (p *probe) delete(key string) error {
	err := returns("Delete", func() error { return p.store.Delete(p.ctx, key) })
	return because("Delete", err)
}

func (p *probe) touch(key string, ttl time.Duration) error {
	err := returns("Touch", func() error { return p.shared().Touch(p.ctx, key, ttl) })
	return because("Touch", err)
}

func (p *probe) tryAdd(key, value string, ttl time.Duration) (bool, error) {
	added, err := within("Add", func() (bool, error) {
		return p.shared().Add(p.ctx, key, []byte(value), ttl)
	})
	return added, because("Add", err)
}

// add wants Add to report want.
func (p *probe) add(want bool, key, value string, ttl time.Duration) error {
	added, err := p.tryAdd(key, value, ttl)
	if err == nil && added != want {
		err = wrong("Add reports %t, want %t", added, want)
	}
	return err
}

var errGetMany = errors.New("GetMany fails")

// getMany wants GetMany to return the values want, nil for a key that does not exist.
func (p *probe) getMany(keys []string, want ...[]byte) error {
	got, err := within("GetMany", func() ([][]byte, error) { return p.shared().GetMany(p.ctx, keys) })
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
			err = wrong("GetMany returns %s at %d, want nil: the key does not exist", show(got[i]), i)
		case want[i] != nil && got[i] == nil:
			err = wrong("GetMany returns nil at %d, want %s", i, show(want[i]))
		case !bytes.Equal(got[i], want[i]):
			err = wrong("GetMany returns %s at %d, want %s", show(got[i]), i, show(want[i]))
		}
	}
	return err
}

func (p *probe) get(ctx context.Context, key string) ([]byte, error) {
	return within("Get", func() ([]byte, error) { return p.store.Get(ctx, key) })
}

// has wants key to have value.
func (p *probe) has(key, value string) error {
	got, err := p.get(p.ctx, key)
	switch {
	case errors.Is(err, oidcrp.ErrNotFound):
		return wrong("Get returns ErrNotFound, want %s", show([]byte(value)))
	case err == nil && string(got) != value:
		return wrong("Get returns %s, want %s", show(got), show([]byte(value)))
	}
	return because("Get", err)
}

// hasNot wants key not to exist.
func (p *probe) hasNot(key string) error {
	switch got, err := p.get(p.ctx, key); {
	case err == nil:
		return wrong("Get returns %s, want ErrNotFound", show(got))
	case !errors.Is(err, oidcrp.ErrNotFound):
		return wrong("Get of a key that does not exist fails with %w, want ErrNotFound", err)
	}
	return nil
}

// slack is how much too early a store may drop an entry, by a rounding of its clock.
const slack = 10 * time.Millisecond

// expires wants key, which was set with ttl after start, to exist until then and to be
// gone soon after.
func (p *probe) expires(key string, start time.Time, ttl time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		before := time.Now()
		_, err := p.get(p.ctx, key)
		switch after := time.Since(start); {
		case errors.Is(err, oidcrp.ErrNotFound) && after < ttl-slack:
			return fmt.Errorf("an entry set for %v is gone after %v", ttl, after)
		case errors.Is(err, oidcrp.ErrNotFound):
			return nil
		case err != nil:
			return because("Get", err)
		case before.Sub(start) > ttl+patience:
			return fmt.Errorf("an entry set for %v still exists after %v", ttl, before.Sub(start))
		}
		<-tick.C
	}
}

// pass waits until an entry that is set now with ttl has expired. By then those set
// before with that ttl or less have expired too, and nobody has read them since.
func (p *probe) pass(ttl time.Duration) error {
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
