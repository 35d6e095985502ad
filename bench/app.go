package main

// This file is a measured app, in a process of its own, and what it takes.

import (
	"io"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"runtime"
	"syscall"
	"time"
)

// An App is what a parent can ask of a child that runs an app.
type App struct {
	handler http.Handler
	issuer  string // empty for an app without sign-in
	address string
	crowd   *crowd
}

// serveApp runs an app behind a server on loopback, and the parent's calls on standard
// input and output.
func serveApp(name, sends, issuer string) error {
	rp, err := newRP(name, issuer, fixtures[sends])
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	app := &App{handler: rp.app(), issuer: issuer, address: listener.Addr().String()}
	if name == plain {
		app.issuer = ""
	}
	app.crowd = &crowd{app: app.handler, issuer: app.issuer, clock: rp.clock}
	calls := rpc.NewServer()
	if err := calls.Register(app); err != nil {
		return err
	}
	go http.Serve(listener, app.handler)
	calls.ServeConn(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
	return nil
}

// Address returns where the server listens.
func (a *App) Address(_ int, address *string) error {
	*address = a.address
	return nil
}

// SignIn signs n people in and returns their Cookie headers, which are empty for an app
// without sign-in. It then collects the garbage.
func (a *App) SignIn(n int, lines *[]string) error {
	people := crowd{app: a.handler, issuer: a.issuer}
	err := people.atLeast(n)
	*lines = people.lines
	runtime.GC()
	return err
}

// A Usage is what some operations took, or, from [App.Usage] and without Elapsed, the
// whole process so far.
type Usage struct {
	Elapsed, CPU   time.Duration
	Mallocs, Bytes uint64
}

// Usage returns what the process has used.
func (a *App) Usage(_ int, u *Usage) error {
	*u = usage()
	return nil
}

// Requests are n requests of a page without a server.
type Requests struct {
	Path          string
	People        int // who are signed in
	Many          bool
	Goroutines, N int
}

// InProcess measures requests of one of the people, or of many in turn.
func (a *App) InProcess(requests Requests, u *Usage) error {
	if err := a.crowd.atLeast(requests.People); err != nil {
		return err
	}
	if err := a.crowd.refresh(requests.Path); err != nil {
		return err
	}
	lines := a.crowd.lines[:1]
	if requests.Many {
		lines = a.crowd.lines
	}
	var err error
	*u, err = measure(func() error {
		return inProcess(a.handler, requests.Path, lines, requests.Goroutines, requests.N)
	})
	return err
}

// LoginsAtOnce are n logins, some at once.
type LoginsAtOnce struct{ AtOnce, N int }

// Logins measures logins, after one that fills the caches.
func (a *App) Logins(logins LoginsAtOnce, u *Usage) error {
	if _, err := signIn(a.handler, a.issuer); err != nil {
		return err
	}
	var err error
	*u, err = measure(func() error {
		_, err := signInMany(a.handler, a.issuer, logins.AtOnce, logins.N)
		return err
	})
	return err
}

// A Memory is the live heap, and all memory that Go has from the system.
type Memory struct{ Heap, Sys uint64 }

// MemoryAfter signs n people in, 8 at once, and returns the memory in use after a
// garbage collection.
func (a *App) MemoryAfter(n int, m *Memory) error {
	if _, err := signInMany(a.handler, a.issuer, 8, n); err != nil {
		return err
	}
	for range 2 { // the second empties what the first left in pools
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	*m = Memory{Heap: stats.HeapAlloc, Sys: stats.Sys}
	return nil
}

// measure returns what work takes, after a garbage collection.
func measure(work func() error) (Usage, error) {
	runtime.GC()
	start, before := time.Now(), usage()
	err := work()
	u := usage().since(before)
	u.Elapsed = time.Since(start)
	return u, err
}

// usage returns what this process has used. The CPU time includes system calls and
// garbage collection. Other programs on the machine disturb it less than the elapsed time.
func usage() Usage {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	return Usage{
		CPU:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()),
		Mallocs: stats.Mallocs, Bytes: stats.TotalAlloc,
	}
}

func (u Usage) since(before Usage) Usage {
	return Usage{
		CPU: u.CPU - before.CPU, Mallocs: u.Mallocs - before.Mallocs, Bytes: u.Bytes - before.Bytes,
	}
}
