package oidcrp

import (
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/oidcrp/oidcrp/internal/strictjson"
)

// cached makes a client whose sessions are remembered, whatever the environment says.
func cached(keep, change func(*Config)) func(*Config) {
	return func(cfg *Config) {
		keep(cfg)
		cfg.Sessions.CacheBytes = defaultCacheBytes
		if change != nil {
			change(cfg)
		}
	}
}

// wantRemembered fails the test unless two requests with cookies get one and the same
// Session: the second did not open it.
func (c *offlineClient) wantRemembered(t *testing.T, what string, cookies []*http.Cookie) *Session {
	t.Helper()
	first := c.wantSession(t, what, requestWith(cookies...))
	if second := c.wantSession(t, what, requestWith(cookies...)); second != first {
		t.Errorf("%s: the second request opened the session again", what)
	}
	return first
}

func TestOpenedCache_ASecondRequestOpensNothing(t *testing.T) {
	t.Parallel()
	for what, keep := range keptIn {
		on := newOfflineClient(t, cached(keep, nil))
		cookies := on.start(t)
		on.wantRemembered(t, what, cookies)

		off := newOfflineClient(t, cached(keep, func(cfg *Config) { cfg.Sessions.CacheBytes = -1 }))
		cookies = off.start(t)
		first, second := off.wantSession(t, what, requestWith(cookies...)), off.wantSession(t, what, requestWith(cookies...))
		if first == second {
			t.Errorf("%s: without a cache, two requests share a Session", what)
		}
	}
}

// Whatever ends a session ends one that is remembered.
func TestOpenedCache_OutlivesNoSession(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		change func(*Config)
		end    func(t *testing.T, c *offlineClient, s *Session, cookies []*http.Cookie)
	}{
		"its end": {
			func(cfg *Config) { cfg.Sessions.Lifetime, cfg.Sessions.IdleTimeout = time.Hour, time.Hour },
			func(_ *testing.T, c *offlineClient, _ *Session, _ []*http.Cookie) { c.clock.Advance(time.Hour) },
		},
		"the idle timeout": {
			nil, func(_ *testing.T, c *offlineClient, _ *Session, _ []*http.Cookie) { c.clock.Advance(time.Hour) },
		},
		"a logout": {nil, func(t *testing.T, c *offlineClient, _ *Session, cookies []*http.Cookie) {
			if err := c.EndSession(httptest.NewRecorder(), requestWith(cookies...)); err != nil {
				t.Fatal(err)
			}
		}},
		"RevokeSession": {nil, func(t *testing.T, c *offlineClient, s *Session, _ []*http.Cookie) {
			if err := c.RevokeSession(t.Context(), s.ID()); err != nil {
				t.Fatal(err)
			}
		}},
		"RevokeSubject": {nil, func(t *testing.T, c *offlineClient, _ *Session, _ []*http.Cookie) {
			if err := c.RevokeSubject(t.Context(), "https://op.example", "alice"); err != nil {
				t.Fatal(err)
			}
		}},
		"a login by somebody else in the browser": {nil, func(t *testing.T, c *offlineClient, _ *Session, cookies []*http.Cookie) {
			c.startSession(t, madeSession(c.Client, strings.Replace(aliceClaims, "alice", "bruno", 1), ""), cookies...)
		}},
	} {
		for in, keep := range keptIn {
			c := newOfflineClient(t, cached(keep, test.change))
			cookies := c.start(t)
			s := c.wantRemembered(t, what+", "+in, cookies)
			test.end(t, c, s, cookies)
			c.wantNoSession(t, "after "+what+", "+in, requestWith(cookies...))
		}
	}
}

// A logout on another replica, which shares the Store, ends what this one remembers as
// soon as RevocationDelay has passed.
func TestOpenedCache_NoticesALogoutOfAnotherReplica(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		if in == "cookies" {
			continue // replicas share nothing
		}
		one := newOfflineClient(t, cached(keep, nil))
		other := newOfflineClient(t, cached(keep, func(cfg *Config) { cfg.Store, cfg.Now = one.sessions.marks.store.store, one.clock.Now }))
		cookies := one.start(t)
		one.wantRemembered(t, in, cookies)
		if err := other.EndSession(httptest.NewRecorder(), requestWith(cookies...)); err != nil {
			t.Fatal(err)
		}
		one.clock.Advance(2 * time.Second)
		one.wantNoSession(t, in, requestWith(cookies...))
	}
}

