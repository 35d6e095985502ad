package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/storetest"
	"github.com/redis/go-redis/v9"
)

func TestStore_OnOneServer(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	storetest.Run(t, func(t testing.TB) oidcrp.Store { return server.open(t) })
}

func TestStore_OnAUnixSocket(t *testing.T) {
	t.Parallel()
	// Not t.TempDir, whose long names are too long for a socket.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	startServer(t, "--unixsocket", socket)
	store, err := Open("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Set(t.Context(), "key", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if value, err := store.Get(t.Context(), "key"); string(value) != "value" || err != nil {
		t.Errorf("%q, %v", value, err)
	}
}

func TestStore_OnACluster(t *testing.T) {
	t.Parallel()
	store := newStore(t, startCluster(t), Config{})
	storetest.Run(t, func(testing.TB) oidcrp.Store { return store })
}

func TestStore_OnARing(t *testing.T) {
	t.Parallel()
	a, b := startServer(t), startServer(t)
	ring := redis.NewRing(&redis.RingOptions{
		Addrs: map[string]string{"a": a.addr, "b": b.addr}, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { ring.Close() })
	store := newStore(t, ring, Config{})
	storetest.Run(t, func(testing.TB) oidcrp.Store { return store })
}

func TestStore_BehindSentinel(t *testing.T) {
	t.Parallel()
	primary := startServer(t)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "sentinel monitor sessions 127.0.0.1 %s 1\n", primary.port), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	sentinel := &server{addr: net.JoinHostPort("127.0.0.1", port), port: port, log: new(logBuffer)}
	sentinel.args = []string{conf, "--sentinel", "--port", port, "--bind", "127.0.0.1"}
	sentinel.start(t)
	t.Cleanup(sentinel.stop)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "sessions", SentinelAddrs: []string{sentinel.addr}, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { client.Close() })
	store := newStore(t, client, Config{})
	storetest.Run(t, func(testing.TB) oidcrp.Store { return store })
}

func newStore(t testing.TB, client redis.UniversalClient, cfg Config) *Store {
	t.Helper()
	store, err := New(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestNew_RefusesUnsafeClients(t *testing.T) {
	t.Parallel()
	for name, newClient := range map[string]func(enabled bool) redis.UniversalClient{
		"Client": func(enabled bool) redis.UniversalClient {
			return redis.NewClient(&redis.Options{ContextTimeoutEnabled: enabled})
		},
		"FailoverClient": func(enabled bool) redis.UniversalClient {
			return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", ContextTimeoutEnabled: enabled})
		},
		"ClusterClient": func(enabled bool) redis.UniversalClient {
			return redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: enabled})
		},
		"Ring": func(enabled bool) redis.UniversalClient {
			return redis.NewRing(&redis.RingOptions{ContextTimeoutEnabled: enabled})
		},
	} {
		for _, enabled := range []bool{true, false} {
			client := newClient(enabled)
			store, err := New(client, Config{})
			if enabled && (err != nil || store == nil) {
				t.Errorf("%s: %v", name, err)
			}
			if !enabled && (err == nil || !strings.Contains(err.Error(), "ContextTimeoutEnabled")) {
				t.Errorf("%s without deadlines: %v", name, err)
			}
			client.Close()
		}
	}
	if _, err := New(nil, Config{}); err == nil {
		t.Error("New accepts a nil client")
	}
	for _, opt := range []redis.ClusterOptions{{ReadOnly: true}, {RouteByLatency: true}, {RouteRandomly: true}} {
		opt.ContextTimeoutEnabled = true
		client := redis.NewClusterClient(&opt)
		if _, err := New(client, Config{}); err == nil || !strings.Contains(err.Error(), "replicas") {
			t.Errorf("reading from replicas: %v", err)
		}
		client.Close()
	}
}

