package oidcrp

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRevoke_EndsTheSessionOnAllReplicas(t *testing.T) {
	t.Parallel()
	ends := map[string]func(c *offlineClient, s *Session, cookies []*http.Cookie) error{
		"EndSession": func(c *offlineClient, _ *Session, cookies []*http.Cookie) error {
			return c.EndSession(httptest.NewRecorder(), requestWith(cookies...))
		},
		"RevokeSession": func(c *offlineClient, s *Session, _ []*http.Cookie) error {
			return c.RevokeSession(t.Context(), s.ID())
		},
		"RevokeSubject": func(c *offlineClient, s *Session, _ []*http.Cookie) error {
			return c.RevokeSubject(t.Context(), s.Issuer(), s.Subject())
		},
	}
	for name, end := range ends {
		for what, inCookies := range map[string]bool{"in cookies": true, "in the store": false} {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				one, two := replicas(t, NewMemoryStore(0), inCookies)
				s := madeSession(one.Client, aliceClaims, "")
				copied := one.startSession(t, s)
				others := one.startSession(t, madeSession(one.Client, `{"iss":"https://op.example","sub":"bruno"}`, ""))
				for _, c := range []*offlineClient{one, two} {
					c.wantSession(t, "before", requestWith(copied...))
				}
				if err := end(two, s, copied); err != nil {
					t.Fatal(err)
				}
				two.wantNoSession(t, "where it was ended", requestWith(copied...))
				one.clock.Advance(one.sessions.settings.RevocationDelay)
				one.wantNoSession(t, "on the other replica", requestWith(copied...))
				for _, c := range []*offlineClient{one, two} {
					c.wantSession(t, "another person's", requestWith(others...))
				}
				one.clock.Advance(time.Millisecond)
				again := one.start(t)
				two.wantSession(t, "a login that came after it", requestWith(again...))
			})
		}
	}
}

// It was made by a replica whose clock is ahead.
func TestRevoke_OneSessionDependsOnNoClock(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *offlineClient, s *Session, cookies []*http.Cookie) error{
		"EndSession": func(c *offlineClient, _ *Session, cookies []*http.Cookie) error {
			return c.EndSession(httptest.NewRecorder(), requestWith(cookies...))
		},
		"RevokeSession": func(c *offlineClient, s *Session, _ []*http.Cookie) error {
			return c.RevokeSession(t.Context(), s.ID())
		},
	} {
		c, _ := replicas(t, NewMemoryStore(0), true)
		s := madeSession(c.Client, aliceClaims, "")
		s.created = s.created.Add(2 * time.Second)
		cookies := c.startSession(t, s)
		if err := end(c, s, cookies); err != nil {
			t.Fatal(err)
		}
		c.wantNoSession(t, name, requestWith(cookies...))
	}
}

// A response that was on its way sets the cookies of a session in use again.
func TestEndSession_OutlastsTheAnswersToEarlierRequests(t *testing.T) {
	t.Parallel()
	for what, keep := range keptIn {
		c := newOfflineClient(t, keep)
		for how, leave := range map[string]func(http.ResponseWriter, *http.Request) error{
			"signed out": c.EndSession,
			"another person signed in": func(w http.ResponseWriter, r *http.Request) error {
				return c.StartSession(w, r, madeSession(c.Client, `{"iss":"https://op.example","sub":"bruno"}`, ""))
			},
		} {
			cookies := c.start(t)
			c.clock.Advance(2 * time.Minute)
			late, _ := serves(c.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				if err := leave(httptest.NewRecorder(), requestWith(cookies...)); err != nil {
					t.Error(err)
				}
			})), cookies)
			written := late.Result().Cookies()
			if len(written) == 0 {
				t.Fatalf("%s: the session was not written down", what)
			}
			c.wantNoSession(t, what+", "+how, requestWith(written...))
		}
	}
}

// logoutFails are what a logout meets while its Store fails, wherever sessions are.
var logoutFails = map[string]bool{"in the store": false, "in cookies": true}

