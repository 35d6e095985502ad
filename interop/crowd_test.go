package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// person is a person with a browser. Several requests may be in progress at once.
type person struct {
	sub    string
	client *http.Client
	crowd  *crowd
	login  *url.URL // what the provider's login page posts to, while a login is under way
	fields url.Values
}

// crowd is many people who use one cluster. Every answer that any of them gets is judged by the
// phase in which it came, and counted.
type crowd struct {
	t         *testing.T
	base      string
	transport *http.Transport

	mu     sync.Mutex // guards everything below
	phase  phase
	order  []string
	counts map[string]map[string]int // by phase and what came
	slow   map[string]time.Duration  // the longest answer of a phase
	wrong  int
}

// phase says what may come for a protected page: only 200 with the right person unless it says more.
type phase struct {
	name  string
	down  bool          // 503 with Retry-After, within limit
	only  bool          // nothing but that
	limit time.Duration // of any answer; 0: none
}

func newCrowd(t *testing.T, base string) *crowd {
	c := &crowd{t: t, base: base, counts: map[string]map[string]int{}, slow: map[string]time.Duration{}}
	c.transport = &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

func (c *crowd) newPerson(sub string) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return &person{sub: sub, crowd: c, client: &http.Client{Jar: jar, Transport: c.transport, Timeout: patience}}
}

// enter begins a phase. Requests that are under way are judged by both.
func (c *crowd) enter(p phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = p
	if !slices.Contains(c.order, p.name) {
		c.order = append(c.order, p.name)
	}
}

func (c *crowd) now() phase {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.phase
}

// note counts one answer in the phase in which it was asked for, or else in the one in which it
// came, and fails the test when neither phase allows it.
func (c *crowd) note(began phase, kind string, took time.Duration, judge func(phase) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err, name := judge(began), began.name
	if err != nil && judge(c.phase) == nil {
		err, name = nil, c.phase.name
	}
	if c.counts[name] == nil {
		c.counts[name] = map[string]int{}
	}
	c.slow[name] = max(c.slow[name], took)
	c.counts[name][kind]++
	if err == nil {
		return
	}
	c.counts[name]["WRONG"]++
	if c.wrong++; c.wrong <= 20 {
		c.t.Errorf("%s: %v", name, err)
	}
}

// report logs the counts.
func (c *crowd) report() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.order {
		total := 0
		var parts []string
		for _, kind := range slices.Sorted(maps.Keys(c.counts[name])) {
			total += c.counts[name][kind]
			parts = append(parts, fmt.Sprintf("%s: %d", kind, c.counts[name][kind]))
		}
		c.t.Logf("%-28s %6d answers, longest %v: %s", name, total, c.slow[name].Round(time.Millisecond), strings.Join(parts, ", "))
	}
}

// get requests a page: as a script does, or as a person does who opens it.
func (p *person) get(address string, navigate bool) (*http.Response, string, error) {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", "application/json")
	if navigate {
		req.Header.Set("Accept", "text/html,*/*;q=0.8")
	}
	return p.do(p.client, req)
}

func (p *person) do(client *http.Client, req *http.Request) (*http.Response, string, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, string(body), err
}

// me asks /api/me at one copy or the balancer as scripts do, or opens /me, and reports whether this
// person is signed in.
func (p *person) me(address string) bool {
	began, start := p.crowd.now(), time.Now()
	res, body, err := p.get(address, !strings.HasSuffix(address, "/api/me"))
	took := time.Since(start)
	kind := "no answer"
	if err == nil {
		kind = fmt.Sprint(res.Request.URL.Path, " ", res.StatusCode) // a login page, if it comes to that
	}
	p.crowd.note(began, kind, took, func(ph phase) error {
		if err != nil {
			return err
		}
		return p.judge(ph, res, body, took)
	})
	return err == nil && res.StatusCode == http.StatusOK
}

// judge says what is wrong with an answer of /api/me or /me in a phase.
func (p *person) judge(ph phase, res *http.Response, body string, took time.Duration) error {
	if ph.limit > 0 && took > ph.limit {
		return fmt.Errorf("%s got %d only after %v", p.sub, res.StatusCode, took)
	}
	switch {
	case res.StatusCode == http.StatusOK:
		var me who
		if err := json.Unmarshal([]byte(body), &me); err != nil || me.Sub != p.sub {
			return fmt.Errorf("%s is taken for %q (%v)", p.sub, me.Sub, err)
		}
		if !ph.only {
			return nil
		}
	case res.StatusCode == http.StatusServiceUnavailable && ph.down:
		if res.Header.Get("Retry-After") == "" {
			return fmt.Errorf("%s got 503 without Retry-After", p.sub)
		}
		return nil
	}
	return fmt.Errorf("%s got %d\n%s", p.sub, res.StatusCode, body)
}

