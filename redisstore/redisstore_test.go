package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oidcrp/oidcrp/oidctest"
	"github.com/oidcrp/oidcrp/redisstore"
)

// A server is a redis-server of one test's own.
type server struct {
	t    testing.TB
	addr string
	args []string
	cmd  *exec.Cmd
}

func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	// Not a port that the system gives to outgoing connections, and not one that
	// a cluster's own bus, 10000 above it, cannot have.
	s := &server{t: t, addr: freeAddr(t)}
	_, port, _ := net.SplitHostPort(s.addr)
	s.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, args...)
	s.start()
	t.Cleanup(s.stop)
	return s
}

var nextPort atomic.Int32

func freeAddr(t testing.TB) string {
	t.Helper()
	for range 500 {
		port := 20000 + (os.Getpid()*97+int(nextPort.Add(1)))%2000
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}

func (s *server) start() {
	s.t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatalf("this test needs redis-server: %v; `apt-get install redis-server`", err)
	}
	s.cmd = exec.Command(path, s.args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", s.addr); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("redis-server does not listen")
		}
	}
}

func (s *server) stop() {
	if s.cmd != nil {
		s.cmd.Process.Signal(syscall.SIGCONT)
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) open() *redisstore.Store {
	s.t.Helper()
	store, err := redisstore.Open("redis://" + s.addr + "/0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { store.Close() })
	return store
}

func TestOneServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	oidctest.TestStore(t, func(testing.TB) *redisstore.Store { return s.open() })
}

func TestCluster(t *testing.T) {
	t.Parallel()
	addrs := newCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(client, redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	oidctest.TestStore(t, func(testing.TB) *redisstore.Store { return store })
}

// newCluster starts n masters that share the slots.
func newCluster(t testing.TB, n int) (addrs []string) {
	t.Helper()
	ctx := t.Context()
	var nodes []*redis.Client
	for range n {
		s := newServer(t, "--cluster-enabled", "yes")
		node := redis.NewClient(&redis.Options{Addr: s.addr})
		t.Cleanup(func() { node.Close() })
		addrs, nodes = append(addrs, s.addr), append(nodes, node)
	}
	const slots = 16384
	for i, node := range nodes {
		if err := node.ClusterAddSlotsRange(ctx, i*slots/n, (i+1)*slots/n-1).Err(); err != nil {
			t.Fatal(err)
		}
		host, port, _ := net.SplitHostPort(addrs[i])
		if err := nodes[0].ClusterMeet(ctx, host, port).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ready := 0
		for _, node := range nodes {
			info, _ := node.ClusterInfo(ctx).Result()
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n)) {
				ready++
			}
		}
		if ready == n {
			return addrs
		}
		if time.Now().After(deadline) {
			t.Fatal("the cluster does not come up")
		}
	}
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	main := newServer(t)
	host, port, _ := net.SplitHostPort(main.addr)
	conf := t.TempDir() + "/sentinel.conf"
	if err := os.WriteFile(conf, []byte("sentinel monitor main "+host+" "+port+" 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The arguments of a server, behind the file that a sentinel must have.
	sentinel := &server{t: t, addr: freeAddr(t)}
	_, sentinelPort, _ := net.SplitHostPort(sentinel.addr)
	sentinel.args = []string{conf, "--sentinel", "--port", sentinelPort, "--bind", "127.0.0.1"}
	sentinel.start()
	t.Cleanup(sentinel.stop)
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{sentinel.addr}, MasterName: "main", ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(client, redisstore.Config{})
	if err != nil {
		t.Fatal(err)
	}
	oidctest.TestStore(t, func(testing.TB) *redisstore.Store { return store })
}

// hook counts what goes to the server.
type hook struct{ trips atomic.Int32 }

func (h *hook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "get" {
			h.trips.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "get" { // and not what a new connection begins with
			h.trips.Add(1)
		}
		return next(ctx, cmds)
	}
}

func TestManyKeysAreOneRoundTripAndKeysHaveThePrefix(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	client := redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(client, redisstore.Config{Prefix: "mine:"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := store.Set(ctx, "a", []byte("1"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(ctx, "mine:a").Result(); got != "1" || err != nil {
		t.Errorf("under the prefix is %q, %v", got, err)
	}
	h := new(hook)
	client.AddHook(h)
	values, err := store.GetMany(ctx, []string{"a", "b", "c", "a"})
	if err != nil || string(values[0]) != "1" || values[1] != nil || h.trips.Load() != 1 {
		t.Errorf("%q, %v in %d round trips", values, err, h.trips.Load())
	}
}

// A server that hangs, or is not there, is an error within the context's time;
// when it is back, the same Store goes on.
func TestAServerInTrouble(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
	store := s.open()
	if err := store.Set(t.Context(), "key", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	fails := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		for name, call := range map[string]func() error{
			"Get":     func() error { _, err := store.Get(ctx, "key"); return err },
			"GetMany": func() error { _, err := store.GetMany(ctx, []string{"key"}); return err },
			"Set":     func() error { return store.Set(ctx, "other", []byte("secret value"), time.Hour) },
			"Add":     func() error { _, err := store.Add(ctx, "other", []byte("secret value"), time.Hour); return err },
			"Touch":   func() error { return store.Touch(ctx, "key", time.Hour) },
			"Delete":  func() error { return store.Delete(ctx, "key") },
		} {
			done := make(chan error, 1)
			go func() { done <- call() }()
			select {
			case err := <-done:
				if err == nil || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s of a server that %s: %v", name, what, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s of a server that %s does not return", name, what)
			}
		}
	}
	works := func(after string) {
		t.Helper()
		var got []byte
		var err error
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			got, err = store.Get(ctx, "key")
			cancel()
			if err == nil && string(got) == "value" {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("after it %s: %q, %v", after, got, err)
	}
	s.cmd.Process.Signal(syscall.SIGSTOP)
	fails("hangs")
	s.cmd.Process.Signal(syscall.SIGCONT)
	// What was sent while it hung is carried out when it goes on.
	if err := store.Set(t.Context(), "key", []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	works("hung")
	s.stop()
	fails("is gone")
	s.start()
	works("came back")
}

func TestNewAndOpenRefuseWhatCannotWork(t *testing.T) {
	t.Parallel()
	for what, client := range map[string]redis.UniversalClient{
		"nil":     nil,
		"one":     redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}),
		"cluster": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}),
	} {
		if _, err := redisstore.New(client, redisstore.Config{}); err == nil {
			t.Errorf("New takes a client without ContextTimeoutEnabled: %s", what)
		}
	}
	for _, url := range []string{"", "http://user:secret@host", "redis://user:secret@host:port", "redis://:sec%ret@host"} {
		if _, err := redisstore.Open(url); err == nil || strings.Contains(err.Error(), "sec") {
			t.Errorf("Open(%q): %v", url, err)
		}
	}
}
