package oidcrp

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// SessionCookieName returns the name of the first cookie of a session of c.
func SessionCookieName(c *Client) string { return c.cookies.session }

// twoMembers returns a Group of two offline Clients.
func twoMembers(t testing.TB, change ...func(*Config)) (g *Group, one, two *offlineClient) {
	t.Helper()
	made := make([]*offlineClient, 2)
	for i, prefix := range []string{"/one/", "/two/"} {
		made[i] = newOfflineClient(t, func(cfg *Config) {
			cfg.PathPrefix = prefix
			if i < len(change) && change[i] != nil {
				change[i](cfg)
			}
		})
	}
	g, err := NewGroup("/auth", Member{Client: made[0].Client, Name: "One"}, Member{Client: made[1].Client, Name: "Two"})
	if err != nil {
		t.Fatal(err)
	}
	return g, made[0], made[1]
}

// startAlone returns the cookies of a session that began without the Group's knowledge.
func (c *offlineClient) startAlone(t testing.TB, sub string, at time.Time) []*http.Cookie {
	t.Helper()
	s := madeSession(c.Client, strings.ReplaceAll(aliceClaims, "alice", sub), "")
	s.created = at
	w := httptest.NewRecorder()
	if err := c.sessions.start(w, requestWith(), s); err != nil {
		t.Fatal(err)
	}
	return cookiesAfter(nil, w)
}

// Two sessions of one browser are from before the app had a Group.
func TestGroup_TheLatestLoginCounts(t *testing.T) {
	t.Parallel()
	for _, later := range []string{"one", "two"} {
		g, one, two := twoMembers(t)
		now := one.clock.Now()
		at := map[string]time.Time{"one": now.Add(-time.Minute), "two": now.Add(-time.Minute), later: now.Add(-time.Second)}
		both := slices.Concat(one.startAlone(t, "one", at["one"]), two.startAlone(t, "two", at["two"]))
		winner, loser := one, two
		if later == "two" {
			winner, loser = two, one
		}
		handler := g.Middleware(g.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			saySubject(w, r)
			loser.wantNoSession(t, "the earlier one", r)
			if s := winner.wantSession(t, "the later one", r); s.Subject() != later || g.Client(r) != winner.Client {
				t.Errorf("the later session is of %q, not %s", s.Subject(), later)
			}
		})))
		// Without Middleware, too.
		if s, err := g.Session(requestWith(both...)); s.Subject() != later || err != nil {
			t.Errorf("Session returned that of %q, %v", s.Subject(), err)
		}
		// A script only does not see the other one.
		if w, after := serves(handler, both, "Sec-Fetch-Mode: cors"); w.Body.String() != later || len(after) != 2 {
			t.Errorf("a script sees %q and has %d cookies", w.Body, len(after))
		}
		loser.wantSession(t, "after a script", requestWith(both...))
		// A page load ends it.
		w, after := serves(handler, both, "Accept: text/html", "Sec-Fetch-Mode: navigate")
		if w.Body.String() != later || len(after) != 1 || after[0].Name != winner.cookies.session {
			t.Errorf("a page shows %q, and the browser then has %v", w.Body, after)
		}
		loser.wantNoSession(t, "a copy", requestWith(both...))
	}
}

// What cannot be read may be the later one.
func TestGroup_AnUnreadableSessionBesideAnotherIsAnOutage(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	g, one, two := twoMembers(t, nil, func(cfg *Config) { cfg.Store = store })
	both := slices.Concat(one.startAlone(t, "one", one.clock.Now()), two.startAlone(t, "two", two.clock.Now()))
	store.Fail(errors.New("down"))
	w, after := serves(g.Middleware(g.RequireLogin(http.HandlerFunc(saySubject))), both, "Accept: text/html", "Sec-Fetch-Mode: navigate")
	if w.Code != http.StatusServiceUnavailable || len(after) != 2 {
		t.Errorf("a protected page answers %d, and the browser then has %d cookies", w.Code, len(after))
	}
	if w, _ := serves(g.Middleware(http.HandlerFunc(saySubject)), both, "Accept: text/html"); w.Code != 200 || w.Body.String() != "" {
		t.Errorf("a public page says %d %q", w.Code, w.Body)
	}
	if s, err := g.Session(requestWith(both...)); s != nil || !errors.Is(err, CodeStoreUnavailable) || g.Client(requestWith(both...)) != nil {
		t.Errorf("Session returned %v, %v", s, err)
	}
	// A session that is over, beside one that is good, is none.
	store.Fail(nil)
	two.clock.Advance(30 * time.Minute)
	if err := two.sessions.keeper.end(requestWith(both...), nil); err != nil {
		t.Fatal(err)
	}
	two.clock.Advance(2 * time.Second)
	w, _ = serves(g.Middleware(g.RequireLogin(http.HandlerFunc(saySubject))), both, "Accept: text/html", "Sec-Fetch-Mode: navigate")
	if w.Body.String() != "one" || one.wantSession(t, "beside one that is over", requestWith(both...)) == nil {
		t.Errorf("beside a session that is over: %d %q", w.Code, w.Body)
	}
}

