// Package providers prepares the configuration of package oidcrp for OpenID Providers
// other than ProConnect.
package providers
