package oidcrp

// This file puts several Clients into one app: one middleware, protected routes that
// take any of them, and the session of the person who is signed in.

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// Group is several Clients in one app, such as one for ProConnect and one for
// FranceConnect: a person chooses where to sign in, and protected routes take any of
// them. It is safe for concurrent use. Make it with [NewGroup].
//
// A browser is signed in at one member at a time. A login at one of them ends the
// session that the browser has at another, here and not at the provider: otherwise a
// logout would bring an older session back, of another person perhaps, and a page would
// not know whose it is. If a browser has several sessions all the same, from before the
// app had a Group, the latest login counts, and a page load ends the others. A logout
// ends all of them.
//
// The paths of each Client stay its own: its login, callback and logout, and the
// logouts by its provider. The Clients must have the same [Config.BaseURL], and each a
// [Config.PathPrefix] of its own. Pages that belong to no member, such as the one for the
// choice, are those of the first member's [Config.Pages], and its Logger has the log.
// [Client.LoginURL] and [Client.RequireLogin] still lead to one member only: a session of
// another one is none to them.
//
// To link to the choice, use the path given to NewGroup, with the page to return to:
// "/auth?return_to=/dossiers". A form that logs out posts to the LogoutURL of any
// member.
type Group struct {
	path    string // of the page for the choice
	members []Member
	others  [][]*cookies // of the other members, by member
	wrapped atomic.Bool  // Middleware was called
}

// Member is one Client of a [Group], and how the page for the choice shows it.
type Member struct {
	// Client is required.
	Client *Client
	// Name is the provider's name as people know it, such as "ProConnect". It is
	// required.
	Name string
	// Hint says whom it is for, in one line. If empty, nothing.
	Hint string
	// Logo is an image beside the name: PNG, JPEG, GIF, WebP or SVG, at most 32 KiB. If
	// nil, none.
	Logo []byte
	// Button returns the provider's official button, where its rules ask for one, as a
	// link to loginURL in a language such as "fr"; proconnect.MemberButton is one. A
	// style element in it moves to the head of the page. The page's
	// Content-Security-Policy allows that, images in data: URIs, and nothing else. If
	// nil, or if it returns nothing, the button has Logo and Name.
	Button func(loginURL, language string) template.HTML
	// LoginURL is the path that signs in with this member and then leads to the page
	// that the person wants. It is set in [Page.Choices] only; NewGroup ignores it.
	LoginURL string
}

// NewGroup puts Clients into one app. path, below the path of [Config.BaseURL], is that
// of the page for the choice, such as "/auth"; the members are shown there in this order.
// With one member, nobody is asked: the path leads to its login. A Client can be a member
// of one Group only. The error is an [*Error] with [CodeConfigInvalid] that names
// everything that is wrong.
func NewGroup(path string, members ...Member) (*Group, error) {
	g := &Group{members: slices.Clone(members)}
	problems := g.check(path)
	if len(problems) == 0 {
		g.path = g.front().base.Path + path
		problems = g.checkPaths()
	}
	if len(problems) == 0 {
		g.meet()
		problems = g.join()
	}
	if len(problems) > 0 {
		return nil, &Error{Op: "group", Code: CodeConfigInvalid, Err: errors.Join(problems...)}
	}
	return g, nil
}

// meet fills in others.
func (g *Group) meet() {
	for i := range g.members {
		var others []*cookies
		for j := range g.members {
			if j != i {
				others = append(others, g.members[j].Client.cookies)
			}
		}
		g.others = append(g.others, others)
	}
}

// maxLogo bounds a logo: the page holds it.
const maxLogo = 32 << 10

// check returns what is wrong with each member by itself, and with path.
func (g *Group) check(path string) (problems []error) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if path == "/" || !isCleanPath(path) {
		add(`path %q must be a clean path that starts with a slash, does not end with one and is not the root, such as "/auth"`,
			clean(path, 200))
	}
	if len(g.members) == 0 {
		add("there are no members: give at least one")
	}
	names := make(map[string]bool)
	for i := range g.members {
		m := &g.members[i]
		m.Logo = slices.Clone(m.Logo)
		if m.Client == nil {
			add("Member[%d].Client is nil: give the Client that New returned", i)
		}
		name := strings.TrimSpace(m.Name)
		switch {
		case name == "":
			add("Member[%d].Name is empty: give the provider's name as people know it", i)
		case names[name]:
			add("Member[%d].Name %q is also another member's: give each its own, so that people can tell them apart", i, clean(name, 100))
		}
		names[name] = true
		if m.Logo != nil && (imageType(m.Logo) == "" || len(m.Logo) > maxLogo) {
			add("Member[%d].Logo must be a PNG, JPEG, GIF, WebP or SVG image of at most %d bytes; it has %d", i, maxLogo, len(m.Logo))
		}
	}
	return problems
}

