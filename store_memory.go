package oidcrp

// This file keeps sessions in memory.

import (
	"container/heap"
	"context"
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// NewMemoryStore returns a Store in the memory of this process, for tests and for
// apps that run as one process. Its sessions end with the process.
//
// It holds at most maxEntries entries; 0 means 1,048,576. To make room for a new entry,
// a full store drops one of the issuer that has the most entries, so that no issuer
// takes more than an equal share from the others. That is the first to expire of those
// in one of 64 parts of the store: as a rule the short-lived record of a refresh or of a
// Logout Token, or the session of a person who has been idle for long, who must then
// sign in again. The record of a logout, which is kept for as long as a session can
// last, is the last to go. The entries of an issuer are those whose keys are the same up
// to the first "."; keys without one count as one issuer's.
//
// It starts no goroutine: expired entries are dropped as new ones come. A million
// sessions of 1 KiB take about 1.2 GB.
func NewMemoryStore(maxEntries int) SharedStore {
	return newMemoryStore(maxEntries, time.Now)
}

const (
	memoryShards      = 64
	defaultMaxEntries = 1 << 20
	// maxDrops bounds how many expired entries one call drops. More than one, so
	// that a store in use catches up.
	maxDrops = 4
)

// A memoryStore is a SharedStore in memory. Its methods ignore ctx: they do not wait
// for anything.
type memoryStore struct {
	maxEntries int64
	now        func() time.Time
	epoch      time.Time // when the store was made
	seed       maphash.Seed
	count      atomic.Int64 // of entries in all shards
	spaces     memorySpaces
	shards     [memoryShards]memoryShard
}

// A memoryShard is a part of a memoryStore with a lock of its own.
type memoryShard struct {
	mu      sync.Mutex
	entries map[string]*memoryEntry // guarded by mu
	parts   map[string]*memoryPart  // the same entries by space, none empty; guarded by mu
}

// A memoryPart is what a shard has of a space.
type memoryPart struct {
	space    *memorySpace
	byExpiry memoryHeap
}

// A memorySpace counts the entries whose keys have the same name before the dot: those
// of one issuer.
type memorySpace struct {
	name    string
	entries atomic.Int64 // in all shards
	parts   int          // guarded by memorySpaces.mu
}

// memorySpaces are the spaces that have a part in a shard. A shard's mu may be held
// when mu is taken.
type memorySpaces struct {
	mu     sync.RWMutex
	byName map[string]*memorySpace // guarded by mu
}

type memoryEntry struct {
	key     string
	value   []byte        // replaced, never changed
	expires time.Duration // since the store's epoch: a third of the size of a time.Time
	index   int           // in part.byExpiry
	part    *memoryPart
}

func newMemoryStore(maxEntries int, now func() time.Time) *memoryStore {
	if maxEntries <= 0 {
		maxEntries = defaultMaxEntries
	}
	return &memoryStore{maxEntries: int64(maxEntries), now: now, epoch: now(), seed: maphash.MakeSeed()}
}

func (m *memoryStore) Get(_ context.Context, key string) ([]byte, error) {
	value := m.get(key, m.clock())
	if value == nil {
		return nil, ErrNotFound
	}
	return value, nil
}

func (m *memoryStore) GetMany(_ context.Context, keys []string) ([][]byte, error) {
	now, values := m.clock(), make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = m.get(key, now)
	}
	return values, nil
}

// get returns nil for a key that does not exist, and for no other.
func (m *memoryStore) get(key string, now time.Duration) []byte {
	shard := m.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if entry := m.live(shard, key, now); entry != nil {
		return entry.value
	}
	return nil
}

func (m *memoryStore) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	m.put(key, value, ttl, true)
	return nil
}

func (m *memoryStore) Add(_ context.Context, key string, value []byte, ttl time.Duration) (bool, error) {
	return m.put(key, value, ttl, false), nil
}

func (m *memoryStore) Touch(_ context.Context, key string, ttl time.Duration) error {
	now, shard := m.clock(), m.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if entry := m.live(shard, key, now); entry != nil {
		entry.expires = expiry(now, ttl)
		heap.Fix(&entry.part.byExpiry, entry.index)
	}
	return nil
}

func (m *memoryStore) Delete(_ context.Context, key string) error {
	shard := m.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if entry := shard.entries[key]; entry != nil {
		m.drop(shard, entry)
	}
	return nil
}

// put stores a copy of value, unless key exists and must not be replaced, and
// reports whether it did.
func (m *memoryStore) put(key string, value []byte, ttl time.Duration, replace bool) bool {
	now, shard := m.clock(), m.shard(key)
	expires := expiry(now, ttl)
	value = append(make([]byte, 0, len(value)), value...)

	shard.mu.Lock()
	name := spaceOf(key)
	m.dropExpired(shard, name, now)
	if entry := m.live(shard, key, now); entry != nil {
		defer shard.mu.Unlock()
		if replace {
			entry.value, entry.expires = value, expires
			heap.Fix(&entry.part.byExpiry, entry.index)
		}
		return replace
	}
	var crowded *memorySpace
	full := m.count.Add(1) > m.maxEntries
	if full {
		crowded = m.spaces.largest(name)
		full = !m.dropFirst(shard, crowded)
	}
	m.insert(shard, name, &memoryEntry{key: key, value: value, expires: expires})
	shard.mu.Unlock()

	if full {
		m.dropElsewhere(shard, crowded)
	}
	return true
}

