package oidcrp

// This file holds the pending logins: their cookies and their states, and the
// results of the codes that were exchanged.

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp/internal/once"
)

const (
	transactionLifetime = time.Hour
	maxTransactions     = 5
	// maxTransactionsSize bounds all their cookies together. Links on another site
	// could otherwise make this app's cookies larger than servers and proxies accept,
	// which is often 8 KiB for these and the session's.
	maxTransactionsSize = 4 << 10
	// maxTransactionsSeen is how many of them one request is searched for, which
	// bounds what its response deletes.
	maxTransactionsSeen = 30
	// ticketLifetime is how old a state may be and still restart a lost login:
	// the provider's page may have stayed open over a weekend.
	ticketLifetime = 7 * 24 * time.Hour
	// maxTicketReturnTo bounds the return path in a state, which is part of URLs.
	maxTicketReturnTo = 300
)

// logins owns the pending logins.
type logins struct {
	cookies  *cookies
	flow     *flow
	sessions *sessions
	events   *events
	now      func() time.Time
	onLogin  func(context.Context, *http.Request, *Session) error // may be nil
	sameSite http.SameSite                                        // of the transactions' cookies
	timeout  time.Duration                                        // from the code to the session
	home     string                                               // path of the app's start page

	results once.Group[*Session] // by transaction cookie
	packers packers
}

// A ticket is the content of the state parameter, which is sealed. It is enough
// to start a lost login again, once.
type ticket struct {
	random   [randomSize]byte
	Started  int64
	ReturnTo string
	Restart  bool // this login is itself a restart
	Silent   bool // nobody asked for it
}

// The form of a ticket, and the bits that it may have besides. The return path follows
// the head.
const (
	ticketForm    = 1
	restartTicket = 2 // of a login that is itself a restart
	silentTicket  = 4 // of a login that nobody asked for
)

// begin starts a login with the options asked: it sets its cookie on w and returns
// the URL of the provider to send the browser to.
func (l *logins) begin(w http.ResponseWriter, r *http.Request, asked *AuthOptions, restart bool) (string, error) {
	location, err := l.tryBegin(w, r, asked, restart)
	if err != nil {
		l.events.loginRefused(r.Context(), "", err)
	}
	return location, err
}

func (l *logins) tryBegin(w http.ResponseWriter, r *http.Request, asked *AuthOptions, restart bool) (string, error) {
	ctx := r.Context()
	if field, err := asked.validate(); err != nil {
		return "", failf("login", CodeConfigInvalid, "AuthOptions.%s %w", field, err)
	}
	request, err := l.flow.prepare(ctx, asked)
	if err != nil {
		return "", err
	}
	t := l.newTransaction(request)
	state, err := l.newState(t, restart)
	if err != nil {
		return "", fail("login", CodeInternal, err)
	}
	location, err := request.location(ctx, request.parameters(state, t.nonce(), l.flow.pkce(t.verifier())))
	if err != nil {
		return "", err
	}
	name := l.cookieName(state)
	if err := l.remember(w, r, name, t, location); err != nil {
		return "", fail("login", CodeInternal, err)
	}
	l.events.loginStarted(ctx, LoginEvent{
		Login: l.id(name), ReturnTo: t.ReturnTo, ACRValues: request.acr.ask, Prompt: asked.Prompt, Restart: restart,
	})
	return location, nil
}

// newTransaction returns the transaction of a login that begins now.
func (l *logins) newTransaction(request *request) *transaction {
	asked := request.asked
	t := &transaction{Started: l.now().Unix(), wishes: wishes{
		ReturnTo: asked.ReturnTo,
		ACR:      request.acr.accept,
		MaxAge:   request.maxAge(),
		StepUp:   asked.stepUp,
		Asked:    asked.byPage,
	}}
	rand.Read(t.secret[:])
	t.carry(asked)
	t.silent = asked.silent
	return t
}

// newState returns a sealed ticket for the state parameter. It is sealed for the
// prefix of the cookies' names, which no cookie has as its name, so that neither
// can stand in for the other. It holds the return path of t, unless that is too long.
func (l *logins) newState(t *transaction, restart bool) (string, error) {
	back := ticket{Started: t.Started, Restart: restart, Silent: t.silent}
	rand.Read(back.random[:])
	if t.inState = len(t.ReturnTo) <= maxTicketReturnTo; t.inState {
		back.ReturnTo = t.ReturnTo
	}
	return l.cookies.seal(l.cookies.transaction, back.marshal())
}

func (t *ticket) marshal() []byte {
	form := byte(ticketForm)
	if t.Restart {
		form |= restartTicket
	}
	if t.Silent {
		form |= silentTicket
	}
	return append(appendHead(form, &t.random, t.Started), t.ReturnTo...)
}

// openState returns the ticket of a state that this client sealed.
func (l *logins) openState(state string) (ticket, bool) {
	plain, err := l.cookies.open(l.cookies.transaction, state)
	if err != nil {
		return ticket{}, false
	}
	t, ok := unmarshalTicket(plain)
	return t, ok && l.now().Sub(time.Unix(t.Started, 0)) <= ticketLifetime
}

