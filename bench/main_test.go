package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPages_EverySignInAnswersTheSame(t *testing.T) {
	for _, sends := range fixtureNames {
		issuer := startTestProvider(t, "http", sends)
		for _, name := range append([]string{plain}, signIns()...) {
			app, line := newTestApp(t, name, sends, issuer), ""
			if name != plain {
				var err error
				if line, err = signIn(app, issuer); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for _, handler := range append([]string{"pass"}, handlers...) {
				w := httptest.NewRecorder()
				app.ServeHTTP(w, get("/"+handler, line))
				if w.Code != http.StatusOK || w.Body.String() != answerOf(subject) {
					t.Errorf("%s, %s, %s: answered %d %q, want %q", name, sends, handler, w.Code, w.Body, answerOf(subject))
				}
			}
		}
	}
}

func TestPages_NobodyIsSentToTheLogin(t *testing.T) {
	issuer := startTestProvider(t, "http", "small")
	for _, name := range signIns() {
		app := newTestApp(t, name, "small", issuer)
		line, err := signIn(app, issuer)
		if err != nil {
			t.Fatal(err)
		}
		cookie, value, _ := strings.Cut(line, "=")
		for _, line := range []string{"", cookie + "=" + value[1:], cookie + "=" + value[:len(value)/2]} {
			for _, handler := range append([]string{"pass"}, handlers...) {
				w := httptest.NewRecorder()
				app.ServeHTTP(w, get("/"+handler, line))
				if w.Code != http.StatusFound {
					t.Errorf("%s, %s: answered %d without the session, want a redirect", name, handler, w.Code)
				}
			}
		}
	}
}

func TestByHand_CookiesAreAsLargeAsTheComparisonSays(t *testing.T) {
	for sends, want := range map[string]struct{ least, most int }{"small": {400, 460}, "professional": {1500, 2500}} {
		issuer := startTestProvider(t, "http", sends)
		line, err := signIn(newTestApp(t, hand, sends, issuer), issuer)
		if err != nil {
			t.Fatal(err)
		}
		if len(line) < want.least || len(line) > want.most {
			t.Errorf("%s: the Cookie header has %d bytes, want %d to %d", sends, len(line), want.least, want.most)
		}
	}
}

// A counter is an app without sign-in that counts the Cookie headers that it gets, and
// renews the one called old.
type counter struct{ seen chan string }

func (c counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	line := r.Header.Get("Cookie")
	c.seen <- line
	if line == "s=old" {
		http.SetCookie(w, &http.Cookie{Name: "s", Value: "new"})
	}
	w.Write([]byte(answerOf(subject)))
}

func (c counter) counts() map[string]int {
	close(c.seen)
	counts := make(map[string]int)
	for line := range c.seen {
		counts[line]++
	}
	return counts
}

func TestInProcess_UsesManySessionsInTurnAndRenewsThem(t *testing.T) {
	app := counter{make(chan string, 100)}
	lines := []string{"s=1", "s=2", "s=old", "s=4"}
	if err := inProcess(app, "/", lines, 2, 24); err != nil {
		t.Fatal(err)
	}
	counts := app.counts()
	for line, want := range map[string]int{"s=1": 6, "s=2": 6, "s=old": 1, "s=new": 5, "s=4": 6} {
		if counts[line] != want {
			t.Errorf("%q was sent %d times, want %d", line, counts[line], want)
		}
	}
	if lines[2] != "s=new" {
		t.Errorf("the next call would send %q", lines[2])
	}
}

func TestInProcess_OneSessionIsThatOfEveryGoroutine(t *testing.T) {
	app := counter{make(chan string, 100)}
	if err := inProcess(app, "/", []string{"s=1"}, 16, 50); err != nil {
		t.Fatal(err)
	}
	if counts := app.counts(); counts["s=1"] != 50 || len(counts) != 1 {
		t.Errorf("sent %v, want 50 times s=1", counts)
	}
}

func TestCrowd_SessionsAreRenewedBeforeAMeasurementAndNotDuringIt(t *testing.T) {
	issuer := startTestProvider(t, "http", "small")
	for _, name := range []string{ours, oursMemory} {
		people := newTestCrowd(t, name, "small", issuer)
		if err := people.atLeast(3); err != nil {
			t.Fatal(err)
		}
		signedIn := slices.Clone(people.lines)
		people.renewed = time.Now().Add(-fresh)
		if err := people.refresh("/who"); err != nil {
			t.Fatal(err)
		}
		renewed := slices.Clone(people.lines)
		for i := range renewed {
			if renewed[i] == signedIn[i] {
				t.Errorf("%s: session %d was not renewed before", name, i)
			}
		}
		if err := people.refresh("/who"); err != nil {
			t.Fatal(err)
		}
		if err := inProcess(people.app, "/who", people.lines, 2, 12); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(people.lines, renewed) {
			t.Errorf("%s: a session was renewed while it was measured", name)
		}
	}
}

func TestInProcess_AnotherStatusFails(t *testing.T) {
	if err := inProcess(http.NotFoundHandler(), "/", []string{""}, 2, 4); err == nil {
		t.Error("404 counts as an answer")
	}
}

func TestLoad_SharesRequestsAmongTheConnections(t *testing.T) {
	app := counter{make(chan string, 1000)}
	var connected int
	server := httptest.NewUnstartedServer(app)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connected++
		}
	}
	server.Start()
	l, err := dial(server.Listener.Addr().String(), "/", []string{"s=1", "s=old"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.send(10 * connections); err != nil {
		t.Fatal(err)
	}
	l.close()
	server.Close()
	counts := app.counts()
	for line, want := range map[string]int{
		"s=1": 10 * connections / 2, "s=old": connections / 2, "s=new": 9 * connections / 2,
	} {
		if counts[line] != want {
			t.Errorf("%q was sent %d times, want %d", line, counts[line], want)
		}
	}
	if connected != connections {
		t.Errorf("%d connections, want %d", connected, connections)
	}
}

func TestLoad_FailsOnAnyOtherAnswer(t *testing.T) {
	body := answerOf(subject)
	for name, answer := range map[string]http.HandlerFunc{
		"status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(body))
		},
		"body":    func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(strings.ToUpper(body))) },
		"length":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body + " ")) },
		"no body": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	} {
		server := httptest.NewServer(answer)
		l, err := dial(server.Listener.Addr().String(), "/", []string{""})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.send(connections); err == nil {
			t.Errorf("another %s counts as an answer", name)
		}
		l.close()
		server.Close()
	}
}

