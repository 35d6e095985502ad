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

// Config is what a Store may be told. The zero value is ready to use.
type Config struct {
	// Prefix begins every key; if empty, "oidcrp:". Apps that share a Redis need
	// none of their own, since keys are hashes that never meet, but operators may
	// like one. In a cluster, a hash tag in it would put all sessions on one node.
	Prefix string
}

// A Store is an [oidcrp.Store] in Redis, with all the optional methods. It is made by
// [New] or [Open] and safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	prefix string
}

var (
	_ oidcrp.TouchStore   = (*Store)(nil)
	_ oidcrp.AddStore     = (*Store)(nil)
	_ oidcrp.GetManyStore = (*Store)(nil)
)

// New returns a Store that uses client: a *redis.Client, for one server or behind
// Sentinel, a *redis.ClusterClient, or a *redis.Ring, though a Ring that takes a shard
// out of use signs out whose sessions it had. It does not use the network.
//
// It returns an error when the options of client have no ContextTimeoutEnabled, or a
// Redis that hangs would hold up the app for longer than it allows, and when a cluster
// client reads from replicas, which may not have heard of a logout yet.
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
		return nil, errors.New("redisstore: set ContextTimeoutEnabled in the options of the client, or it ignores deadlines")
	}
	if replicas {
		return nil, errors.New("redisstore: the client reads from replicas, which may not have heard of a logout yet: " +
			"unset ReadOnly, RouteByLatency and RouteRandomly")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "oidcrp:"
	}
	return &Store{client, cfg.Prefix}, nil
}

// What Open sets unless the URL does. oidcrp gives the Store five seconds for what a
// request needs: a connection that does not answer is given up in time for another.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 2 * time.Second
	poolTimeout = 2 * time.Second
)

// Open returns a Store that uses one server, at a redis:// or rediss:// (TLS) or
// unix:// URL as in [redis.ParseURL], which also says what the query may set, such as
// pool_size=100. It does not use the network: a server that is down is an error of the
// Store's methods, until about a second after it is back. The timeouts are 2 s unless
// the URL sets them.
func Open(rawURL string) (*Store, error) {
	// Errors of net/url show what they are about, and that has a password.
	if _, err := url.Parse(rawURL); err != nil {
		return nil, errors.New("redisstore: the address is no URL")
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
	opt.DialerRetries = 1 // commands are tried again as it is
	// Asks a server for a feature of one vendor's cloud, at every connection.
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return New(redis.NewClient(opt), Config{})
}

// Close closes the client, also one that was given to New.
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

// GetMany returns the values of keys, in their order, nil for a key that is not there.
// It takes one round trip; with a cluster, one to each node concerned, at the same time.
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

// Set keeps value under key for ttl, to the next millisecond.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return failed("set", s.client.Set(ctx, s.prefix+key, value, roundUp(ttl)).Err())
}

// Delete forgets key.
func (s *Store) Delete(ctx context.Context, key string) error {
	return failed("delete", s.client.Del(ctx, s.prefix+key).Err())
}

// Touch makes key expire ttl from now, to the next millisecond.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) error {
	return failed("touch", s.client.PExpire(ctx, s.prefix+key, roundUp(ttl)).Err())
}

// Add keeps value under key for ttl and reports true, or reports false when another
// value is there. It reports true as well when value itself is there: the client tries
// again when the answer to its first try was lost.
func (s *Store) Add(ctx context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	added, err := s.client.SetNX(ctx, s.prefix+key, value, roundUp(ttl)).Result()
	if err != nil || added {
		return added, failed("add", err)
	}
	there, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		return false, nil // it has expired since: whoever set it had it until now
	}
	if err != nil {
		return false, failed("add", err)
	}
	return bytes.Equal(there, value), nil
}

// roundUp returns ttl in whole milliseconds, at least one: Redis counts in them, and
// takes 0 as without end.
func roundUp(ttl time.Duration) time.Duration {
	if rest := ttl % time.Millisecond; rest > 0 && ttl < math.MaxInt64-time.Millisecond {
		ttl += time.Millisecond - rest
	}
	return max(ttl, time.Millisecond)
}

// failed says what failed, without what a server repeats of the command.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	if said := redis.Error(nil); errors.As(err, &said) {
		if kept, _, cut := strings.Cut(said.Error(), ", with args beginning with"); cut {
			return fmt.Errorf("redisstore: %s: %s", what, kept)
		}
	}
	return fmt.Errorf("redisstore: %s: %w", what, err)
}
