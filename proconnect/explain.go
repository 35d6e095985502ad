package proconnect

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// An Explanation says what an error of ProConnect means, in one language.
type Explanation struct {
	// Code is what is explained, such as "access_denied" or "Y500015"; it may be
	// empty.
	Code string
	// Meaning is what happened, and Action what to do about it. Both are plain text.
	Meaning string
	Action  string
	// ForOperator is set when only the people who run the service can do something,
	// and the texts are for them.
	ForOperator bool
}

// Explain says, in "fr" or "en" (any other language is English), what an error of a
// login means with ProConnect. It reads an [*oidcrp.ProviderError] inside err, else
// the kind of failure. What it does not know gets a general answer.
func Explain(err error, language string) Explanation {
	e, code, _ := find(err)
	return e.in(code, language)
}

// ExplainCode is Explain for a code that a person saw on one of ProConnect's own
// pages, such as "Y500015" or "oidc-provider-rendered-error:invalid_client". Few of
// those errors ever reach the service.
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

// NeedsSignIn reports whether err, from [oidcrp.Client.Refresh], is to be answered
// with a new sign-in. With ProConnect it is not only [oidcrp.ErrLoginRequired]: when
// its session is over, its token and UserInfo endpoints answer with status 500 as
// often as with invalid_grant, which looks like an outage. A new sign-in settles
// either, and while ProConnect cannot be reached at all it would not help.
func NeedsSignIn(err error) bool {
	e, _, _ := find(err)
	return e == sessionOver || errors.Is(err, oidcrp.ErrNoSession)
}

// ErrorHandler is [oidcrp.DefaultErrorHandler] with what [Explain] says to a person.
// What is for the operator stays off the page: it is for the log. After a silent
// sign-in that found no session, the browser goes back to its page: see
// [SignInSilently].
func ErrorHandler(w http.ResponseWriter, r *http.Request, p *oidcrp.Problem) {
	if page := silentlyRefused(r, p); page != "" {
		http.Redirect(w, r, page, http.StatusFound)
		return
	}
	if e, code, ok := find(p.Err); ok && !e.operator && p.Explanation == "" {
		told := *p
		said := e.in(code, languageOf(r))
		told.Explanation = said.Meaning + " " + said.Action
		p = &told
	}
	oidcrp.DefaultErrorHandler(w, r, p)
}

// find returns what is to be said about err, the code that it was found by, and
// whether it is more than the general answer.
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
		// With metadata it answers its pages, so this one is about the session.
		if failure.Op == "token" || failure.Op == "userinfo" || failure.Op == "refresh" {
			return sessionOver, code, true
		}
	}
	return general, code, false
}

func refusalEntry(refusal *oidcrp.ProviderError) (entry, bool) {
	overThere := refusal.StatusCode >= 500 || refusal.ErrorCode == "invalid_grant" || refusal.ErrorCode == "invalid_token"
	if refusal.Endpoint != "authorization" && overThere {
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

// languageOf returns "fr" or "en" as oidcrp's pages choose it, so that a page has one
// language.
func languageOf(r *http.Request) string {
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

// An entry is an Explanation in both languages.
type entry struct {
	meaning, action text
	operator        bool
}

func (e entry) in(code, language string) Explanation {
	return Explanation{Code: code, Meaning: e.meaning.in(language), Action: e.action.in(language), ForOperator: e.operator}
}
