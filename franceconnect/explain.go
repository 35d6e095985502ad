package franceconnect

// This file explains FranceConnect's errors to people and to operators.

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// An Explanation is what an error of FranceConnect means, in one language.
type Explanation struct {
	// Code is the error, such as "access_denied" or "Y030007"; it may be empty.
	Code string
	// Meaning says what went wrong, and Action what to do about it. Both are plain
	// text.
	Meaning string
	Action  string
	// ForOperator is set when only the operator of the service can correct the
	// error. The texts are then for the operator.
	ForOperator bool
}

// Explain explains an error of a login, in French if language is "fr" and in English
// otherwise. It looks for an [*oidcrp.ProviderError] in err, and there for the code of
// FranceConnect in error_uri before the registered one. A token or an answer of UserInfo
// that was refused for its algorithm is explained too. An error that it does not know gets
// a general explanation.
func Explain(err error, language string) Explanation {
	e, code, _ := find(err)
	return e.in(code, language)
}

// ExplainCode is Explain for a code that FranceConnect's own error pages show, such as
// "Y030007". Most of those errors are never sent to the service.
func ExplainCode(code, language string) Explanation {
	code = strings.TrimSpace(code)
	e, _ := pageEntry(code)
	return e.in(code, language)
}

// pageEntry returns the explanation of a page's code, and whether it is more than the
// general one.
func pageEntry(code string) (entry, bool) {
	if e, ok := pageCodes[code]; ok {
		return e, true
	}
	for _, family := range pageFamilies {
		if strings.HasPrefix(code, family.prefix) {
			return family.entry, true
		}
	}
	return general, false
}

// PageHandler is the [oidcrp.Pages.Handler] of a Config of this package. It is
// [oidcrp.DefaultPage], except that an error page in French or English says what
// [Explain] says, with FranceConnect's code if there is one, unless that is for the
// operator, who finds the error in the log.
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
	if code := quotable(p.Err); code != "" {
		page.Paragraphs = append(page.Paragraphs, codeLabel.in(p.Language)+code)
	}
	page.Detail = strings.Join(page.Paragraphs, " ") // for scripts
	return &page
}

var pageCode = regexp.MustCompile(`^Y[0-9]{2}[0-9A-F]{1,8}$`)

// quotable returns FranceConnect's code for a person to give to its support, "" if err has
// none.
func quotable(err error) string {
	var refusal *oidcrp.ProviderError
	if !errors.As(err, &refusal) {
		return ""
	}
	code, _ := codeIn(refusal.ErrorURI)
	return code
}

// find returns the explanation of err, the code that it was found by, and whether it is
// more than the general one.
func find(err error) (e entry, code string, ok bool) {
	var refusal *oidcrp.ProviderError
	if errors.As(err, &refusal) {
		return findRefusal(refusal)
	}
	var failure *oidcrp.Error
	if errors.As(err, &failure) {
		code = string(failure.Code)
	}
	var token *oidcrp.TokenError
	if errors.As(err, &token) && token.Check == "alg" {
		return badAlgorithm, code, true
	}
	return general, code, false
}

func findRefusal(refusal *oidcrp.ProviderError) (e entry, code string, ok bool) {
	if code, ok := codeIn(refusal.ErrorURI); ok && refusal.ErrorCode != "invalid_grant" {
		if e, ok := pageEntry(code); ok {
			return e, code, true
		}
	}
	for _, c := range protocolErrors {
		if c.code == refusal.ErrorCode {
			return c.entry, c.code, true
		}
	}
	return general, refusal.ErrorCode, false
}

// codeIn returns the code that an error_uri of FranceConnect names. It comes with the
// request, which anybody can make: what is not a code goes on no page and into no log.
func codeIn(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false
	}
	code := u.Query().Get("code")
	if !pageCode.MatchString(code) {
		return "", false
	}
	return code, true
}

// An entry is an Explanation in both languages.
type entry struct {
	meaning, action text
	operator        bool
}

func (e entry) in(code, language string) Explanation {
	return Explanation{Code: code, Meaning: e.meaning.in(language), Action: e.action.in(language), ForOperator: e.operator}
}
