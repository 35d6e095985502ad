package oidcrp

import (
	"net/http"
	"net/http/httptest"
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
					cfg.Provider.Metadata, cfg.Tokens.Keep = test.metadata, true
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
