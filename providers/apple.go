package providers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	appleIssuer = "https://appleid.apple.com"
	// appleSecretLifetime is far below the six months that Apple allows: a secret is made
	// for one request.
	appleSecretLifetime = 10 * time.Minute
)

// An AppleKey is a key for Sign in with Apple, from the developer account. All fields but
// Now are required.
type AppleKey struct {
	TeamID   string // of the account, 10 characters
	KeyID    string // of the key, 10 characters
	ClientID string // the services id, as in the Config
	// Key is the private key in the .p8 file that Apple issued once, as
	// oidcrp.ParseClientKeys reads it.
	Key jose.JSONWebKey
	// Now is the clock; if nil, time.Now.
	Now func() time.Time
}

// ClientSecret returns a function for the ClientSecretFunc of oidcrp.Config. It makes Apple's
// client secret: a JWT signed with ES256, which is valid for ten minutes. It makes a new
// one for each request, so that none has to be renewed. The client authenticates by
// client_secret_post. The error names the field that is wrong.
func (a AppleKey) ClientSecret() (func(ctx context.Context) (string, error), error) {
	for _, field := range []struct{ name, value string }{
		{"TeamID", a.TeamID}, {"KeyID", a.KeyID}, {"ClientID", a.ClientID},
	} {
		if field.value == "" || strings.TrimSpace(field.value) != field.value {
			return nil, fmt.Errorf("providers: AppleKey.%s is empty, or begins or ends with white space", field.name)
		}
	}
	key, ok := a.Key.Key.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("providers: AppleKey.Key is not a private P-256 key: read the .p8 file with oidcrp.ParseClientKeys")
	}
	options := (&jose.SignerOptions{}).WithHeader("kid", a.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		return nil, fmt.Errorf("providers: AppleKey.Key: %w", err)
	}
	now := a.Now
	if now == nil {
		now = time.Now
	}
	return func(context.Context) (string, error) {
		issued := now()
		return jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: a.TeamID, Subject: a.ClientID, Audience: jwt.Audience{appleIssuer},
			IssuedAt: jwt.NewNumericDate(issued), Expiry: jwt.NewNumericDate(issued.Add(appleSecretLifetime)),
		}).Serialize()
	}, nil
}

// Format writes the ids, and not the key, whatever the verb.
func (a AppleKey) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "AppleKey(team %s, key %s, client %s)", a.TeamID, a.KeyID, a.ClientID)
}