// checkPaths returns what is wrong between the members, and between them and the page for
// the choice.
func (g *Group) checkPaths() (problems []error) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	base := g.front().base
	for i, m := range g.members {
		if m.Client.owns(g.path) {
			add("path %q is also one of the Client of %q: choose another, or change its PathPrefix", g.path, m.Name)
		}
		if originOf(m.Client.base) != originOf(base) || m.Client.base.Path != base.Path {
			add("BaseURL of %q is %s, and that of %q is %s: they are one app, so give both the same",
				m.Name, originOf(m.Client.base)+m.Client.base.Path, g.members[0].Name, originOf(base)+base.Path)
		}
		for _, other := range g.members[:i] {
			if problem := collision(other, m); problem != nil {
				problems = append(problems, problem)
			}
		}
	}
	return problems
}

// collision returns why two members cannot be in one app, nil if they can.
func collision(a, b Member) error {
	if a.Client == b.Client {
		return fmt.Errorf("Client of %q is also that of %q: make one with New for each", b.Name, a.Name)
	}
	for _, path := range b.Client.paths.all() {
		if a.Client.owns(path) {
			return fmt.Errorf("the Clients of %q and %q both answer %s: give each its own PathPrefix, and its own URIs in Registration",
				a.Name, b.Name, path)
		}
	}
	if a.Client.cookies.session == b.Client.cookies.session {
		return fmt.Errorf("the Clients of %q and %q have the same cookie names: change the PathPrefix of one", a.Name, b.Name)
	}
	return nil
}

// join makes the Clients members of g: all, or none if one is a member already.
func (g *Group) join() []error {
	for i, m := range g.members {
		if m.Client.group.CompareAndSwap(nil, g) {
			continue
		}
		for _, joined := range g.members[:i] {
			joined.Client.group.Store(nil)
		}
		return []error{fmt.Errorf("the Client of %q is already a member of a Group: make another with New", m.Name)}
	}
	return nil
}

// front returns the Client whose pages speak for the Group.
func (g *Group) front() *Client { return g.members[0].Client }

// Middleware answers the paths of every member and the page for the choice, and hands
// every other request to next, with the session of the person who is signed in, at
// whichever member, in its context. It takes the place of the members' own Middleware;
// what [Client.Middleware] says about cookies and caches holds for it too. It opens only
// the sessions that the browser sends.
//
// If one member's session cannot be read, because its [Store] is down perhaps, it is not
// known who is signed in: nobody is on public pages, and protected routes answer 503.
func (g *Group) Middleware(next http.Handler) http.Handler {
	g.wrapped.Store(true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.serveOwn(w, r) {
			return
		}
		v := g.attach(w, r)
		defer v.finish()
		next.ServeHTTP(v.w, v.r)
	})
}

// serveOwn answers r if it is for a path of the Group or of a member.
func (g *Group) serveOwn(w http.ResponseWriter, r *http.Request) bool {
	if g.serves(r) {
		serveAlone(w, r, g.handleChoice)
		return true
	}
	for i := range g.members {
		if g.members[i].Client.serveOwn(w, r) {
			return true
		}
	}
	return false
}

// serves reports whether r is for the page for the choice. A nil Group has none.
func (g *Group) serves(r *http.Request) bool {
	return g != nil && (r.URL.Path == g.path || sentPath(r) == g.path)
}

// owns reports whether path is the page for the choice or one of a member's own.
func (g *Group) owns(path string) bool {
	return path == g.path || slices.ContainsFunc(g.members, func(m Member) bool { return m.Client.owns(path) })
}

// RequireLogin lets a request through to next if a person is signed in at any member. It
// answers as [Client.RequireLogin] does, but the login leads to the page for the choice.
func (g *Group) RequireLogin(next http.Handler) http.Handler { return g.Require()(next) }

