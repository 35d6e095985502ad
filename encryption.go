package oidcrp

// This file opens what the provider encrypted for this client (RFC 7516, OIDC
// Core 10.2).

import (
	"errors"

	"github.com/go-jose/go-jose/v4"

	josekit "github.com/oidcrp/oidcrp/internal/jose"
)

// decrypter opens tokens with the client's own keys.
type decrypter struct {
	keys   []jose.JSONWebKey
	secret string
}

// decrypt returns the content of compact. alg and enc are those of the
// registration, whatever the token's header says. If alg is empty, nothing is
// encrypted, and decrypt returns compact unchanged.
func (d *decrypter) decrypt(token, compact, alg, enc string) (string, error) {
	plain, err := josekit.Decrypt(compact, alg, enc, d.keys, d.secret)
	if err != nil {
		return "", refuseJOSE(token, err)
	}
	return plain, nil
}

// refuseJOSE turns an error of internal/jose into a [*TokenError] about token.
func refuseJOSE(token string, err error) error {
	var cause *josekit.Error
	if !errors.As(err, &cause) {
		return refuseToken(token, "format", "a token that can be read", "")
	}
	return refuseToken(token, cause.Check, cause.Expected, cause.Got)
}
