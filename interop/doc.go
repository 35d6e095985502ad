// Package interop holds tests only: they drive examples/webapp and examples/proconnect, as programs
// of their own, against OpenID Providers and a browser that this project did not write, and hold
// the pages against axe-core.
//
// The providers are npm and Debian packages (see providers/README.md), so Node.js must be installed;
// the browser is Chromium. `bash interop/run` installs what is missing and runs everything. With
// SCREENSHOTS=/some/folder the tests leave pictures of the pages there.
package interop
