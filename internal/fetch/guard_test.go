package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestClassOf_NamesWhatIsInside(t *testing.T) {
	t.Parallel()
	for class, ips := range map[string]string{
		"": "1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.0.1 172.15.0.1 " +
			"172.32.0.1 192.167.0.1 223.255.255.255 2606:4700::1 64:ff9b::101:101 2002:101:101::1 ::ffff:1.1.1.1 " +
			"::1.1.1.1 ::ffff:0:1.1.1.1 168.63.129.15 168.63.129.17 192.88.98.1 192.88.100.1 2001:1::1 2001:4860:4860::8888",
		"loopback": "127.0.0.1 127.9.9.9 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ::127.0.0.1 ::ffff:0:127.0.0.1",
		"private":  "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.67.8.9 fc00::1 fd00:ec2::254 ::ffff:10.0.0.1 ::10.0.0.1 ::ffff:0:10.0.0.1 2002:a00:1::",
		"link-local": "169.254.169.254 fe80::1 fe80::1%eth0 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 64:ff9b:1::a9fe:a9fe " +
			"::169.254.169.254 ::ffff:0:169.254.169.254 168.63.129.16 ::ffff:168.63.129.16 64:ff9b::a83f:8110",
		"unspecified": "0.0.0.0 0.1.2.3 ::",
		"multicast":   "224.0.0.1 239.255.255.255 ff02::1",
		"reserved":    "255.255.255.255 240.0.0.1 198.18.0.1 192.88.99.1 2001:0:a00:1::f5ff:fffe 2001::1 2002:c058:6301::",
	} {
		for _, text := range strings.Fields(ips) {
			if got := classOf(netip.MustParseAddr(text)); got != class {
				t.Errorf("%s is %q, want %q", text, got, class)
			}
		}
	}
}

// A fakeNet has names with any addresses, all of which lead to one server.
type fakeNet struct {
	names  map[string]string // addresses, separated by spaces, by name
	server string            // host and port
}

