// Package interop contains tests only. They run examples/webapp and examples/proconnect as separate
// programs against OpenID Providers and browsers that are developed elsewhere, check the pages with
// axe-core, run three replicas of webapp with one redis-server, and put Apache in front of an app as a
// shared cache, and nginx with its default buffers.
//
// The providers are npm and Debian packages, a Maven artefact and a Go module (see
// providers/README.md), so Node.js and Java are required. The browsers are Chromium, and for
// [TestEngines] Firefox and WebKitGTK. `bash interop/run` installs what is missing and runs everything.
// If SCREENSHOTS names a folder, the tests write pictures of the pages to it. If OIDCRP_MATRIX names a
// file, a run that passes writes into it which provider was tested with what.
package interop
