package proconnect

import (
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// A User holds the claims of ProConnect about a person. The field of a claim that it
// does not send, or whose scope the client does not have, is empty. ProConnect does not
// have family_name, name, preferred_username and email_verified.
type User struct {
	// Issuer and Subject identify the account: see [User.AccountKey].
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`

	GivenName string `json:"given_name"` // first names, separated by spaces
	UsualName string `json:"usual_name"` // the name in use, not always that of birth
	// Email is spelt as at the identity provider: see [User.NormalizedEmail].
	Email string `json:"email"`
	// UID is the identity provider's own identifier. Two identity providers may use
	// the same one.
	UID string `json:"uid"`
	// SIRET identifies the establishment and SIREN the organisation. SIREN is seldom
	// sent; it is also the first nine digits of SIRET.
	SIRET string `json:"siret"`
	SIREN string `json:"siren"`
	// IdPID is the identity provider, and IdPACR the acr that it sent. The level to
	// decide by is [oidcrp.Session.ACR].
	IdPID  string `json:"idp_id"`
	IdPACR string `json:"idp_acr"`
	// OrganizationLabel is for display. It is missing on the RIE, and when the
	// directory of companies does not answer.
	OrganizationLabel string `json:"organization_label"`
	// Roles are values such as [RoleAgentPublic]. They are empty when ProConnect
	// attests none, or could not look them up.
	Roles               []string `json:"roles"`
	PhoneNumber         string   `json:"phone_number"`
	OrganizationalUnit  string   `json:"organizational_unit"`
	BelongingPopulation string   `json:"belonging_population"`
	ChorusDTMatricule   string   `json:"chorusdt:matricule"`
	ChorusDTSociete     string   `json:"chorusdt:societe"`
	// Custom holds further claims of the identity provider, which ProConnect does not
	// verify.
	Custom map[string]any `json:"custom"`
}

// The roles that ProConnect attests.
const (
	RoleAgentPublic            = "agent_public"
	RoleAgentPublicEtat        = "agent_public_etat"
	RoleAgentPublicTerritorial = "agent_public_territorial"
	RoleAgentPublicHospitalier = "agent_public_hospitalier"
	RoleAgentPublicL1003       = "agent_public_L100-3"
	RoleDirigeant              = "dirigeant"
)

// UserFrom returns the user of a session. Its error is an [*oidcrp.Error] with
// [oidcrp.CodeNoSession] if s is nil, or with [oidcrp.CodeInternal] if a claim does not
// have the type that ProConnect documents. It does not fail for a missing claim or an
// invalid SIRET.
func UserFrom(s *oidcrp.Session) (User, error) {
	var u User
	if err := s.Claims(&u); err != nil {
		return User{}, err
	}
	return u, nil
}

// An AccountKey identifies an account permanently. It is comparable.
type AccountKey struct{ Issuer, Subject string }

// String returns issuer and subject with a space between them, for a column of a table.
// Different keys have different strings, since an issuer cannot contain a space.
func (k AccountKey) String() string { return k.Issuer + " " + k.Subject }

// AccountKey returns the key to store an account under (OIDC Core 5.7). Do not use the
// e-mail address: it changes, and may be given to another person.
func (u User) AccountKey() AccountKey { return AccountKey{Issuer: u.Issuer, Subject: u.Subject} }

// NormalizedEmail returns the address without surrounding spaces and in lower case, to
// show it or to look up an invitation. Only ASCII letters change, because some other
// letters become ASCII in lower case, which would make two addresses equal.
func (u User) NormalizedEmail() string { return lowerASCII(strings.TrimSpace(u.Email)) }

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// IsPublicAgent reports whether ProConnect attests that the person is an agent of the
// State, a local authority or a hospital. [RoleAgentPublicL1003] alone is not enough:
// private bodies with a public mission have it too.
func (u User) IsPublicAgent() bool {
	return slices.ContainsFunc(u.Roles, func(role string) bool {
		switch role {
		case RoleAgentPublic, RoleAgentPublicEtat, RoleAgentPublicTerritorial, RoleAgentPublicHospitalier:
			return true
		}
		return false
	})
}

// ValidSIRET reports whether SIRET has 14 digits and a correct check digit. For
// establishments of La Poste, SIREN 356000000, a sum of the digits that is a multiple of
// five is correct too. Use it for display and statistics, not to refuse people:
// ProConnect has accepted them.
func (u User) ValidSIRET() bool {
	const laPoste = "356000000"
	if !isDigits(u.SIRET, 14) {
		return false
	}
	return luhn(u.SIRET) || strings.HasPrefix(u.SIRET, laPoste) && digitSum(u.SIRET)%5 == 0
}

// ValidSIREN reports whether SIREN has nine digits and a correct check digit.
func (u User) ValidSIREN() bool { return isDigits(u.SIREN, 9) && luhn(u.SIREN) }

func isDigits(s string, n int) bool {
	return len(s) == n && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func digitSum(s string) int {
	sum := 0
	for _, c := range []byte(s) {
		sum += int(c - '0')
	}
	return sum
}

// luhn is the check of ISO/IEC 7812-1 annex B, on a string of digits.
func luhn(s string) bool {
	sum := 0
	for i, c := range []byte(s) {
		d := int(c - '0')
		if (len(s)-i)%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
