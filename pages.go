package oidcrp

// This file answers a browser about what failed, and holds the pages that a
// person may meet when nobody replaced them: small, accessible, in French or
// English, without anything from inside.

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oidcrp/oidcrp/internal/fetch"
)

// A Problem is what went wrong with a request, for [Config.ErrorHandler].
type Problem struct {
	// Status is the HTTP status to answer with.
	Status int
	// Code says what happened; it may be shown.
	Code Code
	// Incident is a random id that is also in the log, for a person to quote.
	Incident string
	// Err is the whole story, for the log only. It may be nil.
	Err error
	// LoginURL is a path of this app that starts a new login and comes back.
	LoginURL string
	// HomeURL is the path of the app's start page.
	HomeURL string
	// RetryAfter is how long to wait before trying again; zero: not said.
	RetryAfter time.Duration
	// Explanation is what a [Requirement] has to say to the person, in their
	// language; may be empty.
	Explanation string
}

// problem answers the browser about err.
func (c *Client) problem(w http.ResponseWriter, r *http.Request, err error) {
	c.answer(w, r, c.newProblem(r, err))
}

func (c *Client) newProblem(r *http.Request, err error) *Problem {
	p := &Problem{
		Status:   statusOf(codeOf(err)),
		Code:     codeOf(err),
		Incident: randomText()[:12],
		Err:      err,
		LoginURL: c.LoginURL(c.tryAgainPath(r)),
		HomeURL:  c.home(),
	}
	if p.Status == http.StatusServiceUnavailable {
		p.RetryAfter = retryAfter(err)
	}
	var unmet *unmetError
	if errors.As(err, &unmet) && unmet.requirement.Explain != nil {
		p.Explanation = unmet.requirement.Explain(language(r))
	}
	return p
}

// answer logs p and has the ErrorHandler answer the browser.
func (c *Client) answer(w http.ResponseWriter, r *http.Request, p *Problem) {
	level := slog.LevelWarn
	if p.Code == CodeNoSession {
		level = slog.LevelDebug // nobody signed in yet: the ordinary case
	}
	c.cfg.Logger.LogAttrs(r.Context(), level, "request refused",
		slog.String("code", string(p.Code)), slog.String("incident", p.Incident),
		slog.Int("status", p.Status), slog.String("path", clean(r.URL.Path, 300)), slog.Any("error", p.Err))
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		// RFC 9110 section 15.5.2 asks for a challenge. There is no registered
		// scheme for signing in by redirect.
		w.Header().Set("WWW-Authenticate", "Cookie realm="+strconv.Quote(c.base.Host))
	}
	c.cfg.ErrorHandler(w, r, p)
}

// retryAfter returns what the provider asked for, or a pause that a person
// would make.
func retryAfter(err error) time.Duration {
	var f *fetch.Error
	if errors.As(err, &f) && f.RetryAfter > 0 {
		return f.RetryAfter
	}
	return 30 * time.Second
}

// tryAgainPath is where a new login after a problem with r leads.
func (c *Client) tryAgainPath(r *http.Request) string {
	switch {
	case r.URL.Path == c.paths.login:
		return c.returnTo(formValue(r, "return_to"))
	case r.URL.Path == c.paths.callback:
		params, _ := callbackParameters(r)
		ticket, _ := c.openState(params.Get("state"))
		return c.returnTo(ticket.ReturnTo)
	case kindOf(r) == navigation:
		return c.returnTo(requestPath(r))
	}
	return c.callerPage(r, "HX-Current-URL")
}

// statusOf returns the HTTP status that tells a browser about a code.
func statusOf(code Code) int {
	switch code {
	case CodeNoSession, CodeLoginRequired:
		return http.StatusUnauthorized
	case CodeRequirementUnmet, CodeProviderError:
		return http.StatusForbidden
	case CodeInvalidRequest, CodeTransactionLost, CodeIssuerMismatch:
		return http.StatusBadRequest
	case CodeProviderUnavailable, CodeStoreUnavailable:
		return http.StatusServiceUnavailable
	case CodeProviderInvalid, CodeClientRefused, CodeTokenRefused, CodeUserInfoRefused:
		return http.StatusBadGateway
	}
	return http.StatusInternalServerError
}

