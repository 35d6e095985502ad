package oidcrp

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// testMarks are marks in store, or in memory if it is nil, that are looked up each
// time.
func testMarks(store Store, now func() time.Time) *marks {
	local := store == nil
	if local {
		store = newMemoryStore(0, now)
	}
	return &marks{store: newStorage(store, time.Second, now), local: local, now: now, recent: recently{delay: -1}}
}

// markedSession is one of this person of the issuer "i" that began then.
func markedSession(began time.Time, sub, sid string) *Session {
	claims, err := parseObject(fmt.Sprintf(`{"iss":"i","sub":%q,"sid":%q}`, sub, sid))
	if err != nil {
		panic(err)
	}
	return &Session{created: began, claims: claims}
}

func TestMarks_EndWhatBeganBefore(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(*testClock) Store{
		"memory of its own": func(*testClock) Store { return nil },
		"SharedStore":       func(c *testClock) Store { return newMemoryStore(0, c.Now) },
		"plain Store":       func(c *testClock) Store { return PlainStore(newMemoryStore(0, c.Now)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newTestClock()
			m := testMarks(store(clock), clock.Now)
			ctx := t.Context()
			key := sessionMark("i", "sid")
			began := clock.Now()
			want := func(what string, over bool, began time.Time, sid string) {
				t.Helper()
				if got, err := m.over(ctx, markedSession(began, "sub", sid), lookup{}); (got != "") != over || err != nil {
					t.Errorf("%s: %q, %v, want %t", what, got, err, over)
				}
			}
			want("no mark", false, began, "sid")
			if err := m.set(ctx, key, markKey{}, time.Hour); err != nil {
				t.Fatal(err)
			}
			want("a session of the moment of the mark", true, began, "sid")
			want("one that began before", true, began.Add(-time.Hour), "sid")
			want("one that began a millisecond later", false, began.Add(time.Millisecond), "sid")
			want("another session of the provider", false, began, "other")
			want("none of the provider", false, began, "")
			clock.Advance(30 * time.Minute)
			if err := m.set(ctx, key, markKey{}, time.Hour); err != nil {
				t.Fatal(err)
			}
			want("between two marks", true, began.Add(time.Minute), "sid")
			clock.Advance(59 * time.Minute)
			want("before the second mark expires", true, began, "sid")
			clock.Advance(time.Minute)
			want("when it has expired", false, began, "sid")
		})
	}
}

// A mark about this one session ends it whatever the clocks of the replicas say.
func TestMarks_ASessionsOwnMarkDependsOnNoClock(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	m := testMarks(nil, clock.Now)
	s := &Session{id: "0123456789abcdef", line: "0123456789abcdef", created: clock.Now().Add(2 * time.Second)} // by a replica 2 s ahead
	if err := m.set(t.Context(), s.markKeys().session(), markKey{}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if over, err := m.over(t.Context(), s, lookup{}); over != reasonLoggedOut || err != nil {
		t.Errorf("over: %q, %v", over, err)
	}
	other := &Session{id: "fedcba9876543210", line: "fedcba9876543210", created: s.created}
	if over, err := m.over(t.Context(), other, lookup{}); over != "" || err != nil {
		t.Errorf("another session is over: %q, %v", over, err)
	}
}

func TestMarks_FirstNotesATokenOnce(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		clock := newTestClock()
		store := Store(newMemoryStore(0, clock.Now))
		if plain {
			store = PlainStore(store)
		}
		m, ctx := testMarks(store, clock.Now), t.Context()
		want := func(what, issuer string, first bool) {
			t.Helper()
			if got, err := m.first(ctx, issuer, "jti", time.Hour); got != first || err != nil {
				t.Errorf("plain %t: %s: %t, %v", plain, what, got, err)
			}
		}
		want("the first time", "iss", true)
		want("the second time", "iss", false)
		want("the jti of another issuer", "iss2", true)
		m.forget(ctx, "iss", "jti")
		want("one that was forgotten", "iss", true)
		clock.Advance(time.Hour)
		want("after its time", "iss", true)
	}
}

