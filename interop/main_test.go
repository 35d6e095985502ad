package interop

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// webapp is the path of the reference app, serviceProgram that of examples/proconnect; both built once.
var webapp, serviceProgram string

// redisWebapp builds the same one with Redis among its stores when it is first needed, and returns its
// path.
var redisWebapp = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(webapp), "redis-webapp")
	return path, build("../redisstore", "./webapp", path)
})

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := checkNode(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	webapp, serviceProgram = filepath.Join(dir, "webapp"), filepath.Join(dir, "proconnect")
	err = errors.Join(build("..", "./examples/webapp", webapp), build("..", "./examples/proconnect", serviceProgram))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if file := os.Getenv("OIDCRP_MATRIX"); file != "" && code == 0 {
		if err := shown.write(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

func checkNode() error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("interop: these tests need Node.js: %w; `bash interop/run` installs it", err)
	}
	for _, installed := range []string{
		filepath.Join("providers", proconnect, "node_modules", "oidc-provider"),
		filepath.Join("providers", modern, "node_modules", "oidc-provider"),
		axe,
	} {
		if _, err := os.Stat(installed); err != nil {
			folder, _, _ := strings.Cut(installed, string(filepath.Separator)+"node_modules")
			return fmt.Errorf("interop: run `npm ci` in %s: %w", folder, err)
		}
	}
	return nil
}

// build builds a program of another module, with the race detector when the tests have it: a race in
// the library then shows in the app's log and fails the test that drove it.
func build(module, program, path string) error {
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, program)...)
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("interop: build %s in %s: %w\n%s", program, module, err, out)
	}
	return nil
}

var taken sync.Map // of ports given out by freePort

// freePort returns a port of 127.0.0.1 that nothing listens on. It keeps below the range that the
// system takes the ports of outgoing connections from, so that none of those gets there first.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		listener.Close()
		if _, loaded := taken.LoadOrStore(port, true); !loaded {
			return port
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}
