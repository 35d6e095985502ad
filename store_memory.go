package oidcrp

// This file keeps sessions in memory.

import (
	"container/heap"
	"context"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// NewMemoryStore returns a Store in the memory of this process, for tests and for
// apps that run as one process. Its sessions end with the process.
//
// It holds at most maxEntries entries; 0 means 1,048,576. To make room for a new
// entry, a full store drops one that would expire soon: the first to expire in a
// 64th part of the store. So it is a person who has been idle for long who must sign
// in again, and the record of a logout, which is kept for as long as a session can
// last, is the last to go.
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
	shards     [memoryShards]memoryShard
}

// A memoryShard is a part of a memoryStore with a lock of its own.
type memoryShard struct {
	mu       sync.Mutex
	entries  map[string]*memoryEntry // guarded by mu
	byExpiry memoryHeap              // the same entries; guarded by mu
}

type memoryEntry struct {
	key     string
	value   []byte        // replaced, never changed
	expires time.Duration // since the store's epoch: a third of the size of a time.Time
	index   int           // in byExpiry
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
		heap.Fix(&shard.byExpiry, entry.index)
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
	m.dropExpired(shard, now)
	if entry := m.live(shard, key, now); entry != nil {
		defer shard.mu.Unlock()
		if replace {
			entry.value, entry.expires = value, expires
			heap.Fix(&shard.byExpiry, entry.index)
		}
		return replace
	}
	full := m.count.Add(1) > m.maxEntries
	if full && len(shard.byExpiry) > 0 {
		m.drop(shard, shard.byExpiry[0])
		full = false
	}
	if shard.entries == nil {
		shard.entries = make(map[string]*memoryEntry)
	}
	entry := &memoryEntry{key: key, value: value, expires: expires}
	shard.entries[key] = entry
	heap.Push(&shard.byExpiry, entry)
	shard.mu.Unlock()

	if full {
		m.dropElsewhere(shard)
	}
	return true
}

// live returns key's entry, or nil if it does not exist or has expired. The caller
// holds shard.mu, as for drop and dropExpired.
func (m *memoryStore) live(shard *memoryShard, key string, now time.Duration) *memoryEntry {
	entry := shard.entries[key]
	if entry != nil && entry.expires <= now {
		m.drop(shard, entry)
		return nil
	}
	return entry
}

func (m *memoryStore) drop(shard *memoryShard, entry *memoryEntry) {
	heap.Remove(&shard.byExpiry, entry.index)
	delete(shard.entries, entry.key)
	m.count.Add(-1)
}

// dropExpired drops some of the entries that have expired.
func (m *memoryStore) dropExpired(shard *memoryShard, now time.Duration) {
	for range maxDrops {
		if len(shard.byExpiry) == 0 || shard.byExpiry[0].expires > now {
			return
		}
		m.drop(shard, shard.byExpiry[0])
	}
}

// dropElsewhere makes room for an entry that is alone in its shard by dropping one
// of another shard. The caller holds no lock.
func (m *memoryStore) dropElsewhere(alone *memoryShard) {
	for i := range m.shards {
		shard := &m.shards[i]
		if shard == alone {
			continue
		}
		shard.mu.Lock()
		found := len(shard.byExpiry) > 0
		if found {
			m.drop(shard, shard.byExpiry[0])
		}
		shard.mu.Unlock()
		if found {
			return
		}
	}
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
