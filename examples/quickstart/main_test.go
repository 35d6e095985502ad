package main

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestQuickstart_WholeSignIn runs the program and uses it as a person would.
func TestQuickstart_WholeSignIn(t *testing.T) {
	t.Parallel()
	listener, err := listenOnLoopback("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	browser := newBrowser(t)
	base := "http://" + listener.Addr().String()

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