// unmarshalTicket reads what marshal wrote.
func unmarshalTicket(stored []byte) (t ticket, ok bool) {
	form, rest, ok := cutHead(stored, &t.random, &t.Started)
	if !ok || form&^(restartTicket|silentTicket) != ticketForm {
		return ticket{}, false
	}
	t.ReturnTo, t.Restart, t.Silent = string(rest), form&restartTicket != 0, form&silentTicket != 0
	return t, true
}

// cookieName names the cookie of the login that sent state.
func (l *logins) cookieName(state string) string {
	sum := sha256.Sum256([]byte(state))
	return string(base64.RawURLEncoding.AppendEncode([]byte(l.cookies.transaction), sum[:16]))
}

// id names a login in events and logs, by its cookie.
func (l *logins) id(cookieName string) string {
	return strings.TrimPrefix(cookieName, l.cookies.transaction)
}

// hasPending reports whether this browser has begun a login.
func (l *logins) hasPending(r *http.Request) bool {
	for _, t := range l.pending(r) {
		if t.Started != 0 { // it could be opened
			return true
		}
	}
	return false
}

// pending returns pending logins of this browser by cookie name. One that
// cannot be opened is zero, and therefore too old.
func (l *logins) pending(r *http.Request) map[string]*transaction {
	if !mentions(r, l.cookies.transaction) {
		return nil
	}
	pending := make(map[string]*transaction)
	for _, cookie := range r.Cookies() {
		if !strings.HasPrefix(cookie.Name, l.cookies.transaction) {
			continue
		}
		if len(pending) == maxTransactionsSeen {
			break
		}
		t, err := l.openTransaction(cookie.Name, cookie.Value)
		if err != nil {
			t = new(transaction)
		}
		t.size = cookieSize(cookie.Name, cookie.Value)
		pending[cookie.Name] = t
	}
	return pending
}

func (l *logins) openTransaction(name, value string) (*transaction, error) {
	plain, err := l.cookies.open(name, value)
	if err != nil {
		return nil, err
	}
	return unmarshalTransaction(plain)
}

// A pendingLogin is a login together with the provider's response to it.
type pendingLogin struct {
	logins      *logins
	response    *authenticationResponse
	cookie      string // its name
	hasCookie   bool
	transaction *transaction // nil when lost
	lost        error        // why there is none
	ticket      ticket
	ours        bool // this client has sealed the state
}

// read returns the login that r's parameters answer. Its errors are
// [CodeInvalidRequest] and those of an outage.
func (l *logins) read(r *http.Request) (*pendingLogin, error) {
	response, err := readAuthenticationResponse(r)
	if err != nil {
		return nil, err
	}
	p := &pendingLogin{logins: l, response: response, cookie: l.cookieName(response.state)}
	p.transaction, p.hasCookie, p.lost = l.find(r, p.cookie)
	p.lost = quote(p.lost, response.err)
	if outage(p.lost) {
		return nil, p.lost
	}
	p.ticket, p.ours = l.openState(response.state)
	if p.lost == nil && p.transaction.ReturnTo == "" {
		p.transaction.ReturnTo = p.ticket.ReturnTo
	}
	return p, nil
}

// find returns the transaction of a cookie, and whether there is one of that name. Its
// error is [CodeTransactionLost], or an outage.
func (l *logins) find(r *http.Request, name string) (t *transaction, found bool, err error) {
	value, found, err := l.cookies.lookUp(r, name)
	if !found {
		return nil, false, failf("callback", CodeTransactionLost, "this browser has no login with that state")
	}
	if err == nil {
		t, err = l.openTransaction(name, value)
	}
	switch {
	case outage(err):
		return nil, true, err
	case err != nil:
		return nil, true, failf("callback", CodeTransactionLost, "transaction cookie: %w", err)
	}
	if age := t.age(l.now()); age > transactionLifetime {
		return nil, true, failf("callback", CodeTransactionLost, "the login was started %v ago", age.Round(time.Second))
	}
	return t, true, nil
}

// id names the login in events and logs.
func (p *pendingLogin) id() string {
	if p.lost != nil && !p.ours {
		return ""
	}
	return p.logins.id(p.cookie)
}

// forget deletes the login's cookie, so that its state does not work again.
func (p *pendingLogin) forget(w http.ResponseWriter) {
	if p.hasCookie {
		p.logins.cookies.drop(w, p.cookie, p.logins.sameSite)
	}
}

// forgetUnread is forget for a response that read refused: its state must not work
// again either. In an outage the response may come again.
func (l *logins) forgetUnread(w http.ResponseWriter, r *http.Request, err error) {
	params, _ := callbackParameters(r)
	if name := l.cookieName(params.Get("state")); !outage(err) && l.cookies.has(r, name) {
		l.cookies.drop(w, name, l.sameSite)
	}
}

