package franceconnect

import "github.com/oidcrp/oidcrp"

// A User holds the claims of FranceConnect about a person, the "identité pivot". The field
// of a claim that it does not send, or whose scope the client does not have, is empty.
// FranceConnect takes the civil status from the civil register, and FranceConnect+ from
// the identity provider. There is no name and no email_verified.
//
// The names and types of the claims are FranceConnect's own. What their values look like
// is to be checked with FranceConnect before the service relies on it: every value is
// handed on as text, as it came.
type User struct {
	// Issuer and Subject identify the account: see [User.AccountKey].
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`

	GivenName string `json:"given_name"` // all given names, in one text
	// GivenNameArray has the given names one by one. FranceConnect only.
	GivenNameArray []string `json:"given_name_array"`
	FamilyName     string   `json:"family_name"` // the name of birth
	// PreferredUsername is the name in use. It is often missing: address the person by
	// [User.DisplayName].
	PreferredUsername string `json:"preferred_username"`
	// Birthdate is a date such as "1962-08-24". Do not expect every date to exist: where
	// the day or the month is not known, a value such as "1962-08-00" or a year alone is
	// said to come. To be checked.
	Birthdate string `json:"birthdate"`
	// Gender is said to be "female" or "male". To be checked.
	Gender string `json:"gender"`
	// Birthplace is said to be the INSEE code of the commune, empty for a person born
	// abroad, and Birthcountry that of the country ("99100" for France). To be checked.
	// They are text: "01004" is not a number, and "2A004" none either.
	Birthplace   string `json:"birthplace"`
	Birthcountry string `json:"birthcountry"`
	// Email comes without email_verified: have the person confirm it before it gives
	// access to anything.
	Email string `json:"email"`

	// IdPID is the identity provider, and IdPBirthdate the date that it sent.
	// FranceConnect only.
	IdPID        string `json:"idp_id"`
	IdPBirthdate string `json:"idp_birthdate"`

	// The same claims as the civil register has them, for the scopes that begin with
	// rnipp_. FranceConnect+ only.
	RNIPPGivenName      string   `json:"rnipp_given_name"`
	RNIPPGivenNameArray []string `json:"rnipp_given_name_array"`
	RNIPPFamilyName     string   `json:"rnipp_family_name"`
	RNIPPBirthdate      string   `json:"rnipp_birthdate"`
	RNIPPGender         string   `json:"rnipp_gender"`
	RNIPPBirthplace     string   `json:"rnipp_birthplace"`
	RNIPPBirthcountry   string   `json:"rnipp_birthcountry"`
}

// UserFrom returns the user of a session. Its error is an [*oidcrp.Error] with
// [oidcrp.CodeNoSession] if s is nil, or with [oidcrp.CodeInternal] if a claim does not
// have the type that FranceConnect documents. It does not fail for a missing claim.
func UserFrom(s *oidcrp.Session) (User, error) {
	var u User
	if err := s.Claims(&u); err != nil {
		return User{}, err
	}
	return u, nil
}

// DisplayName returns the name in use, or that of birth if there is none.
func (u User) DisplayName() string {
	if u.PreferredUsername != "" {
		return u.PreferredUsername
	}
	return u.FamilyName
}

// An AccountKey identifies an account permanently. It is comparable.
type AccountKey struct{ Issuer, Subject string }

// String returns issuer and subject with a space between them, for a column of a table.
// Different keys have different strings, since an issuer cannot contain a space.
func (k AccountKey) String() string { return k.Issuer + " " + k.Subject }

// AccountKey returns the key to store an account under (OIDC Core 5.7). FranceConnect and
// FranceConnect+ are two issuers, so one person has two keys.
func (u User) AccountKey() AccountKey { return AccountKey{Issuer: u.Issuer, Subject: u.Subject} }