func TestMarkKeys_AreApart(t *testing.T) {
	t.Parallel()
	seen := make(map[markKey]string)
	for what, key := range map[string]markKey{
		"sid a of i": sessionMark("i", "a"), "sub a of i": subjectMark("i", "a"), "jti a of i": newMarkKey("jti", "i", "a"),
		"sub a of i without sid": namelessMark("i", "a"),
		"sid a of j":             sessionMark("j", "a"), "sid b of i": sessionMark("i", "b"), "sid a of ia": sessionMark("ia", "a"),
		"sid empty of ia": sessionMark("ia", ""),
	} {
		if before, ok := seen[key]; ok {
			t.Errorf("%s and %s have one mark", what, before)
		}
		seen[key] = what
		if text := key.String(); len(text) != 22 || strings.ContainsAny(text, "+/=") {
			t.Errorf("%s is kept as %q", what, text)
		}
	}
}

func TestSessionMarks_ReadBackFromTheirText(t *testing.T) {
	t.Parallel()
	k := sessionMarks{sessionMark("i", "s"), subjectMark("i", "a"), {1, 2, 3}}
	if got, ok := parseSessionMarks(k.String()); !ok || got != k {
		t.Errorf("read back %v, %t", got, ok)
	}
	if got := len(k.names()); got != 3 {
		t.Errorf("%d names", got)
	}
	// A value is told apart by its place.
	if got := (sessionMarks{{}, {}, {9}}).names(); len(got) != 3 || got[2] != (markKey{9}).String() {
		t.Errorf("the names of one key are %q", got)
	}
	for _, text := range []string{
		"", "A", k.String() + "A", k.String()[1:], k.String() + "=", strings.Repeat("!", 64),
		base64.RawURLEncoding.EncodeToString(make([]byte, 47)),
	} {
		if _, ok := parseSessionMarks(text); ok {
			t.Errorf("%q was read", text)
		}
	}
}

// Without marks, a session in a cookie costs no look into any store.
func TestMarks_CostNothingUntilThereAreSome(t *testing.T) {
	t.Parallel()
	store, clock := NewHookStore(nil), newTestClock()
	m := testMarks(store, clock.Now)
	m.local = true
	s := markedSession(clock.Now(), "a", "")
	want := func(what string, over bool, calls int) {
		t.Helper()
		if got, err := m.over(t.Context(), s, lookup{}); (got != "") != over || err != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		if n := store.Took(OpGet, OpGetMany); n != calls {
			t.Errorf("%s: %d calls, want %d", what, n, calls)
		}
	}
	want("without a mark", false, 0)
	if err := m.set(t.Context(), subjectMark("i", "a"), markKey{}, time.Hour); err != nil {
		t.Fatal(err)
	}
	want("with a mark", true, 1)
}

// A value that no mark has, such as one of another version, ends nothing and
// breaks nothing.
func TestMarks_OfAnotherFormEndNothing(t *testing.T) {
	t.Parallel()
	store := NewMemoryStore(0)
	m := testMarks(store, time.Now)
	key := subjectMark("i", "a")
	for _, value := range [][]byte{nil, {}, {1}, make([]byte, 9)} {
		if err := store.Set(t.Context(), key.String(), value, time.Hour); err != nil {
			t.Fatal(err)
		}
		if over, err := m.over(t.Context(), markedSession(time.Now(), "a", ""), lookup{}); over != "" || err != nil {
			t.Errorf("%v: %q, %v", value, over, err)
		}
	}
}

