package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/oidcrp/oidcrp/examples/frameworks/internal/apptest"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	apptest.Run(t, newHandler)
}

// client.Middleware has put the session into the context before wrap runs, so
// this needs middleware of its own.
func TestWrap_HandlersSeeTheContextOfTheMiddleware(t *testing.T) {
	t.Parallel()
	type key struct{}
	engine := gin.New()
	engine.Use(wrap(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "alice")))
		})
	}))
	engine.GET("/", func(c *gin.Context) {
		c.String(http.StatusOK, "%v", c.Request.Context().Value(key{}))
	})
	answer := httptest.NewRecorder()
	engine.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if answer.Code != http.StatusOK || answer.Body.String() != "alice" {
		t.Errorf("answered %d %q, want 200 alice", answer.Code, answer.Body)
	}
}
