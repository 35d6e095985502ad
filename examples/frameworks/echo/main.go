// Command echo is the README's app on Echo. Configure it with OIDC_ISSUER,
// OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_BASE_URL, OIDC_COOKIE_KEYS, and with
// OIDC_SCOPES="openid email siret" for the claims that it reads.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"

	"github.com/oidcrp/oidcrp"
)

func main() {
	cfg, err := oidcrp.ConfigFromEnv()
	if err != nil {
		log.Fatal(err)
	}
	client, err := oidcrp.New(cfg) // validates the configuration; makes no network calls
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", newHandler(client)))
}

// An app holds what its handlers share.
type app struct {
	client     *oidcrp.Client
	signatures atomic.Int64
}

func newHandler(client *oidcrp.Client) http.Handler {
	a := &app{client: client}
	e := echo.New()
	// The logger comes second: a login's callback URL contains a code.
	e.Use(echo.WrapMiddleware(client.Middleware), middleware.RequestLogger())

	e.GET("/", home)
	protected := e.Group("/dossiers", echo.WrapMiddleware(client.RequireLogin))
	protected.GET("/", dossiers)
	protected.GET("/:id", a.dossier)
	protected.GET("/events", events)
	twoFactors := echo.WrapMiddleware(client.Require(oidcrp.ACR("eidas2")))
	e.GET("/sign", a.signed, twoFactors)
	e.POST("/sign", a.sign, twoFactors)
	return e
}

func home(c *echo.Context) error {
	_, signedIn := oidcrp.SessionFromContext(c.Request().Context())
	return c.String(http.StatusOK, fmt.Sprintln("A public page. Signed in:", signedIn))
}

func dossiers(c *echo.Context) error {
	return c.String(http.StatusOK, fmt.Sprintln("Dossiers of", emailOf(c.Request().Context())))
}

func (a *app) dossier(c *echo.Context) error {
	id := c.Param("id")
	if !a.mayRead(c.Request(), id) {
		return echo.ErrNotFound
	}
	return c.String(http.StatusOK, fmt.Sprintln("Dossier", id))
}

// events streams server-sent events until the browser closes the page.
func events(c *echo.Context) error {
	stream := http.NewResponseController(c.Response())
	c.Response().Header().Set("Content-Type", "text/event-stream")
	// A stream outlasts the server's WriteTimeout.
	if err := stream.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	ctx := c.Request().Context()
	fmt.Fprintf(c.Response(), "data: for %s\n\n", emailOf(ctx))
	if err := stream.Flush(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (a *app) signed(c *echo.Context) error {
	return c.String(http.StatusOK, fmt.Sprintln("Signatures:", a.signatures.Load()))
}

func (a *app) sign(c *echo.Context) error {
	return c.String(http.StatusOK, fmt.Sprintln("Signatures:", a.signatures.Add(1)))
}

// siretOf is the organisation that each dossier belongs to.
var siretOf = map[string]string{"12": "13002526500013", "13": "21750001600019"}

// mayRead reports whether r comes from the organisation that the dossier belongs
// to: a rule that depends on more than the route.
func (a *app) mayRead(r *http.Request, id string) bool {
	siret, ok := siretOf[id]
	if !ok {
		return false
	}
	_, err := a.client.Check(r, oidcrp.Claim("siret", siret))
	return err == nil
}

// emailOf returns the e-mail address of the person who is signed in, or "".
func emailOf(ctx context.Context) string {
	var claims struct {
		Email string `json:"email"`
	}
	if session, ok := oidcrp.SessionFromContext(ctx); ok {
		_ = session.Claims(&claims) // without a readable address, show none
	}
	return claims.Email
}