// Require is RequireLogin with requirements, as [Client.Require] is. A person who is
// signed in and does not meet one goes to the provider of their session; [Config.Login]
// and [Config.Validate] of every member apply to its own sessions and logins.
// Requirements of one provider, such as its acr values, would be asked of every other one
// too, and met by every other one that says the same: a claim or an acr value is worth as
// much as the weakest member that may send it. Write a [Requirement] that depends on
// [Session.Issuer], or protect that route by the Require of one member.
//
// An origin must be one of [Config.TrustedOrigins] of every member to be trusted.
//
// It panics on requirements that [Client.Require] of a member refuses.
func (g *Group) Require(requirements ...Requirement) func(http.Handler) http.Handler {
	route := g.newRoute(requirements)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protect(w)
			if err := g.checkOrigin(r); err != nil {
				g.front().problem(w, r, err)
				return
			}
			v := g.attach(w, r)
			defer v.finish()
			if _, err := g.decide(v.who, route.of(g, v.who)); err != nil {
				g.speaker(v.who).refuse(v.w, v.r, err)
				return
			}
			next.ServeHTTP(v.w, v.r)
		})
	}
}

// checkOrigin is that of every member.
func (g *Group) checkOrigin(r *http.Request) error {
	for i := range g.members {
		if err := g.members[i].Client.checkOrigin(r); err != nil {
			return err
		}
	}
	return nil
}

// A groupRoute is what a route demands.
type groupRoute struct {
	nobody demand   // while nobody is signed in
	member []demand // of a session, by member
}

// newRoute makes the demands of a route known to the members. A login that somebody
// chooses for the Group's demand is for the member's own, so they have both keys.
func (g *Group) newRoute(requirements []Requirement) *groupRoute {
	route := &groupRoute{nobody: newDemand(requirements)}
	for _, m := range g.members {
		d := m.Client.newRoute(requirements)
		if key := route.nobody.key; key != "" { // else a login needs none
			m.Client.demands.addRouteAs(key, d)
		}
		route.member = append(route.member, d)
	}
	return route
}

// of returns what the route demands in view of who is signed in.
func (route *groupRoute) of(g *Group, who foundAt) demand {
	if g.choosing(who) {
		return route.nobody
	}
	return route.member[who.member]
}

// Check is the decision of Require without its response, as [Client.Check] is.
// [Client.ServeError] of any member answers about its errors.
func (g *Group) Check(r *http.Request, requirements ...Requirement) (*Session, error) {
	who := g.look(r)
	if !g.choosing(who) {
		requirements = g.members[who.member].Client.withBase(requirements)
	}
	return g.decide(who, newDemand(requirements))
}

// decide decides whether a request may pass.
func (g *Group) decide(who foundAt, d demand) (*Session, error) {
	session, err := g.members[who.member].Client.decide(who.found, d)
	if err != nil {
		if e, ok := asDemand(err); ok {
			e.choice = g.choosing(who)
		}
	}
	return session, err
}

// addCheck makes the demand of a Check known to the members.
func (g *Group) addCheck(d demand) {
	if d.key == "" {
		return
	}
	for _, m := range g.members {
		m.Client.demands.addCheckAs(d.key, newDemand(m.Client.withBase(d.requirements)))
	}
}

// Session returns the session of the person who is signed in, at whichever member, as
// [Client.Session] does for one.
func (g *Group) Session(r *http.Request) (*Session, error) {
	found := g.look(r).found
	if s := found.session.Load(); s != nil {
		return s, nil
	}
	return nil, found.none
}

// Client returns the member at which the person is signed in, nil if nobody is, or if it
// is not known because of an outage.
func (g *Group) Client(r *http.Request) *Client {
	who := g.look(r)
	if who.found.session.Load() == nil {
		return nil
	}
	return g.members[who.member].Client
}

// Logout signs the person out, here and at the provider of their session, and sends the
// browser on: see [Client.Logout]. The logout path of any member does the same. If the
// browser sends no session, not even one that is over, there is no provider to go to: the
// logout path of a member then leads to that member's.
func (g *Group) Logout(w http.ResponseWriter, r *http.Request, returnTo string) {
	c := g.leaving(r)
	if c == nil {
		g.front().redirect(w, r, g.front().afterLogout(returnTo))
		return
	}
	c.Logout(w, r, returnTo)
}

