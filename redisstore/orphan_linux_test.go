package redisstore

import "syscall"

// orphan makes the system end a server whose test run was killed.
var orphan = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
