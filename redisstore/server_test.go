package redisstore

// This file runs Redis servers.

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience bounds every wait: generous, since a busy machine is not a failure.
const patience = 30 * time.Second

// A server is a redis-server process, which ends with its test.
type server struct {
	addr string
	port string
	args []string
	dir  string
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{} // closed when the process has ended
}

// startServer starts a Redis that keeps nothing on disk, with more arguments.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	port := freePort(t)
	s := &server{addr: net.JoinHostPort("127.0.0.1", port), port: port, dir: t.TempDir(), log: new(logBuffer)}
	s.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", s.dir}, args...)
	s.start(t)
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the server at %s says:\n%s", s.addr, s.log.Bytes())
		}
	})
	return s
}

// start runs the process and waits until it answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("these tests need Redis: apt-get install redis-server")
	}
	s.cmd = exec.Command(program, s.args...)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = s.log, s.log, orphan
	done := make(chan struct{})
	s.done = done
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait()
		close(done)
	}(s.cmd)
	poll(t, "the server answers", func() bool {
		select {
		case <-done:
			t.Fatalf("the server has ended:\n%s", s.log.Bytes())
		default:
		}
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			return false
		}
		defer conn.Close()
		answer := make([]byte, 5)
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_, writeErr := conn.Write([]byte("PING\r\n"))
		n, readErr := conn.Read(answer)
		return writeErr == nil && readErr == nil && string(answer[:n]) == "+PONG"
	})
}

// stop ends the process by its id. Stopping twice is harmless.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Kill)
	<-s.done
}

// hang makes the process take connections and answer nothing, until resume.
func (s *server) hang(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

func (s *server) resume(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// client returns a client of the server, without Open's settings.
func (s *server) client(t testing.TB) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

// open returns a Store by Open.
func (s *server) open(t testing.TB) *Store {
	t.Helper()
	store, err := Open("redis://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// startCluster starts three servers that each have a third of the slots.
func startCluster(t testing.TB) *redis.ClusterClient {
	t.Helper()
	ctx := context.Background()
	const nodes, slots = 3, 16384
	var addrs []string
	var clients []*redis.Client
	var first *server
	for i := range nodes {
		bus := freePort(t)
		s := startServer(t, "--cluster-enabled", "yes", "--cluster-port", bus)
		client := s.client(t)
		addrs, clients = append(addrs, s.addr), append(clients, client)
		if first == nil {
			first = s
			first.args = append(first.args, bus) // the last, for MEET
		}
		firstBus := first.args[len(first.args)-1]
		for _, err := range []error{
			client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(),
			client.ClusterAddSlotsRange(ctx, i*slots/nodes, (i+1)*slots/nodes-1).Err(),
			client.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", first.port, firstBus).Err(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, client := range clients {
		poll(t, "the cluster is complete", func() bool {
			info, err := client.ClusterInfo(ctx).Result()
			return err == nil && bytes.Contains([]byte(info), []byte("cluster_state:ok")) &&
				bytes.Contains([]byte(info), []byte("cluster_known_nodes:3"))
		})
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	t.Cleanup(func() { cluster.Close() })
	return cluster
}

func poll(t testing.TB, what string, ready func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-deadline:
			t.Fatalf("waited %v in vain until %s", patience, what)
		case <-tick.C:
		}
	}
}

var taken sync.Map // of ports given out by freePort

// freePort returns a port of 127.0.0.1 that nothing listens on, below the range of
// outgoing connections, so that none of those gets there first.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		listener.Close()
		if _, loaded := taken.LoadOrStore(port, true); !loaded {
			return port
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return ""
}

// A logBuffer is a bytes.Buffer for two goroutines.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// Bytes returns a copy of what has been written so far.
func (b *logBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
