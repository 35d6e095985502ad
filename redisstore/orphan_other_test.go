//go:build !linux

package redisstore

import "syscall"

// orphan does nothing here: a server outlives a test run that is killed.
var orphan *syscall.SysProcAttr
