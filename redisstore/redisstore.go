// Package redisstore keeps the sessions of oidcrp in Redis or Valkey: one server,
// one with sentinels, or a cluster.
//
//	store, err := redisstore.Open(os.Getenv("REDIS_URL")) // redis://host:6379/0
//	if err != nil {
//		log.Fatal(err)
//	}
//	cfg.Store = store
//
// For sentinels or a cluster, make the client yourself:
//
//	store, err := redisstore.New(redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs: addresses, MasterName: "main", ContextTimeoutEnabled: true,
//	}), redisstore.Config{})
//
// What is in the server lets nobody sign in: see [oidcrp.Store]. Whoever can
// write to it can sign everybody out, and undo logouts. Give it persistence or a
// replica: a server that restarts empty has forgotten who is signed in, and which
// sessions in cookies were logged out. Its maxmemory-policy should be noeviction
// or a volatile one.
package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oidcrp/oidcrp"
)

// Config says how a Store uses its server.
type Config struct {
	// Prefix begins every key, for a server that others use too. If empty,
	// "oidcrp:". Apps that share a server may share a prefix: no two clients or
	// sessions have the same keys.
	Prefix string
}

// Store is an [oidcrp.Store] with all its optional parts. It is safe for
// concurrent use. Its errors never hold a value.
type Store struct {
	client redis.UniversalClient
	prefix string
}

var (
	_ oidcrp.TouchStore   = (*Store)(nil)
	_ oidcrp.AddStore     = (*Store)(nil)
	_ oidcrp.GetManyStore = (*Store)(nil)
)

// New returns a Store on client. It does no network I/O. It returns an error if
// client's options have ContextTimeoutEnabled off: go-redis then takes no notice
// of a context's end, and a server that hangs would hold up every request.
func New(client redis.UniversalClient, cfg Config) (*Store, error) {
	obeys := true
	switch client := client.(type) {
	case nil:
		return nil, errors.New("redisstore: no client")
	case *redis.Client:
		obeys = client.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		obeys = client.Options().ContextTimeoutEnabled
	case *redis.Ring:
		obeys = client.Options().ContextTimeoutEnabled
	}
	if !obeys {
		return nil, errors.New("redisstore: the client's options need ContextTimeoutEnabled")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "oidcrp:"
	}
	return &Store{client: client, prefix: cfg.Prefix}, nil
}

// Open returns a Store on the one server that url names: redis://, rediss:// for
// TLS, or unix://, with user, password and database as go-redis's ParseURL reads
// them. It does no network I/O; the connection is made when it is needed. A
// server that refuses connections is tried twice and not for seconds, as go-redis
// would by itself, unless url says otherwise.
func Open(url string) (*Store, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		// The error of ParseURL may quote the password.
		return nil, errors.New("redisstore: the URL cannot be read: want redis://user:password@host:port/database")
	}
	options.ContextTimeoutEnabled = true
	if options.DialerRetries == 0 {
		options.DialerRetries = 1
	}
	if options.MaxRetries == 0 {
		options.MaxRetries = 1
	}
	return New(redis.NewClient(options), Config{})
}

// Close closes the client and its connections.
func (s *Store) Close() error { return s.client.Close() }

func (s *Store) key(key string) string { return s.prefix + key }

// Get returns the value of key, or [oidcrp.ErrNotFound].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := s.client.Get(ctx, s.key(key)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, oidcrp.ErrNotFound
	}
	return value, failed("GET", err)
}

// GetMany returns the values of keys, nil for each that is not there. It is one
// round trip; in a cluster, one for each node concerned, at the same time.
func (s *Store) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	answers := make([]*redis.StringCmd, len(keys))
	_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range keys {
			answers[i] = pipe.Get(ctx, s.key(key))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, failed("GET", err)
	}
	values := make([][]byte, len(keys))
	for i, answer := range answers {
		value, err := answer.Bytes()
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			return nil, failed("GET", err)
		default:
			values[i] = value
		}
	}
	return values, nil
}

// Set keeps value under key for ttl.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return failed("SET", s.client.Set(ctx, s.key(key), value, atLeast(ttl)).Err())
}

// Touch makes key expire ttl from now.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	return failed("PEXPIRE", s.client.PExpire(ctx, s.key(key), atLeast(ttl)).Err())
}

// Add keeps value under key for ttl, unless key is there with another value.
func (s *Store) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	err := s.client.SetArgs(ctx, s.key(key), value, redis.SetArgs{Mode: "NX", TTL: atLeast(ttl)}).Err()
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, redis.Nil) {
		return false, failed("SET", err)
	}
	// go-redis sends a command again when the connection broke before its answer
	// came, and then finds what it has set itself.
	current, err := s.Get(ctx, key)
	if errors.Is(err, oidcrp.ErrNotFound) {
		return false, nil
	}
	return err == nil && bytes.Equal(current, value), err
}

// Delete forgets key.
func (s *Store) Delete(ctx context.Context, key string) error {
	return failed("DEL", s.client.Del(ctx, s.key(key)).Err())
}

// atLeast rounds up to what Redis can count: it takes no ttl for none at all.
func atLeast(ttl time.Duration) time.Duration {
	return max(time.Millisecond, (ttl + time.Millisecond - 1).Truncate(time.Millisecond))
}

func failed(command string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("redisstore: %s: %w", command, err)
}
