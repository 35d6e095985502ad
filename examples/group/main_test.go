package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestGroup_BothKindsOfPeople runs the program and uses it as a citizen, and then as an
// agent.
func TestGroup_BothKindsOfPeople(t *testing.T) {
	t.Parallel()
	b := &browser{t: t, base: start(t)}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.client = &http.Client{Jar: jar, Timeout: 30 * time.Second}

	b.open("/")
	b.wants("Everybody can read", "Sign in")
	b.open("/dossiers")
	b.wants("Sign in with AgentConnect", "Sign in with CitizenConnect", "For everybody else")
	b.follow("CitizenConnect")
	b.signInAs("bruno")
	b.wants("Agents and citizens", "You are bruno, a citizen.")

	b.open("/decisions") // for agents alone
	b.signInAs("alice")
	b.wants("Only agents", "You are alice, an agent.")
	b.open("/")
	b.wants("You are alice, an agent.")
	b.do("POST", "/logout", nil)
	b.wants("Everybody can read", "Sign in")
	if strings.Contains(b.page, "bruno") {
		t.Error("the logout brought the citizen back")
	}
}

// start runs the program until the test ends.
func start(t *testing.T) (base string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, listener, io.Discard) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

// A browser follows redirects, keeps cookies and submits the login form.
type browser struct {
	t      *testing.T
	client *http.Client
	base   string
	at     *url.URL
	page   string
}

func (b *browser) wants(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if !strings.Contains(b.page, text) {
			b.t.Fatalf("%s has no %q:\n%s", b.at, text, b.page)
		}
	}
}

func (b *browser) open(path string) { b.t.Helper(); b.do("GET", path, nil) }

// follow follows the link with this text.
func (b *browser) follow(text string) {
	b.t.Helper()
	link := regexp.MustCompile(`href="([^"]*)"[^>]*><span>[^<]*` + text).FindStringSubmatch(b.page)
	if link == nil {
		b.t.Fatalf("no link %q:\n%s", text, b.page)
	}
	b.do("GET", strings.ReplaceAll(link[1], "&amp;", "&"), nil)
}

var (
	action = regexp.MustCompile(`<form method="post" action="([^"]*)" data-oidctest="login">`)
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// signInAs submits the login form of a provider.
func (b *browser) signInAs(persona string) {
	b.t.Helper()
	to := action.FindStringSubmatch(b.page)
	if to == nil {
		b.t.Fatalf("no login form at %s:\n%s", b.at, b.page)
	}
	form := url.Values{"persona": {persona}}
	for _, field := range hidden.FindAllStringSubmatch(b.page, -1) {
		form.Set(field[1], field[2])
	}
	b.do("POST", to[1], form)
}

func (b *browser) do(method, target string, form url.Values) {
	b.t.Helper()
	from := b.at
	if from == nil || strings.HasPrefix(target, "/") && form == nil {
		from, _ = url.Parse(b.base)
	}
	to, err := from.Parse(target)
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.at, b.page = res.Request.URL, string(body)
}
