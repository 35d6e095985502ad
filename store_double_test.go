package oidcrp

import (
	"context"
	"slices"
	"sync"
	"time"
)

// This file has the only double of a Store. It is exported for the tests in package
// oidcrp_test.

// The operations of a Store, as a HookStore names them.
const (
	OpGet     = "Get"
	OpSet     = "Set"
	OpDelete  = "Delete"
	OpTouch   = "Touch"
	OpAdd     = "Add"
	OpGetMany = "GetMany"
)

// A StoreHook is called before an operation. If it returns an error, the operation
// returns it and does nothing. It may wait for ctx, or call the store itself.
type StoreHook func(ctx context.Context, op, key string) error

// A HookStore is a SharedStore that counts the calls to another one and can disturb
// them.
type HookStore struct {
	store SharedStore

	mu    sync.Mutex
	hook  StoreHook      // guarded by mu
	calls map[string]int // by operation; guarded by mu
}

// NewHookStore returns a HookStore over store, or over a new store in memory if that
// is nil.
func NewHookStore(store SharedStore) *HookStore {
	if store == nil {
		store = NewMemoryStore(0)
	}
	return &HookStore{store: store, calls: make(map[string]int)}
}

// PlainStore returns store without the methods of a SharedStore.
func PlainStore(store Store) Store { return struct{ Store }{store} }

// Before sets the hook; nil removes it. GetMany calls it for each key.
func (h *HookStore) Before(hook StoreHook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

// Fail makes the operations ops, or all if none is named, return err; nothing fails
// if err is nil.
func (h *HookStore) Fail(err error, ops ...string) {
	h.Before(func(_ context.Context, op, _ string) error {
		if len(ops) == 0 || slices.Contains(ops, op) {
			return err
		}
		return nil
	})
}

// Hang makes the operations ops, or all if none is named, wait for the end of ctx.
func (h *HookStore) Hang(ops ...string) {
	h.Before(func(ctx context.Context, op, _ string) error {
		if len(ops) > 0 && !slices.Contains(ops, op) {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

// Took returns how many calls of the operations ops, or of all if none is named, there
// have been, and counts these from zero again.
func (h *HookStore) Took(ops ...string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for op, calls := range h.calls {
		if len(ops) == 0 || slices.Contains(ops, op) {
			n += calls
			delete(h.calls, op)
		}
	}
	return n
}

// enter counts a call, and runs the hook for each of its keys.
func (h *HookStore) enter(ctx context.Context, op string, keys ...string) error {
	h.mu.Lock()
	h.calls[op]++
	hook := h.hook
	h.mu.Unlock()
	if hook == nil {
		return nil
	}
	for _, key := range keys {
		if err := hook(ctx, op, key); err != nil {
			return err
		}
	}
	return nil
}

func (h *HookStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := h.enter(ctx, OpGet, key); err != nil {
		return nil, err
	}
	return h.store.Get(ctx, key)
}

func (h *HookStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := h.enter(ctx, OpSet, key); err != nil {
		return err
	}
	return h.store.Set(ctx, key, value, ttl)
}

func (h *HookStore) Delete(ctx context.Context, key string) error {
	if err := h.enter(ctx, OpDelete, key); err != nil {
		return err
	}
	return h.store.Delete(ctx, key)
}

func (h *HookStore) Touch(ctx context.Context, key string, ttl time.Duration) error {
	if err := h.enter(ctx, OpTouch, key); err != nil {
		return err
	}
	return h.store.Touch(ctx, key, ttl)
}

func (h *HookStore) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	if err := h.enter(ctx, OpAdd, key); err != nil {
		return false, err
	}
	return h.store.Add(ctx, key, value, ttl)
}

func (h *HookStore) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	if err := h.enter(ctx, OpGetMany, keys...); err != nil {
		return nil, err
	}
	return h.store.GetMany(ctx, keys)
}