// A key that left the ring opens nothing any more, not even what it has opened.
func TestOpenedCache_ForgetsWhatAKeyOpenedThatLeftTheRing(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		keys := &keyService{keys: [][]byte{testKey(1)}}
		c := newOfflineClient(t, cached(keep, func(cfg *Config) { cfg.CookieKeys = keys }))
		cookies := c.start(t)
		pass := func(newKeys ...[]byte) {
			keys.set(nil, newKeys...)
			c.clock.Advance(2 * time.Minute)
			c.cookies.keys.read()
		}
		first := c.wantRemembered(t, in, cookies)
		pass(testKey(1))
		if c.wantSession(t, in, requestWith(cookies...)) != first {
			t.Errorf("%s: the same keys, read again, open the session again", in)
		}
		pass(testKey(2), testKey(1))
		c.wantRemembered(t, in+", the old key is still there", cookies)
		pass(testKey(2))
		c.wantNoSession(t, in+", the key has left", requestWith(cookies...))
	}
}

// What is remembered is of the whole value: with one character changed, it is another.
func TestOpenedCache_AnAlteredCookieIsRefused(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		c := newOfflineClient(t, cached(keep, nil))
		s := madeSession(c.Client, aliceClaims, bigClaims(5000)) // two cookies, where they hold it
		cookies := c.startSession(t, s)
		c.wantRemembered(t, in, cookies)
		for i := range cookies {
			for _, at := range []int{1, len(cookies[i].Value) / 3} {
				altered := *cookies[i]
				by := byte('A')
				if altered.Value[at] == by {
					by = 'B'
				}
				altered.Value = altered.Value[:at] + string(by) + altered.Value[at+1:]
				all := append([]*http.Cookie{&altered}, cookies[:i]...)
				c.wantNoSession(t, fmt.Sprint(in, " ", i, " ", at), requestWith(append(all, cookies[i+1:]...)...))
			}
		}
		if len(cookies) > 1 {
			c.wantNoSession(t, in+", without its second cookie", requestWith(cookies[0]))
		}
		c.wantRemembered(t, in+", as it was", cookies)
	}
}

// The entry in the Store decides, not what was opened from an earlier one.
func TestOpenedCache_TheStoresEntryDecides(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, cached(keptIn["a store"], func(cfg *Config) { cfg.Tokens.Keep = true }))
	cookies := c.start(t)
	first := c.wantRemembered(t, "at first", cookies)
	held, err := c.sessions.keeper.load(requestWith(cookies...))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.sessions.keeper.update(t.Context(), held, refreshedFrom(first)); err != nil {
		t.Fatal(err)
	}
	if got := c.wantRemembered(t, "refreshed", cookies); got.Token().AccessToken != "new access" {
		t.Errorf("after a refresh, the access token is %q", got.Token().AccessToken)
	}
	store := c.sessions.marks.store
	if err := store.delete(t.Context(), c.sessions.keeper.(*storeKeeper).key(held.handle)); err != nil {
		t.Fatal(err)
	}
	c.wantNoSession(t, "its entry is gone", requestWith(cookies...))
}

