// Command gin is the README's app on gin. Configure it with OIDC_ISSUER,
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

	"github.com/gin-gonic/gin"

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
	engine := gin.Default()

	engine.GET("/", home)
	protected := engine.Group("/dossiers", wrap(client.RequireLogin))
	protected.GET("/", dossiers)
	protected.GET("/:id", a.dossier)
	protected.GET("/events", events)
	twoFactors := engine.Group("/sign", wrap(client.Require(oidcrp.ACR("eidas2"))))
	twoFactors.GET("", a.signed)
	twoFactors.POST("", a.sign)

	// gin's logger is inside: a login's callback URL contains a code.
	return client.Middleware(engine)
}

// wrap makes a gin handler of middleware for net/http. The middleware must pass
// its ResponseWriter on as it is: oidcrp's does so inside client.Middleware, which
// has replaced it already.
func wrap(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r // its context has the session
			c.Next()
		})
		middleware(next).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort() // gin calls the next handler otherwise
		}
	}
}

func home(c *gin.Context) {
	// The session is in the request's context, not in gin's.
	_, signedIn := oidcrp.SessionFromContext(c.Request.Context())
	c.String(http.StatusOK, "A public page. Signed in: %t\n", signedIn)
}

func dossiers(c *gin.Context) {
	c.String(http.StatusOK, "Dossiers of %s\n", emailOf(c.Request.Context()))
}

func (a *app) dossier(c *gin.Context) {
	id := c.Param("id")
	if !a.mayRead(c.Request, id) {
		c.String(http.StatusNotFound, "no such dossier\n")
		return
	}
	c.String(http.StatusOK, "Dossier %s\n", id)
}

// events streams server-sent events until the browser closes the page.
func events(c *gin.Context) {
	stream := http.NewResponseController(c.Writer)
	c.Header("Content-Type", "text/event-stream")
	// A stream outlasts the server's WriteTimeout.
	if err := stream.SetWriteDeadline(time.Time{}); err != nil {
		c.String(http.StatusInternalServerError, "streaming is not supported\n")
		return
	}
	fmt.Fprintf(c.Writer, "data: for %s\n\n", emailOf(c.Request.Context()))
	if err := stream.Flush(); err != nil {
		log.Print(err)
	}
	<-c.Request.Context().Done()
}

func (a *app) signed(c *gin.Context) {
	c.String(http.StatusOK, "Signatures: %d\n", a.signatures.Load())
}

func (a *app) sign(c *gin.Context) {
	c.String(http.StatusOK, "Signatures: %d\n", a.signatures.Add(1))
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
