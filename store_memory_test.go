package oidcrp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// all returns what the store holds, expired or not.
func (m *memoryStore) all() map[string][]byte {
	all := map[string][]byte{}
	for i := range m.shards {
		shard := &m.shards[i]
		shard.mu.Lock()
		for key, entry := range shard.entries {
			all[key] = entry.value
		}
		shard.mu.Unlock()
	}
	return all
}

// size returns how many entries the store holds, expired or not.
func (m *memoryStore) size() int { return len(m.all()) }

// sweep drops everything that has expired.
func (m *memoryStore) sweep() {
	for key := range m.all() {
		m.get(key, m.clock())
	}
}

// check fails if the store contradicts itself.
func (m *memoryStore) check(t *testing.T) {
	t.Helper()
	total, spaces := 0, map[*memorySpace]int{}
	for i := range m.shards {
		shard := &m.shards[i]
		shard.mu.Lock()
		total += len(shard.entries)
		inParts := 0
		for name, part := range shard.parts {
			inParts += len(part.byExpiry)
			spaces[part.space] += len(part.byExpiry)
			if len(part.byExpiry) == 0 || part.space.name != name {
				t.Errorf("shard %d has %d entries of %q as %q", i, len(part.byExpiry), part.space.name, name)
			}
			for j, entry := range part.byExpiry {
				if entry.index != j || entry.part != part || shard.entries[entry.key] != entry || spaceOf(entry.key) != name ||
					part.byExpiry.Less(j, max(0, (j-1)/2)) {
					t.Errorf("shard %d: entry %d of %q is out of place", i, j, name)
				}
			}
		}
		if inParts != len(shard.entries) {
			t.Errorf("shard %d has %d entries, %d of them in order", i, len(shard.entries), inParts)
		}
		shard.mu.Unlock()
	}
	if n := int(m.count.Load()); n != total {
		t.Errorf("%d entries are counted as %d", total, n)
	}
	if len(spaces) != len(m.spaces.byName) {
		t.Errorf("there are %d spaces, %d of them with entries", len(m.spaces.byName), len(spaces))
	}
	for space, n := range spaces {
		if m.spaces.byName[space.name] != space || int(space.entries.Load()) != n {
			t.Errorf("%q has %d entries, counted as %d", space.name, n, space.entries.Load())
		}
	}
}

// shardmates returns n keys of one shard.
func shardmates(m *memoryStore, n int) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		if key := strconv.Itoa(i); m.shard(key) == &m.shards[0] {
			keys = append(keys, key)
		}
	}
	return keys
}

func TestMemoryStore_EntriesExpire(t *testing.T) {
	t.Parallel()
	ctx, clock := t.Context(), newTestClock()
	m := newMemoryStore(0, clock.Now)
	want := func(what, key, value string) {
		t.Helper()
		got, err := m.Get(ctx, key)
		if value == "" && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %q, %v, want ErrNotFound", what, got, err)
		} else if value != "" && (err != nil || string(got) != value) {
			t.Errorf("%s: %q, %v, want %q", what, got, err, value)
		}
	}
	set := func(key, value string, ttl time.Duration) {
		t.Helper()
		if err := m.Set(ctx, key, []byte(value), ttl); err != nil {
			t.Fatal(err)
		}
	}
	want("before anything was set", "a", "")
	if err := errors.Join(m.Delete(ctx, "a"), m.Touch(ctx, "a", time.Hour)); err != nil {
		t.Errorf("Delete and Touch of nothing: %v", err)
	}
	want("touched without being there", "a", "")

	set("a", "1", time.Minute)
	set("b", "2", time.Hour)
	want("set", "a", "1")
	set("a", "3", time.Minute)
	want("replaced", "a", "3")
	clock.Advance(time.Minute - 1)
	want("just before it expires", "a", "3")
	clock.Advance(1)
	want("expired", "a", "")
	want("of another lifetime", "b", "2")

	set("a", "4", time.Minute)
	if err := m.Touch(ctx, "a", time.Hour); err != nil {
		t.Error(err)
	}
	clock.Advance(30 * time.Minute)
	want("touched", "a", "4")
	clock.Advance(30 * time.Minute)
	if err := m.Touch(ctx, "a", time.Hour); err != nil {
		t.Error(err)
	}
	want("touched when it had expired", "a", "")

	value := []byte("mine")
	if err := m.Set(ctx, "c", value, time.Hour); err != nil {
		t.Fatal(err)
	}
	clear(value)
	want("after its maker overwrote it", "c", "mine")
	if err := m.Delete(ctx, "c"); err != nil {
		t.Error(err)
	}
	want("deleted", "c", "")
}

