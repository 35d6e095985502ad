package interop

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// redis is a redis-server that keeps its data when it is stopped and started again.
type redis struct {
	*process
	port int
	dir  string
}

func newRedis(t testing.TB) *redis {
	t.Helper()
	r := &redis{port: freePort(t), dir: t.TempDir()}
	r.start(t)
	return r
}

// start returns when the server has read its data.
func (r *redis) start(t testing.TB) {
	t.Helper()
	r.process = startProcess(t, "redis-server", exec.Command(need(t, "redis-server", "redis-server"),
		"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "yes", "--dir", r.dir))
	r.poll(t, "redis-server", r.answers)
}

func (r *redis) answers() bool { return r.command("PING") == "+PONG" }

// empty deletes all data of the server.
func (r *redis) empty(t testing.TB) {
	t.Helper()
	if answer := r.command("FLUSHALL"); answer != "+OK" {
		t.Fatalf("FLUSHALL was answered with %q", answer)
	}
}

// command returns the first line of the server's answer, "" if there is none.
func (r *redis) command(text string) string {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)), time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(conn, text+"\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line)
}

// freeze makes the server accept connections and answer nothing, until thaw.
func (r *redis) freeze(t testing.TB) { r.signal(t, syscall.SIGSTOP) }
func (r *redis) thaw(t testing.TB)   { r.signal(t, syscall.SIGCONT) }

func (r *redis) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// cluster is three copies of webapp behind a balancer, with their sessions in Redis.
type cluster struct {
	*balancer
	redis   *redis
	copies  []*app
	program string
	env     map[string]string
}

const copies = 3

// newCluster starts the copies with env, which register tells for the origin of the balancer.
func newCluster(t testing.TB, register func(base string) map[string]string) *cluster {
	t.Helper()
	program, err := redisWebapp()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{redis: newRedis(t), balancer: newBalancer(t), program: program}
	c.env = map[string]string{"SESSION_STORE": fmt.Sprintf("redis://127.0.0.1:%d/0", c.redis.port)}
	maps.Copy(c.env, register(c.base))
	for range copies {
		a := startBuild(t, c.program, origin(freePort(t)), c.env)
		c.copies = append(c.copies, a)
		c.hosts = append(c.hosts, a.base[len("http://"):])
	}
	c.open.Store(true)
	return c
}

// restart starts a copy that has ended again where it was.
func (c *cluster) restart(t testing.TB, i int) {
	t.Helper()
	c.copies[i] = startBuild(t, c.program, c.copies[i].base, c.env)
}

// balancer sends requests to the copies in turn, without regard to the client. Like other load
// balancers, it sends a request that a copy does not answer to the next one, if it may be repeated.
type balancer struct {
	base  string
	hosts []string    // set before open
	open  atomic.Bool // the copies are there

	turn     atomic.Uint64
	repeated atomic.Int64 // requests that went to another copy
	failed   atomic.Int64 // requests that it answered 502 itself
	next     *http.Transport
}

func newBalancer(t testing.TB) *balancer {
	t.Helper()
	b := &balancer{next: &http.Transport{MaxIdleConnsPerHost: 64}}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: b,
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http"; r.Out.URL.Host = "copy" },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			b.failed.Add(1)
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	})
	t.Cleanup(func() {
		server.Close()
		b.next.CloseIdleConnections()
	})
	b.base = server.URL
	return b
}

// RoundTrip is the balancer's choice of a copy.
func (b *balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	if !b.open.Load() {
		return nil, errors.New("no copy is there yet")
	}
	turn := b.turn.Add(1)
	var errs []error
	for i := range b.hosts {
		out := req.Clone(req.Context())
		out.URL.Host = b.hosts[(turn+uint64(i))%uint64(len(b.hosts))]
		res, err := b.ask(out)
		if err == nil {
			return res, nil
		}
		errs = append(errs, err)
		if req.Context().Err() != nil || req.Method != http.MethodGet && req.Method != http.MethodHead {
			break
		}
		b.repeated.Add(1)
	}
	return nil, errors.Join(errs...)
}

// ask returns a copy's answer when all of it is there.
func (b *balancer) ask(req *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// everywhere returns the addresses of a path at the balancer and at each copy.
func (c *cluster) everywhere(path string) []string {
	addresses := []string{c.base + path}
	for _, a := range c.copies {
		addresses = append(addresses, a.base+path)
	}
	return addresses
}

// name says which copy an address belongs to, for messages.
func (c *cluster) name(address string) string {
	for i, a := range c.copies {
		if strings.HasPrefix(address, a.base+"/") {
			return "copy " + strconv.Itoa(i)
		}
	}
	return "the balancer"
}
