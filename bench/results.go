package main

// This file keeps the samples, and makes the tables of docs/performance.md.

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A row is what a sample belongs to. Fields that a table does not use are empty.
type row struct {
	table, variant, handler, name string
	goroutines                    int
	many                          bool // sessions, used in turn
}

// of returns the row of another sign-in in the same circumstances.
func (r row) of(name string) row {
	r.name = name
	return r
}

// A sample is what one operation took in one run.
type sample struct{ cpu, elapsed, allocs, bytes float64 } // µs, µs, number, bytes

func cpuOf(s sample) float64     { return s.cpu }
func elapsedOf(s sample) float64 { return s.elapsed }
func allocsOf(s sample) float64  { return s.allocs }
func bytesOf(s sample) float64   { return s.bytes }

// results are all samples, in the order of the runs.
type results struct {
	size        size
	log         io.Writer // gets every sample
	samples     map[row][]sample
	cookieBytes map[string]int // by fixture and name
	memory      map[string][]Memory
}

func newResults(size size, log io.Writer) *results {
	return &results{
		size: size, log: log, samples: make(map[row][]sample), cookieBytes: make(map[string]int),
		memory: make(map[string][]Memory),
	}
}

// add adds a sample of n operations, and prints it as benchstat reads it.
func (r *results) add(to row, u Usage, n int) {
	per := func(total float64) float64 { return total / float64(n) }
	const micro = float64(time.Microsecond)
	r.samples[to] = append(r.samples[to], sample{
		cpu: per(float64(u.CPU) / micro), elapsed: per(float64(u.Elapsed) / micro),
		allocs: per(float64(u.Mallocs)), bytes: per(float64(u.Bytes)),
	})
	fmt.Fprintf(r.log, "BenchmarkCompare/table=%s/provider=%s/handler=%s/goroutines=%d/many=%t/rp=%s %d %.0f ns/op %.0f cpu-ns/op %.0f B/op %.0f allocs/op\n",
		to.table, to.variant, to.handler, to.goroutines, to.many, to.name, n,
		per(float64(u.Elapsed)), per(float64(u.CPU)), per(float64(u.Bytes)), per(float64(u.Mallocs)))
}

func (r *results) addMemory(name string, m Memory) {
	r.memory[name] = append(r.memory[name], m)
	fmt.Fprintf(r.log, "BenchmarkCompare/table=memory/rp=%s 1 %d heap-B %d sys-B\n", name, m.Heap, m.Sys)
}

// median returns the median of a figure of a row.
func (r *results) median(of row, figure func(sample) float64) float64 {
	return median(figures(r.samples[of], figure))
}

// above returns the median of how much more a row takes than the plain page did in the
// same run.
func (r *results) above(of row, figure func(sample) float64) float64 {
	took, plain := figures(r.samples[of], figure), figures(r.samples[of.of(plain)], figure)
	for i := range took {
		took[i] -= plain[i]
	}
	return median(took)
}

