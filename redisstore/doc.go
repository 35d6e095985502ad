// Package redisstore keeps the sessions of oidcrp in Redis or Valkey, shared by all
// replicas of an app.
//
//	store, err := redisstore.Open(os.Getenv("REDIS_URL")) // redis://:password@redis:6379/0
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer store.Close()
//	client, err := oidcrp.New(oidcrp.Config{
//		Store: store,
//		…
//	})
//
// For Sentinel, a cluster and everything else that go-redis supports, make the client
// yourself and pass it to [New]:
//
//	rdb := redis.NewFailoverClient(&redis.FailoverOptions{
//		MasterName:            "sessions",
//		SentinelAddrs:         []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"},
//		ContextTimeoutEnabled: true, // New requires it
//	})
//	store, err := redisstore.New(rdb, redisstore.Config{})
//
//	rdb := redis.NewClusterClient(&redis.ClusterOptions{
//		Addrs:                 []string{"redis-1:6379", "redis-2:6379", "redis-3:6379"},
//		ContextTimeoutEnabled: true,
//	})
//	store, err := redisstore.New(rdb, redisstore.Config{Prefix: "myapp:"})
//
// # What is stored
//
// A session is one string. Its key is the prefix, a hash of the issuer, ".", and the
// hash of a secret that only the browser has. Its value is sealed with that secret:
// reading Redis or its backups reveals nothing about people and does not let the reader
// sign in as any of them. Every key has a time to live. The commands are GET, SET, DEL and PEXPIRE, each
// on one key. SET with NX and PX needs Redis 2.6.12 or any Valkey.
//
// # What Redis needs
//
// An app keeps an entry for each session, and a small one for each logout until
// [oidcrp.Sessions.Lifetime] has passed. A provider can cause at most 250,000 of those at
// once and 250,000 more in that time, per Client and process.
//
// A Redis that evicts keys signs people out and may lose the record of a logout. Give it
// enough memory, and set maxmemory-policy to noeviction, or to volatile-ttl, which
// evicts the entries that expire soonest. A Redis that restarts without its data signs
// everybody out, or, with sessions in cookies, forgets the logouts. A failover may lose
// the writes of the last moments, because replication is asynchronous. Reads go to the
// primary: a replica may not have received a logout yet.
package redisstore
