package oidcrp

// This file shows the page of a Group where a person chooses how to sign in.

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// handleChoice shows the members to sign in with. A person who is signed in goes to
// their page. In an outage, nobody is told that they are not signed in: a login at any
// member may start, as at the login path of a Client.
func (g *Group) handleChoice(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	c := g.front()
	returnTo := c.wantedPage(r, c.loginReturnTo(r))
	stepUp := r.URL.Query().Get("step_up")
	if c.demands.get(stepUp).key == "" { // not one of ours
		stepUp = ""
	}
	switch {
	case g.Client(r) != nil:
		c.redirect(w, r, c.absolute(returnTo))
	case !canLoadPage(r):
		c.sendToLogin(w, r, stepUp, fail("choose", CodeNoSession, &demandError{choice: true}))
	case len(g.members) == 1:
		c.redirect(w, r, c.absolute(g.loginURL(returnTo, stepUp)))
	default:
		c.pages.show(w, r, g.choicePage(r, returnTo, stepUp))
	}
}

func (g *Group) choicePage(r *http.Request, returnTo, stepUp string) *Page {
	p := g.front().pages.page(r, "choose", "choose")
	p.Choices = slices.Clone(g.members)
	for i := range p.Choices {
		m := &p.Choices[i]
		m.LoginURL = withParameter(m.Client.LoginURL(returnTo), "step_up", stepUp)
	}
	return p
}

// loginURL returns the path where somebody begins to sign in who is not signed in at any
// member. stepUp is the key of a demand, "" for none.
func (g *Group) loginURL(returnTo, stepUp string) string {
	c := g.front()
	location := c.LoginURL(returnTo)
	if len(g.members) > 1 {
		location = c.withReturnTo(g.path, returnTo)
	}
	return withParameter(location, "step_up", stepUp)
}

// choiceURL is loginURL for the page that r asks for. It logs what is dropped.
func (g *Group) choiceURL(r *http.Request, stepUp string) string {
	c := g.front()
	wanted := c.wantedPage(r, requestPath(r))
	if wanted != c.home() && c.withReturnTo(g.path, wanted) == g.path {
		c.events.returnToDropped(r.Context(), wanted, "it does not fit into the URL of the page for the choice")
	}
	return g.loginURL(wanted, stepUp)
}

// loginURLAfter returns the path of a new login after err, which is nil after a logout.
// In a Group, the person may choose another member, unless it is for a session of this
// one.
func (c *Client) loginURLAfter(err error, returnTo string) string {
	g := c.group.Load()
	if g == nil {
		return c.LoginURL(returnTo)
	}
	switch codeOf(err) {
	case CodeNoSession, CodeLoginRequired, CodeRequirementUnmet:
		if e, ok := asDemand(err); !ok || !e.choice {
			return c.LoginURL(returnTo)
		}
	}
	return g.loginURL(returnTo, "")
}

// ownsWithGroup reports whether path is one of the client's own or of its Group's.
func (c *Client) ownsWithGroup(path string) bool {
	g := c.group.Load()
	return c.owns(path) || g != nil && g.owns(path)
}

// A choiceButton is a member on the page.
type choiceButton struct {
	ID, URL, Label, Hint string
	Logo                 template.URL
	Official             template.HTML
}

// choices returns the buttons of the page, and the styles of the official ones, which
// come from the app and are trusted.
func (p *Page) choices() (buttons []choiceButton, styles string) {
	for i, m := range p.Choices {
		b := choiceButton{
			ID: "hint-" + strconv.Itoa(i+1), URL: m.LoginURL, Hint: m.Hint,
			Label: strings.ReplaceAll(p.ActionLabel, "{name}", m.Name),
		}
		if kind := imageType(m.Logo); kind != "" {
			b.Logo = template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(m.Logo))
		}
		if m.Button != nil {
			official := string(m.Button(m.LoginURL, p.Language))
			for _, style := range buttonStyle().FindAllStringSubmatch(official, -1) {
				styles += style[1]
			}
			b.Official = template.HTML(buttonStyle().ReplaceAllString(official, ""))
		}
		buttons = append(buttons, b)
	}
	return buttons, styles
}

var buttonStyle = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?is)<style\b[^>]*>(.*?)</style\s*>`)
})

// imageType returns the media type of an image that every browser shows, "" for
// anything else. In an img element, an SVG runs no script and loads nothing.
func imageType(data []byte) string {
	switch kind := http.DetectContentType(data); kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return kind
	}
	start := strings.ToLower(string(bytes.TrimPrefix(data[:min(len(data), 1024)], []byte("\ufeff"))))
	if strings.HasPrefix(strings.TrimSpace(start), "<") && strings.Contains(start, "<svg") {
		return "image/svg+xml"
	}
	return ""
}
