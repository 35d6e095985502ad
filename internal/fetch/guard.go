package fetch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Guard keeps requests away from addresses inside the network that the program
// runs in, such as 169.254.169.254, where metadata from outside could send them. The
// provider's own hosts may be anywhere, and the other hosts may have addresses of
// the same class as theirs: a whole provider may be inside. An address is checked
// when it is dialled, so that a name cannot have another one by then.
type Guard struct {
	hosts  []string // the provider's own
	exempt []string // may have any address
	dial   dialFunc
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu   sync.Mutex
	seen map[string]bool // classes of the addresses of hosts; guarded by mu
}

// A dialFunc dials address and calls control with each address that it resolves to,
// before it connects.
type dialFunc func(ctx context.Context, network, address string,
	control func(context.Context, string, string, syscall.RawConn) error) (net.Conn, error)

// NewGuard returns a Guard for a provider whose own hosts are those of urls.
func NewGuard(urls ...string) *Guard {
	g := &Guard{dial: dial, seen: make(map[string]bool)}
	g.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil && u.Host != "" {
			g.hosts = append(g.hosts, canonical(u.Hostname()))
		}
	}
	return g
}

// Exempt lets the named hosts have any address. It says nothing about other hosts.
func (g *Guard) Exempt(hosts ...string) {
	for _, host := range hosts {
		g.exempt = append(g.exempt, canonical(host))
	}
}

func dial(ctx context.Context, network, address string,
	control func(context.Context, string, string, syscall.RawConn) error,
) (net.Conn, error) {
	dialer := newDialer()
	dialer.ControlContext = control
	return dialer.DialContext(ctx, network, address)
}

func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// Protect returns a transport like t that dials no address that g refuses. A proxy
// may be anywhere. It resolves names itself, so that only addresses in URLs are
// refused for it.
func (g *Guard) Protect(t *http.Transport) http.RoundTripper {
	direct := t.Clone()
	direct.Proxy, direct.DialContext = nil, g.dialContext
	p := guarded{guard: g, direct: direct}
	if proxy := t.Proxy; proxy != nil {
		p.proxy, p.proxied = proxy, t.Clone()
		p.proxied.DialContext = g.dialContext
		p.proxied.Proxy = func(r *http.Request) (*url.URL, error) {
			u, err := proxy(r)
			if route, ok := r.Context().Value(routeKey{}).(*route); ok {
				route.proxied.Store(u != nil)
			}
			return u, err
		}
	}
	return p
}

// A route says how a request reaches its host. It is in the context of the request,
// and so in that of the dial.
type route struct{ proxied atomic.Bool }

type routeKey struct{}

type guarded struct {
	guard  *Guard
	direct *http.Transport // without a proxy
	// What follows is for requests that have a proxy; nil if none has.
	proxy   func(*http.Request) (*url.URL, error)
	proxied *http.Transport
}

func (t guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	host := r.URL.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		if err := t.guard.check(r.Context(), host, ip); err != nil {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, err
		}
	}
	if t.proxy == nil {
		return t.direct.RoundTrip(r)
	}
	if u, err := t.proxy(r); u == nil && err == nil {
		return t.direct.RoundTrip(r) // which needs no route
	}
	return t.proxied.RoundTrip(r.WithContext(context.WithValue(r.Context(), routeKey{}, new(route))))
}

// CloseIdleConnections is for http.Client.
func (t guarded) CloseIdleConnections() {
	t.direct.CloseIdleConnections()
	if t.proxied != nil {
		t.proxied.CloseIdleConnections()
	}
}

func (g *Guard) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if route, ok := ctx.Value(routeKey{}).(*route); ok && route.proxied.Load() {
		return g.dial(ctx, network, address, nil)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return g.dial(ctx, network, address, func(ctx context.Context, _, real string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(real)
		if err != nil {
			return err
		}
		return g.check(ctx, host, to.Addr())
	})
}

// check returns an [*AddressError] if host must not be at ip, and the error of a
// look-up that would be needed to know.
func (g *Guard) check(ctx context.Context, host string, ip netip.Addr) error {
	class := classOf(ip)
	if slices.Contains(g.exempt, canonical(host)) {
		return nil
	}
	if slices.Contains(g.hosts, canonical(host)) {
		g.learn(class)
		return nil
	}
	if class == "" {
		return nil
	}
	if own, err := g.isOwn(ctx, class); own || err != nil {
		return err
	}
	return &AddressError{Host: host, Address: ip.String(), Class: class}
}

func (g *Guard) learn(class string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen[class] = true
}

// isOwn reports whether one of the provider's own hosts has an address of class. If
// none was dialled yet, as with a proxy, their names are looked up.
func (g *Guard) isOwn(ctx context.Context, class string) (own bool, err error) {
	g.mu.Lock()
	known := g.seen[class]
	g.mu.Unlock()
	if known {
		return true, nil
	}
	for _, host := range g.hosts {
		ips, failure := g.lookup(ctx, host)
		var dns *net.DNSError
		if failure != nil && !(errors.As(failure, &dns) && dns.IsNotFound) { // else it has no address
			err = failure
		}
		for _, ip := range ips {
			if classOf(ip) == class {
				g.learn(class)
				return true, nil
			}
		}
	}
	return false, err
}

// An AddressError says that a URL of the provider leads into the network that the
// program runs in.
type AddressError struct {
	Host, Address string
	Class         string // "private", "loopback" and so on
}

func (e *AddressError) Error() string {
	return fmt.Sprintf("the host %s has the %s address %s, and the issuer has none of that kind: "+
		"set Provider.AllowPrivateNetwork (OIDC_ALLOW_PRIVATE_NETWORK=1) if the provider is meant to be there",
		e.Host, e.Class, e.Address)
}

// classes are the ranges that hold no provider on the internet (RFC 6890), and the
// metadata host of Azure, 168.63.129.16. Those of one class are often mixed in one
// network. Teredo (RFC 4380) and the relays of 6to4 (RFC 7526) lead nobody knows where.
var classes = []struct{ class, ranges string }{
	{"unspecified", "0.0.0.0/8 ::/128"},
	{"loopback", "127.0.0.0/8 ::1/128"},
	{"link-local", "169.254.0.0/16 fe80::/10 168.63.129.16/32"},
	{"private", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10"},
	{"multicast", "224.0.0.0/4 ff00::/8"},
	{"reserved", "192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 192.88.99.0/24 2001::/32"},
}

// embedding are the ranges whose addresses hold an IPv4 address, and where it begins:
// NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), IPv4-compatible (RFC 4291 section
// 2.5.5.1) and IPv4-translated (RFC 2765).
var embedding = map[string]int{
	"64:ff9b::/96": 12, "64:ff9b:1::/48": 12, "2002::/16": 2, "::/96": 12, "::ffff:0:0:0/96": 12,
}

// classOf returns the class of an address, "" for one on the internet.
func classOf(ip netip.Addr) string {
	ip = ip.WithZone("").Unmap()
	if class := rangeOf(ip); class != "" {
		return class
	}
	for prefix, at := range embedding {
		if netip.MustParsePrefix(prefix).Contains(ip) {
			b := ip.As16()
			return rangeOf(netip.AddrFrom4([4]byte(b[at : at+4])))
		}
	}
	return ""
}

// rangeOf returns the class of the range that holds ip itself, "" if there is none.
func rangeOf(ip netip.Addr) string {
	for _, c := range classes {
		for prefix := range strings.FieldsSeq(c.ranges) {
			if netip.MustParsePrefix(prefix).Contains(ip) {
				return c.class
			}
		}
	}
	return ""
}