func TestGroup_OpensOnlyTheSessionsThatAreThere(t *testing.T) {
	t.Parallel()
	stores := []*HookStore{NewHookStore(nil), NewHookStore(nil)}
	g, one, two := twoMembers(t, func(cfg *Config) { cfg.Store = stores[0] }, func(cfg *Config) { cfg.Store = stores[1] })
	handler := g.Middleware(g.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saySubject(w, r)
		for _, c := range []*offlineClient{one, two} {
			_, _ = c.Session(r)
		}
		_, _ = g.Session(r)
		_, _ = g.Check(r)
	})))
	for i, c := range []*offlineClient{one, two} {
		cookies := c.startAlone(t, "alice", c.clock.Now())
		stores[i].Took()
		w, _ := serves(handler, cookies)
		if here, there := stores[i].Took(), stores[1-i].Took(); w.Body.String() != "alice" || here != 1 || there != 0 {
			t.Errorf("member %d: %q, %d calls of its Store and %d of the other", i, w.Body, here, there)
		}
	}
	if w, _ := serves(handler, nil); w.Code != 401 || stores[0].Took()+stores[1].Took() != 0 {
		t.Errorf("for nobody: %d, and the Stores are asked", w.Code)
	}
}

// A cookie of one member is nothing under the name of another, even if both have the same
// keys and the same provider.
func TestGroup_NothingOfOneMemberIsTakenForAnothers(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*Config){"in cookies": nil, "stored": func(cfg *Config) { cfg.Store = NewMemoryStore(0) }} {
		g, one, two := twoMembers(t, change, change)
		cookies := one.startAlone(t, "alice", one.clock.Now())
		if cookies[0].Name == two.cookies.session || two.cookies.isOwn(cookies[0].Name+"=x") {
			t.Fatalf("%s: both have the cookie %s", what, cookies[0].Name)
		}
		moved := *cookies[0]
		moved.Name = two.cookies.session
		r := requestWith(&moved)
		two.wantNoSession(t, what, r)
		if s, err := g.Session(r); s != nil || !errors.Is(err, CodeNoSession) {
			t.Errorf("%s: Session returned %v, %v", what, s, err)
		}
		if s, err := g.Session(requestWith(cookies...)); s.Subject() != "alice" || err != nil {
			t.Errorf("%s: where it belongs, Session returned %v, %v", what, s, err)
		}
	}
}

// A login or logout that the app's handler makes at one member is not for shared caches
// either, though another member's session, or none, was looked up.
func TestGroup_AResponseWithAnyMembersCookieIsPrivate(t *testing.T) {
	t.Parallel()
	g, one, two := twoMembers(t)
	for what, cookies := range map[string][]*http.Cookie{"nobody": nil, "signed in at one": one.startAlone(t, "alice", one.clock.Now())} {
		w, _ := serves(g.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=60")
			if err := two.StartSession(w, r, madeSession(two.Client, aliceClaims, "")); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusEarlyHints)
			if n := len(w.Header()["Set-Cookie"]); n == 0 {
				t.Error("the cookie is gone")
			}
		})), cookies)
		if got := w.Header().Get("Cache-Control"); got != "private, no-cache" {
			t.Errorf("%s: Cache-Control is %q", what, got)
		}
	}
}

// StartSession of a member ends the session at another, wherever the app calls it.
func TestGroup_StartSessionEndsTheSessionAtAnother(t *testing.T) {
	t.Parallel()
	g, one, two := twoMembers(t)
	before := one.startAlone(t, "alice", one.clock.Now())
	after := two.startSession(t, madeSession(two.Client, strings.ReplaceAll(aliceClaims, "alice", "bruno"), ""), before...)
	if s, err := g.Session(requestWith(after...)); s.Subject() != "bruno" || err != nil || len(after) != 1 {
		t.Errorf("Session returned that of %q, %v; the cookies are %v", s.Subject(), err, after)
	}
	one.clock.Advance(2 * time.Second)
	one.wantNoSession(t, "a copy", requestWith(before...))
}

