package redisstore_test

import (
	"log"
	"net/http"
	"os"

	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/redisstore"
	"github.com/redis/go-redis/v9"
)

// An app whose replicas share the sessions in one Redis.
func Example() {
	store, err := redisstore.Open(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	cfg.Store = store
	client, err := oidcrp.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("hello"))
	})
	log.Print(http.ListenAndServe(":8080", client.Middleware(client.RequireLogin(hello))))
}

func ExampleNew() {
	cluster := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:                 []string{"redis-1:6379", "redis-2:6379", "redis-3:6379"},
		ContextTimeoutEnabled: true,
	})
	store, err := redisstore.New(cluster, redisstore.Config{Prefix: "myapp:"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
}
