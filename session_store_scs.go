package oidcrp

// This file makes a Store of one that was made for another session library.

import (
	"context"
	"fmt"
	"time"
)

// An SCSStore is a store in the shape that github.com/alexedwards/scs gave to
// it, of which there are some twenty: for PostgreSQL, MySQL, SQLite and others.
type SCSStore interface {
	// Find returns the value of token, and false when there is none or it has
	// expired.
	Find(token string) (value []byte, found bool, err error)
	// Commit keeps value under token until expiry, in place of what was there.
	Commit(token string, value []byte, expiry time.Time) error
	// Delete forgets token.
	Delete(token string) error
}

// FromSCS returns a [Store] that keeps its entries in store, such as
//
//	oidcrp.FromSCS(pgxstore.New(pool))
//
// It uses the methods FindCtx, CommitCtx and DeleteCtx where store has them.
// One that it has not runs on a goroutine of its own, so that the end of ctx
// ends the wait: the call itself goes on, and may still take effect, until the
// database gives up. Give the database's driver timeouts as well, of less than
// five seconds.
//
// Such a store has three methods, so that some things are weaker than with
// [MemoryStore] or Redis:
//
//   - Two replicas that refresh the tokens of one session at the same moment may
//     both ask the provider, and one that gives a new refresh token each time may
//     then end the session; two that receive the same Logout Token at the same
//     moment may both take it as new. See [AddStore].
//   - A session in use is written again, once in a while, rather than touched: of
//     two requests that change it at the same moment, one may lose. See
//     [TouchStore].
//   - Each logout that could have ended a session is looked up by itself, a query
//     each. See [GetManyStore].
//
// The table must have room for keys of 43 characters, and tell upper from lower
// case, which with MySQL takes a binary collation for the column, such as
// ascii_bin. A value has about 1 KiB, and no more than 256 KiB and 64 bytes: with
// MySQL, a BLOB holds 64 KiB and a MEDIUMBLOB all. What has expired is deleted by
// the store, most of which have a cleanup that runs every few minutes. Expiry is
// a time by this machine's clock, so it must agree with the database's.
func FromSCS(store SCSStore) Store {
	s := &scsStore{find: findAside(store), commit: commitAside(store), del: deleteAside(store)}
	if with, ok := store.(interface {
		FindCtx(ctx context.Context, token string) ([]byte, bool, error)
	}); ok {
		s.find = with.FindCtx
	}
	if with, ok := store.(interface {
		CommitCtx(ctx context.Context, token string, value []byte, expiry time.Time) error
	}); ok {
		s.commit = with.CommitCtx
	}
	if with, ok := store.(interface {
		DeleteCtx(ctx context.Context, token string) error
	}); ok {
		s.del = with.DeleteCtx
	}
	return s
}

type scsStore struct {
	find   func(ctx context.Context, token string) ([]byte, bool, error)
	commit func(ctx context.Context, token string, value []byte, expiry time.Time) error
	del    func(ctx context.Context, token string) error
}

func (s *scsStore) Get(ctx context.Context, key string) ([]byte, error) {
	value, found, err := s.find(ctx, key)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, ErrNotFound
	}
	return value, nil
}

func (s *scsStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	// A store in memory keeps what it is given, and one that runs aside may still
	// read it. An empty value must not become NULL.
	value = append(make([]byte, 0, len(value)), value...)
	return s.commit(ctx, key, value, time.Now().Add(ttl))
}

func (s *scsStore) Delete(ctx context.Context, key string) error { return s.del(ctx, key) }

func findAside(store SCSStore) func(context.Context, string) ([]byte, bool, error) {
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

func commitAside(store SCSStore) func(context.Context, string, []byte, time.Time) error {
	return func(ctx context.Context, token string, value []byte, expiry time.Time) error {
		_, err := aside(ctx, func() (struct{}, error) { return struct{}{}, store.Commit(token, value, expiry) })
		return err
	}
}

func deleteAside(store SCSStore) func(context.Context, string) error {
	return func(ctx context.Context, token string) error {
		_, err := aside(ctx, func() (struct{}, error) { return struct{}{}, store.Delete(token) })
		return err
	}
}

// aside returns what call returns, or ctx's error when that ends first. A call
// that panics, which on a goroutine would end the program, fails.
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
