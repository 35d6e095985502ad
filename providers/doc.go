// Package providers holds what single OpenID Providers need beyond a
// Config of package oidcrp. docs/providers.md lists the fields of a Config for providers that
// deviate from the specifications.
package providers
