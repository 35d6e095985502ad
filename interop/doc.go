// Package interop holds tests only: they drive examples/webapp and examples/proconnect, as programs
// of their own, against OpenID Providers and a browser that this project did not write, hold the pages
// against axe-core, and run three copies of webapp at once with a redis-server between them.
//
// The providers are npm and Debian packages (see providers/README.md), so Node.js must be installed;
// the browser is Chromium. `bash interop/run` installs what is missing and runs everything. With
// SCREENSHOTS=/some/folder the tests leave pictures of the pages there.
package interop
