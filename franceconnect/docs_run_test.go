//go:build !windows

package franceconnect_test

// This file does what docs/en/franceconnect.md says: it builds the page's programs, with
// its fragments where it says that they go, and signs in. The French page has the same
// code: see proconnect's tests. On Windows a program cannot inherit a listener.

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// blocks returns the page's blocks of code in a language, in order.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/en/franceconnect.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	return found
}

// blockWith returns the only one of blocks that contains text.
func blockWith(t *testing.T, blocks []string, text string) string {
	t.Helper()
	var found []string
	for _, b := range blocks {
		if strings.Contains(b, text) {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d blocks have %q", len(found), text)
	}
	return found[0]
}

// place puts code into a program before the only line that begins with mark.
func place(t *testing.T, program, mark, code string) string {
	t.Helper()
	if strings.Count(program, "\n"+mark) != 1 {
		t.Fatalf("the program does not have %q once:\n%s", mark, program)
	}
	return strings.Replace(program, "\n"+mark, "\n"+code+mark, 1)
}

// build builds programs, each a map of its files, into a folder and returns that.
func build(t *testing.T, programs map[string]map[string]string) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := filepath.Join(dir, "overlay.json") // the programs are not written into the module
	replace := map[string]string{}
	args := []string{"build", "-overlay", overlay, "-o", dir + string(filepath.Separator)}
	for name, files := range programs {
		for file, code := range files {
			source := filepath.Join(dir, name+"_"+file)
			if err := os.WriteFile(source, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(root, "fcdocs_"+name, file)] = source
		}
		args = append(args, "./fcdocs_"+name)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

func TestDocs_FragmentsFitTheProgram(t *testing.T) {
	t.Parallel()
	code := blocks(t, "go")
	program := blockWith(t, code, "func dossier(")
	program = place(t, program, "\t\"html/template\"", "\t\"context\"\n\t\"os\"\n")
	program = place(t, program, "\tw.Header().Add(\"Vary\"", blockWith(t, code, "data.Button = "))
	program = place(t, program, "\tclient, err := oidcrp.New(cfg)", blockWith(t, code, "franceconnect.Decrypt(")+blockWith(t, code, "LoginRefused = "))
	program = place(t, program, "\tlog.Fatal(http.ListenAndServe(", blockWith(t, code, "EIDAS3()")+blockWith(t, code, "/static/\", "))
	build(t, map[string]map[string]string{"all": {"main.go": program}})
}

// inherited is the port of the test instead of 8080.
const inherited = `package main

import (
	"net"
	"net/http"
	"os"
)

func serve(handler http.Handler) error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	return http.Serve(listener, handler)
}
`

// run starts a program until the test ends.
func run(t *testing.T, cmd *exec.Cmd, started func() error) {
	t.Helper()
	cmd.Stderr = t.Output()
	if err := started(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Wait() }) // the context of the test ends it
}

var export = regexp.MustCompile(`(OIDC_[A-Z_]+|FRANCECONNECT_[A-Z_]+)=("[^"]*"|\S+)`)

// exports returns the variables that a text exports.
func exports(text string) (env []string) {
	for _, m := range export.FindAllStringSubmatch(text, -1) {
		env = append(env, m[1]+"="+strings.Trim(m[2], `"`))
	}
	return env
}

// startDocs runs the page's service and its stand-in, and returns where the service is.
func startDocs(t *testing.T) string {
	t.Helper()
	code := blocks(t, "go")
	app := blockWith(t, code, "func dossier(")
	const address = `http.ListenAndServe("127.0.0.1:8080", `
	if !strings.Contains(app, address) {
		t.Fatalf("the program does not listen on port 8080:\n%s", app)
	}
	dir := build(t, map[string]map[string]string{
		"app":     {"main.go": strings.Replace(app, address, "serve(", 1), "serve.go": inherited},
		"standin": {"main.go": blockWith(t, code, "oidctest.Start(")},
	})

	provider := exec.CommandContext(t.Context(), filepath.Join(dir, "fcdocs_standin"))
	out, err := provider.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	run(t, provider, provider.Start)
	lines := bufio.NewScanner(out)
	var printed string
	for len(exports(printed)) < 3 && lines.Scan() {
		printed += lines.Text() + "\n"
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // the program has its own
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	base := "http://" + listener.Addr().String()
	service := exec.CommandContext(t.Context(), filepath.Join(dir, "fcdocs_app"))
	service.Env = append(exports(blockWith(t, blocks(t, "sh"), "OIDC_CLIENT_ID")), exports(printed)...)
	service.Env = append(service.Env, "OIDC_BASE_URL="+base, "OIDC_COOKIE_KEYS="+base64.StdEncoding.EncodeToString(cookieKey()))
	service.ExtraFiles = []*os.File{file}
	run(t, service, service.Start)
	return base
}

var (
	loginForm   = regexp.MustCompile(`<form method="post" action="([^"]*)" data-oidctest="login">`)
	interaction = regexp.MustCompile(`name="interaction" value="([^"]*)"`)
)

func TestDocs_ServiceSignsInAtItsStandIn(t *testing.T) {
	t.Parallel()
	base := startDocs(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	load := func(method, address string, form url.Values) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.Request.URL.Path + "\n" + string(body)
	}
	page := load("GET", base+"/dossier", nil)
	form, id := loginForm.FindStringSubmatch(page), interaction.FindStringSubmatch(page)
	if form == nil || id == nil {
		t.Fatalf("no login page:\n%s", page)
	}
	if page = load("POST", form[1], url.Values{"interaction": {id[1]}, "persona": {"citizen"}}); page != "/dossier\nVotre dossier" {
		t.Fatalf("after the login:\n%s", page)
	}
	if page = load("GET", base+"/", nil); !strings.Contains(page, "Bonjour Jean MARTIN.") || !strings.Contains(page, `href="/dossier"`) {
		t.Errorf("the home page:\n%s", page)
	}
	if page = load("POST", base+"/auth/logout", nil); !strings.HasPrefix(page, "/auth/logout/callback\n") {
		t.Errorf("after the logout:\n%s", page)
	}
	if page = load("GET", base+"/dossier", nil); !loginForm.MatchString(page) {
		t.Errorf("the session of the provider goes on:\n%s", page)
	}
}