func TestMemoryStore_DropsExpiredEntriesNobodyReads(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	m := newMemoryStore(0, clock.Now)
	for i := range 10_000 {
		if err := m.Set(t.Context(), fmt.Sprint(i), nil, time.Minute); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
	}
	// Up to one that has expired is left in each shard until its next entry.
	if n := m.size(); n < 60 || n > 60+5*memoryShards {
		t.Errorf("with 60 live entries the store holds %d", n)
	}

	// A store that was idle catches up, a few entries at each call.
	full := newMemoryStore(0, clock.Now)
	keys := shardmates(full, 101)
	for _, key := range keys[:100] {
		_ = full.Set(t.Context(), key, nil, time.Minute)
	}
	clock.Advance(time.Minute)
	for range 30 {
		_ = full.Set(t.Context(), keys[100], nil, time.Minute)
	}
	if n := full.size(); n != 1 {
		t.Errorf("%d entries are left of 100 that have expired and one that has not", n)
	}
}

func TestMemoryStore_ConcurrentUse(t *testing.T) {
	t.Parallel()
	m, ctx := NewMemoryStore(0), t.Context()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				key := fmt.Sprint((i + j) % 5)
				_ = m.Set(ctx, key, []byte(key), time.Hour)
				if v, err := m.Get(ctx, key); err == nil && string(v) != key {
					t.Errorf("%s holds %s", key, v)
				}
				_ = m.Touch(ctx, key, time.Hour)
				_ = m.Delete(ctx, key)
			}
		})
	}
	wg.Wait()
}

func TestMemoryStore_IsBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, bound := range []int{1, 2, 10, 100, 1000} {
		m := newMemoryStore(bound, time.Now)
		for i := range 3000 {
			key := strconv.Itoa(i)
			if i%2 == 0 {
				_ = m.Set(ctx, key, []byte(key), time.Hour)
			} else if added, _ := m.Add(ctx, key, []byte(key), time.Hour); !added {
				t.Fatalf("bound %d: %s was not added", bound, key)
			}
			if value, err := m.Get(ctx, key); string(value) != key || err != nil {
				t.Fatalf("bound %d: the newest entry is %q, %v", bound, value, err)
			}
		}
		// Once it is full it stays so: nothing goes without need.
		if n := m.size(); n != bound {
			t.Errorf("bound %d: %d entries", bound, n)
		}
		m.check(t)
	}
	if n := NewMemoryStore(0).(*memoryStore).maxEntries; n != 1_048_576 {
		t.Errorf("the default bound is %d", n)
	}
}