// The issuer of a tenant's session is another than that of its Client.
func TestGroup_ASessionOfATenantIsOfItsMember(t *testing.T) {
	t.Parallel()
	var tenant string
	var ended []SessionEvent
	g, one, two := twoMembers(t, nil, func(cfg *Config) {
		tenant = cfg.Issuer + "/tenant/v2.0"
		cfg.Provider.AcceptedIssuers = []string{tenant}
		cfg.Trace.LoggedOut = Collect(&ended)
	})
	bruno := NewSession(map[string]any{"iss": tenant, "sub": "bruno"})
	bruno.created, bruno.seen = two.clock.Now(), two.clock.Now()
	r := requestWith()
	r = r.WithContext(ContextWithSession(r.Context(), bruno))
	if c := g.Client(r); c != two.Client {
		t.Errorf("a session of a test is not the second member's")
	}
	before := two.startSession(t, bruno)
	after := one.startSession(t, madeSession(one.Client, aliceClaims, ""), before...)
	if len(ended) != 1 || ended[0].Issuer != tenant || len(after) != 1 {
		t.Errorf("after a login at the other, the events are %+v", ended)
	}
	// The same for two sessions from before the app had a Group.
	ended = nil
	carl := NewSession(map[string]any{"iss": tenant, "sub": "carl"})
	carl.created, carl.seen = two.clock.Now().Add(-time.Minute), two.clock.Now()
	both := slices.Concat(two.startSession(t, carl), one.startAlone(t, "alice", one.clock.Now()))
	serves(g.Middleware(http.HandlerFunc(saySubject)), both, "Accept: text/html", "Sec-Fetch-Mode: navigate")
	if len(ended) != 1 || ended[0].Subject != "carl" || ended[0].Issuer != tenant {
		t.Errorf("after a page load, the events are %+v", ended)
	}
}

// A request needs no more memory among three members than with one.
func TestGroup_ARequestCostsTheSameAmongThreeMembers(t *testing.T) {
	var costs []float64
	for _, names := range [][]string{{"A"}, {"A", "B", "C"}} {
		var members []Member
		for _, name := range names {
			client := newOfflineClient(t, func(cfg *Config) { cfg.PathPrefix = "/" + name + "/" })
			members = append(members, Member{Client: client.Client, Name: name})
		}
		g, err := NewGroup("/auth", members...)
		if err != nil {
			t.Fatal(err)
		}
		handler := g.Middleware(g.RequireLogin(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		started := httptest.NewRecorder()
		c := members[0].Client
		if err := c.StartSession(started, requestWith(), madeSession(c, aliceClaims, "")); err != nil {
			t.Fatal(err)
		}
		r := requestWith(started.Result().Cookies()...)
		r.RequestURI = r.URL.Path // as a server has it
		w := new(discard)
		costs = append(costs, testing.AllocsPerRun(200, func() {
			w.reset()
			handler.ServeHTTP(w, r)
		}))
		if w.status != 0 {
			t.Fatalf("it answers %d", w.status)
		}
	}
	if costs[1] > costs[0] {
		t.Errorf("%v allocations with one member, %v with three", costs[0], costs[1])
	}
}

// A login that no requirement asks for stays an ordinary one.
func TestGroup_ARouteWithoutRequirementsAddsNoneToALogin(t *testing.T) {
	t.Parallel()
	g, one, two := twoMembers(t, nil, func(cfg *Config) { cfg.Login.RequireACR = []string{"eidas1"} })
	g.RequireLogin(http.NotFoundHandler())
	_, err := g.Check(requestWith())
	one.ServeError(httptest.NewRecorder(), requestWith(), err)
	if d := two.demands.get(""); d.key != "" || len(d.requirements) > 0 {
		t.Errorf("a login without step_up has the demand %v", d)
	}
	g.Require(Claim("a", "b"))
	d := two.demands.get(newDemand([]Requirement{Claim("a", "b")}).key)
	if got := d.String(); !strings.Contains(got, "eidas1") || !strings.Contains(got, "claim a") {
		t.Errorf("a login for the route has the demand %s", got)
	}
}

func BenchmarkGroupRequest(b *testing.B) {
	for _, members := range []int{1, 2, 3} {
		var all []Member
		for _, name := range []string{"A", "B", "C"}[:members] {
			client := newBenchClient(b, "https://op.example", func(cfg *Config) { cfg.PathPrefix = "/" + name + "/" })
			all = append(all, Member{Client: client, Name: name})
		}
		g, err := NewGroup("/auth", all...)
		if err != nil {
			b.Fatal(err)
		}
		page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		last := all[members-1].Client
		cookies := signedIn(b, last)
		for name, handler := range map[string]http.Handler{"group": g.Middleware(g.RequireLogin(page)), "client": last.Middleware(last.RequireLogin(page))} {
			b.Run(fmt.Sprintf("members=%d/%s", members, name), func(b *testing.B) {
				benchmarkRequests(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.RequestURI = "/page" // as a server has it
					handler.ServeHTTP(w, r)
				}), cookies)
			})
		}
	}
}
