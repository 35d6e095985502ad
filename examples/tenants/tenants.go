package main

import (
	"container/list"
	"context"
	"errors"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/oidcrp/oidcrp"
)

// A Tenant is a customer with a host name and a provider of its own: a row of a database.
type Tenant struct {
	Host                           string // as in the browser's address bar, with the port if there is one
	BaseURL                        string // such as "https://" + Host
	Issuer, ClientID, ClientSecret string
}

// ErrNoTenant is what [Tenants.Lookup] returns for a host of nobody.
var ErrNoTenant = errors.New("no tenant has this host")

// Tenants makes a Client for each tenant when its first request comes, and forgets those
// that are not used. A Client costs about 10 KiB, and with time as much as its
// Sessions.CacheBytes, and makes no network calls; its caches are filled again when a
// forgotten tenant comes back.
//
// What must outlive a Client is elsewhere: logins under way and sessions are in cookies,
// which every Client of the same tenant opens, and what was signed out is in the Store
// of Config, which all tenants share. Without a Store, a forgotten Client would take its
// logouts with it, and a copied cookie would work again.
type Tenants struct {
	// Lookup finds the tenant of a host. It is asked about any host that a request names,
	// so it must find what is registered and nothing else.
	Lookup func(ctx context.Context, host string) (Tenant, error)
	// Config is the configuration of a tenant's Client.
	Config func(Tenant) oidcrp.Config
	// Max is how many Clients are kept, and Fresh how long a tenant is not looked up again.
	Max   int
	Fresh time.Duration

	mu     sync.Mutex
	byHost map[string]*list.Element // guarded by mu; of *entry
	used   list.List                // guarded by mu; the last used first
}

// An entry is a tenant with its Client.
type entry struct {
	host   string // of the requests; the tenant may have others
	tenant Tenant
	client *oidcrp.Client
	read   time.Time // when the tenant was looked up
}

type clientKey struct{}

// ClientFrom returns the Client of the request's tenant, behind [Tenants.Middleware].
func ClientFrom(ctx context.Context) *oidcrp.Client {
	client, _ := ctx.Value(clientKey{}).(*oidcrp.Client)
	return client
}

// Middleware is that of the Client of the request's host. Wrap the whole app with it.
func (t *Tenants) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, err := t.client(r.Context(), strings.ToLower(r.Host))
		switch {
		case errors.Is(err, ErrNoTenant):
			http.NotFound(w, r)
		case err != nil:
			log.Printf("the tenant of %q: %v", r.Host, err)
			http.Error(w, "please try again later", http.StatusServiceUnavailable)
		default:
			ctx := context.WithValue(r.Context(), clientKey{}, client)
			client.Middleware(next).ServeHTTP(w, r.WithContext(ctx))
		}
	})
}

// RequireLogin is that of the request's Client.
func RequireLogin(next http.Handler) http.Handler { return Require()(next) }

// Require is that of the request's Client.
func Require(requirements ...oidcrp.Requirement) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			client := ClientFrom(r.Context())
			if client == nil { // never let a request through because something is missing
				http.Error(w, "Tenants.Middleware is missing", http.StatusInternalServerError)
				return
			}
			client.Require(requirements...)(next).ServeHTTP(w, r)
		})
	}
}

// client returns the Client of a host. A tenant that was looked up lately is not looked
// up again; one that has not changed keeps its Client, whose caches are warm.
func (t *Tenants) client(ctx context.Context, host string) (*oidcrp.Client, error) {
	known := t.known(host)
	if known != nil && time.Since(known.read) < t.Fresh {
		return known.client, nil
	}
	tenant, err := t.Lookup(ctx, host)
	switch {
	case errors.Is(err, ErrNoTenant):
		t.forget(host)
		return nil, err
	case err != nil && known != nil: // the database is down; sign-in need not be
		return known.client, nil
	case err != nil:
		return nil, err
	case known != nil && known.tenant == tenant:
		return t.keep(&entry{host, tenant, known.client, time.Now()}), nil
	}
	client, err := oidcrp.New(t.Config(tenant))
	if err != nil {
		return nil, err
	}
	return t.keep(&entry{host, tenant, client, time.Now()}), nil
}

// known returns the entry of a host, nil if there is none, and marks it as used.
func (t *Tenants) known(host string) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	element := t.byHost[host]
	if element == nil {
		return nil
	}
	t.used.MoveToFront(element)
	return element.Value.(*entry)
}

// keep keeps an entry and returns the Client to use: of two requests that made one at the
// same time, the first wins. The Client that was not used for longest makes room; requests
// that still have it are served.
func (t *Tenants) keep(e *entry) *oidcrp.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byHost == nil {
		t.byHost = make(map[string]*list.Element)
	}
	if element := t.byHost[e.host]; element != nil {
		if old := element.Value.(*entry); old.tenant == e.tenant {
			e.client = old.client
		}
		element.Value = e
		return e.client
	}
	t.byHost[e.host] = t.used.PushFront(e)
	for t.used.Len() > t.Max {
		last := t.used.Back()
		t.used.Remove(last)
		delete(t.byHost, last.Value.(*entry).host)
	}
	return e.client
}

func (t *Tenants) forget(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if element := t.byHost[host]; element != nil {
		t.used.Remove(element)
		delete(t.byHost, host)
	}
}
