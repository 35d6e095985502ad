package interop

import "path/filepath"

// axe is the accessibility engine, to be run in a page.
var axe = filepath.Join("axe", "node_modules", "axe-core", "axe.min.js")
