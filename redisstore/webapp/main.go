// Command webapp is the reference app of the root module, examples/webapp, with a
// further store: SESSION_STORE=redis://host:port/db, a URL for [redisstore.Open].
package main

import (
	"github.com/oidcrp/oidcrp"
	"github.com/oidcrp/oidcrp/examples/webapp/app"
	"github.com/oidcrp/oidcrp/redisstore"
)

func main() {
	app.Main(func(url string) (oidcrp.Store, error) { return redisstore.Open(url) })
}