func TestLoad_SendsARequestThatNetHTTPReads(t *testing.T) {
	c := &connection{path: "/who"}
	c.use("s=1")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(c.request))))
	if err != nil {
		t.Fatal(err)
	}
	if r.URL.Path != "/who" || r.Host != "app.example" || r.Header.Get("Cookie") != "s=1" {
		t.Errorf("sends %q", c.request)
	}
}

func TestRenewed_IsWhatABrowserSendsNext(t *testing.T) {
	for _, test := range []struct {
		line string
		set  []string
		want string
	}{
		{"", nil, ""},
		{"a=1; b=2", nil, "a=1; b=2"},
		{"a=1; b=2", []string{"a=3; Path=/"}, "b=2; a=3"},
		{"a=1; b=2", []string{"b=; Max-Age=0"}, "a=1"},
		{"", []string{"a=1; Secure", "b=2"}, "a=1; b=2"},
	} {
		if got := renewed(test.line, http.Header{"Set-Cookie": test.set}); got != test.want {
			t.Errorf("after %q and %q: %q, want %q", test.line, test.set, got, test.want)
		}
	}
}

func TestParallel_SharesTheWorkAndReturnsAnError(t *testing.T) {
	shares := make([]int, 3)
	if err := parallel(3, 10, func(worker, n int) error { shares[worker] = n; return nil }); err != nil {
		t.Error(err)
	}
	if slices.Sort(shares); !slices.Equal(shares, []int{3, 3, 4}) {
		t.Errorf("shares of 10 among 3: %v", shares)
	}
	wrong := errors.New("wrong")
	err := parallel(3, 3, func(worker, _ int) error {
		if worker == 1 {
			return wrong
		}
		return nil
	})
	if err != wrong {
		t.Errorf("the error of a worker: %v", err)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{8, 1, 2, 4}, 3}} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v: %v, want %v", test.values, got, test.want)
		}
	}
}

