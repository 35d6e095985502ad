package proconnect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oidcrp/oidcrp"
)

// The access rules below are requirements for [oidcrp.Client.Require]. A rule without
// values lets nobody in. contact is whom to ask for access, as the end of a sentence,
// such as "support@app.example.gouv.fr"; if empty, the page does not mention it.

// SIRET requires the person's establishment to be one of sirets, written with or
// without spaces. It proves where the person works, not that they may act for it.
func SIRET(contact string, sirets ...string) oidcrp.Requirement {
	allowed := make([]string, len(sirets))
	for i, siret := range sirets {
		allowed[i] = strings.Join(strings.Fields(siret), "")
	}
	return require(fmt.Sprintf("siret %q", allowed),
		func(u User) bool { return u.SIRET != "" && slices.Contains(allowed, u.SIRET) },
		text{
			"This page is for certain organisations, and the one you signed in for (SIRET) is not among them. " +
				"If you belong to several, sign in for another.",
			"Cette page est réservée à certaines organisations, et celle au titre de laquelle vous vous êtes " +
				"connecté (SIRET) n’en fait pas partie. Si vous en avez plusieurs, connectez-vous au titre d’une autre.",
		}.withContact(contact))
}

// EmailDomain requires the part of the e-mail address after its last @ to be one of
// domains. ASCII case does not matter; a subdomain is another domain.
func EmailDomain(contact string, domains ...string) oidcrp.Requirement {
	allowed := make([]string, len(domains))
	for i, domain := range domains {
		allowed[i] = lowerASCII(strings.TrimPrefix(domain, "@"))
	}
	return require(fmt.Sprintf("email domain %q", allowed),
		func(u User) bool {
			at := strings.LastIndexByte(u.Email, '@')
			domain := lowerASCII(u.Email[at+1:])
			return at > 0 && domain != "" && slices.Contains(allowed, domain)
		},
		text{
			"This page is for people with an e-mail address of certain organisations, and yours is not one of those. " +
				"If you have such an address, sign in with it.",
			"Cette page est réservée aux personnes ayant une adresse électronique de certaines organisations, " +
				"et la vôtre n’en fait pas partie. Si vous avez une telle adresse, connectez-vous avec elle.",
		}.withContact(contact))
}

// IdentityProvider requires the person to sign in through one of the identity
// providers, given by their idp_id. If there is only one, the login goes straight to it.
func IdentityProvider(contact string, ids ...string) oidcrp.Requirement {
	ids = slices.Clone(ids)
	requirement := require(fmt.Sprintf("idp_id %q", ids),
		func(u User) bool { return u.IdPID != "" && slices.Contains(ids, u.IdPID) },
		text{
			"This page is for people who sign in with certain identity providers, and yours is not one of those. " +
				"If you have an account with another, sign in with it.",
			"Cette page est réservée aux personnes qui se connectent avec certains fournisseurs d’identité, " +
				"et le vôtre n’en fait pas partie. Si vous avez un compte chez un autre, connectez-vous avec lui.",
		}.withContact(contact))
	if len(ids) == 1 && ids[0] != "" {
		requirement.Ask = func(o *oidcrp.AuthOptions) { SetIDPHint(o, ids[0]) }
	}
	return requirement
}

// Role requires ProConnect to attest one of roles, such as [RoleAgentPublicEtat].
func Role(contact string, roles ...string) oidcrp.Requirement {
	roles = slices.Clone(roles)
	return require(fmt.Sprintf("role %q", roles),
		func(u User) bool {
			return slices.ContainsFunc(u.Roles, func(role string) bool {
				return role != "" && slices.Contains(roles, role)
			})
		},
		text{
			"This page is for people whose organisation has a certain status, such as a public administration. " +
				"ProConnect does not attest it for yours. If it should, your organisation can report that to ProConnect.",
			"Cette page est réservée aux personnes dont l’organisation a un certain statut, tel que celui " +
				"d’administration publique. ProConnect ne l’atteste pas pour la vôtre. " +
				"Si c’est une erreur, votre organisation peut la signaler à ProConnect.",
		}.withContact(contact))
}

// require makes a requirement of a condition on the person.
func require(name string, met func(User) bool, explain text) oidcrp.Requirement {
	return oidcrp.Requirement{
		Name: name,
		Met: func(s *oidcrp.Session, _ time.Time) bool {
			u, err := UserFrom(s)
			return err == nil && met(u)
		},
		Explain: explain.in,
	}
}

// A text is the same sentence in both languages.
type text struct{ en, fr string }

// in returns the text in "fr", and in English for any other language.
func (t text) in(language string) string {
	if language == "fr" {
		return t.fr
	}
	return t.en
}

func (t text) withContact(contact string) text {
	if contact = strings.TrimSpace(contact); contact == "" {
		return t
	}
	contact = strings.TrimSuffix(contact, ".") + "."
	return text{t.en + " To ask for access: " + contact, t.fr + " Pour demander l’accès\u00a0: " + contact}
}