// spaceOf returns the name of key's space: what is before the dot.
func spaceOf(key string) string {
	name, _, ok := strings.Cut(key, ".")
	if !ok {
		return ""
	}
	return name
}

// insert adds an entry to the space of that name. The caller holds shard.mu, as for
// live, the methods whose names begin with drop, and no other.
func (m *memoryStore) insert(shard *memoryShard, name string, entry *memoryEntry) {
	if shard.entries == nil {
		shard.entries, shard.parts = make(map[string]*memoryEntry), make(map[string]*memoryPart)
	}
	part := shard.parts[name]
	if part == nil {
		part = &memoryPart{space: m.spaces.join(name)}
		shard.parts[part.space.name] = part
	}
	entry.part = part
	shard.entries[entry.key] = entry
	heap.Push(&part.byExpiry, entry)
	part.space.entries.Add(1)
}

// live returns key's entry, or nil if it does not exist or has expired.
func (m *memoryStore) live(shard *memoryShard, key string, now time.Duration) *memoryEntry {
	entry := shard.entries[key]
	if entry != nil && entry.expires <= now {
		m.drop(shard, entry)
		return nil
	}
	return entry
}

func (m *memoryStore) drop(shard *memoryShard, entry *memoryEntry) {
	part := entry.part
	heap.Remove(&part.byExpiry, entry.index)
	delete(shard.entries, entry.key)
	m.count.Add(-1)
	part.space.entries.Add(-1)
	if len(part.byExpiry) == 0 {
		delete(shard.parts, part.space.name)
		m.spaces.leave(part.space)
	}
}

// dropExpired drops some of the entries that have expired: of the space of that name,
// and of one that Go picks at random, since nobody may use it any more.
func (m *memoryStore) dropExpired(shard *memoryShard, name string, now time.Duration) {
	m.dropExpiredOf(shard, shard.parts[name], now)
	for other, part := range shard.parts {
		if other != name {
			m.dropExpiredOf(shard, part, now)
		}
		break
	}
}

func (m *memoryStore) dropExpiredOf(shard *memoryShard, part *memoryPart, now time.Duration) {
	for range maxDrops {
		if part == nil || len(part.byExpiry) == 0 || part.byExpiry[0].expires > now {
			return
		}
		m.drop(shard, part.byExpiry[0])
	}
}

// dropFirst drops the entry of space that expires first in shard, and reports whether
// there was one. space may be nil.
func (m *memoryStore) dropFirst(shard *memoryShard, space *memorySpace) bool {
	if space == nil || shard.parts[space.name] == nil {
		return false
	}
	m.drop(shard, shard.parts[space.name].byExpiry[0])
	return true
}

// dropElsewhere makes room by dropping an entry of space from another shard than that
// of the new one, or any entry if other calls have dropped all of them. The caller
// holds no lock.
func (m *memoryStore) dropElsewhere(except *memoryShard, space *memorySpace) {
	for _, any := range []bool{false, true} {
		for i := range m.shards {
			shard := &m.shards[i]
			if shard == except {
				continue
			}
			shard.mu.Lock()
			found := m.dropFirst(shard, space)
			if !found && any {
				for _, part := range shard.parts {
					found = m.dropFirst(shard, part.space)
					break
				}
			}
			shard.mu.Unlock()
			if found {
				return
			}
		}
	}
}

// join returns the space of that name, for a part that a shard will have of it.
func (s *memorySpaces) join(name string) *memorySpace {
	s.mu.Lock()
	defer s.mu.Unlock()
	space := s.byName[name]
	if space == nil {
		if s.byName == nil {
			s.byName = make(map[string]*memorySpace)
		}
		space = &memorySpace{name: strings.Clone(name)} // name is a piece of a key
		s.byName[space.name] = space
	}
	space.parts++
	return space
}

// leave undoes a join.
func (s *memorySpaces) leave(space *memorySpace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if space.parts--; space.parts == 0 {
		delete(s.byName, space.name)
	}
}

// largest returns the space with the most entries, the one of that name if others have
// as many; nil if there is none.
func (s *memorySpaces) largest(name string) *memorySpace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	best := s.byName[name]
	for _, space := range s.byName {
		if best == nil || space.entries.Load() > best.entries.Load() {
			best = space
		}
	}
	return best
}

func (m *memoryStore) shard(key string) *memoryShard {
	return &m.shards[maphash.String(m.seed, key)%memoryShards]
}

// clock returns the time since the store's epoch.
func (m *memoryStore) clock() time.Duration { return m.now().Sub(m.epoch) }

func expiry(now, ttl time.Duration) time.Duration {
	if ttl > 0 && now > math.MaxInt64-ttl {
		return math.MaxInt64
	}
	return now + ttl
}

// A memoryHeap is a heap.Interface with the entry that expires first on top.
type memoryHeap []*memoryEntry

func (h memoryHeap) Len() int           { return len(h) }
func (h memoryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }

func (h memoryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *memoryHeap) Push(x any) {
	entry := x.(*memoryEntry)
	entry.index = len(*h)
	*h = append(*h, entry)
}

func (h *memoryHeap) Pop() any {
	last := len(*h) - 1
	entry := (*h)[last]
	(*h)[last] = nil // for the garbage collector
	*h = (*h)[:last]
	return entry
}
