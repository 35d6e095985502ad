package interop

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestRefreshOnReplicas: the provider returns another refresh token each time and refuses the old
// one. Of fifty requests at once on three copies, one refreshes the tokens, and all succeed.
func TestRefreshOnReplicas(t *testing.T) {
	const (
		ttl    = 8 * time.Second
		before = 5 * time.Second
		rounds = 3
	)
	for way, env := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			var provider *provider
			c := newCluster(t, func(base string) map[string]string {
				provider = startProvider(t, modern, settings{
					Port: freePort(t), Clients: []map[string]any{clientAt(modern, clientID, base)},
					RotateRefreshToken: true, AccessTokenTTL: int(ttl / time.Second),
				})
				all := environment(t, modern, provider.issuer, clientID, base)
				maps.Copy(all, map[string]string{"KEEP_TOKENS": "1", "REFRESH_BEFORE": before.String()})
				maps.Copy(all, env)
				return all
			})
			crowd := newCrowd(t, c.base)
			defer crowd.report()
			crowd.enter(phase{name: "refresh"})
			b := newBrowser(t)
			w := &world{app: &app{base: c.base}, provider: provider}
			w.me(t, b.open(c.base+"/me").signIn(alice))
			issued := time.Now() // or a moment before
			p := crowd.newPerson(alice.Sub)
			p.client.Jar = b.client.Jar

			for round := range rounds {
				c.fiftyAtOnce(t, p)
				if n := len(provider.refreshes(t)); n != round {
					t.Fatalf("%d refreshes before number %d is due", n, round+1)
				}
				time.Sleep(time.Until(issued.Add(ttl - before + time.Second)))
				due := time.Now()
				c.fiftyAtOnce(t, p)
				if took := time.Since(due); took > ttl-before {
					t.Fatalf("fifty requests took %v, so long that the next refresh is due", took)
				}
				issued = time.Now()
				if n := len(provider.refreshes(t)); n != round+1 {
					t.Fatalf("%d refreshes instead of %d", n, round+1)
				}
			}
			t.Logf("%d refreshes for %d expiries, 50 requests at once each time", len(provider.refreshes(t)), rounds)
		})
	}
}

// fiftyAtOnce asks for the same person's page from fifty tabs.
func (c *cluster) fiftyAtOnce(t *testing.T, p *person) {
	t.Helper()
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() { p.me(c.base + "/api/me") })
	}
	group.Wait()
}

// refreshes returns the token requests with a refresh token; each must have been the newest one.
func (p *provider) refreshes(t *testing.T) []request {
	t.Helper()
	seen := map[any]bool{}
	all := slices.DeleteFunc(p.requests(t, "token"), func(r request) bool { return r.Form["grant_type"] != "refresh_token" })
	for _, r := range all {
		if token := r.Form["refresh_token"]; seen[token] || r.Status != http.StatusOK {
			t.Errorf("a refresh was answered with %d; token used before: %t", r.Status, seen[token])
		}
		seen[r.Form["refresh_token"]] = true
	}
	return all
}
