package main

import "syscall"

// processGroup also asks the kernel to kill the command when this server is killed: a restarted server must not race with
// the commands of the one before.
func processGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
