package fault_test

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
	"github.com/oidcrp/oidcrp/oidctest/fault"
)

// misbehaving starts a provider with a transport fault of its discovery document.
func misbehaving(t *testing.T, kind fault.TransportKind) (*oidctest.Provider, string) {
	t.Helper()
	p := oidctest.NewServer(t, oidctest.Config{})
	p.Misbehave(fault.Transport(oidctest.EndpointDiscovery, kind))
	return p, p.Endpoint(oidctest.EndpointDiscovery)
}

// open returns a response whose body is not read yet.
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

func TestTransport_Responses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		kind   fault.TransportKind
		status int
		media  string
		begins string
	}{
		{fault.HTML, 200, "text/html", "<!DOCTYPE html>"},
		{fault.WrongType, 200, "text/html", `{"acr_values_supported"`},
		{fault.ServerError, 500, "text/html", "<!DOCTYPE html>"},
		{fault.Unavailable, 503, "text/plain", "try again"},
		{fault.NotFound, 404, "text/plain", "not found"},
		{fault.Empty, 200, "application/json", ""},
		{fault.JSONArray, 200, "application/json", `[{"acr`},
		{fault.Trailing, 200, "application/json", `{"acr`},
		{fault.Deep, 200, "application/json", `{"x":[[[[[`},
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
			if twice := strings.Contains(string(body), "}{"); twice != (row.kind == fault.Trailing) {
				t.Errorf("a second object follows: %t", twice)
			}
		})
	}
}

func TestTransport_Sizes(t *testing.T) {
	t.Parallel()
	const hundred = 100 << 20
	for kind, limit := range map[fault.TransportKind]int64{
		fault.Huge: hundred * 2, fault.Endless: hundred + 1<<20, fault.GzipBomb: 1 << 20,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			_, target := misbehaving(t, kind)
			res := open(t, t.Context(), target)
			var body io.Reader = io.LimitReader(res.Body, limit)
			if kind == fault.GzipBomb {
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

func TestTransport_TruncatedBodyIsAnError(t *testing.T) {
	t.Parallel()
	_, target := misbehaving(t, fault.Truncated)
	if _, err := io.ReadAll(open(t, t.Context(), target).Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// A handler must return when the client disconnects or the provider is closed;
// otherwise the end of the test would wait for it.
func TestTransport_SlowResponsesEnd(t *testing.T) {
	t.Parallel()
	for _, kind := range []fault.TransportKind{fault.Slow, fault.Endless} {
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
				t.Error("the response ended normally")
			}
		})
	}
}

func TestTransport_HangingResponseEndsWithTheProvider(t *testing.T) {
	t.Parallel()
	p, target := misbehaving(t, fault.Hanging)
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

func TestTransport_UnknownKindPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if got, _ := recover().(string); !strings.Contains(got, "unknown transport kind carrier-pigeon") {
			t.Errorf("the panic is %q", got)
		}
	}()
	fault.Transport(oidctest.EndpointToken, "carrier-pigeon")
}