func figures(samples []sample, figure func(sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return values
}

// median returns the middle value, or the mean of the two in the middle; 0 if there are
// none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// tables returns all tables in Markdown.
func (r *results) tables(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s with `go run .` in `bench/`: %s, %d cores, %s, %s/%s. Each figure is the median of %d runs.\n",
		now.UTC().Format("2 January 2006"), processor(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, r.size.runs)
	if r.has("served") {
		r.servedTables(&b)
	}
	if r.has("in-process") {
		r.inProcessTable(&b)
	}
	if r.has("login") {
		r.loginTable(&b)
	}
	if len(r.memory) > 0 {
		r.memoryTable(&b)
	}
	return b.String()
}

// has reports whether a table has been measured.
func (r *results) has(table string) bool {
	for of := range r.samples {
		if of.table == table {
			return true
		}
	}
	return false
}

// titles are the names of the rps in the tables.
var titles = map[string]string{
	hand: "by hand, sealed cookie", handSCS: "by hand, scs in memory",
	ours: "oidcrp, sealed cookie", oursMemory: "oidcrp, `MemoryStore`",
	ours + withoutCache: "oidcrp, sealed cookie, no cache", oursMemory + withoutCache: "oidcrp, `MemoryStore`, no cache",
}

func (r *results) servedTables(b *strings.Builder) {
	for _, sends := range fixtureNames {
		fmt.Fprintf(b, "\n### A signed-in request, %s provider\n\n", sends)
		b.WriteString("| sign-in | handler | CPU above the plain page, µs | ratio to by hand, sealed cookie, `map` | " +
			"ratio to the same handler by hand | allocations | Cookie header, bytes |\n|---|---|--:|--:|--:|--:|--:|\n")
		first := row{table: "served", variant: sends, handler: mapHandler, name: hand}
		for _, name := range signIns() {
			for _, handler := range handlers {
				of := row{table: "served", variant: sends, handler: handler, name: name}
				cpu := r.above(of, cpuOf)
				fmt.Fprintf(b, "| %s | `%s` | %.1f | %.2f | %.2f | %.0f | %d |\n", titles[name], handler, cpu,
					cpu/r.above(first, cpuOf), cpu/r.above(of.of(handOf(name)), cpuOf), r.above(of, allocsOf),
					r.cookieBytes[sends+name])
			}
		}
	}
	page := row{table: "served", variant: fixtureNames[0], handler: mapHandler, name: plain}
	fmt.Fprintf(b, "\nThe plain page itself takes %.1f µs and %.0f allocations.\n", r.median(page, cpuOf), r.median(page, allocsOf))
}

func (r *results) inProcessTable(b *strings.Builder) {
	fmt.Fprintf(b, "\n### In process, by goroutines\n\n")
	b.WriteString("| sign-in | handler | sessions | CPU above the plain page with 1, 4 and 16 goroutines, µs | " +
		"time for each request with 1, 4 and 16 goroutines, µs | allocations | bytes |\n|---|---|--:|--:|--:|--:|--:|\n")
	for _, name := range signIns() {
		for _, handler := range handlers {
			for _, many := range []bool{false, true} {
				r.inProcessRow(b, row{table: "in-process", handler: handler, name: name, many: many})
			}
		}
	}
}

func (r *results) inProcessRow(b *strings.Builder, of row) {
	var cpu, elapsed []string
	for _, of.goroutines = range goroutines {
		cpu = append(cpu, fmt.Sprintf("%.1f", r.above(of, cpuOf)))
		elapsed = append(elapsed, fmt.Sprintf("%.1f", r.median(of, elapsedOf)))
	}
	of.goroutines = goroutines[0]
	sessions := 1
	if of.many {
		sessions = r.size.sessions
	}
	fmt.Fprintf(b, "| %s | `%s` | %d | %s | %s | %.0f | %.0f |\n", titles[of.name], of.handler, sessions,
		strings.Join(cpu, " · "), strings.Join(elapsed, " · "), r.above(of, allocsOf), r.above(of, bytesOf))
}

func (r *results) loginTable(b *strings.Builder) {
	b.WriteString("\n### A login\n\n| provider | at once | by hand, µs of CPU | oidcrp, µs of CPU | ratio | " +
		"allocations by hand | allocations, oidcrp |\n|---|--:|--:|--:|--:|--:|--:|\n")
	transports := map[string]string{"http": "http", "https1": "https, HTTP/1.1", "https2": "https, HTTP/2"}
	for _, protocol := range protocols {
		for _, count := range loginsAtOnce {
			by := row{table: "login", variant: protocol, name: hand, goroutines: count}
			us := by.of(ours)
			fmt.Fprintf(b, "| %s | %d | %.0f | %.0f | %.2f | %.0f | %.0f |\n", transports[protocol], count,
				r.median(by, cpuOf), r.median(us, cpuOf), r.median(us, cpuOf)/r.median(by, cpuOf),
				r.median(by, allocsOf), r.median(us, allocsOf))
		}
	}
}

func (r *results) memoryTable(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Memory after %d logins\n\n", r.size.signedIn)
	b.WriteString("| sign-in | live heap, KiB | from the system, MiB |\n|---|--:|--:|\n")
	for _, name := range signIns() {
		var heap, sys []float64
		for _, m := range r.memory[name] {
			heap, sys = append(heap, float64(m.Heap)), append(sys, float64(m.Sys))
		}
		fmt.Fprintf(b, "| %s | %.0f | %.1f |\n", titles[name], median(heap)/(1<<10), median(sys)/(1<<20))
	}
}

// processor returns the model of the CPU where Linux tells it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // elsewhere the architecture must do
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "CPU of an unknown model"
}

const (
	tablesBegin = "<!-- measured: begin -->\n"
	tablesEnd   = "<!-- measured: end -->\n"
)

// writeTables replaces what is between the marks of the file.
func writeTables(file, tables string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	replaced, err := withTables(string(text), tables)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(replaced), 0o644)
}

func withTables(text, tables string) (string, error) {
	before, rest, begins := strings.Cut(text, tablesBegin)
	_, after, ends := strings.Cut(rest, tablesEnd)
	if !begins || !ends {
		return "", fmt.Errorf("it lacks the marks %q and %q", tablesBegin, tablesEnd)
	}
	return before + tablesBegin + tables + tablesEnd + after, nil
}