func TestMemoryStore_FullDropsWhatExpiresFirst(t *testing.T) {
	t.Parallel()
	ctx, clock := t.Context(), newTestClock()
	m := newMemoryStore(3, clock.Now)
	keys := shardmates(m, 7)
	has := func(what string, want ...int) {
		t.Helper()
		var got []int
		all := m.all()
		for i, key := range keys {
			if _, ok := all[key]; ok {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: it has %v, want %v", what, got, want)
		}
	}
	for i, minutes := range []int{30, 60, 120} {
		_ = m.Set(ctx, keys[i], nil, time.Duration(minutes)*time.Minute)
	}
	_ = m.Set(ctx, keys[0], []byte("again"), 3*time.Hour)
	if added, _ := m.Add(ctx, keys[2], nil, time.Hour); added {
		t.Error("added what is there")
	}
	has("what is replaced or there needs no room", 0, 1, 2)
	_ = m.Touch(ctx, keys[1], 4*time.Hour)
	_ = m.Set(ctx, keys[3], nil, time.Minute)
	has("what was touched or replaced stays", 0, 1, 3)
	clock.Advance(time.Minute)
	_ = m.Set(ctx, keys[4], nil, time.Second)
	has("what has expired makes room", 0, 1, 4)
	_ = m.Set(ctx, keys[5], nil, 5*time.Hour)
	has("a short one goes, though it is new", 0, 1, 5)
	_ = m.Delete(ctx, keys[1])
	_ = m.Set(ctx, keys[6], nil, 5*time.Hour)
	has("a deleted entry makes room", 0, 5, 6)
	m.check(t)
}

// countOf returns how many entries have keys that begin with space.
func (m *memoryStore) countOf(space string) (n int) {
	for key := range m.all() {
		if strings.HasPrefix(key, space) {
			n++
		}
	}
	return n
}

// One issuer's flood takes only what is free, and then its own.
func TestMemoryStore_AFloodOfOneIssuerLeavesTheOthers(t *testing.T) {
	t.Parallel()
	for _, bound := range []int{20, 200, 5000} {
		m := newMemoryStore(bound, time.Now)
		for i := range bound / 4 {
			_ = m.Set(t.Context(), fmt.Sprint("quiet.", i), nil, time.Minute)
			_ = m.Set(t.Context(), fmt.Sprint("plain", i), nil, time.Minute)
		}
		for i := range 10 * bound {
			key := fmt.Sprint("flood.", i)
			_ = m.Set(t.Context(), key, nil, 12*time.Hour) // a mark lasts longer than a session
			if _, err := m.Get(t.Context(), key); err != nil {
				t.Fatalf("bound %d: the newest entry: %v", bound, err)
			}
		}
		if quiet, plain, flood := m.countOf("quiet."), m.countOf("plain"), m.countOf("flood."); quiet != bound/4 ||
			plain != bound/4 || flood != bound-2*(bound/4) {
			t.Errorf("bound %d: %d of one issuer, %d without an issuer and %d of the flood", bound, quiet, plain, flood)
		}
		m.check(t)
	}
}

// A newcomer finds room in a store that another issuer has filled, up to an equal share.
func TestMemoryStore_ShareIsEqualWhenAllOfThemFlood(t *testing.T) {
	t.Parallel()
	m := newMemoryStore(300, time.Now)
	for _, issuer := range []string{"a", "b", "c"} {
		for i := range 1000 {
			_ = m.Set(t.Context(), fmt.Sprint(issuer, ".", i), nil, time.Hour)
		}
	}
	for _, issuer := range []string{"a.", "b.", "c."} {
		if n := m.countOf(issuer); n < 99 || n > 101 {
			t.Errorf("%s has %d of 300 entries", issuer, n)
		}
	}
	m.check(t)
}

// An issuer that has as many entries as another takes none of them.
func TestMemoryStore_AnEqualShareIsNotTouched(t *testing.T) {
	t.Parallel()
	for range 20 {
		m := newMemoryStore(200, time.Now)
		for i := range 300 {
			if i < 100 {
				_ = m.Set(t.Context(), fmt.Sprint("quiet.", i), nil, time.Minute)
			}
			_ = m.Set(t.Context(), fmt.Sprint("flood.", i), nil, time.Hour)
		}
		if n := m.countOf("quiet."); n != 100 {
			t.Fatalf("%d of 100 entries are left", n)
		}
	}
}

// Entries of an issuer that nobody uses any more do not stay for ever.
func TestMemoryStore_DropsExpiredEntriesOfIssuersThatAreGone(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	m := newMemoryStore(0, clock.Now)
	for i := range 1000 {
		_ = m.Set(t.Context(), fmt.Sprint("gone.", i), nil, time.Minute)
	}
	clock.Advance(time.Minute)
	for i := range 64 * 100 {
		_ = m.Set(t.Context(), fmt.Sprint("here.", i), nil, time.Hour)
	}
	if n := m.countOf("gone."); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	m.check(t)
}

func TestMemoryStore_ExtremeTTLs(t *testing.T) {
	t.Parallel()
	m := NewMemoryStore(0)
	for key, ttl := range map[string]time.Duration{"a": math.MaxInt64, "b": math.MinInt64, "c": 0, "d": -1} {
		_ = m.Set(t.Context(), key, []byte("x"), ttl)
		if _, err := m.Get(t.Context(), key); (err == nil) != (ttl > 0) {
			t.Errorf("a ttl of %v: %v", ttl, err)
		}
	}
}

func TestMemoryStore_GetManyLeavesOutExpiredEntries(t *testing.T) {
	t.Parallel()
	ctx, clock := t.Context(), newTestClock()
	m := newMemoryStore(0, clock.Now)
	_ = m.Set(ctx, "short", []byte("1"), time.Minute)
	_ = m.Set(ctx, "long", []byte("2"), time.Hour)
	clock.Advance(time.Minute)
	values, err := m.GetMany(ctx, []string{"long", "none", "short", "long"})
	if want := [][]byte{[]byte("2"), nil, nil, []byte("2")}; err != nil || !slices.EqualFunc(values, want, bytes.Equal) {
		t.Errorf("%q, %v", values, err)
	}
}

func TestMemoryStore_StaysInOrderUnderConcurrentUse(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	m := newMemoryStore(50, time.Now)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 2000 {
				key := strconv.Itoa(i%3) + "." + strconv.Itoa((i*31+j)%200)
				switch j % 5 {
				case 0:
					_ = m.Delete(ctx, key)
				case 1:
					_ = m.Touch(ctx, key, time.Duration(j))
				case 2:
					_, _ = m.Add(ctx, key, nil, time.Hour)
				case 3:
					_, _ = m.GetMany(ctx, []string{key, "none"})
				default:
					_ = m.Set(ctx, key, nil, time.Duration(j)*time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	m.check(t)
	if n := m.size(); n > 50 {
		t.Errorf("%d entries with a bound of 50", n)
	}
}

func TestMemoryStore_AddSetsAKeyOnce(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	store := newMemoryStore(0, clock.Now)
	ctx := t.Context()
	value := []byte("one")
	add := func(want bool) {
		t.Helper()
		if added, err := store.Add(ctx, "key", value, time.Minute); added != want || err != nil {
			t.Errorf("added: %t, %v, want %t", added, err, want)
		}
	}
	add(true)
	value[0] = 'X'
	add(false)
	if got, err := store.Get(ctx, "key"); string(got) != "one" || err != nil {
		t.Errorf("kept %q, %v", got, err)
	}
	clock.Advance(time.Minute)
	add(true)
	if err := store.Delete(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	add(true)
	if err := store.Set(ctx, "other", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if added, err := store.Add(ctx, "other", nil, time.Minute); added || err != nil {
		t.Errorf("added over what was set: %t, %v", added, err)
	}
}
