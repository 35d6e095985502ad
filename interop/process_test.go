package interop

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a process: generous, since a busy machine is not a failure.
const patience = 60 * time.Second

// process is a program run for one test. It does not outlive the test process, however that ends:
// its standard input is a pipe that closes then, and see orphan.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	log    *logBuffer
	exited chan struct{}
}

// startProcess runs cmd until the test ends, and shows its output then if the test failed.
func startProcess(t testing.TB, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, log: new(logBuffer), exited: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	if cmd.Stdout == nil {
		cmd.Stdout = p.log
	}
	cmd.Stderr = p.log
	cmd.SysProcAttr = orphan
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if bytes.Contains(p.log.Bytes(), []byte("WARNING: DATA RACE")) {
			t.Errorf("%s has a data race", name)
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, p.log.Bytes())
		}
	})
	return p
}

// stop ends the process by its id and waits for that. Stopping twice is harmless.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.stdin.Close()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Signal(os.Kill)
		<-p.exited
	}
}

// kill ends the process as a power cut does, and waits for that.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// poll calls ready until it is true, and gives up with the test when the process has ended or
// patience has run out.
func (p *process) poll(t testing.TB, what string, ready func() bool) {
	t.Helper()
	p.pollFor(t, patience, what, ready)
}

// pollFor is poll with another patience.
func (p *process) pollFor(t testing.TB, patience time.Duration, what string, ready func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-p.exited:
			t.Fatalf("%s: the process has ended: %v", what, p.cmd.ProcessState)
		case <-deadline:
			t.Fatalf("%s: not after %v", what, patience)
		case <-tick.C:
		}
	}
}

// logBuffer is a bytes.Buffer for two goroutines.
type logBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// Bytes returns a copy of what has been written so far.
func (b *logBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