// complete returns the session that follows from the provider's response. The code
// is exchanged once, however often the response arrives. ctx limits only the wait.
func (p *pendingLogin) complete(ctx context.Context, r *http.Request) (*Session, error) {
	l := p.logins
	if p.lost != nil {
		return nil, p.lost
	}
	if err := l.flow.checkResponseIssuer(ctx, p.response); err != nil {
		return nil, quote(err, p.response.err)
	}
	if p.response.err != nil {
		return nil, providerRefusal(p.response.err)
	}
	if p.response.code == "" {
		return nil, failf("callback", CodeInvalidRequest, "neither code nor error")
	}
	if err := p.checkResponseMode(); err != nil {
		return nil, err
	}
	if l.onLogin != nil {
		// OnLogin may run when the handler has returned, which ends r's own use.
		r = r.Clone(context.WithoutCancel(r.Context()))
		r.Body = http.NoBody
	}
	// An error is kept too, since the code may have been used.
	keep := func(error) bool { return true }
	s, err := l.results.Do(ctx, p.cookie, l.now(), keep, func() (*Session, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
		defer cancel()
		return p.exchange(ctx, r)
	})
	switch {
	case s == nil && gaveUp(ctx):
		return nil, fail("callback", CodeCanceled, err)
	case s == nil && ctx.Err() != nil:
		return nil, fail("callback", CodeProviderUnavailable, err)
	case err != nil:
		return nil, fail("callback", CodeInternal, err)
	}
	return s, nil
}

// loginSize is about how many bytes the result of a login takes. An error holds
// the subject that OnLogin refused, and what OnLogin has to say.
func loginSize(s *Session, err error) int {
	if err != nil {
		return len(err.Error()) + len(deniedSubject(err))
	}
	return s.size()
}

// checkResponseMode refuses a code that came by another way than the provider was
// asked for. An error may come by either: it signs in nobody.
func (p *pendingLogin) checkResponseMode() error {
	l, response := p.logins, p.response
	switch asked := l.flow.formPost(); {
	case asked == response.posted:
		return nil
	case !asked:
		return failf("callback", CodeInvalidRequest, "a POST, but the response mode is query")
	}
	mark, err := l.cookies.open(l.postedPurpose(), response.params.Get(postedParameter))
	if outage(err) {
		return err
	}
	if err != nil || subtle.ConstantTimeCompare(mark, postedMark(response.params)) != 1 {
		return failf("callback", CodeInvalidRequest, "a GET, but the response mode is form_post")
	}
	return nil
}

// postedParameter is the parameter by which a page load that repeats a posted
// response (see [Client.RecoverLogin]) shows that the response was posted.
const postedParameter = "oidcrp_posted"

// postedPurpose is what the mark is sealed for. No cookie has it as its name.
func (l *logins) postedPurpose() string { return l.cookies.transaction + "posted" }

// postedMark binds a mark to one response.
func postedMark(params url.Values) []byte {
	sum := sha256.Sum256([]byte(params.Get("state") + "\x00" + params.Get("code")))
	return sum[:]
}

// exchange exchanges the code and makes the session.
func (p *pendingLogin) exchange(ctx context.Context, r *http.Request) (*Session, error) {
	l, t := p.logins, p.transaction
	a, err := l.flow.authenticate(ctx, p.response.code, l.flow.pkce(t.verifier()), expectedIDToken{
		nonce: t.nonce(), acr: t.ACR, maxAge: t.MaxAge, issuer: p.response.iss,
	})
	if err != nil {
		return nil, err
	}
	s := l.sessions.create(a, t.StepUp, t.ReturnTo)
	// A Store that fails now may be back when the session is kept, or at a reload.
	_ = l.sessions.place(ctx, r, s)
	// Before it is kept for a reload, and before OnLogin sets anything up.
	if err := l.sessions.keeper.fits(s.grown()); err != nil {
		return nil, err
	}
	// Only what forget needs: the results are kept for a while.
	forget := (&pendingLogin{logins: l, cookie: p.cookie, hasCookie: p.hasCookie}).forget
	s.login = &freshLogin{forget: forget, event: LoginEvent{
		Issuer: a.idToken.issuer, Login: p.id(), SessionID: s.ID(), Subject: a.idToken.subject, ACR: a.idToken.acr, AMR: a.idToken.amr,
		Exchange: a.exchange, Verification: a.verification, UserInfo: a.userInfoCall,
	}}
	if l.onLogin == nil {
		return s, nil
	}
	if err := l.onLogin(ctx, r, s); err != nil {
		// Not fail: an error of this package that the app returns, from another
		// Client perhaps, says nothing about this login.
		code := CodeInternal
		if _, ok := asRefusal(err); ok {
			code = CodeLoginRefused
		}
		return nil, &Error{Op: "on_login", Code: code, Err: &deniedLogin{subject: s.Subject(), err: err}}
	}
	return s, nil
}