// A SharedStore reads a session and its marks together; the marks read so count
// if they are those of the session, else they are read again.
func TestMarks_ReadWithTheSessionInOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what              string
		plain             bool
		hint              func(s *Session) handleCookie
		readWith, overAll int // calls
	}{
		{"a hint", false, func(s *Session) handleCookie { return handleCookie{hint: s.markKeys(), hinted: true} }, 1, 0},
		{"no hint", false, func(*Session) handleCookie { return handleCookie{} }, 1, 1},
		{"the hint of another session", false, func(*Session) handleCookie {
			return handleCookie{hint: sessionMarks{{1}, {2}, {3}}, hinted: true}
		}, 1, 1},
		{"a plain Store", true, func(s *Session) handleCookie { return handleCookie{hint: s.markKeys(), hinted: true} }, 1, 3},
	} {
		for _, marked := range []bool{false, true} {
			store, clock := NewHookStore(nil), newTestClock()
			used := Store(store)
			if test.plain {
				used = PlainStore(store)
			}
			m, ctx := testMarks(used, clock.Now), t.Context()
			s := markedSession(clock.Now(), "a", "s")
			s.id, s.line = "0123456789abcdef", "0123456789abcdef"
			if err := store.Set(ctx, "session", []byte("value"), time.Hour); err != nil {
				t.Fatal(err)
			}
			if marked {
				if err := m.set(ctx, sessionMark("i", "s"), markKey{}, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			store.Took()
			value, read, err := m.readWith(ctx, "session", test.hint(s))
			if string(value) != "value" || err != nil {
				t.Fatalf("%s: %q, %v", test.what, value, err)
			}
			if n := store.Took(); n != test.readWith {
				t.Errorf("%s: reading the session took %d calls, want %d", test.what, n, test.readWith)
			}
			if over, err := m.over(ctx, s, read); (over != "") != marked || err != nil {
				t.Errorf("%s: over %q, %v, want %t", test.what, over, err, marked)
			}
			if n := store.Took(); n != test.overAll {
				t.Errorf("%s: looking for marks took %d calls, want %d", test.what, n, test.overAll)
			}
		}
	}
}

func TestMarks_ReadWithFindsNoSession(t *testing.T) {
	t.Parallel()
	store := NewHookStore(nil)
	m := testMarks(store, time.Now)
	value, _, err := m.readWith(t.Context(), "session", handleCookie{})
	if value != nil || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	store.Fail(errors.New("down"))
	_, _, err = m.readWith(t.Context(), "session", handleCookie{})
	wantCode(t, err, CodeStoreUnavailable)
	_, err = m.over(t.Context(), markedSession(time.Now(), "a", ""), lookup{})
	wantCode(t, err, CodeStoreUnavailable)
}

// A session that was found without a mark is not looked up again within the delay,
// unless a mark was set here.
func TestMarks_AreLookedUpAgainAfterTheDelay(t *testing.T) {
	t.Parallel()
	store, clock := NewHookStore(nil), newTestClock()
	m := testMarks(store, clock.Now)
	m.recent.delay = time.Second
	s := markedSession(clock.Now(), "a", "")
	s.id, s.line = "0123456789abcdef", "0123456789abcdef"
	want := func(what string, over bool, calls int) {
		t.Helper()
		if got, err := m.over(t.Context(), s, lookup{}); (got != "") != over || err != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		if n := store.Took(OpGetMany); n != calls {
			t.Errorf("%s: %d calls, want %d", what, n, calls)
		}
	}
	want("the first time", false, 1)
	want("at once", false, 0)
	clock.Advance(time.Second - 1)
	want("within the delay", false, 0)
	clock.Advance(1)
	want("after the delay", false, 1)
	clock.Advance(-time.Hour)
	want("by a clock that was set back", false, 1)
	clock.Advance(2 * time.Hour)
	if err := m.set(t.Context(), subjectMark("i", "a"), markKey{}, time.Hour); err != nil {
		t.Fatal(err)
	}
	want("after a mark was set here", true, 1)
}

// What was looked up before a mark was set here must not hide the mark.
func TestRecently_ForgetsWhatWasLookedUpBefore(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	r := recently{delay: time.Minute}
	key, other := markKey{1}, markKey{2}
	turn := r.turn()
	r.forget()
	r.add(key, clock.Now(), turn)
	if r.has(key, clock.Now()) {
		t.Error("a lookup of before the mark is remembered")
	}
	r.add(key, clock.Now(), r.turn())
	if !r.has(key, clock.Now()) || r.has(other, clock.Now()) {
		t.Error("a lookup is not remembered, or for another key")
	}
	// Old entries go when two times the delay has passed, without a search.
	clock.Advance(time.Minute)
	r.add(other, clock.Now(), r.turn())
	clock.Advance(time.Minute)
	r.add(markKey{3}, clock.Now(), r.turn())
	if _, ok := r.young[key]; ok {
		t.Error("an old entry is among the young")
	}
	if _, ok := r.old[key]; ok {
		t.Error("an entry stays for longer than two times the delay")
	}
	never := recently{delay: -1}
	if never.add(key, clock.Now(), never.turn()); never.has(key, clock.Now()) {
		t.Error("without a delay, a lookup is remembered")
	}
}
