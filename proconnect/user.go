package proconnect

import (
	"slices"
	"strings"

	"github.com/oidcrp/oidcrp"
)

// A User is what ProConnect says of a person. A claim that it does not send, or whose
// scope the client does not have, leaves its field empty. There is no family_name,
// name, preferred_username or email_verified.
type User struct {
	// Issuer and Subject name the account: see [User.AccountKey].
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`

	GivenName string `json:"given_name"` // first names, separated by spaces
	UsualName string `json:"usual_name"` // the name in use, not always that of birth
	// Email is spelt as the identity provider has it: see [User.NormalizedEmail].
	Email string `json:"email"`
	// UID is the identity provider's own identifier, and not unique across them.
	UID string `json:"uid"`
	// SIRET is the organisation's establishment and SIREN the organisation. SIREN is
	// seldom there; the first nine digits of a SIRET are one.
	SIRET string `json:"siret"`
	SIREN string `json:"siren"`
	// IdPID is the identity provider, and IdPACR the acr as that one wrote it. The
	// level that counts is [oidcrp.Session.ACR].
	IdPID  string `json:"idp_id"`
	IdPACR string `json:"idp_acr"`
	// OrganizationLabel is for display. It is missing on the RIE, and elsewhere when
	// the directory of companies does not answer.
	OrganizationLabel string `json:"organization_label"`
	// Roles are values such as [RoleAgentPublic]. None means no public agent, or
	// that ProConnect could not find out.
	Roles               []string `json:"roles"`
	PhoneNumber         string   `json:"phone_number"`
	OrganizationalUnit  string   `json:"organizational_unit"`
	BelongingPopulation string   `json:"belonging_population"`
	ChorusDTMatricule   string   `json:"chorusdt:matricule"`
	ChorusDTSociete     string   `json:"chorusdt:societe"`
	// Custom is what else the identity provider sends, unchecked.
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

// UserFrom returns the person of a session. Its error is an [*oidcrp.Error]: with
// [oidcrp.CodeNoSession] if s is nil, with [oidcrp.CodeInternal] if a claim has
// another type than ProConnect gives it. A missing claim or a wrong SIRET is no error.
func UserFrom(s *oidcrp.Session) (User, error) {
	var u User
	if s == nil {
		return u, &oidcrp.Error{Op: "claims", Code: oidcrp.CodeNoSession}
	}
	if err := s.Claims(&u); err != nil {
		return User{}, err
	}
	return u, nil
}

// An AccountKey names an account for good. It is comparable.
type AccountKey struct{ Issuer, Subject string }

// String returns both in one text, for a column of a table: no issuer holds a space,
// so no two keys have the same.
func (k AccountKey) String() string { return k.Issuer + " " + k.Subject }

// AccountKey returns what to store an account under (OIDC Core 5.7). The e-mail
// address is no key: it changes, and may be given to somebody else.
func (u User) AccountKey() AccountKey { return AccountKey{Issuer: u.Issuer, Subject: u.Subject} }

// NormalizedEmail returns the address without surrounding spaces and in lower case,
// to show it or to find an invitation by it. Only ASCII letters change: other letters
// fold into ASCII ones, which would make two addresses one.
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
// State, a local authority or a hospital. [RoleAgentPublicL1003] alone does not count:
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

// ValidSIRET reports whether SIRET is one, by its 14 digits and its check digit. The
// establishments of La Poste, SIREN 356000000, may have a sum of digits that is a
// multiple of five instead. It is for display and statistics: ProConnect has let the
// person in.
func (u User) ValidSIRET() bool {
	const laPoste = "356000000"
	if !isDigits(u.SIRET, 14) {
		return false
	}
	return luhn(u.SIRET) || strings.HasPrefix(u.SIRET, laPoste) && digitSum(u.SIRET)%5 == 0
}

// ValidSIREN reports whether SIREN is one, by its nine digits and its check digit.
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

// luhn is the check of ISO/IEC 7812-1 annex B.
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
