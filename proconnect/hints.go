package proconnect

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// A hint does not restrict who can sign in: the person may choose otherwise. Rules
// such as [IdentityProvider] and [SIRET] do.

// SetIDPHint makes the login go straight to the identity provider with this idp_id.
// ProConnect answers the error idp_hint_not_found if there is none. An empty id sets
// nothing.
func SetIDPHint(o *oidcrp.AuthOptions, id string) {
	if id != "" {
		setExtra(o, "idp_hint", id)
	}
}

func setExtra(o *oidcrp.AuthOptions, name, value string) {
	extra := url.Values{name: {value}}
	for other, values := range o.Extra { // the map may be shared with other logins
		if other != name {
			extra[other] = values
		}
	}
	o.Extra = extra
}

// SetLoginHint makes the login go straight to the identity provider of an e-mail
// address. It sets nothing if ProConnect might not accept email as an address, because
// ProConnect then shows an error page from which the person cannot go on. If email
// differs from the address of ProConnect's session, even in case only, the person has
// to sign in again.
func SetLoginHint(o *oidcrp.AuthOptions, email string) {
	if email = strings.TrimSpace(email); len(email) <= 254 && emailAddress.MatchString(email) {
		o.LoginHint = email
	}
}

// emailAddress matches a plain address at a domain name of two labels or more. RFC
// 5322 allows more.
var emailAddress = regexp.MustCompile(
	`^[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$`)

// SetSIRETHint tells the identity provider for which establishment the person is
// expected to sign in. It returns an error, and sets nothing, if siret is not 14 digits.
func SetSIRETHint(o *oidcrp.AuthOptions, siret string) error {
	if !isDigits(siret, 14) {
		return errors.New("proconnect: the siret_hint is not 14 digits")
	}
	setExtra(o, "siret_hint", siret)
	return nil
}
