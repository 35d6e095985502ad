//go:build !linux

package interop

import "syscall"

// orphan does nothing here: the stand-ins end with their standard input, webapp does not.
var orphan *syscall.SysProcAttr