// leaving returns the member that a logout is of: that of the session, of one that cannot
// be read, or of one that is over; nil if r carries none.
func (g *Group) leaving(r *http.Request) *Client {
	who := g.look(r)
	if who.found.session.Load() == nil && who.found.blocked == nil {
		who.member = slices.IndexFunc(g.members, func(m Member) bool { return m.Client.carries(r) })
		if who.member < 0 {
			return nil
		}
	}
	return g.members[who.member].Client
}

// foundAt is the result of a Group's session lookup: a member, and what was found there.
type foundAt struct {
	member int
	found  *requestSession
}

// choosing reports whether a login lets the person choose: nobody is signed in, and there
// are several members.
func (g *Group) choosing(who foundAt) bool {
	return len(g.members) > 1 && who.found.session.Load() == nil && who.found.blocked == nil
}

// speaker returns the Client that answers a request that may not pass.
func (g *Group) speaker(who foundAt) *Client {
	if g.choosing(who) {
		return g.front()
	}
	return g.members[who.member].Client
}

// look returns who is signed in, by the context of r or by its cookies.
func (g *Group) look(r *http.Request) foundAt {
	if who, ok := g.found(r); ok {
		return who
	}
	var all []foundAt
	for i := range g.members {
		c := g.members[i].Client
		if !c.carries(r) {
			continue
		}
		found, ok := c.refresher.found(r.Context())
		if !ok {
			found = c.refresher.lookUp(r)
		}
		all = append(all, foundAt{i, found})
	}
	if len(all) == 0 {
		return foundAt{0, g.front().refresher.lookUp(r)}
	}
	return latest(all)
}

// found returns who is signed in if attach, or a test, has put it into r's context.
func (g *Group) found(r *http.Request) (who foundAt, ok bool) {
	for i := range g.members {
		found, ok := g.members[i].Client.refresher.found(r.Context())
		switch {
		case !ok:
		case found.refresher == nil: // of ContextWithSession
			issuer := found.session.Load().Issuer()
			of := slices.IndexFunc(g.members, func(m Member) bool {
				return m.Client.issuer == issuer || m.Client.flow.rules.accepts(issuer)
			})
			return foundAt{max(of, 0), found}, true
		case found.chosenBy == g:
			return foundAt{i, found}, true
		}
	}
	return foundAt{}, false
}

// latest returns which of several sessions of a request counts: the one that began last.
// If one cannot be read, that is not known, and it is the one.
func latest(all []foundAt) foundAt {
	best := all[0]
	for _, one := range all {
		s, most := one.found.session.Load(), best.found.session.Load()
		if s == nil && one.found.blocked != nil {
			return one
		}
		if s != nil && (most == nil || s.created.After(most.created)) {
			best = one
		}
	}
	return best
}

// A visit is a request with the session of the person who is signed in, and the
// ResponseWriter for its handler.
type visit struct {
	w    http.ResponseWriter
	r    *http.Request
	who  foundAt
	last *sessionWriter   // around the others; nil if the session was looked up before
	rest []*sessionWriter // of further members
}

// attach puts the session of the person who is signed in into the context of r, once. The
// caller must finish the visit.
func (g *Group) attach(w http.ResponseWriter, r *http.Request) visit {
	v := visit{w: w, r: r}
	who, ok := g.found(r)
	if !ok {
		who = g.open(&v)
		who.found.chosenBy = g
	}
	v.who = who
	if ctx := who.found.in(v.r.Context()); ctx != v.r.Context() {
		v.r = v.r.WithContext(ctx)
	}
	return v
}

// open looks up the sessions that the request carries.
func (g *Group) open(v *visit) foundAt {
	var first foundAt
	var all []foundAt // if there are several
	for i := range g.members {
		if !g.members[i].Client.carries(v.r) {
			continue
		}
		one := g.openOne(v, i)
		switch {
		case first.found == nil:
			first = one
		case all == nil:
			all = []foundAt{first, one}
		default:
			all = append(all, one)
		}
	}
	switch {
	case first.found == nil:
		return g.openOne(v, 0) // nobody's
	case all == nil:
		return first
	}
	best := latest(all)
	if best.found.session.Load() == nil {
		return best
	}
	for _, one := range all {
		if one != best && one.found.session.Load() != nil {
			g.members[one.member].Client.giveWay(v.r, one.found)
		}
	}
	return best
}

