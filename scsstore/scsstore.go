// Package scsstore adapts the stores of github.com/alexedwards/scs, of which there
// are about twenty: for PostgreSQL, MySQL, SQLite and other databases. It does not
// import scs.
package scsstore

import (
	"context"
	"fmt"
	"time"

	"github.com/oidcrp/oidcrp"
)

// A Store is what scs calls a Store.
type Store interface {
	// Find returns the value of token, and false if it does not exist or has expired.
	Find(token string) (value []byte, found bool, err error)
	// Commit stores value under token until expiry and replaces any earlier value.
	Commit(token string, value []byte, expiry time.Time) error
	// Delete removes token.
	Delete(token string) error
}

// New returns an [oidcrp.Store] that keeps its entries in store, such as
//
//	scsstore.New(pgxstore.New(pool))
//
// It uses the methods FindCtx, CommitCtx and DeleteCtx if store has them. A store
// without them is called in a separate goroutine, so that the end of ctx ends the
// wait. The call itself goes on until the database gives up, and may still take
// effect. Therefore set timeouts in the database driver too, shorter than the time
// that oidcrp allows for a call: [oidcrp.Sessions.StoreTimeout], 2 seconds by default.
//
// The result is not an [oidcrp.SharedStore]; see there for what is weaker when the app
// runs as several replicas.
//
// The table must have room for keys of 43 characters and compare them
// case-sensitively. With MySQL this takes a binary collation for the column, such as
// ascii_bin. Values have about 1 KiB, and at most 256 KiB and 64 bytes: with MySQL, a
// BLOB holds only 64 KiB, a MEDIUMBLOB all of it. The store deletes expired entries
// itself; most run a cleanup every few minutes. Expiry times are computed with this
// machine's clock, which must agree with the database's.
func New(store Store) oidcrp.Store {
	a := &adapter{find: findAside(store), commit: commitAside(store), del: deleteAside(store)}
	if with, ok := store.(interface {
		FindCtx(ctx context.Context, token string) ([]byte, bool, error)
	}); ok {
		a.find = with.FindCtx
	}
	if with, ok := store.(interface {
		CommitCtx(ctx context.Context, token string, value []byte, expiry time.Time) error
	}); ok {
		a.commit = with.CommitCtx
	}
	if with, ok := store.(interface {
		DeleteCtx(ctx context.Context, token string) error
	}); ok {
		a.del = with.DeleteCtx
	}
	return a
}

type adapter struct {
	find   func(ctx context.Context, token string) ([]byte, bool, error)
	commit func(ctx context.Context, token string, value []byte, expiry time.Time) error
	del    func(ctx context.Context, token string) error
}

func (a *adapter) Get(ctx context.Context, key string) ([]byte, error) {
	value, found, err := a.find(ctx, key)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, oidcrp.ErrNotFound
	}
	return value, nil
}

func (a *adapter) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	// A store in memory keeps the slice, and a call that goes on after the end of ctx
	// still reads it. An empty value must not become NULL.
	value = append(make([]byte, 0, len(value)), value...)
	return a.commit(ctx, key, value, time.Now().Add(ttl))
}

func (a *adapter) Delete(ctx context.Context, key string) error { return a.del(ctx, key) }

func findAside(store Store) func(context.Context, string) ([]byte, bool, error) {
	return func(ctx context.Context, token string) ([]byte, bool, error) {
		type found struct {
			value []byte
			ok    bool
		}
		f, err := aside(ctx, func() (found, error) {
			value, ok, err := store.Find(token)
			return found{value, ok}, err
		})
		return f.value, f.ok, err
	}
}

func commitAside(store Store) func(context.Context, string, []byte, time.Time) error {
	return func(ctx context.Context, token string, value []byte, expiry time.Time) error {
		_, err := aside(ctx, func() (struct{}, error) { return struct{}{}, store.Commit(token, value, expiry) })
		return err
	}
}

func deleteAside(store Store) func(context.Context, string) error {
	return func(ctx context.Context, token string) error {
		_, err := aside(ctx, func() (struct{}, error) { return struct{}{}, store.Delete(token) })
		return err
	}
}

// aside returns what call returns, or the error of ctx if that ends first. A panic
// in call, which in a goroutine would end the program, becomes an error.
func aside[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				r.err = fmt.Errorf("the store panicked: %v", v)
			}
			done <- r
		}()
		r.value, r.err = call()
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
