package oidcrp

// This file remembers sessions that were opened lately, so that a request with a cookie
// that was seen before need not open it again.

import (
	"bytes"
	"crypto/subtle"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/oidcrp/oidcrp/internal/seal"
)

const (
	defaultCacheBytes = 8 << 20
	cacheShards       = 16
	// cacheAge is how long an entry that is not used stays, and at most twice that, once
	// there are others.
	cacheAge = 10 * time.Minute
)

// openedCache holds what was opened: the session of a cookie's value, or of a handle's
// entry in the Store. It decides nothing: whoever takes a session from it checks, as for
// one that was opened just now, when it ends, whether it was idle, and the marks. A nil
// openedCache holds nothing.
type openedCache struct {
	seed   maphash.Seed
	most   int // bytes of one generation of a shard
	now    func() time.Time
	shards [cacheShards]cacheShard
}

// A cacheShard is a part of an openedCache with a lock of its own. Two generations take
// turns, so that what is not used is dropped without a search.
type cacheShard struct {
	mu         sync.Mutex
	young, old map[uint64]*opened // by the hash of the text; guarded by mu
	bytes      int                // of young; guarded by mu
	since      time.Time          // when young was begun; guarded by mu
}

// opened is what was opened. It does not change.
type opened struct {
	text   string     // the whole value of the cookies, or the handle
	value  []byte     // the Store's, for a handle
	ring   *seal.Ring // that opened it
	kept   kept
	stored string // the key in the Store, for a handle
}

func (o *opened) size() int {
	const fixed = 400 // of the structs and the map
	return fixed + len(o.text) + len(o.value) + len(o.stored) + o.kept.session.size()
}

// newOpenedCache returns a cache of at most so many bytes; nil if that is negative.
func newOpenedCache(bytes int, now func() time.Time) *openedCache {
	if bytes < 0 {
		return nil
	}
	return &openedCache{seed: maphash.MakeSeed(), most: bytes / cacheShards / 2, now: now}
}

// get returns what was opened from text with the keys of ring, nil if that is unknown.
// Keys that are no longer used, even one of several, make everything unknown.
//
// The hash only finds the entry; that it is of the whole text is compared. A guess finds
// none, since nobody knows the seed of the hash.
func (c *openedCache) get(text string, ring *seal.Ring) *opened {
	if c == nil {
		return nil
	}
	found := c.find(maphash.String(c.seed, text))
	if found == nil || found.ring != ring || subtle.ConstantTimeCompare([]byte(found.text), []byte(text)) == 0 {
		return nil
	}
	return found
}

// find returns the entry with that hash, nil if there is none. One that is in use becomes
// young again.
func (c *openedCache) find(hash uint64) *opened {
	shard := &c.shards[hash%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock() // the clock of the app may panic
	found := shard.young[hash]
	if found == nil {
		if found = shard.old[hash]; found != nil {
			delete(shard.old, hash)
			c.add(shard, hash, found)
		}
	}
	return found
}

// put keeps what was opened. It copies the text, which is a part of all cookies of a
// request, and with it the handle, which is the same text.
func (c *openedCache) put(o opened) {
	if c == nil || o.size() > c.most {
		return
	}
	o.text = strings.Clone(o.text)
	if o.kept.handle != "" {
		o.kept.handle = o.text
	}
	hash := maphash.String(c.seed, o.text)
	shard := &c.shards[hash%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	delete(shard.old, hash)
	c.add(shard, hash, &o)
}

// add adds an entry to the young generation. The caller holds shard.mu.
func (c *openedCache) add(shard *cacheShard, hash uint64, o *opened) {
	size, now := o.size(), c.now()
	if previous := shard.young[hash]; previous != nil {
		shard.bytes -= previous.size()
	}
	since := now.Sub(shard.since)
	if shard.young == nil || shard.bytes+size > c.most || since < 0 || since >= cacheAge {
		shard.old, shard.young, shard.bytes, shard.since = shard.young, make(map[uint64]*opened), 0, now
	}
	shard.young[hash] = o
	shard.bytes += size
}

// forget drops what was opened from text, for a session that has ended: its claims need
// not stay in memory.
func (c *openedCache) forget(text string) {
	if c == nil {
		return
	}
	hash := maphash.String(c.seed, text)
	shard := &c.shards[hash%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if previous := shard.young[hash]; previous != nil {
		shard.bytes -= previous.size()
	}
	delete(shard.young, hash)
	delete(shard.old, hash)
}

// is reports whether o was opened from the Store's value.
func (o *opened) is(value []byte) bool { return o != nil && bytes.Equal(o.value, value) }
