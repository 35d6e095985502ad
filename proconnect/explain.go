package proconnect

// This file explains ProConnect's errors to people and to operators.

import (
	"errors"
	"net/http"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// An Explanation is what an error of ProConnect means, in one language.
type Explanation struct {
	// Code is the error, such as "access_denied" or "Y500015"; it may be empty.
	Code string
	// Meaning says what went wrong, and Action what to do about it. Both are plain
	// text.
	Meaning string
	Action  string
	// ForOperator is set when only the operator of the service can correct the
	// error. The texts are then for the operator.
	ForOperator bool
}

// Explain explains an error of a login or a refresh, in French if language is "fr" and
// in English otherwise. It looks for an [*oidcrp.ProviderError] in err, and then for
// the [oidcrp.Code]. An error that it does not know gets a general explanation.
func Explain(err error, language string) Explanation {
	e, code, _ := find(err)
	return e.in(code, language)
}

// ExplainCode is Explain for a code that ProConnect's own error pages show, such as
// "Y500015" or "oidc-provider-rendered-error:invalid_client". Most of those errors are
// never sent to the service.
func ExplainCode(code, language string) Explanation {
	code = strings.TrimSpace(code)
	if e, ok := pageCodes[code]; ok {
		return e.in(code, language)
	}
	for _, family := range pageFamilies {
		if strings.HasPrefix(code, family.prefix) {
			return family.in(code, language)
		}
	}
	return general.in(code, language)
}

// NeedsSignIn reports whether to answer err, from [oidcrp.Client.Refresh], with a new
// login. With ProConnect, [oidcrp.CodeLoginRequired] is not the only such error: when
// its session is over, its token and UserInfo endpoints answer with status 500 as often
// as with invalid_grant, so that the end of a session looks like an outage. A new login
// resolves both. It is not needed when ProConnect cannot be reached at all.
func NeedsSignIn(err error) bool {
	e, _, _ := find(err)
	return e == sessionOver || errors.Is(err, oidcrp.CodeNoSession)
}

// PageHandler is the [oidcrp.Pages.Handler] of a Config of this package. It is
// [oidcrp.DefaultPage], except that an error page in French or English says what
// [Explain] says, unless that is for the operator, who finds the error in the log.
func PageHandler(w http.ResponseWriter, r *http.Request, p *oidcrp.Page) {
	oidcrp.DefaultPage(w, r, explained(p))
}

// explained returns p with an explanation of its error, if there is one for the person.
func explained(p *oidcrp.Page) *oidcrp.Page {
	e, _, ok := find(p.Err)
	specific := p.Requirement != "" || p.Code == oidcrp.CodeLoginRefused // the app's own words
	known := p.Language == "fr" || p.Language == "en"
	if !ok || e.operator || specific || !known {
		return p
	}
	page := *p
	page.Paragraphs = []string{e.meaning.in(p.Language), e.action.in(p.Language)}
	page.Detail = strings.Join(page.Paragraphs, " ") // for scripts
	return &page
}

// find returns the explanation of err, the code that it was found by, and whether it is
// more than the general one.
func find(err error) (e entry, code string, ok bool) {
	var refusal *oidcrp.ProviderError
	if errors.As(err, &refusal) {
		e, ok = refusalEntry(refusal)
		return e, refusal.ErrorCode, ok
	}
	var failure *oidcrp.Error
	if !errors.As(err, &failure) {
		return general, "", false
	}
	code = string(failure.Code)
	switch failure.Code {
	case oidcrp.CodeLoginRequired:
		return sessionOver, code, true
	case oidcrp.CodeTransactionLost:
		return pageCodes[sessionNotFound], code, true
	case oidcrp.CodeProviderUnavailable:
		// The metadata was fetched, so ProConnect answers: it is its session that is over.
		if failure.Op == "token" || failure.Op == "userinfo" || failure.Op == "refresh" {
			return sessionOver, code, true
		}
	}
	return general, code, false
}

func refusalEntry(refusal *oidcrp.ProviderError) (entry, bool) {
	over := refusal.StatusCode >= 500 || refusal.ErrorCode == "invalid_grant" || refusal.ErrorCode == "invalid_token"
	if refusal.Endpoint != "authorization" && over {
		return sessionOver, true
	}
	for _, c := range callbackErrors {
		if c.code == refusal.ErrorCode &&
			strings.Contains(strings.ToLower(refusal.ErrorDescription), c.description) {
			return c.entry, true
		}
	}
	return general, false
}

// An entry is an Explanation in both languages.
type entry struct {
	meaning, action text
	operator        bool
}

func (e entry) in(code, language string) Explanation {
	return Explanation{Code: code, Meaning: e.meaning.in(language), Action: e.action.in(language), ForOperator: e.operator}
}