// fill adds one run of a table, in which a row takes what cpu says, in µs.
func fill(r *results, table, variant string, cpu map[string]float64) {
	for of, took := range cpu {
		name, handler, _ := strings.Cut(of, " ")
		u := Usage{CPU: time.Duration(took * 10 * float64(time.Microsecond))}
		r.add(row{table: table, variant: variant, handler: handler, name: name}, u, 10)
	}
}

func TestTables_DividesWhatIsAboveThePlainPage(t *testing.T) {
	r := newResults(fullSize, io.Discard)
	for _, noise := range []float64{0, 100, 5} { // hits a whole run
		fill(r, "served", "small", map[string]float64{
			"plain who": noise + 20, "plain struct": noise + 20, "plain map": noise + 30,
			"byhand who": noise + 30, "byhand struct": noise + 32, "byhand map": noise + 43.7,
			"byhand-scs map": noise + 50,
			"oidcrp who":     noise + 29.7, "oidcrp struct": noise + 44.5, "oidcrp map": noise + 67,
			"oidcrp-memory map": noise + 60,
		})
	}
	tables := r.tables(time.Date(2026, time.May, 4, 0, 0, 0, 0, time.UTC))
	for _, want := range []string{
		"on 4 May 2026 ", "the median of 6 runs",
		"| by hand, sealed cookie | `map` | 13.7 | 1.00 | 1.00 |",
		"| oidcrp, sealed cookie | `who` | 9.7 | 0.71 | 0.97 |",
		"| oidcrp, sealed cookie | `struct` | 24.5 | 1.79 | 2.04 |",
		"| oidcrp, sealed cookie | `map` | 37.0 | 2.70 | 2.70 |",
		"| oidcrp, `MemoryStore` | `map` | 30.0 | 2.19 | 1.50 |",
	} {
		if !strings.Contains(tables, want) {
			t.Errorf("the tables lack %q:\n%s", want, tables)
		}
	}
}

func TestTables_ShowsOnlyWhatWasMeasured(t *testing.T) {
	r := newResults(fullSize, io.Discard)
	fill(r, "login", "http", map[string]float64{"byhand ": 100, "oidcrp ": 90})
	tables := r.tables(time.Now())
	if !strings.Contains(tables, "### A login") || strings.Count(tables, "### ") != 1 {
		t.Errorf("one table was measured, and these are shown:\n%s", tables)
	}
}

func TestMeasureAll_AnUnknownPartFails(t *testing.T) {
	if _, err := measureAll(smokeSize, "logins", io.Discard); err == nil {
		t.Error("nothing was measured, and it is no error")
	}
}

func TestMeasureAll_MeasuresEachRowAsOftenAsAsked(t *testing.T) {
	size := smokeSize
	size.runs = 2
	var log strings.Builder
	r, err := measureAll(size, "login", &log)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(protocols) * len(loginsAtOnce) * 2; len(r.samples) != want {
		t.Errorf("%d rows, want %d", len(r.samples), want)
	}
	if lines := strings.Count(log.String(), "BenchmarkCompare/table=login/"); lines != 2*len(r.samples) {
		t.Errorf("%d samples were printed, want %d:\n%s", lines, 2*len(r.samples), log.String())
	}
	for of, samples := range r.samples {
		if len(samples) != 2 || samples[0].cpu <= 0 || samples[0].allocs <= 0 || samples[0].elapsed <= 0 {
			t.Errorf("%v: %v", of, samples)
		}
	}
}

func TestWithTables_ReplacesWhatIsBetweenTheMarks(t *testing.T) {
	text := "before\n" + tablesBegin + "old\n" + tablesEnd + "after\n"
	got, err := withTables(text, "new\n")
	if want := "before\n" + tablesBegin + "new\n" + tablesEnd + "after\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for _, text := range []string{"", tablesBegin, tablesEnd + tablesBegin} {
		if got, err := withTables(text, "new\n"); err == nil {
			t.Errorf("%q, which lacks a mark, became %q", text, got)
		}
	}
}

func TestDocs_HaveTheMarks(t *testing.T) {
	text, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := withTables(string(text), ""); err != nil {
		t.Error(err)
	}
}
