package main

// This file is the order of the measurements: every row once, then every row again, so
// that what else the machine does meets all rows alike.

import (
	"fmt"
	"io"
	"os"
)

// A size is how much is measured.
type size struct {
	runs      int // of each row
	served    int // requests over the server
	inProcess int // requests without a server
	sessions  int // that exist meanwhile, and are used in turn
	logins    int
	signedIn  int // people, when memory is measured
}

var (
	fullSize = size{
		runs: 6, served: 20_000, inProcess: 25_000, sessions: 50_000, logins: 2000, signedIn: 1000,
	}
	smokeSize = size{runs: 1, served: 160, inProcess: 160, sessions: 40, logins: 16, signedIn: 16}
)

var (
	// protocols are those of the provider: http, and https with HTTP/1.1 and HTTP/2.
	protocols    = []string{"http", "https1", "https2"}
	fixtureNames = []string{"small", "professional"}
	goroutines   = []int{1, 4, 16}
	loginsAtOnce = []int{1, 8}
)

// A comparison measures all rows. It keeps each app in a process of its own.
type comparison struct {
	size    size
	issuers map[string]string // by protocol and fixture
	ends    []func()
	results *results
}

// measureAll measures every part, or the one called only if that is not empty, and prints
// each sample to log.
func measureAll(size size, only string, log io.Writer) (*results, error) {
	c := &comparison{size: size, issuers: make(map[string]string), results: newResults(size, log)}
	defer func() {
		for _, end := range c.ends {
			end()
		}
	}()
	found := false
	for _, part := range []struct {
		name    string
		measure func() error
	}{{"served", c.served}, {"in-process", c.inProcess}, {"login", c.logins}, {"memory", c.memory}} {
		if only != "" && only != part.name {
			continue
		}
		found = true
		fmt.Fprintf(os.Stderr, "%s …\n", part.name)
		if err := part.measure(); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	if !found {
		return nil, fmt.Errorf("there is no part %q", only)
	}
	return c.results, nil
}

// issuer returns that of a provider, which it starts if there is none yet.
func (c *comparison) issuer(protocol, sends string) (string, error) {
	if issuer := c.issuers[protocol+sends]; issuer != "" {
		return issuer, nil
	}
	issuer, end, err := startProvider(protocol, sends)
	if err != nil {
		return "", err
	}
	c.ends = append(c.ends, end)
	c.issuers[protocol+sends] = issuer
	return issuer, nil
}

// apps starts an app for each name. The caller calls end when it needs them no longer.
func (c *comparison) apps(names []string, protocol, sends string) (apps map[string]*remoteApp, end func(), err error) {
	issuer, err := c.issuer(protocol, sends)
	if err != nil {
		return nil, nil, err
	}
	apps = make(map[string]*remoteApp)
	end = func() {
		for _, app := range apps {
			app.close()
		}
	}
	for _, name := range names {
		if apps[name], err = startApp(name, sends, issuer); err != nil {
			delete(apps, name)
			end()
			return nil, nil, err
		}
	}
	return apps, end, nil
}

// served measures the pages behind a server.
func (c *comparison) served() error {
	names := append([]string{plain}, signIns()...)
	for _, sends := range fixtureNames {
		apps, end, err := c.apps(names, "http", sends)
		if err != nil {
			return err
		}
		err = c.inTurn(handlers, names, func(handler, name string) error {
			u, cookieBytes, err := apps[name].served("/"+handler, c.size.served)
			c.results.cookieBytes[sends+name] = cookieBytes
			c.results.add(row{table: "served", variant: sends, handler: handler, name: name}, u, c.size.served)
			return err
		})
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// inTurn calls measure for each of the names in turn, for each variant, as often as the
// rows are measured. Every other time it goes backwards.
func (c *comparison) inTurn(variants, names []string, measure func(variant, name string) error) error {
	for run := range c.size.runs {
		for _, variant := range variants {
			for i, name := range names {
				if run%2 == 1 {
					name = names[len(names)-1-i]
				}
				if err := measure(variant, name); err != nil {
					return fmt.Errorf("%s, %s: %w", name, variant, err)
				}
			}
		}
	}
	return nil
}

// inProcess measures the pages without a server, with one session and with many.
func (c *comparison) inProcess() error {
	names := append([]string{plain}, signIns()...)
	apps, end, err := c.apps(names, "http", "small")
	if err != nil {
		return err
	}
	defer end()
	return c.inTurn(handlers, names, func(handler, name string) error {
		for _, count := range goroutines {
			for _, many := range []bool{false, true} {
				requests := Requests{
					Path: "/" + handler, People: c.size.sessions, Many: many, Goroutines: count, N: c.size.inProcess,
				}
				var u Usage
				if err := apps[name].rpc.Call("App.InProcess", requests, &u); err != nil {
					return err
				}
				of := row{table: "in-process", handler: handler, name: name, goroutines: count, many: many}
				c.results.add(of, u, requests.N)
			}
		}
		return nil
	})
}

// logins measures whole logins with sealed cookies.
func (c *comparison) logins() error {
	names := []string{hand, ours}
	for _, protocol := range protocols {
		apps, end, err := c.apps(names, protocol, "professional")
		if err != nil {
			return err
		}
		err = c.inTurn([]string{protocol}, names, func(_, name string) error {
			for _, count := range loginsAtOnce {
				var u Usage
				if err := apps[name].rpc.Call("App.Logins", LoginsAtOnce{AtOnce: count, N: c.size.logins}, &u); err != nil {
					return err
				}
				c.results.add(row{table: "login", variant: protocol, name: name, goroutines: count}, u, c.size.logins)
			}
			return nil
		})
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// memory measures what a new process holds after logins.
func (c *comparison) memory() error {
	names := signIns()
	return c.inTurn([]string{"professional"}, names, func(sends, name string) error {
		apps, end, err := c.apps([]string{name}, "http", sends)
		if err != nil {
			return err
		}
		defer end()
		var m Memory
		if err := apps[name].rpc.Call("App.MemoryAfter", c.size.signedIn, &m); err != nil {
			return err
		}
		c.results.addMemory(name, m)
		return nil
	})
}
