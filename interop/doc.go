// Package interop holds tests only: they drive examples/webapp, as a program of its own, against
// OpenID Providers and a browser that this project did not write, and three copies of it at once with
// a redis-server between them.
//
// The providers are npm and Debian packages (see providers/README.md), so Node.js must be installed;
// the browser is Chromium. `bash interop/run` installs what is missing and runs everything.
package interop
