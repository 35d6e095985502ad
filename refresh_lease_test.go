package oidcrp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// leaseTest is a refresher whose leases are in a Store with the bubble's clock, and
// a session of it.
func leaseTest(t *testing.T, plain bool) (f *refresher, store *HookStore, held kept) {
	t.Helper()
	store = NewHookStore(newMemoryStore(0, time.Now))
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.Now, cfg.Tokens.Keep, cfg.Store = time.Now, true, store
		if plain {
			cfg.Store = PlainStore(store)
		}
	})
	held, err := c.sessions.load(requestWith(c.start(t)...))
	if err != nil {
		t.Fatal(err)
	}
	return c.refresher, store, held
}

// A replica that died in the middle holds up the others only until its lease ends.
func TestLease_EndsWithItsReplica(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, store, held := leaseTest(t, false)
		key := f.shared.space + tokenKey(held.session).String()
		if ok, err := store.Add(t.Context(), key, []byte("dead"), refreshLease); !ok || err != nil {
			t.Fatal(ok, err)
		}
		start := time.Now()
		release, newer, err := f.lease(t.Context(), held)
		if err != nil || newer != nil {
			t.Fatal(newer, err)
		}
		if waited := time.Since(start); waited < refreshLease || waited > refreshLease+refreshPoll {
			t.Errorf("it waited for %v", waited)
		}
		if ok, _ := store.Add(t.Context(), key, []byte("other"), time.Second); ok {
			t.Error("another replica has a lease at the same time")
		}
		release()
		if ok, _ := store.Add(t.Context(), key, []byte("other"), time.Second); !ok {
			t.Error("the lease was not given back")
		}
	})
}

// The one that waits takes what the other has made.
func TestLease_ReturnsWhatAnotherReplicaMade(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, _, held := leaseTest(t, plain)
			release, newer, err := f.lease(t.Context(), held)
			if err != nil || newer != nil {
				t.Fatal(newer, err)
			}
			go func() {
				time.Sleep(time.Second)
				if err := f.sessions.keeper.update(t.Context(), held, refreshedFrom(held.session)); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // for UserInfo
				release()
			}()
			start := time.Now()
			again, newer, err := f.lease(t.Context(), held)
			if err != nil || newer == nil || newer.tokens.AccessToken != "new access" {
				t.Fatalf("the waiter got %v, %v", newer, err)
			}
			again()
			if waited := time.Since(start); waited < time.Second || waited > time.Second+refreshPoll {
				t.Errorf("it waited for %v", waited)
			}
			time.Sleep(2 * time.Second) // until the other one is done
		})
	}
}

// A refresh may take longer than a lease, which is renewed as long as it lasts.
func TestLease_IsRenewedWhileItIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, store, held := leaseTest(t, false)
		key := f.shared.space + tokenKey(held.session).String()
		release, _, err := f.lease(t.Context(), held)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * refreshLease)
		if ok, _ := store.Add(t.Context(), key, []byte("other"), time.Second); ok {
			t.Error("another replica has a lease at the same time")
		}
		release()
		time.Sleep(refreshLease) // no goroutine renews it any more
		if ok, _ := store.Add(t.Context(), key, []byte("other"), time.Second); !ok {
			t.Error("the lease was not given back")
		}
	})
}

// A plain Store cannot renew a lease, so it is as long as a refresh may take.
func TestLease_OfAPlainStoreIsAsLongAsARefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, store, held := leaseTest(t, true)
		key := f.shared.space + tokenKey(held.session).String()
		if _, _, err := f.lease(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		time.Sleep(f.timeout - 1)
		if _, err := store.Get(t.Context(), key); err != nil {
			t.Errorf("just before the end of a refresh: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := store.Get(t.Context(), key); !errors.Is(err, ErrNotFound) {
			t.Errorf("at the end of a refresh: %v", err)
		}
	})
}

func TestLease_AStoreThatFailsIsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, store, held := leaseTest(t, false)
		store.Fail(errors.New("down"), OpAdd)
		_, _, err := f.lease(t.Context(), held)
		wantCode(t, err, CodeStoreUnavailable)

		store.Fail(errors.New("down"), OpGet) // of what another replica made
		_, _, err = f.lease(t.Context(), held)
		wantCode(t, err, CodeStoreUnavailable)
		store.Before(nil)
		time.Sleep(refreshLease) // it could not be given back
		release, _, err := f.lease(t.Context(), held)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err = f.lease(ctx, held) // the first one still holds it
		wantCode(t, err, CodeStoreUnavailable)
		release()
	})
}

// A Store that was emptied may have given the lease to another replica.
func TestHoldLease_LeavesTheLeaseOfAnotherAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, store, _ := leaseTest(t, false)
		ctx := t.Context()
		if ok, err := f.shared.add(ctx, "k", []byte("A"), refreshLease); !ok || err != nil {
			t.Fatal(ok, err)
		}
		release := f.holdLease(ctx, "k", []byte("A"), refreshLease, time.Now())
		if err := store.Delete(ctx, f.shared.space+"k"); err != nil { // it restarts empty
			t.Fatal(err)
		}
		if ok, err := f.shared.add(ctx, "k", []byte("B"), refreshLease); !ok || err != nil {
			t.Fatal(ok, err)
		}
		time.Sleep(refreshLease - 1)
		release()
		if value, err := store.Get(ctx, f.shared.space+"k"); string(value) != "B" || err != nil {
			t.Errorf("the lease is %q, %v", value, err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := store.Get(ctx, f.shared.space+"k"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the lease of another was renewed: %v", err)
		}
	})
}

// net/http recovers for a request's own goroutine only.
func TestHoldLease_SurvivesAPanicInTheStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, store, _ := leaseTest(t, false)
		if ok, err := f.shared.add(t.Context(), "k", []byte("A"), refreshLease); !ok || err != nil {
			t.Fatal(ok, err)
		}
		release := f.holdLease(t.Context(), "k", []byte("A"), refreshLease, time.Now())
		store.Before(func(_ context.Context, op, _ string) error {
			if op == OpTouch {
				panic("a fault of the Store")
			}
			return nil
		})
		time.Sleep(refreshLease / 2)
		store.Before(nil)
		release()
	})
}
