package interop

import "syscall"

// orphan makes the system end a process whose parent is gone, when a test run was killed.
var orphan = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
