package interop

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp/oidctest"
)

const (
	// storeTimeout and revocationDelay are the library's defaults: how long it waits for a store, and
	// how late a logout on one copy may come into effect on another.
	storeTimeout    = 2 * time.Second
	revocationDelay = time.Second
	// slack and margin are for a busy machine.
	slack  = 3 * time.Second
	margin = 500 * time.Millisecond
)

// Each way to keep sessions on three copies, by the environment that chooses it.
var ways = map[string]map[string]string{
	"stored":  {},
	"cookies": {"SESSION_COOKIES": "1"},
}

// replicas is a cluster, its provider, and the people who use it.
type replicas struct {
	*cluster
	provider *oidctest.Provider
	crowd    *crowd
	people   []*person
	keys     string // the file of the cookie keys
	oldKey   string
	newKey   string
	oldState string // sealed with oldKey
}

const people = 200

// newReplicas registers the cluster with a provider that has a persona for everybody.
func newReplicas(t *testing.T, env map[string]string) *replicas {
	t.Helper()
	s := &replicas{keys: filepath.Join(t.TempDir(), "keys"), oldKey: cookieKey(t), newKey: cookieKey(t)}
	s.writeKeys(t, s.oldKey)
	s.cluster = newCluster(t, func(base string) map[string]string {
		cfg := oidctest.Config{Clients: []oidctest.Client{{
			ID: clientID, Secret: clientSecret, IDTokenSignedResponseAlg: "ES256",
			TokenEndpointAuthMethod: "client_secret_post",
			RedirectURIs:            []string{base + "/auth/callback"},
			PostLogoutRedirectURIs:  []string{base + "/auth/logout/callback"},
			BackchannelLogoutURI:    base + "/auth/backchannel-logout",
		}}}
		for i := range people {
			sub := subject(i)
			cfg.Personas = append(cfg.Personas, oidctest.Persona{Subject: sub, ACR: "eidas1", AMR: []string{"pwd"},
				Claims: map[string]any{"email": sub + "@example.org"}})
		}
		s.provider = oidctest.NewServer(t, cfg)
		all := environment(t, modern, s.provider.Issuer(), clientID, base)
		delete(all, "OIDC_COOKIE_KEYS")
		all["OIDC_COOKIE_KEYS_FILE"] = s.keys
		all["SESSION_IDLE_TIMEOUT"] = "80s" // sessions in cookies are sealed again every 20 s
		maps.Copy(all, env)
		return all
	})
	s.crowd = newCrowd(t, s.base)
	for i := range people {
		s.people = append(s.people, s.crowd.newPerson(subject(i)))
	}
	return s
}

func subject(i int) string { return fmt.Sprintf("person-%03d", i) }

// TestReplicas: three copies of one app share a Redis. People who use them notice no failure of a
// copy or of Redis and no change of keys, except for 503 while Redis does not answer.
func TestReplicas(t *testing.T) {
	for way, env := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s := newReplicas(t, env)
			defer s.crowd.report()
			s.crowd.enter(phase{name: "200 people sign in"})
			if err := together(s.people, (*person).signIn); err != nil {
				t.Fatal(err)
			}
			s.everybodyEverywhere(t)

			stop := s.crowd.use(s.people[20:])
			defer stop()
			s.oldState = s.newState(t, s.base)
			s.killACopy(t)
			s.newKeyReachesAll(t)
			s.freezeRedis(t)
			gone := s.signOutOnOneCopy(t)
			s.restartRedis(t)
			s.signedOutEverywhere(t, gone)
			s.backChannelLogout(t)
			s.dropOldKey(t)
			stop()
			s.emptyRedis(t, way == "stored")
			t.Logf("the balancer repeated %d requests and failed %d", s.repeated.Load(), s.failed.Load())
			if n := s.failed.Load(); n > 0 {
				t.Errorf("the balancer answered %d requests with 502", n)
			}
		})
	}
}