// all yields the entries of c.
func (c *openedCache) all() iter.Seq[*opened] {
	return func(yield func(*opened) bool) {
		for i := range c.shards {
			shard := &c.shards[i]
			shard.mu.Lock()
			entries := slices.AppendSeq(slices.Collect(maps.Values(shard.young)), maps.Values(shard.old))
			shard.mu.Unlock()
			for _, o := range entries {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// bytesHeld returns what the entries of c take, and how many there are.
func (c *openedCache) bytesHeld() (bytes, entries int) {
	for o := range c.all() {
		bytes += o.size()
		entries++
	}
	return bytes, entries
}

func TestOpenedCache_IsBounded(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	clock := newTestClock()
	c := newOpenedCache(most, clock.Now)
	for i := range 5000 {
		c.put(opened{text: fmt.Sprintf("%0800d", i), kept: kept{session: fullSession()}})
		if held, _ := c.bytesHeld(); held > most {
			t.Fatalf("after %d entries, it holds %d bytes, more than %d", i+1, held, most)
		}
	}
	if _, entries := c.bytesHeld(); entries < 100 {
		t.Errorf("it holds %d entries only", entries)
	}
	huge := fullSession()
	huge.setUser(userClaims{own: strictjson.Members{"x": []byte(`"` + strings.Repeat("x", most) + `"`)}})
	c.put(opened{text: "huge", kept: kept{session: huge}})
	if c.get("huge", nil) != nil {
		t.Error("it holds an entry that is larger than the whole")
	}
	// The same text again and again takes the room of one.
	c = newOpenedCache(most, clock.Now)
	for i := range 200 { // some in every shard
		c.put(opened{text: fmt.Sprint(i), kept: kept{session: fullSession()}})
	}
	_, before := c.bytesHeld()
	for range 1000 {
		c.put(opened{text: "0", kept: kept{session: fullSession()}})
	}
	if _, after := c.bytesHeld(); after != before {
		t.Errorf("one text again and again left %d entries of %d", after, before)
	}
}

// A browser may send a megabyte of other cookies with each of its sessions: an entry that
// held a part of them would hold all of them.
func TestOpenedCache_HoldsNothingElseOfTheRequest(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		c := newOfflineClient(t, cached(keep, nil))
		r := requestWith(c.start(t)...)
		line := r.Header.Get("Cookie") + "; other=" + strings.Repeat("x", 1000)
		r.Header.Set("Cookie", line)
		c.wantSession(t, in, r)
		begin := uintptr(unsafe.Pointer(unsafe.StringData(line)))
		for o := range c.sessions.opened.all() {
			for what, text := range map[string]string{"text": o.text, "handle": o.kept.handle, "key": o.stored} {
				if at := uintptr(unsafe.Pointer(unsafe.StringData(text))); begin <= at && at < begin+uintptr(len(line)) {
					t.Errorf("%s: the %s of the entry is a part of the request's cookies", in, what)
				}
			}
		}
		if _, entries := c.sessions.opened.bytesHeld(); entries != 1 {
			t.Errorf("%s: %d entries, want 1", in, entries)
		}
	}
}

// Who has left does not stay in memory as long as others come.
func TestOpenedCache_DropsWhatIsNotUsed(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	c := newOpenedCache(cacheShards<<20, clock.Now)
	used, unused := opened{text: "used", kept: kept{session: fullSession()}}, opened{text: "unused", kept: kept{session: fullSession()}}
	c.put(used)
	c.put(unused)
	for i := range 3 {
		clock.Advance(cacheAge)
		if c.get("used", nil) == nil {
			t.Errorf("what is used is gone after %d times the age", i+1)
		}
		for other := range 200 { // one for each shard, as good as certainly
			c.put(opened{text: fmt.Sprint(i, other), kept: kept{session: fullSession()}})
		}
	}
	if c.get("unused", nil) != nil {
		t.Error("what is not used is still there after three times the age")
	}
}

// A clock that panics for one request must not leave a part of the cache locked.
func TestOpenedCache_APanicOfTheClockLocksNothing(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	c := newOpenedCache(cacheShards<<20, clock.Now)
	c.put(opened{text: "used", kept: kept{session: fullSession()}})
	clock.Advance(cacheAge)
	for other := range 200 { // what was young is old now
		c.put(opened{text: fmt.Sprint(other), kept: kept{session: fullSession()}})
	}
	panicked := func() (value any) {
		defer func() { value = recover() }()
		c.now = func() time.Time { panic("boom") }
		c.get("used", nil)
		return nil
	}()
	if panicked != "boom" {
		t.Fatalf("the caller sees %v, want the panic of the clock", panicked)
	}
	c.now = clock.Now
	for i := range c.shards {
		if !c.shards[i].mu.TryLock() {
			t.Fatal("a shard is still locked")
		}
		c.shards[i].mu.Unlock()
	}
}

// A logout leaves nothing about the person in the memory of this process.
func TestOpenedCache_ALogoutDropsTheClaims(t *testing.T) {
	t.Parallel()
	for in, keep := range keptIn {
		c := newOfflineClient(t, cached(keep, nil))
		cookies := c.start(t)
		c.wantRemembered(t, in, cookies)
		if err := c.EndSession(httptest.NewRecorder(), requestWith(cookies...)); err != nil {
			t.Fatal(err)
		}
		if _, entries := c.sessions.opened.bytesHeld(); entries != 0 {
			t.Errorf("%s: %d sessions are still remembered", in, entries)
		}
	}
}

func TestOpenedCache_IsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	c := newOpenedCache(64<<10, clock.Now)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				text := fmt.Sprint(i % 60)
				if found := c.get(text, nil); found != nil && found.text != text {
					t.Errorf("asked for %s, got %s", text, found.text)
				}
				c.put(opened{text: text, kept: kept{session: fullSession()}})
				if i%7 == 0 {
					c.forget(text)
				}
			}
		})
	}
	all.Wait()
	if held, _ := c.bytesHeld(); held > 64<<10 {
		t.Errorf("it holds %d bytes", held)
	}
}
