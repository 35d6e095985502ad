package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oidcrp/oidcrp"
)

// TestQuickstart_WholeSignIn runs the program and uses it as a person would.
func TestQuickstart_WholeSignIn(t *testing.T) {
	t.Parallel()
	base, _ := start(t)
	browser := newBrowser(t)

	if page := browser.open(base + "/"); !strings.Contains(page, "A public page") || strings.Contains(page, "Sign out") {
		t.Fatalf("the public page shows:\n%s", page)
	}
	login := browser.open(base + "/profile")
	if page := browser.submit(login, url.Values{"persona": {"alice"}}); !strings.Contains(page, "alice@example.org") {
		t.Fatalf("after signing in:\n%s", page)
	}
	if page := browser.open(base + "/payments"); !strings.Contains(page, "eidas2") {
		login = page // the provider asks again for the higher level
		if page := browser.submit(login, url.Values{"persona": {"alice"}}); !strings.Contains(page, "attests the assurance level eidas2") {
			t.Fatalf("after the step up:\n%s", page)
		}
	}
	if page := browser.post(base+"/auth/logout", nil); !strings.Contains(page, "You are signed out") {
		t.Fatalf("after signing out:\n%s", page)
	}
	if page := browser.open(base + "/"); strings.Contains(page, "Sign out") {
		t.Fatal("still signed in after signing out")
	}
}

// TestQuickstart_SettingsWorkForAnotherApp configures a second app with what the
// program prints.
func TestQuickstart_SettingsWorkForAnotherApp(t *testing.T) {
	_, settings := start(t)
	app := httptest.NewUnstartedServer(nil) // already has an address
	base := "http://" + app.Listener.Addr().String()
	settings["OIDC_BASE_URL"] = base
	settings["OIDC_COOKIE_KEYS"] = base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, variable := range os.Environ() { // one that is set here must not count
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "OIDC_") {
			t.Setenv(name, "")
		}
	}
	for name, value := range settings {
		t.Setenv(name, value)
	}
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	client, err := oidcrp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	app.Config.Handler = client.Middleware(client.RequireLogin(http.HandlerFunc(profile)))
	app.Start()
	defer app.Close()

	browser := newBrowser(t)
	login := browser.open(base + "/")
	if page := browser.submit(login, url.Values{"persona": {"alice"}}); !strings.Contains(page, "alice@example.org") {
		t.Errorf("after signing in:\n%s", page)
	}
	if page := browser.post(base+client.LogoutURL(""), nil); !strings.Contains(page, "You are signed out") {
		t.Errorf("after signing out:\n%s", page)
	}
}

// start runs the program until the test ends. It returns the app's address and the
// variables that the program prints for other apps.
func start(t *testing.T) (base string, settings map[string]string) {
	t.Helper()
	listener, err := listenOnLoopback("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	printed, out := io.Pipe()
	go func() {
		err := run(ctx, listener, out)
		out.Close()
		done <- err
	}()
	t.Cleanup(func() {
		stop()
		printed.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	base, settings = "http://"+listener.Addr().String(), map[string]string{}
	lines := bufio.NewScanner(printed)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		variables, ok := strings.CutPrefix(lines.Text(), "export ")
		for _, variable := range strings.Fields(variables) {
			if name, value, found := strings.Cut(variable, "="); ok && found {
				settings[name] = value
			}
		}
	}
	for _, name := range []string{"OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"} {
		if settings[name] == "" {
			t.Fatalf("the program printed no %s", name)
		}
	}
	return base, settings
}

func TestQuickstart_ListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "example.org:0"} {
		if l, err := listenOnLoopback(address); err == nil {
			l.Close()
			t.Errorf("%s was accepted", address)
		}
	}
	l, err := listenOnLoopback("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// A browser follows redirects, keeps cookies and submits the forms it is shown.
type browser struct {
	t      *testing.T
	client *http.Client
	at     *url.URL
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, client: &http.Client{Jar: jar, Timeout: 30 * time.Second}}
}

func (b *browser) open(address string) string {
	b.t.Helper()
	return b.do(http.MethodGet, address, nil)
}

func (b *browser) post(address string, form url.Values) string {
	b.t.Helper()
	return b.do(http.MethodPost, address, form)
}

var (
	actions = regexp.MustCompile(`<form method="post" action="([^"]*)" data-oidctest="login">`)
	hidden  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// submit posts the login form of page.
func (b *browser) submit(page string, form url.Values) string {
	b.t.Helper()
	action := actions.FindStringSubmatch(page)
	if action == nil {
		b.t.Fatalf("no login form on this page:\n%s", page)
	}
	for _, field := range hidden.FindAllStringSubmatch(page, -1) {
		if !form.Has(field[1]) {
			form.Set(field[1], field[2])
		}
	}
	target, err := b.at.Parse(action[1])
	if err != nil {
		b.t.Fatal(err)
	}
	return b.post(target.String(), form)
}

func (b *browser) do(method, address string, form url.Values) string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	b.at = res.Request.URL
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(body)
}