// guard returns a Guard in this network, for a provider at http://op.example.
func (n *fakeNet) guard() *Guard {
	g := NewGuard("http://op.example")
	g.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		var ips []netip.Addr
		for text := range strings.FieldsSeq(n.names[host]) {
			ips = append(ips, netip.MustParseAddr(text))
		}
		return ips, nil
	}
	g.dial = func(ctx context.Context, network, address string,
		control func(context.Context, string, string, syscall.RawConn) error) (net.Conn, error) {
		host, port, _ := net.SplitHostPort(address)
		if _, err := netip.ParseAddr(host); err == nil {
			n.names[host] = host
		}
		var err error
		for text := range strings.FieldsSeq(n.names[host]) {
			if control != nil {
				err = control(ctx, network, net.JoinHostPort(text, port), nil)
			}
			if err == nil {
				return new(net.Dialer).DialContext(ctx, network, n.server)
			}
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return g
}

func TestGuard_RefusesWhatIsInsideUnlessTheIssuerIsThere(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		issuer, host, addresses string
		refused                 string // the class; "" if it is allowed
	}{
		{"1.1.1.1", "keys.example", "8.8.8.8", ""},
		{"1.1.1.1", "keys.example", "169.254.169.254", "link-local"},
		{"1.1.1.1", "keys.example", "fe80::1", "link-local"},
		{"1.1.1.1", "keys.example", "10.0.0.1", "private"},
		{"1.1.1.1", "keys.example", "100.67.0.1", "private"},
		{"1.1.1.1", "keys.example", "fd00::1", "private"},
		{"1.1.1.1", "localhost", "127.0.0.1", "loopback"},
		{"1.1.1.1", "keys.example", "0.0.0.0", "unspecified"},
		{"1.1.1.1", "keys.example", "224.0.0.1", "multicast"},
		{"1.1.1.1", "169.254.169.254", "", "link-local"},
		{"1.1.1.1", "[::ffff:127.0.0.1]", "", "loopback"},
		{"1.1.1.1", "keys.example", "10.0.0.1 8.8.8.8", ""}, // the other address is tried

		{"10.0.0.1", "op.example", "10.0.0.1", ""},
		{"10.0.0.1", "OP.example.", "10.0.0.1", ""},
		{"10.0.0.1", "keys.example", "192.168.0.1", ""},
		{"10.0.0.1", "192.168.0.1", "", ""},
		{"10.0.0.1", "keys.example", "169.254.169.254", "link-local"},
		{"10.0.0.1", "keys.example", "127.0.0.1", "loopback"},
		{"1.1.1.1 fd00::1", "keys.example", "10.0.0.1", ""},
		{"100.67.0.1", "keys.example", "100.67.0.2", ""},
		{"127.0.0.1", "localhost", "127.0.0.1", ""},
		{"127.0.0.1", "keys.example", "10.0.0.1", "private"},
		{"169.254.1.1", "keys.example", "169.254.1.2", ""},
		{"", "keys.example", "10.0.0.1", "private"}, // the issuer's name does not resolve
	} {
		for _, dialled := range []bool{true, false} { // the issuer; else there was no need to
			name := row.issuer + "," + row.host + "=" + row.addresses
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int32
				server := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
				host := strings.Trim(row.host, "[]")
				n := &fakeNet{server: strings.TrimPrefix(server, "http://"), names: map[string]string{
					"op.example": row.issuer, host: row.addresses}}
				if strings.EqualFold(host, "OP.example.") {
					n.names["OP.example."] = row.addresses
				}
				c := New(n.guard().Protect(NewTransport()), 0)
				if dialled && row.issuer != "" {
					if _, err := c.Do(t.Context(), Request{URL: "http://op.example/"}); err != nil {
						t.Fatalf("the issuer: %v", err)
					}
				}
				asked.Store(0)
				_, err := c.Do(t.Context(), Request{URL: "http://" + row.host + "/latest/meta-data"})
				if row.refused == "" {
					if err != nil || asked.Load() != 1 {
						t.Fatalf("%v after %d requests, want one", err, asked.Load())
					}
					return
				}
				wantError(t, err, Invalid, "Provider.AllowPrivateNetwork")
				var refused *AddressError
				if !errors.As(err, &refused) || refused.Host != host || refused.Class != row.refused || asked.Load() != 0 {
					t.Errorf("%v after %d requests, want one about a %s address and none", err, asked.Load(), row.refused)
				}
			})
		}
	}
}

// The issuer may be inside, and DNS may fail for a moment: nobody knows then.
func TestGuard_AnIssuerThatCannotBeLookedUpIsAnOutage(t *testing.T) {
	t.Parallel()
	var down error = &net.DNSError{Err: "server misbehaving", Name: "op.example", IsTemporary: true}
	var asked atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	n := &fakeNet{names: map[string]string{"keys.example": "10.0.0.7"}, server: strings.TrimPrefix(server, "http://")}
	g := n.guard()
	working := g.lookup
	g.lookup = func(context.Context, string) ([]netip.Addr, error) { return nil, down }
	c := New(g.Protect(NewTransport()), 0)
	for _, host := range []string{"keys.example", "10.0.0.8"} {
		_, err := c.Do(t.Context(), Request{URL: "http://" + host})
		wantError(t, err, Unavailable, "lookup op.example: server misbehaving")
		var refused *AddressError
		if errors.As(err, &refused) || asked.Load() != 0 {
			t.Errorf("%s: %v, after %d requests", host, err, asked.Load())
		}
	}
	// A name that does not exist is no outage.
	down = &net.DNSError{Err: "no such host", Name: "op.example", IsNotFound: true}
	_, err := c.Do(t.Context(), Request{URL: "http://keys.example"})
	wantError(t, err, Invalid, "Provider.AllowPrivateNetwork")
	// One own host that answers is enough.
	n.names["op.example"] = "10.0.0.1"
	g.hosts = append(g.hosts, "other.example")
	g.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		if host == "other.example" {
			return nil, errors.New("DNS is down")
		}
		return working(ctx, host)
	}
	if _, err := c.Do(t.Context(), Request{URL: "http://keys.example"}); err != nil || asked.Load() != 1 {
		t.Errorf("with DNS: %v, after %d requests", err, asked.Load())
	}
}

