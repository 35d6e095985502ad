// Package store holds what the root package and oidctest, which does not import
// it, must have in common about session stores.
package store

import "errors"

// ErrNotFound is what a store returns for a key that it does not hold.
var ErrNotFound = errors.New("oidcrp: not found")