// newFailingLogout returns a client with the bubble's clock, whose Store fails as
// store says, and whose provider has this end_session_endpoint.
func newFailingLogout(t *testing.T, inCookies bool, endpoint string, accepted ...string) (*offlineClient, *HookStore) {
	store := NewHookStore(newMemoryStore(0, time.Now))
	return newOfflineClient(t, func(cfg *Config) {
		cfg.Now, cfg.Store, cfg.Sessions.InCookies = time.Now, store, inCookies
		cfg.Sessions.RevocationDelay, cfg.Provider.AcceptedIssuers = -1, accepted
		cfg.Provider.Metadata = soundMetadata(func(m *Metadata) { m.EndSessionEndpoint = endpoint })
	}), store
}

// comesBack loads the page at which a logout ends, with a state.
func (c *offlineClient) comesBack(t *testing.T, cookies []*http.Cookie, state string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "https://app.example/auth/logout/callback?state="+state, nil)
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	c.Middleware(nil).ServeHTTP(w, r)
	return w
}

// A logout while the Store is down goes on to the provider, says that it is not
// complete, and ends the session when the Store is back.
func TestBeginLogout_WhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	for what, inCookies := range logoutFails {
		for _, endpoint := range []string{"https://op.example/logout", ""} {
			synctest.Test(t, func(t *testing.T) {
				c, store := newFailingLogout(t, inCookies, endpoint)
				cookies := c.start(t)
				store.Fail(errors.New("connection refused"))
				w := httptest.NewRecorder()
				location, err := url.Parse(c.BeginLogout(w, requestWith(cookies...), "/bye?a=b&c"))
				if err != nil {
					t.Fatal(err)
				}
				query := location.Query()
				where := location.Scheme + "://" + location.Host + location.Path
				if want := cmp.Or(endpoint, "https://app.example/auth/logout/callback"); where != want || len(query.Get("state")) != 43 {
					t.Errorf("%s: it leads to %s", what, location)
				}
				if endpoint != "" && (query.Get("client_id") != "app" || query.Has("id_token_hint") ||
					query.Get("post_logout_redirect_uri") != "https://app.example/auth/logout/callback") {
					t.Errorf("%s: the provider gets %v", what, query)
				}
				after := cookiesAfter(cookies, w)
				if left := sessionCookies(c.Client, after); len(left) > 0 {
					t.Errorf("%s: the browser keeps %v", what, left)
				}
				for range 2 { // and again at a reload
					page := c.comesBack(t, after, query.Get("state"))
					body := page.Body.String()
					if page.Code != 200 || !strings.Contains(body, "Signing out is not complete") ||
						!strings.Contains(body, `href="/bye?a=b&amp;c">Continue`) || strings.Contains(body, "You are signed out") {
						t.Errorf("%s: %d\n%s", what, page.Code, body)
					}
					after = cookiesAfter(after, page)
				}
				store.Before(nil)
				c.wantSession(t, "a copy of the cookie, as the page says", requestWith(cookies...))
				time.Sleep(endingPause)
				synctest.Wait()
				c.wantNoSession(t, what+", with the store back", requestWith(cookies...))
				if !strings.Contains(c.log.String(), "ended a session that could not be ended before") || c.sessions.endings.stillTrying() {
					t.Errorf("%s: still trying: %t; the log says\n%s", what, c.sessions.endings.stillTrying(), c.log)
				}
			})
		}
	}
}

// The session can be read, and not be ended: the provider gets its hint.
func TestBeginLogout_WhileTheStoreOnlyReads(t *testing.T) {
	t.Parallel()
	for what, inCookies := range logoutFails {
		synctest.Test(t, func(t *testing.T) {
			var events []SessionEvent
			c, store := newFailingLogout(t, inCookies, "https://op.example/logout")
			c.events.trace.LoggedOut = collect(&events)
			cookies := c.start(t)
			store.Fail(errors.New("read-only replica"), OpSet, OpDelete)
			w := httptest.NewRecorder()
			location := c.BeginLogout(w, requestWith(cookies...), "")
			if !strings.Contains(location, "id_token_hint=") {
				t.Errorf("%s: it leads to %s", what, location)
			}
			if len(events) != 1 || !errors.Is(events[0].Err, CodeStoreUnavailable) || events[0].Subject != "alice" || !events[0].AtProvider {
				t.Errorf("%s: the events are %+v", what, events)
			}
			other := c.comesBack(t, cookiesAfter(cookies, w), "of_another_logout").Body.String()
			if !strings.Contains(other, "You are signed out") {
				t.Errorf("%s: a state that is not of this logout leads to\n%s", what, other)
			}
			store.Before(nil)
			time.Sleep(endingPause)
			synctest.Wait()
			c.wantNoSession(t, what, requestWith(cookies...))
		})
	}
}