// whoami is the response of /api/me.
func (p *person) whoami(address string) (me who, err error) {
	res, body, err := p.get(address, false)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %d", address, res.StatusCode)
	}
	if err == nil {
		err = json.Unmarshal([]byte(body), &me)
	}
	return me, err
}

// status is the status of /api/me for a person who may be signed out. It is not judged.
func (p *person) status(address string) (int, error) {
	res, _, err := p.get(address, false)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}

// home requests the public page, which must always be served.
func (p *person) home() {
	began, start := p.crowd.now(), time.Now()
	res, body, err := p.get(p.crowd.base+"/", true)
	kind := "no answer"
	if err == nil {
		kind = fmt.Sprint("/ ", res.StatusCode)
	}
	took := time.Since(start)
	p.crowd.note(began, kind, took, func(ph phase) error {
		switch {
		case err != nil:
			return err
		case ph.limit > 0 && took > 2*ph.limit: // it looks twice
			return fmt.Errorf("the public page came only after %v", took)
		case res.StatusCode != http.StatusOK:
			return fmt.Errorf("the public page answered %d", res.StatusCode)
		case strings.Contains(body, "You are signed in"), ph.down && strings.Contains(body, "cannot be looked up"):
			return nil
		}
		return fmt.Errorf("the public page tells %s: %s", p.sub, body)
	})
}

var (
	loginForm        = regexp.MustCompile(`<form method="post" action="([^"]*)" data-oidctest="login">`)
	loginInteraction = regexp.MustCompile(`<input type="hidden" name="interaction" value="([^"]*)">`)
)

// begin opens /me, which leads to the provider's login page, or straight back to /me when the
// person still has a session at the provider.
func (p *person) begin() error {
	began, start := p.crowd.now(), time.Now()
	res, body, err := p.get(p.crowd.base+"/me", true)
	if err != nil {
		return err
	}
	if p.login = nil; p.judge(phase{}, res, body, 0) == nil {
		p.crowd.note(began, "sign-in", time.Since(start), func(phase) error { return nil })
		return nil
	}
	action, interaction := loginForm.FindStringSubmatch(body), loginInteraction.FindStringSubmatch(body)
	if action == nil || interaction == nil {
		return fmt.Errorf("%s: no login page at %s (%d)\n%s", p.sub, res.Request.URL, res.StatusCode, body)
	}
	p.fields = url.Values{"interaction": {html.UnescapeString(interaction[1])}, "persona": {p.sub}}
	p.login, err = url.Parse(html.UnescapeString(action[1]))
	return err
}

// finish signs in at the provider and comes back to /me.
func (p *person) finish() error {
	if p.login == nil {
		return nil
	}
	req, err := http.NewRequest(http.MethodPost, p.login.String(), strings.NewReader(p.fields.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html,*/*;q=0.8")
	began, start := p.crowd.now(), time.Now()
	res, body, err := p.do(p.client, req)
	took := time.Since(start)
	if err == nil {
		err = p.judge(phase{}, res, body, took)
	}
	kind := "sign-in"
	if err != nil {
		kind = "sign-in failed"
	}
	p.crowd.note(began, kind, took, func(phase) error { return err })
	return err
}

func (p *person) signIn() error {
	if err := p.begin(); err != nil {
		return err
	}
	return p.finish()
}

// together calls f for everybody, up to 16 at once.
func together(people []*person, f func(*person) error) error {
	var group sync.WaitGroup
	errs := make([]error, len(people))
	slots := make(chan struct{}, 16)
	for i, p := range people {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(p)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// use has people use the app until stop, which waits for the last answers.
func (c *crowd) use(people []*person) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for ctx.Err() == nil {
				p := people[rand.IntN(len(people))]
				switch rand.IntN(5) {
				case 0:
					p.home()
				case 1:
					p.me(c.base + "/me")
				default:
					p.me(c.base + "/api/me")
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// cookies are what the browser sends to the app now.
func (p *person) cookies() []*http.Cookie {
	u, err := url.Parse(p.crowd.base)
	if err != nil {
		p.crowd.t.Error(err)
		return nil
	}
	return p.client.Jar.Cookies(u)
}

// replay is the same person with cookies from earlier, which nothing changes any more.
func (p *person) replay() *person {
	then := p.crowd.newPerson(p.sub)
	u, err := url.Parse(p.crowd.base)
	if err != nil {
		p.crowd.t.Error(err)
		return then
	}
	then.client.Jar.SetCookies(u, p.cookies())
	then.client.Jar = frozen{then.client.Jar}
	return then
}

// frozen is a jar that takes no more cookies.
type frozen struct{ http.CookieJar }

func (frozen) SetCookies(*url.URL, []*http.Cookie) {}