func TestOpen_ReadsTheURL(t *testing.T) {
	t.Parallel()
	const plain, set = "redis://:secret@redis.example:6380/3", "&read_timeout=1s&write_timeout=4s&dial_timeout=3s&pool_timeout=5s&pool_size=7"
	for url, want := range map[string]redis.Options{
		plain: {Addr: "redis.example:6380", DB: 3, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, DialTimeout: dialTimeout, PoolTimeout: poolTimeout},
		"rediss://redis.example?db=3" + set: {
			Addr: "redis.example:6379", DB: 3, ReadTimeout: time.Second, WriteTimeout: 4 * time.Second,
			DialTimeout: 3 * time.Second, PoolTimeout: 5 * time.Second, PoolSize: 7,
		},
	} {
		store, err := Open(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := store.client.(*redis.Client).Options()
		if got.Addr != want.Addr || got.DB != want.DB || got.ReadTimeout != want.ReadTimeout || got.WriteTimeout != want.WriteTimeout ||
			got.DialTimeout != want.DialTimeout || got.PoolTimeout != want.PoolTimeout ||
			want.PoolSize > 0 && got.PoolSize != want.PoolSize || (got.TLSConfig != nil) != strings.HasPrefix(url, "rediss:") {
			t.Errorf("%s: %+v", url, got)
		}
		if !got.ContextTimeoutEnabled {
			t.Errorf("%s: deadlines are ignored", url)
		}
		if got.DialerRetries != 1 {
			t.Errorf("%s: each try dials %d times", url, got.DialerRetries)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{
		"", "redis.example:6379", "http://redis.example", "redis://:secret@redis.example:port", "redis://:sec%zzret@redis.example",
		"redis://:secret@redis.example/sessions", "redis://:secret@redis.example?no_such_option=1",
	} {
		if _, err := Open(url); err == nil {
			t.Errorf("%q: no error", url)
		} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec%zzret") {
			t.Errorf("%q: the error shows the password: %v", url, err)
		}
	}
}

func TestConfig_Prefix(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	client := server.client(t)
	for prefix, want := range map[string]string{"": "oidcrp:", "app:": "app:"} {
		store := newStore(t, client, Config{Prefix: prefix})
		if err := store.Set(t.Context(), "key", []byte("x"), time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, err := client.Keys(t.Context(), want+"*").Result(); err != nil || !slices.Equal(got, []string{want + "key"}) {
			t.Errorf("prefix %q: keys %q, %v", prefix, got, err)
		}
	}
}

func TestStore_EveryKeyHasATimeToLive(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	client, ctx := server.client(t), t.Context()
	store := newStore(t, client, Config{})
	for ttl, want := range map[time.Duration]time.Duration{
		math.MinInt64: time.Millisecond, -1: time.Millisecond, 0: time.Millisecond, 1: time.Millisecond,
		time.Millisecond: time.Millisecond, time.Millisecond + 1: 2 * time.Millisecond, time.Second: time.Second,
		90*time.Minute - 1: 90 * time.Minute, math.MaxInt64: math.MaxInt64,
	} {
		if got := roundUp(ttl); got != want {
			t.Errorf("%v is rounded to %v, want %v", ttl, got, want)
		}
	}
	steps := map[string]func(key string, ttl time.Duration) error{
		"Set": func(key string, ttl time.Duration) error { return store.Set(ctx, key, []byte("x"), ttl) },
		"Add": func(key string, ttl time.Duration) error {
			added, err := store.Add(ctx, key, []byte("x"), ttl)
			if err == nil && !added {
				err = errors.New("not added")
			}
			return err
		},
		"Touch": func(key string, ttl time.Duration) error {
			return errors.Join(store.Set(ctx, key, []byte("x"), time.Minute), store.Touch(ctx, key, ttl))
		},
	}
	for name, step := range steps {
		for _, ttl := range []time.Duration{0, 1, -time.Second} {
			if err := step(name, ttl); err != nil {
				t.Fatalf("%s for %v: %v", name, ttl, err)
			}
			poll(t, name+" has expired", func() bool {
				_, err := store.Get(ctx, name)
				return errors.Is(err, oidcrp.ErrNotFound)
			})
		}
		for _, ttl := range []time.Duration{1500 * time.Millisecond, time.Hour, math.MaxInt64} {
			key := fmt.Sprint(name, ttl)
			if err := step(key, ttl); err != nil {
				t.Fatalf("%s for %v: %v", name, ttl, err)
			}
			if left := client.PTTL(ctx, "oidcrp:"+key).Val(); left <= 0 || left > ttl {
				t.Errorf("%s for %v: %v are left", name, ttl, left)
			}
		}
	}
}

// The answer to a command may be lost, and go-redis then sends the command again.
func TestStore_AddFindsItsOwnValue(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	client := server.client(t)
	store := newStore(t, client, Config{})
	lost := &loseAnswer{command: "set"}
	client.AddHook(lost)
	if added, err := store.Add(t.Context(), "key", []byte("mine"), time.Hour); !added || err != nil || lost.times != 1 {
		t.Errorf("after %d lost answers: %t, %v", lost.times, added, err)
	}
	if added, err := store.Add(t.Context(), "key", []byte("other"), time.Hour); added || err != nil {
		t.Errorf("another value: %t, %v", added, err)
	}
}

// A loseAnswer sends the first such command twice, as if its answer had been lost.
type loseAnswer struct {
	command string
	times   int
}

func (l *loseAnswer) DialHook(next redis.DialHook) redis.DialHook { return next }
func (l *loseAnswer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *loseAnswer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == l.command && l.times == 0 {
			l.times++
			if err := next(ctx, cmd); err != nil {
				return err
			}
			cmd.SetErr(nil)
		}
		return next(ctx, cmd)
	}
}

// A countedConn counts what a client writes: a command or a pipeline is one write,
// and one round trip.
type countedConn struct {
	net.Conn
	count func()
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.count()
	return c.Conn.Write(p)
}

func TestStore_RoundTrips(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	var mu sync.Mutex
	trips := 0 // guarded by mu
	client := redis.NewClient(&redis.Options{
		Addr: server.addr, ContextTimeoutEnabled: true, PoolSize: 1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &countedConn{conn, func() {
				mu.Lock()
				defer mu.Unlock()
				trips++
			}}, err
		},
	})
	t.Cleanup(func() { client.Close() })
	store, ctx := newStore(t, client, Config{}), t.Context()
	// These dial: a pipeline has a connection of its own.
	_, err := store.GetMany(ctx, []string{"first"})
	if err := errors.Join(err, store.Set(ctx, "first", []byte("x"), time.Hour)); err != nil {
		t.Fatal(err)
	}
	keys := []string{"first", "none"}
	for i := range 100 {
		keys = append(keys, fmt.Sprint("none ", i))
	}
	for name, test := range map[string]struct {
		want int
		call func() error
	}{
		"Get":               {1, func() error { _, err := store.Get(ctx, "first"); return err }},
		"Set":               {1, func() error { return store.Set(ctx, "a", []byte("x"), time.Hour) }},
		"Touch":             {1, func() error { return store.Touch(ctx, "first", time.Hour) }},
		"Delete":            {1, func() error { return store.Delete(ctx, "none") }},
		"Add":               {1, func() error { _, err := store.Add(ctx, "new", []byte("x"), time.Hour); return err }},
		"Add what is there": {2, func() error { _, err := store.Add(ctx, "first", []byte("y"), time.Hour); return err }},
		"GetMany":           {1, func() error { _, err := store.GetMany(ctx, keys); return err }},
		"GetMany of none":   {0, func() error { _, err := store.GetMany(ctx, nil); return err }},
	} {
		mu.Lock()
		trips = 0
		mu.Unlock()
		err := test.call()
		mu.Lock()
		if err != nil || trips != test.want {
			t.Errorf("%s: %d round trips, want %d; %v", name, trips, test.want, err)
		}
		mu.Unlock()
	}
}

// calls returns every method, as one that returns its error.
func calls(ctx context.Context, store *Store) map[string]error {
	_, get := store.Get(ctx, "key")
	_, getMany := store.GetMany(ctx, []string{"key", "other"})
	_, add := store.Add(ctx, "key", []byte("sealed session"), time.Hour)
	return map[string]error{
		"Get": get, "GetMany": getMany, "Add": add,
		"Set":    store.Set(ctx, "key", []byte("sealed session"), time.Hour),
		"Touch":  store.Touch(ctx, "key", time.Hour),
		"Delete": store.Delete(ctx, "key"),
	}
}

func TestStore_AHangingServerIsAbandonedAtTheDeadline(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	// The connection's own timeouts are far away, so that only the deadline can end a call.
	store, err := Open("redis://" + server.addr + "?dial_timeout=20s&read_timeout=20s&write_timeout=20s&pool_timeout=20s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Set(t.Context(), "key", []byte("x"), time.Hour); err != nil {
		t.Fatal(err)
	}
	server.hang(t)
	const limit, margin = 200 * time.Millisecond, 10 * time.Second
	for name, call := range map[string]func(ctx context.Context) error{
		"Get":     func(ctx context.Context) error { _, err := store.Get(ctx, "key"); return err },
		"GetMany": func(ctx context.Context) error { _, err := store.GetMany(ctx, []string{"key"}); return err },
		"Set":     func(ctx context.Context) error { return store.Set(ctx, "key", nil, time.Hour) },
		"Add":     func(ctx context.Context) error { _, err := store.Add(ctx, "key", nil, time.Hour); return err },
		"Touch":   func(ctx context.Context) error { return store.Touch(ctx, "key", time.Hour) },
		"Delete":  func(ctx context.Context) error { return store.Delete(ctx, "other") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		start := time.Now()
		err := call(ctx)
		cancel()
		if err == nil || errors.Is(err, oidcrp.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if waited := time.Since(start); waited > limit+margin {
			t.Fatalf("%s waited %v", name, waited)
		}
	}
	server.resume(t)
	poll(t, "the store works again", func() bool {
		_, err := store.Get(t.Context(), "key")
		return err == nil
	})
}

func TestStore_AServerThatIsDownIsAnOutageUntilItReturns(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	store := server.open(t)
	ctx := t.Context()
	for name, err := range calls(ctx, store) {
		if err != nil && !errors.Is(err, oidcrp.ErrNotFound) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	server.stop()
	for name, err := range calls(ctx, store) {
		if err == nil || errors.Is(err, oidcrp.ErrNotFound) || strings.Contains(err.Error(), "sealed") {
			t.Errorf("%s without a server: %v", name, err)
		}
	}
	server.start(t)
	// It has come back empty. The client looks for it once a second.
	poll(t, "the server is found again", func() bool {
		_, err := store.Get(ctx, "key")
		return errors.Is(err, oidcrp.ErrNotFound)
	})
	for name, err := range calls(ctx, store) {
		if err != nil && !errors.Is(err, oidcrp.ErrNotFound) {
			t.Errorf("%s after the restart: %v", name, err)
		}
	}
}

// A server that knows no SET repeats what it was sent.
func TestStore_ErrorsQuoteNoValues(t *testing.T) {
	t.Parallel()
	server := startServer(t, "--rename-command", "SET", "", "--rename-command", "PEXPIRE", "", "--rename-command", "GET", "")
	store := server.open(t)
	for name, err := range calls(t.Context(), store) {
		if name == "Delete" {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "unknown command") {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "sealed") || strings.Contains(err.Error(), "key") {
			t.Errorf("%s: the error shows what was sent: %v", name, err)
		}
	}
	// One of another kind under the key is an outage too, not "signed out".
	whole := startServer(t)
	client := whole.client(t)
	if err := client.LPush(t.Context(), "oidcrp:other", "x").Err(); err != nil {
		t.Fatal(err)
	}
	store = newStore(t, client, Config{})
	if _, err := store.Get(t.Context(), "other"); err == nil || errors.Is(err, oidcrp.ErrNotFound) {
		t.Errorf("Get of a list: %v", err)
	}
	if values, err := store.GetMany(t.Context(), []string{"key", "other"}); err == nil {
		t.Errorf("GetMany of a list: %q", values)
	}
}