// waitFor polls until ready, or gives up with the test.
func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// everybodyEverywhere checks that all are signed in at each copy and at the balancer.
func (s *replicas) everybodyEverywhere(t *testing.T) {
	t.Helper()
	err := together(s.people, func(p *person) error {
		for _, address := range s.everywhere("/api/me") {
			if !p.me(address) {
				return fmt.Errorf("%s is not signed in at %s", p.sub, s.name(address))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killACopy kills a copy that people use, while others sign in, and starts it again. It comes back
// with a new key in front of the old one, which the others do not have yet.
func (s *replicas) killACopy(t *testing.T) {
	t.Helper()
	s.crowd.enter(phase{name: "a copy is killed"})
	newcomers := s.newcomers(12)
	if err := together(newcomers, (*person).begin); err != nil {
		t.Fatal(err)
	}
	s.copies[1].kill()
	if err := together(newcomers, (*person).finish); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "use without the copy", func() bool { return s.repeated.Load() >= 50 })
	s.crowd.enter(phase{name: "it is back with a new key"})
	s.writeKeys(t, s.newKey, s.oldKey)
	s.restart(t, 1)
	s.everybodyEverywhere(t)
}

// writeKeys puts a file with these keys in the place of the old one.
func (s *replicas) writeKeys(t *testing.T, keys ...string) {
	t.Helper()
	err := os.WriteFile(s.keys+".new", []byte(strings.Join(keys, "\n")), 0o600)
	if err == nil {
		err = os.Rename(s.keys+".new", s.keys)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// newState is the state of a login that is started there and never finished.
func (s *replicas) newState(t *testing.T, base string) string {
	t.Helper()
	res := s.redirect(t, base+"/auth/login")
	location, err := res.Location()
	if err != nil || location.Query().Get("state") == "" {
		t.Fatalf("a login started with %d, %v", res.StatusCode, err)
	}
	return location.Query().Get("state")
}

// redirect is the response to a page load without cookies.
func (s *replicas) redirect(t *testing.T, address string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	res, err := s.crowd.transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// opens reports whether a copy has the key that a state is sealed with: if so, it restarts the login,
// since the browser has lost the cookie.
func (s *replicas) opens(t *testing.T, a *app, state string) bool {
	t.Helper()
	query := url.Values{"state": {state}, "code": {"lost"}, "iss": {s.provider.Issuer()}}
	return s.redirect(t, a.base+"/auth/callback?"+query.Encode()).StatusCode == http.StatusFound
}

// sealedWith tells one key from another: what is sealed begins with a version and the key's id.
func sealedWith(sealed string) string { return sealed[:6] }

// hasSealedWith reports whether one of the person's cookies is sealed with the key of a state.
func (p *person) hasSealedWith(state string) bool {
	return slices.ContainsFunc(p.cookies(), func(c *http.Cookie) bool {
		// A session begins with the number of its cookies.
		return strings.HasPrefix(c.Value, sealedWith(state)) || strings.HasPrefix(c.Value[1:], sealedWith(state))
	})
}

// newKeyReachesAll has people sign in until each copy seals with the new key: one that meets what
// the new key has sealed looks for that key.
func (s *replicas) newKeyReachesAll(t *testing.T) {
	t.Helper()
	s.crowd.enter(phase{name: "the new key goes round"})
	waitFor(t, "the new key on each copy", func() bool {
		newcomers := s.newcomers(6)
		if err := together(newcomers, (*person).begin); err != nil {
			t.Fatal(err)
		}
		if err := together(newcomers, (*person).finish); err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(s.copies, func(a *app) bool {
			return sealedWith(s.newState(t, a.base)) == sealedWith(s.oldState)
		})
	})
	s.everybodyEverywhere(t)
}

// dropOldKey drops the old key, once nobody has a cookie that is sealed with it, while people sign in.
func (s *replicas) dropOldKey(t *testing.T) {
	t.Helper()
	s.crowd.enter(phase{name: "the old key is dropped"})
	waitFor(t, "cookies of the new key for everybody", func() bool {
		s.everybodyElse(t)
		return !slices.ContainsFunc(s.people, func(p *person) bool { return p.hasSealedWith(s.oldState) })
	})
	newcomers := s.newcomers(12)
	if err := together(newcomers, (*person).begin); err != nil {
		t.Fatal(err)
	}
	s.writeKeys(t, s.newKey)
	for _, a := range s.copies {
		a.poll(t, "the old key to go", func() bool {
			// A key that nobody has makes a copy look for it now, not within a minute.
			s.opens(t, a, "AQ"+rand.Text()+rand.Text()+rand.Text())
			return !s.opens(t, a, s.oldState)
		})
	}
	if err := together(newcomers, (*person).finish); err != nil {
		t.Fatal(err)
	}
	s.everybodyEverywhere(t)
}

// newcomers are people who are signed in already, in another browser each.
func (s *replicas) newcomers(n int) []*person {
	var all []*person
	for i := range n {
		all = append(all, s.crowd.newPerson(s.people[i].sub))
	}
	return all
}

// freezeRedis lets Redis answer nothing for four seconds.
func (s *replicas) freezeRedis(t *testing.T) {
	t.Helper()
	limit := storeTimeout + slack
	s.crowd.enter(phase{name: "Redis hangs: begins", down: true, limit: limit})
	s.redis.freeze(t)
	time.Sleep(revocationDelay + margin)
	s.crowd.enter(phase{name: "Redis hangs", down: true, only: true, limit: limit})
	time.Sleep(4 * time.Second)
	s.crowd.enter(phase{name: "Redis hangs: ends", down: true, limit: limit})
	s.redis.thaw(t)
	s.recovered(t)
}

// restartRedis stops Redis for ten seconds.
func (s *replicas) restartRedis(t *testing.T) {
	t.Helper()
	limit := storeTimeout + slack
	s.crowd.enter(phase{name: "Redis is down: begins", down: true, limit: limit})
	s.redis.stop(t)
	time.Sleep(revocationDelay + margin)
	s.crowd.enter(phase{name: "Redis is down", down: true, only: true, limit: limit})
	if status := s.copies[0].status(t, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz answers %d", status)
	}
	time.Sleep(10 * time.Second)
	s.crowd.enter(phase{name: "Redis is down: ends", down: true, limit: limit})
	s.redis.start(t)
	s.recovered(t)
}

// recovered waits until each copy works again, and then expects everybody to be signed in.
func (s *replicas) recovered(t *testing.T) {
	t.Helper()
	back := time.Now()
	s.copiesWork(t)
	t.Logf("recovered within %v", time.Since(back).Round(time.Millisecond))
	// Requests that waited when Redis came back may time out until now, and make a copy stop calling
	// Redis for a while.
	time.Sleep(time.Until(back.Add(storeTimeout + margin)))
	s.copiesWork(t)
	s.crowd.enter(phase{name: "after that"})
	s.everybodyEverywhere(t)
}

// copiesWork waits until each copy answers several times in a row, for pools keep broken connections.
func (s *replicas) copiesWork(t *testing.T) {
	t.Helper()
	for _, a := range s.copies {
		row := 0
		waitFor(t, "recovery", func() bool {
			if row++; !s.people[0].me(a.base + "/api/me") {
				row = 0
			}
			return row == 5
		})
	}
}

// signOutOnOneCopy ends a session at one copy; all copies must refuse it, and its old cookies too. It
// returns a person with those cookies.
func (s *replicas) signOutOnOneCopy(t *testing.T) (before *person) {
	t.Helper()
	s.crowd.enter(phase{name: "logout on one copy"})
	p := s.people[0]
	before = p.replay()
	s.signedInEverywhere(t, p, before)
	req, err := http.NewRequest(http.MethodPost, s.copies[0].base+"/auth/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	// The browser does not go on to the provider, which would send a logout token.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, body, err := p.do(&http.Client{Jar: p.client.Jar, Transport: s.crowd.transport, CheckRedirect: stay}, req)
	if err != nil || res.StatusCode != http.StatusSeeOther {
		t.Fatalf("logout: %v, %v\n%s", res, err, body)
	}
	s.signedOutEverywhere(t, p, before)
	s.everybodyElse(t, p)
	if err := p.signIn(); err != nil {
		t.Fatal(err)
	}
	s.signedInEverywhere(t, p)
	return before
}

// backChannelLogout ends one of two sessions of the same person by its sid.
func (s *replicas) backChannelLogout(t *testing.T) {
	t.Helper()
	s.crowd.enter(phase{name: "back-channel logout"})
	first, second := s.people[1], s.newcomers(2)[1]
	if err := second.signIn(); err != nil {
		t.Fatal(err)
	}
	gone := second.sid(t)
	if gone == "" || gone == first.sid(t) {
		t.Fatalf("the sessions have the sid %q and %q", gone, first.sid(t))
	}
	s.signedInEverywhere(t, first, second)
	status, err := s.provider.SendLogout(t.Context(), clientID, second.sub, gone)
	if err != nil || status != http.StatusOK {
		t.Fatalf("the logout token was answered with %d, %v", status, err)
	}
	s.signedOutEverywhere(t, second)
	s.signedInEverywhere(t, first)
	s.everybodyElse(t)
	if err := second.signIn(); err != nil { // a login after the mark is not affected
		t.Fatal(err)
	}
	s.signedInEverywhere(t, first, second)
}

// emptyRedis deletes all data of Redis: people whose session was there sign in again.
func (s *replicas) emptyRedis(t *testing.T, lost bool) {
	t.Helper()
	s.crowd.enter(phase{name: "Redis is empty"})
	s.redis.empty(t)
	if lost {
		s.signedOutEverywhere(t, s.people[:3]...)
		if err := together(s.people, (*person).signIn); err != nil {
			t.Fatal(err)
		}
	}
	s.everybodyEverywhere(t)
}

// sid is the provider's name of the session.
func (p *person) sid(t *testing.T) string {
	t.Helper()
	me, err := p.whoami(p.crowd.base + "/api/me")
	if err != nil {
		t.Fatal(err)
	}
	return me.SID
}

func (s *replicas) signedInEverywhere(t *testing.T, people ...*person) {
	t.Helper()
	for _, p := range people {
		for _, address := range s.everywhere("/api/me") {
			if !p.me(address) {
				t.Errorf("%s is not signed in at %s", p.sub, s.name(address))
			}
		}
	}
}

// signedOutEverywhere expects 401 for these people, as soon as a logout must be known on every copy.
func (s *replicas) signedOutEverywhere(t *testing.T, people ...*person) {
	t.Helper()
	limit := time.Now().Add(revocationDelay + slack)
	for _, p := range people {
		for _, address := range s.everywhere("/api/me") {
			waitFor(t, "signing "+p.sub+" out at "+s.name(address), func() bool {
				status, err := p.status(address)
				return err == nil && status == http.StatusUnauthorized
			})
		}
	}
	if time.Now().After(limit) {
		t.Error("the logout took effect too late")
	}
	for range 5 { // and it stays so
		for _, p := range people {
			for _, address := range s.everywhere("/api/me") {
				if status, err := p.status(address); err != nil || status != http.StatusUnauthorized {
					t.Fatalf("%s gets %d again at %s (%v)", p.sub, status, s.name(address), err)
				}
			}
		}
	}
}

// everybodyElse expects all but these people to be signed in.
func (s *replicas) everybodyElse(t *testing.T, but ...*person) {
	t.Helper()
	err := together(s.people, func(p *person) error {
		if !slices.Contains(but, p) && !p.me(s.base+"/api/me") {
			return errors.New(p.sub + " is not signed in any more")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