// openOne looks up the session at one member.
func (g *Group) openOne(v *visit, i int) foundAt {
	r, found, response := g.members[i].Client.attach(v.w, v.r)
	v.r = r
	if response != nil {
		response.others = g.others[i]
		v.w = response.over(v.w)
		if v.last != nil {
			v.rest = append(v.rest, v.last)
		}
		v.last = response
	}
	return foundAt{i, found}
}

// finish completes the header of a response to which the handler has written nothing.
func (v *visit) finish() {
	v.last.finish()
	for _, response := range v.rest {
		response.finish()
	}
}

// giveWay ends the session of r at this member: there is a later one at another. Only a
// page load ends it for good: see [sessions.stale].
func (c *Client) giveWay(r *http.Request, found *requestSession) {
	s := found.session.Load()
	found.lose(&Error{Op: "session", Code: CodeNoSession})
	if isPartOfPage(r.Header) || kindOf(r) != navigation {
		return
	}
	err := c.sessions.keeper.end(r, nil)
	if err != nil {
		c.log.WarnContext(r.Context(), "could not delete a stored session", "error", err)
		c.sessions.endLater(r, "", "")
	}
	found.response.record(c.sessions.stale(reasonLoggedOut))
	c.events.loggedOut(r.Context(), SessionEvent{Issuer: s.Issuer(), SessionID: s.ID(), Subject: s.Subject(), Err: err})
}

// endOthers ends the sessions that r carries at the other members of the Client's Group:
// a person signs in at this one, or out. The error is the last one; what failed is tried
// again for a while.
func (c *Client) endOthers(w http.ResponseWriter, r *http.Request) (last error) {
	g := c.group.Load()
	if g == nil {
		return nil
	}
	for _, m := range g.members {
		other := m.Client
		if other == c || !other.carries(r) {
			continue
		}
		s, err := other.Session(r)
		endErr := other.EndSession(w, r)
		if endErr != nil {
			last = endErr
			other.log.WarnContext(r.Context(), "could not delete a stored session", "error", endErr)
		}
		if err == nil || outage(err) || endErr != nil { // else there was no session
			other.events.loggedOut(r.Context(), SessionEvent{
				Issuer: s.Issuer(), SessionID: s.ID(), Subject: s.Subject(), Err: endErr})
		}
	}
	return last
}

// carries reports whether r has a cookie of a session at this Client, be it over.
func (c *Client) carries(r *http.Request) bool { return c.cookies.has(r, c.cookies.session) }

// carriesAny is carries for any member of the Client's Group, if it has one.
func (c *Client) carriesAny(r *http.Request) bool {
	return slices.ContainsFunc(c.withOthers(), func(member *Client) bool { return member.carries(r) })
}

// checkAnyOrigin is checkOrigin of every member of the Client's Group, if it has one.
func (c *Client) checkAnyOrigin(r *http.Request) error {
	if g := c.group.Load(); g != nil {
		return g.checkOrigin(r)
	}
	return c.checkOrigin(r)
}

// withOthers returns the members of the Client's Group, c alone if there is none.
func (c *Client) withOthers() (all []*Client) {
	g := c.group.Load()
	if g == nil {
		return []*Client{c}
	}
	for i := range g.members {
		all = append(all, g.members[i].Client)
	}
	return all
}

// anySession is Session of the Client's Group, if it has one.
func (c *Client) anySession(r *http.Request) (*Session, error) {
	if g := c.group.Load(); g != nil {
		return g.Session(r)
	}
	return c.Session(r)
}

// signedInAt returns the Client of the Group at which the person is signed in, c if
// nobody is or there is no Group.
func (c *Client) signedInAt(r *http.Request) *Client {
	if g := c.group.Load(); g != nil {
		if other := g.Client(r); other != nil {
			return other
		}
	}
	return c
}

// answering returns the Client that answers about an unmet demand of a Check, and makes
// the demand known to it.
func (c *Client) answering(r *http.Request, unmet *demandError) *Client {
	g := c.group.Load()
	if g != nil && unmet.choice {
		g.addCheck(unmet.demand)
		return c
	}
	if unmet.session != nil { // the check may have been the Group's
		c = c.signedInAt(r)
	}
	c.demands.addCheck(unmet.demand)
	return c
}
