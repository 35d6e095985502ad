package main

// This file starts the provider and each measured app in a process of its own.

import (
	"bufio"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// roleVariable is what this program does when it starts itself as a child:
	// "provider <protocol> <fixture>" or "app <rp> <fixture> <issuer>".
	roleVariable        = "BENCH_ROLE"
	certificateVariable = "SSL_CERT_FILE" // which both sides read
)

// play does what the role says, until the parent ends or closes the child's standard
// input. It reports whether this process is a child.
func play() (bool, error) {
	role := strings.Fields(os.Getenv(roleVariable))
	switch {
	case len(role) == 0:
		return false, nil
	case len(role) == 3 && role[0] == "provider":
		return true, serveProvider(role[1], role[2], os.Getenv(certificateVariable))
	case len(role) == 4 && role[0] == "app":
		return true, serveApp(role[1], role[2], role[3])
	}
	return true, fmt.Errorf("%s: there is no role %q", roleVariable, role)
}

// A child is a process that ends when its standard input is closed.
type child struct {
	io.ReadCloser  // its standard output
	io.WriteCloser // its standard input
	command        *exec.Cmd
}

func startChild(role string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{command: exec.Command(program)}
	c.command.Env = append(os.Environ(), roleVariable+"="+role)
	c.command.Stderr = os.Stderr
	if c.WriteCloser, err = c.command.StdinPipe(); err != nil {
		return nil, err
	}
	if c.ReadCloser, err = c.command.StdoutPipe(); err != nil {
		return nil, err
	}
	return c, c.command.Start()
}

func (c *child) Close() error {
	c.WriteCloser.Close()
	return c.command.Wait()
}

// startProvider starts a provider and returns its issuer.
func startProvider(protocol, sends string) (issuer string, end func(), err error) {
	c, err := startChild("provider " + protocol + " " + sends)
	if err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		c.Close()
		return "", nil, err
	}
	return strings.TrimSpace(line), func() { c.Close() }, nil
}

// A remoteApp is an app in a process of its own. Its methods are those of App.
type remoteApp struct {
	rpc     *rpc.Client
	address string // of its server
}

func startApp(name, sends, issuer string) (*remoteApp, error) {
	c, err := startChild("app " + name + " " + sends + " " + issuer)
	if err != nil {
		return nil, err
	}
	a := &remoteApp{rpc: rpc.NewClient(c)}
	if err := a.rpc.Call("App.Address", 0, &a.address); err != nil {
		a.rpc.Close()
		return nil, err
	}
	return a, nil
}

func (a *remoteApp) close() { a.rpc.Close() }

// served measures n requests of a page over the connections of a load, after some that
// are not counted. It returns the bytes of one session's Cookie header too.
func (a *remoteApp) served(path string, n int) (u Usage, cookieBytes int, err error) {
	var lines []string
	if err := a.rpc.Call("App.SignIn", connections, &lines); err != nil {
		return u, 0, err
	}
	l, err := dial(a.address, path, lines)
	if err != nil {
		return u, 0, err
	}
	defer l.close()
	if err := l.send(10 * connections); err != nil {
		return u, 0, err
	}
	var before, after Usage
	if err := a.rpc.Call("App.Usage", 0, &before); err != nil {
		return u, 0, err
	}
	start := time.Now()
	if err := l.send(n); err != nil {
		return u, 0, err
	}
	elapsed := time.Since(start)
	if err := a.rpc.Call("App.Usage", 0, &after); err != nil {
		return u, 0, err
	}
	u = after.since(before)
	u.Elapsed = elapsed
	return u, len(lines[0]), nil
}
