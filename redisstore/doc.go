// Package redisstore keeps the sessions of oidcrp in Redis or Valkey, where every
// replica of an app finds them.
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
// For Sentinel, for a cluster and for all else that go-redis can do, make the client
// and give it to [New]:
//
//	rdb := redis.NewFailoverClient(&redis.FailoverOptions{
//		MasterName:            "sessions",
//		SentinelAddrs:         []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"},
//		ContextTimeoutEnabled: true, // New insists on it
//	})
//	store, err := redisstore.New(rdb, redisstore.Config{})
//
//	rdb := redis.NewClusterClient(&redis.ClusterOptions{
//		Addrs:                 []string{"redis-1:6379", "redis-2:6379", "redis-3:6379"},
//		ContextTimeoutEnabled: true,
//	})
//	store, err := redisstore.New(rdb, redisstore.Config{Prefix: "myapp:"})
//
// # What is kept
//
// A session is one string under the prefix and the hash of a secret that only the
// browser has; its value is sealed under that secret, so that Redis, its operators and
// its backups learn nothing and can sign in as nobody. Every key has a time to live,
// after which Redis forgets it by itself. The commands are GET, SET, DEL and PEXPIRE,
// on single keys; SET with NX and PX needs Redis 2.6.12, and any Valkey has it.
//
// # What Redis must be
//
// A Redis that evicts keys signs people out, and may forget that somebody was signed
// out: give it room, and maxmemory-policy noeviction, or volatile-ttl, which drops
// first what ends soonest. One that restarts without its data signs everybody out; a
// failover may lose what was written in the last moments, since replication follows
// behind. Reads go to the primary: a replica may not have heard yet that somebody was
// signed out.
package redisstore
