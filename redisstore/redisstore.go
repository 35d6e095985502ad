package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config holds the options of a Store. The zero value is ready to use.
type Config struct {
	// Prefix is the start of every key; if empty, "oidcrp:". Apps that share a Redis
	// do not need different prefixes, because keys are hashes that never collide. In a
	// cluster, do not use a hash tag: it would put all sessions on one node.
	Prefix string
}

// A Store is an [oidcrp.SharedStore] in Redis. [New] and [Open] return one. It is safe
// for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
}

var _ oidcrp.SharedStore = (*Store)(nil)

// New returns a Store that uses client: a *redis.Client, for one server or behind
// Sentinel, a *redis.ClusterClient, or a *redis.Ring. A Ring that takes a shard out of
// use signs out the people whose sessions were there. New makes no network calls.
//
// It returns an error if the options of client do not set ContextTimeoutEnabled, since
// a Redis that hangs would then hold up the app for longer than it allows, or if a
// cluster client reads from replicas, which may not have received a logout yet.
func New(client redis.UniversalClient, cfg Config) (*Store, error) {
	enabled, replicas := true, false
	switch c := client.(type) {
	case nil:
		return nil, errors.New("redisstore: no client")
	case *redis.Client:
		enabled = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		enabled, replicas = c.Options().ContextTimeoutEnabled, c.Options().ReadOnly
	case *redis.Ring:
		enabled = c.Options().ContextTimeoutEnabled
	}
	if !enabled {
		return nil, errors.New("redisstore: the client ignores deadlines: set ContextTimeoutEnabled in its options")
	}
	if replicas {
		return nil, errors.New("redisstore: the client reads from replicas, which may not have received a logout yet: " +
			"unset ReadOnly, RouteByLatency and RouteRandomly")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "oidcrp:"
	}
	return &Store{client, cfg.Prefix}, nil
}

// The timeouts that Open sets unless the URL does. oidcrp allows 2 seconds for a call by
// default: a connection that does not answer is dropped in time to try another.
const (
	dialTimeout = time.Second
	ioTimeout   = time.Second
	poolTimeout = time.Second
)

// Open returns a Store that uses the server at rawURL: a redis://, rediss:// (TLS) or
// unix:// URL. [redis.ParseURL] documents the options that its query may set, such as
// pool_size=100. Open makes no network calls: while the server is down, and for about a
// second afterwards, the Store's methods fail. The timeouts are 1 second unless the URL
// sets them.
func Open(rawURL string) (*Store, error) {
	// Errors of net/url quote the URL, which may contain a password.
	if _, err := url.Parse(rawURL); err != nil {
		return nil, errors.New("redisstore: the address is not a valid URL")
	}
	opt, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("redisstore: %w", err)
	}
	opt.ContextTimeoutEnabled = true
	for timeout, unless := range map[*time.Duration]time.Duration{
		&opt.DialTimeout: dialTimeout, &opt.ReadTimeout: ioTimeout, &opt.WriteTimeout: ioTimeout, &opt.PoolTimeout: poolTimeout,
	} {
		if *timeout == 0 {
			*timeout = unless
		}
	}
	opt.DialerRetries = 1 // commands are retried anyway
	// By default every new connection asks for a feature of one vendor's cloud.
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return New(redis.NewClient(opt), Config{})
}

// Close closes the client, even one that was passed to New.
func (s *Store) Close() error { return s.client.Close() }

// Get returns the value of key, or [oidcrp.ErrNotFound].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := s.client.Get(ctx, s.prefix+key).Result()
	if errors.Is(err, redis.Nil) {
		return nil, oidcrp.ErrNotFound
	}
	if err != nil {
		return nil, failed("get", err)
	}
	return []byte(value), nil
}

// GetMany returns the values of keys in their order, nil for a key that does not exist.
// It takes one round trip; with a cluster, one to each node concerned, all at the same
// time.
func (s *Store) GetMany(ctx context.Context, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	pipe := s.client.Pipeline()
	gets := make([]*redis.StringCmd, len(keys))
	for i, key := range keys {
		gets[i] = pipe.Get(ctx, s.prefix+key)
	}
	// The error is that of the first command that has one, which may be Nil.
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, failed("get", err)
	}
	for i, get := range gets {
		switch value, err := get.Result(); {
		case err == nil:
			values[i] = []byte(value)
		case !errors.Is(err, redis.Nil):
			return nil, failed("get", err)
		}
	}
	return values, nil
}

// Set stores value under key for ttl, rounded up to a millisecond.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return failed("set", s.client.Set(ctx, s.prefix+key, value, roundUp(ttl)).Err())
}

// Delete removes key.
func (s *Store) Delete(ctx context.Context, key string) error {
	return failed("delete", s.client.Del(ctx, s.prefix+key).Err())
}

// Touch makes key expire after ttl, rounded up to a millisecond.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	return failed("touch", s.client.PExpire(ctx, s.prefix+key, roundUp(ttl)).Err())
}

// Add stores value under key for ttl and returns true, or returns false if key has
// another value. It also returns true if key has this value: the client retries when
// the response to its first attempt was lost.
func (s *Store) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	added, err := s.client.SetNX(ctx, s.prefix+key, value, roundUp(ttl)).Result()
	if err != nil || added {
		return added, failed("add", err)
	}
	there, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil // the other value has expired since SetNX found it
	}
	if err != nil {
		return false, failed("add", err)
	}
	return bytes.Equal(there, value), nil
}

// roundUp returns ttl in whole milliseconds, which Redis counts in; at least one, since
// go-redis takes 0 for an entry that never expires.
func roundUp(ttl time.Duration) time.Duration {
	if rest := ttl % time.Millisecond; rest > 0 && ttl < math.MaxInt64-time.Millisecond {
		ttl += time.Millisecond - rest
	}
	return max(ttl, time.Millisecond)
}

// failed wraps err without the arguments of the command, which a server may quote.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	if answer := redis.Error(nil); errors.As(err, &answer) {
		if kept, _, cut := strings.Cut(answer.Error(), ", with args beginning with"); cut {
			return fmt.Errorf("redisstore: %s: %s", what, kept)
		}
	}
	return fmt.Errorf("redisstore: %s: %w", what, err)
}