//go:embed pages.html
var pagesHTML string

//go:embed pages.css
var pagesCSS string

// pages returns the parsed template and the Content-Security-Policy that lets
// the page's own style through, and nothing else.
var pages = sync.OnceValues(func() (*template.Template, string) {
	sum := sha256.Sum256([]byte(pagesCSS))
	csp := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"
	return template.Must(template.New("page").Parse(pagesHTML)), csp
})

// page is what the template shows.
type page struct {
	Language, Title string
	CSS             template.CSS
	Paragraphs      []string
	// Action and Label make a button: a link, or a form when Post is set.
	Action, Label, Back, BackLabel string
	Post                           bool
	Incident, IncidentLabel        string
}

func writePage(w http.ResponseWriter, r *http.Request, status int, p page) {
	t, csp := pages()
	p.CSS = template.CSS(pagesCSS)
	p.Language = language(r)
	var body bytes.Buffer
	if err := t.Execute(&body, p); err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Language)
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body.Bytes())
	}
}

// language returns "fr" or "en", whichever r's Accept-Language prefers.
func language(r *http.Request) string {
	best, bestQ := "en", 0.0
	for item := range strings.SplitSeq(strings.ToLower(r.Header.Get("Accept-Language")), ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			q, _ = strconv.ParseFloat(value, 64)
		}
		tag, _, _ = strings.Cut(strings.TrimSpace(tag), "-")
		if (tag == "fr" || tag == "en") && q > bestQ {
			best, bestQ = tag, q
		}
	}
	return best
}

// A text says one thing in both languages.
type text struct{ en, fr string }

func (t text) in(language string) string {
	if language == "fr" {
		return t.fr
	}
	return t.en
}

var (
	signInLabel   = text{"Sign in", "Se connecter"}
	tryAgainLabel = text{"Try again", "Réessayer"}
	homeLabel     = text{"Home page", "Page d’accueil"}
	incidentLabel = text{"Reference to give to support:", "Référence à indiquer au support\u00a0:"}
)

// An explanation is what the error page says about a code.
type explanation struct {
	title, what, next text
	again             text // the button's label
}

var generalExplanation = explanation{
	title: text{"Something went wrong", "Une erreur est survenue"},
	what:  text{"Your sign-in could not be completed.", "Votre connexion n’a pas pu aboutir."},
	next: text{"Please try again. If it keeps happening, contact the support of this service.",
		"Veuillez réessayer. Si le problème persiste, contactez le support de ce service."},
	again: tryAgainLabel,
}

var explanations = map[Code]explanation{
	CodeNoSession: {
		title: text{"You need to sign in", "Vous devez vous connecter"},
		what: text{"This page is for people who are signed in. What you sent was not saved.",
			"Cette page est réservée aux personnes connectées. Votre envoi n’a pas été enregistré."},
		next:  text{"Sign in, then send it again.", "Connectez-vous, puis recommencez l’envoi."},
		again: signInLabel,
	},
	CodeLoginRequired: {
		title: text{"Please sign in again", "Veuillez vous reconnecter"},
		what:  text{"Your sign-in has ended.", "Votre connexion est terminée."},
		next:  text{"Sign in again to continue.", "Reconnectez-vous pour continuer."},
		again: signInLabel,
	},
	CodeTransactionLost: {
		title: text{"This sign-in can no longer be completed", "Cette connexion ne peut plus aboutir"},
		what: text{"It was already used, it is too old, or this browser does not keep cookies for this site.",
			"Elle a déjà servi, elle est trop ancienne, ou ce navigateur ne conserve pas les cookies de ce site."},
		next: text{"Allow cookies for this site, then start again. Open the sign-in in one browser only.",
			"Autorisez les cookies de ce site, puis recommencez, dans un seul navigateur."},
		again: tryAgainLabel,
	},
	CodeProviderUnavailable: {
		title: text{"Signing in is not possible at the moment", "La connexion est momentanément indisponible"},
		what:  text{"The sign-in service does not answer.", "Le service de connexion ne répond pas."},
		next:  text{"Please try again in a moment.", "Veuillez réessayer dans quelques instants."},
		again: tryAgainLabel,
	},
	CodeStoreUnavailable: {
		title: text{"This page is not available at the moment", "Cette page est momentanément indisponible"},
		what: text{"Your session cannot be read right now. You have not been signed out.",
			"Votre session est momentanément inaccessible. Vous n’avez pas été déconnecté."},
		next:  text{"Please try again in a moment.", "Veuillez réessayer dans quelques instants."},
		again: tryAgainLabel,
	},
	CodeProviderError: {
		title: text{"The sign-in was not completed", "La connexion n’a pas abouti"},
		what: text{"It was cancelled, or the sign-in service refused it.",
			"Elle a été annulée, ou le service de connexion l’a refusée."},
		next:  generalExplanation.next,
		again: tryAgainLabel,
	},
	CodeRequirementUnmet: {
		title: text{"You may not open this page", "Vous ne pouvez pas accéder à cette page"},
		what: text{"Your account, or the way you signed in, does not meet what this page requires.",
			"Votre compte, ou la façon dont vous vous êtes connecté, ne répond pas aux exigences de cette page."},
		next: text{"Sign in with another account or a stronger method, or contact the support of this service.",
			"Connectez-vous avec un autre compte ou une méthode plus sûre, ou contactez le support de ce service."},
		again: text{"Sign in differently", "Se connecter autrement"},
	},
}