// A name may have another address at every lookup: what counts is where the
// connection goes.
func TestGuard_DNSRebindingDoesNotHelp(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(200, "text/plain", "inside"))
	n := &fakeNet{names: map[string]string{"op.example": "1.1.1.1", "keys.example": "8.8.8.8"},
		server: strings.TrimPrefix(server, "http://")}
	c := New(n.guard().Protect(NewTransport()), 0)
	if _, err := c.Do(t.Context(), Request{URL: "http://keys.example/"}); err != nil {
		t.Fatal(err)
	}
	c.transport.(guarded).CloseIdleConnections()
	n.names["keys.example"] = "127.0.0.1"
	_, err := c.Do(t.Context(), Request{URL: "http://keys.example/"})
	wantError(t, err, Invalid, "loopback")
}

// This is the real dialler.
func TestGuard_IsInFrontOfTheDialler(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	port := server[strings.LastIndexByte(server, ':'):]
	outside := New(NewGuard("https://192.0.2.1").Protect(NewTransport()), 0) // an address, so nothing is looked up
	for _, host := range []string{"127.0.0.1", "localhost"} {
		_, err := outside.Do(t.Context(), Request{URL: "http://" + host + port})
		wantError(t, err, Invalid, "the host "+host+" has the loopback address ")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	inside := New(NewGuard(server).Protect(NewTransport()), 0)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if _, err := inside.Do(t.Context(), Request{URL: "http://" + host + port}); err != nil {
			t.Error(err)
		}
	}
}

// A proxy may be inside, and is the one that resolves names.
func TestGuard_LeavesTheProxyAlone(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(200, "text/plain", r.URL.Host)(w, r)
	}))
	t.Cleanup(proxy.Close)
	address, _ := url.Parse(proxy.URL)
	transport := NewTransport()
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == "direct.example" {
			return nil, nil
		}
		return address, nil
	}
	g := NewGuard("https://192.0.2.1")
	c := New(g.Protect(transport), 0)
	res, err := c.Do(t.Context(), Request{URL: "http://keys.example/"})
	if err != nil || string(res.Body) != "keys.example" {
		t.Errorf("through the proxy: %+v, %v", res, err)
	}
	for _, host := range []string{"169.254.169.254", "[fe80::1]", "127.0.0.1", address.Host} {
		_, err = c.Do(t.Context(), Request{URL: "http://" + host + "/"})
		wantError(t, err, Invalid, "address")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the proxy got %d requests, want 1", n)
	}
	g.dial = func(ctx context.Context, network, _ string, control func(context.Context, string, string, syscall.RawConn) error) (net.Conn, error) {
		return nil, control(ctx, network, "10.1.2.3:80", nil)
	}
	_, err = c.Do(t.Context(), Request{URL: "http://direct.example/"})
	wantError(t, err, Invalid, "10.1.2.3")
}

// A host that is exempt may be anywhere, and no other host because of it.
func TestGuard_ExemptsNamedHostsOnly(t *testing.T) {
	t.Parallel()
	server := serve(t, answer(200, "text/plain", "ok"))
	n := &fakeNet{server: strings.TrimPrefix(server, "http://"), names: map[string]string{
		"op.example": "1.1.1.1", "keycloak": "10.0.0.5", "other": "10.0.0.6",
	}}
	g := n.guard()
	g.Exempt("Keycloak", "10.0.0.7")
	c := New(g.Protect(NewTransport()), 0)
	for _, host := range []string{"keycloak", "10.0.0.7"} {
		if _, err := c.Do(t.Context(), Request{URL: "http://" + host + "/"}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"other", "10.0.0.5"} {
		_, err := c.Do(t.Context(), Request{URL: "http://" + host + "/"})
		wantError(t, err, Invalid, "private address")
	}
}
