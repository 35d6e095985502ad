package proconnect

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// None of the hints restricts who can sign in: the person may choose otherwise. Rules
// such as [IdentityProvider] and [SIRET] do.

// SetIDPHint has the login go straight to the identity provider with this idp_id.
// ProConnect answers the error idp_hint_not_found if it knows none.
func SetIDPHint(o *oidcrp.AuthOptions, id string) {
	if id != "" {
		setExtra(o, "idp_hint", id)
	}
}

func setExtra(o *oidcrp.AuthOptions, name, value string) {
	extra := url.Values{name: {value}}
	for other, values := range o.Extra { // which may be shared
		if other != name {
			extra[other] = values
		}
	}
	o.Extra = extra
}

// SetLoginHint takes the person straight to the identity provider of their e-mail
// address. What ProConnect might not take for an address is left out, since it answers
// a page of its own then that leads nowhere. An address other than the one of
// ProConnect's session, also in case, makes the person sign in anew.
func SetLoginHint(o *oidcrp.AuthOptions, email string) {
	if email = strings.TrimSpace(email); len(email) <= 254 && emailAddress.MatchString(email) {
		o.LoginHint = email
	}
}

// emailAddress is a plain address at a domain name of two labels or more, narrower
// than RFC 5322.
var emailAddress = regexp.MustCompile(
	`^[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$`)

// SetSIRETHint suggests to the identity provider for which establishment the person
// signs in. It returns an error, and sets nothing, if siret is not 14 digits.
func SetSIRETHint(o *oidcrp.AuthOptions, siret string) error {
	if !isDigits(siret, 14) {
		return errors.New("proconnect: the siret_hint is not 14 digits")
	}
	setExtra(o, "siret_hint", siret)
	return nil
}
