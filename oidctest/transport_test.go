package oidctest_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/oidcrp/oidcrp/oidctest"
)

// misbehaving returns a provider with a transport fault of its discovery document.
func misbehaving(t *testing.T, kind oidctest.TransportKind) (*oidctest.Provider, string) {
	t.Helper()
	p := oidctest.NewServer(t, oidctest.Config{})
	p.Misbehave(oidctest.Transport(oidctest.EndpointDiscovery, kind))
	return p, p.Endpoint(oidctest.EndpointDiscovery)
}

// open returns an answer whose body is still to come.
func open(t *testing.T, ctx context.Context, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestTransportAnswers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		kind   oidctest.TransportKind
		status int
		media  string
		begins string
	}{
		{oidctest.HTML, 200, "text/html", "<!DOCTYPE html>"},
		{oidctest.WrongType, 200, "text/html", `{"acr_values_supported"`},
		{oidctest.ServerError, 500, "text/html", "<!DOCTYPE html>"},
		{oidctest.Unavailable, 503, "text/plain", "try again"},
		{oidctest.NotFound, 404, "text/plain", "not found"},
		{oidctest.Empty, 200, "application/json", ""},
		{oidctest.JSONArray, 200, "application/json", `[{"acr`},
		{oidctest.Trailing, 200, "application/json", `{"acr`},
		{oidctest.Deep, 200, "application/json", `{"x":[[[[[`},
	} {
		t.Run(string(row.kind), func(t *testing.T) {
			t.Parallel()
			_, target := misbehaving(t, row.kind)
			res := open(t, t.Context(), target)
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != row.status || !strings.HasPrefix(res.Header.Get("Content-Type"), row.media) ||
				!strings.HasPrefix(string(body), row.begins) {
				t.Errorf("got %s %s %.80s", res.Status, res.Header.Get("Content-Type"), body)
			}
			if twice := strings.Contains(string(body), "}{"); twice != (row.kind == oidctest.Trailing) {
				t.Errorf("a second object follows: %t", twice)
			}
		})
	}
}

func TestTransportSizes(t *testing.T) {
	t.Parallel()
	const hundred = 100 << 20
	for kind, limit := range map[oidctest.TransportKind]int64{
		oidctest.Huge: hundred * 2, oidctest.Endless: hundred + 1<<20, oidctest.GzipBomb: 1 << 20,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			_, target := misbehaving(t, kind)
			res := open(t, t.Context(), target)
			var body io.Reader = io.LimitReader(res.Body, limit)
			if kind == oidctest.GzipBomb {
				unzipped, err := gzip.NewReader(body)
				if err != nil {
					t.Fatal(err)
				}
				body = unzipped
			}
			if n, err := io.Copy(io.Discard, body); n < hundred || err != nil {
				t.Errorf("got %d bytes, %v", n, err)
			}
		})
	}
}

func TestATruncatedAnswerIsAnError(t *testing.T) {
	t.Parallel()
	_, target := misbehaving(t, oidctest.Truncated)
	if _, err := io.ReadAll(open(t, t.Context(), target).Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func TestARedirectLeadsToTheRightAnswerElsewhere(t *testing.T) {
	t.Parallel()
	p := oidctest.NewServer(t, oidctest.Config{Issuer: "/api", AutoLogin: "alice"})
	p.Misbehave(oidctest.Transport(oidctest.EndpointToken, oidctest.Redirected))
	c := newRaw(t, p)
	form := tokenRequest(c.code())
	c.client = p.HTTPClient()
	if r := c.post(oidctest.EndpointToken, form); r.status != http.StatusOK || r.json["id_token"] == nil {
		t.Errorf("got %d %s", r.status, r.body)
	}
	elsewhere := p.RequestsTo(oidctest.EndpointElsewhere)
	if len(elsewhere) != 1 || !strings.HasPrefix(elsewhere[0].Host, "localhost:") || elsewhere[0].Form.Get("code") == "" {
		t.Errorf("elsewhere received %v", elsewhere)
	}
}

// Neither the client's going away nor Close may leave a handler behind: the test's end
// would wait for it.
func TestSlowAnswersEnd(t *testing.T) {
	t.Parallel()
	for _, kind := range []oidctest.TransportKind{oidctest.Slow, oidctest.Endless} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			p, target := misbehaving(t, kind)
			ctx, cancel := context.WithCancel(t.Context())
			res := open(t, ctx, target)
			if _, err := io.ReadFull(res.Body, make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, err := io.Copy(io.Discard, res.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			res = open(t, t.Context(), target)
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err == nil {
				t.Error("the answer came to an end")
			}
		})
	}
}

func TestAHangingAnswerEndsWithTheProvider(t *testing.T) {
	t.Parallel()
	p, target := misbehaving(t, oidctest.Hanging)
	done := make(chan error)
	go func() {
		_, err := http.Get(target)
		done <- err
	}()
	for p.Count(oidctest.EndpointDiscovery) == 0 {
		select {
		case err := <-done:
			t.Fatalf("it answered: %v", err)
		default:
			runtime.Gosched()
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("it answered")
	}
}