// A person who gave up waiting is signed out all the same.
func TestEndSession_OfARequestThatWasGivenUp(t *testing.T) {
	t.Parallel()
	for what, inCookies := range logoutFails {
		synctest.Test(t, func(t *testing.T) {
			c, store := newFailingLogout(t, inCookies, "")
			cookies := c.start(t)
			store.Before(func(ctx context.Context, _, _ string) error { return ctx.Err() })
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			wantCode(t, c.EndSession(httptest.NewRecorder(), requestWith(cookies...).WithContext(gone)), CodeCanceled)
			time.Sleep(endingPause)
			synctest.Wait()
			c.wantNoSession(t, what, requestWith(cookies...))
		})
	}
}

// keysLater is a KeySource that has no keys until there are some.
type keysLater struct{ keys [][]byte }

func (k *keysLater) CookieKeys(context.Context) ([][]byte, error) {
	if k.keys == nil {
		return nil, errors.New("not yet")
	}
	return k.keys, nil
}

func TestBeginLogout_WithoutCookieKeys(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, nil)
	cookies := c.start(t)
	synctest.Test(t, func(t *testing.T) {
		keys := new(keysLater)
		c := newOfflineClient(t, func(cfg *Config) {
			cfg.Now, cfg.CookieKeys = time.Now, keys
			cfg.Provider.Metadata = soundMetadata(func(m *Metadata) { m.EndSessionEndpoint = "https://op.example/logout" })
		})
		w := httptest.NewRecorder()
		location := c.BeginLogout(w, requestWith(cookies...), "/bye")
		if !strings.HasPrefix(location, "https://op.example/logout?client_id=app&") {
			t.Errorf("it leads to %s", location)
		}
		page := c.comesBack(t, cookiesAfter(cookies, w), "x")
		if body := page.Body.String(); page.Code != 200 || !strings.Contains(body, "Signing out is not complete") {
			t.Errorf("%d\n%s", page.Code, body)
		}
		time.Sleep(endingPatience + endingPause)
		synctest.Wait()
		if c.sessions.endings.stillTrying() || !strings.Contains(c.log.String(), "gave up ending a session") {
			t.Errorf("still trying: %t; the log says\n%s", c.sessions.endings.stillTrying(), c.log)
		}
	})
}

func TestLogout_TheQuestionCanBeAnsweredWithoutCookieKeys(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) {
		cfg.CookieKeys = new(keysLater)
		cfg.Provider.Metadata = soundMetadata(func(m *Metadata) { m.EndSessionEndpoint = "https://op.example/logout" })
	})
	post := func(path string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "https://app.example"+path, nil)
		r.Header.Set("Origin", "null")
		r.Header.Set("Accept", "text/html")
		for _, cookie := range cookies {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		c.Middleware(nil).ServeHTTP(w, r)
		return w
	}
	session := &http.Cookie{Name: c.cookies.session, Value: "1x"}
	page := post("/auth/logout", session)
	_, rest, _ := strings.Cut(page.Body.String(), `<form method="post" action="`)
	action, _, _ := strings.Cut(rest, `"`)
	w := post(action, append(page.Result().Cookies(), session)...)
	if location := w.Header().Get("Location"); !strings.HasPrefix(location, "https://op.example/logout?client_id=app&") {
		t.Errorf("the answer at %q is answered by %d to %q\n%s", action, w.Code, location, w.Body)
	}
}