// explain returns what to say about code.
func explain(code Code) explanation {
	if e, ok := explanations[code]; ok {
		return e
	}
	return generalExplanation
}

// DefaultErrorHandler answers with a page in French or English, by
// Accept-Language, or with an application/problem+json body (RFC 9457) for
// whoever does not ask for HTML. Neither says anything about the inside of the
// app; both carry the incident id.
func DefaultErrorHandler(w http.ResponseWriter, r *http.Request, p *Problem) {
	if kind := kindOf(r); kind == script || kind == htmx {
		writeProblemJSON(w, r, p)
		return
	}
	lang := language(r)
	e := explain(p.Code)
	paragraphs := []string{e.what.in(lang), e.next.in(lang)}
	if p.Explanation != "" {
		paragraphs = []string{p.Explanation}
	}
	writePage(w, r, p.Status, page{
		Title: e.title.in(lang), Paragraphs: paragraphs,
		Action: p.LoginURL, Label: e.again.in(lang),
		Back: p.HomeURL, BackLabel: homeLabel.in(lang),
		Incident: p.Incident, IncidentLabel: incidentLabel.in(lang),
	})
}

func writeProblemJSON(w http.ResponseWriter, r *http.Request, p *Problem) {
	lang := language(r)
	e := explain(p.Code)
	body, _ := json.Marshal(struct { // strings and a number
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail,omitempty"`
		Code     Code   `json:"code"`
		LoginURL string `json:"login_url,omitempty"`
		Incident string `json:"incident"`
	}{"about:blank", e.title.in(lang), p.Status, p.Explanation, p.Code, p.LoginURL, p.Incident})
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept-Language")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// confirmLogoutPage asks before logging out on somebody else's word.
func (c *Client) confirmLogoutPage(w http.ResponseWriter, r *http.Request, returnTo string) {
	lang := language(r)
	writePage(w, r, http.StatusOK, page{
		Title:      text{"Sign out?", "Se déconnecter\u00a0?"}.in(lang),
		Paragraphs: []string{text{"Do you want to sign out of this service?", "Voulez-vous vous déconnecter de ce service\u00a0?"}.in(lang)},
		Action:     c.LogoutURL(returnTo), Post: true,
		Label: text{"Sign out", "Se déconnecter"}.in(lang),
		Back:  c.home(), BackLabel: text{"Stay signed in", "Rester connecté"}.in(lang),
	})
}

// signedOutPage is the end of a logout that leads nowhere else.
func (c *Client) signedOutPage(w http.ResponseWriter, r *http.Request) {
	lang := language(r)
	writePage(w, r, http.StatusOK, page{
		Title:      text{"You are signed out", "Vous êtes déconnecté"}.in(lang),
		Paragraphs: []string{text{"You may close this window.", "Vous pouvez fermer cette fenêtre."}.in(lang)},
		Action:     c.LoginURL(""), Label: signInLabel.in(lang),
		Back: c.home(), BackLabel: homeLabel.in(lang),
	})
}