// A logout left its cookie, since there were no cookie keys; later, there is a complete
// one in the same browser.
func TestBeginLogout_ALaterOneIsNotCalledIncomplete(t *testing.T) {
	t.Parallel()
	c := newOfflineClient(t, func(cfg *Config) { cfg.Provider.Metadata = soundMetadata(nil) })
	left := &http.Cookie{Name: c.cookies.logout, Value: incompleteLogout}
	page := c.comesBack(t, []*http.Cookie{left}, "x")
	if !strings.Contains(page.Body.String(), "Signing out is not complete") {
		t.Fatalf("before: %s", page.Body)
	}
	w := httptest.NewRecorder()
	c.BeginLogout(w, requestWith(left), "") // of nobody: what could not be ended is not over yet
	if len(w.Result().Cookies()) > 0 {
		t.Errorf("without a session, it sets %v", w.Result().Cookies())
	}
	cookies := append(c.start(t), left)
	w = httptest.NewRecorder()
	location := c.BeginLogout(w, requestWith(cookies...), "")
	if location != "https://app.example/auth/logout/callback" {
		t.Errorf("it leads to %s", location)
	}
	page = c.comesBack(t, cookiesAfter(cookies, w), "")
	if body := page.Body.String(); !strings.Contains(body, "You are signed out") {
		t.Errorf("%d\n%s", page.Code, body)
	}
}

// The provider does not ask twice.
func TestFrontchannel_WhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	for what, inCookies := range logoutFails {
		for sid, ends := range map[string]bool{"s1": true, "s2": false} {
			synctest.Test(t, func(t *testing.T) {
				c, store := newFailingLogout(t, inCookies, "")
				claims := `{"iss":"https://op.example","sub":"alice","sid":"s1"}`
				framed, twin := madeSession(c.Client, claims, ""), madeSession(c.Client, claims, "")
				cookies, copied := c.startSession(t, framed), c.startSession(t, twin)
				store.Fail(errors.New("connection refused"))
				r := httptest.NewRequest(http.MethodGet, "https://app.example/auth/frontchannel-logout?iss=https://op.example&sid="+sid, nil)
				for _, cookie := range cookies {
					r.AddCookie(cookie)
				}
				w := httptest.NewRecorder()
				c.Middleware(nil).ServeHTTP(w, r)
				if w.Code != 200 || len(w.Result().Cookies()) > 0 {
					t.Errorf("%s: %d, %v", what, w.Code, w.Result().Cookies())
				}
				store.Before(nil)
				time.Sleep(endingPause)
				synctest.Wait()
				for _, cookies := range [][]*http.Cookie{cookies, copied} {
					if _, err := c.Session(requestWith(cookies...)); errors.Is(err, CodeNoSession) != ends {
						t.Errorf("%s, sid %s: %v", what, sid, err)
					}
				}
			})
		}
	}
}

// hangingTransport never answers.
type hangingTransport struct{}

func (hangingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestBeginLogout_DoesNotWaitForAProviderThatNeverAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what     string
		metadata *Metadata
		want     string // how the URL begins that it leads to
	}{
		{"from the start", nil, "https://app.example/auth/logout/callback"},
		{"when tokens are revoked", soundMetadata(func(m *Metadata) {
			m.RevocationEndpoint, m.EndSessionEndpoint = "https://op.example/revoke", "https://op.example/logout"
		}), "https://op.example/logout?"},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newOfflineClient(t, func(cfg *Config) {
					cfg.Provider.Metadata, cfg.Tokens.Keep, cfg.Tokens.RevokeAtLogout = test.metadata, true, true
					cfg.Provider.Transport = hangingTransport{}
				})
				cookies := c.start(t)
				w := httptest.NewRecorder()
				start := time.Now()           // the bubble's own clock
				defer time.Sleep(time.Minute) // for the fetch that others may wait for
				location := c.BeginLogout(w, requestWith(cookies...), "")
				if waited := time.Since(start); waited != logoutPatience {
					t.Errorf("it took %v", waited)
				}
				if left := sessionCookies(c.Client, cookiesAfter(cookies, w)); !strings.HasPrefix(location, test.want) || len(left) > 0 {
					t.Errorf("it leads to %s and leaves %v", location, left)
				}
			})
		})
	}
}
