package main

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// runGroup runs a command in a process group of its own, and kills the whole group when the command's context ends: docker
// starts compose as a child, and killing only the parent would leave that one running.
func runGroup(command *exec.Cmd) error {
	command.SysProcAttr = processGroup()
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = 2 * time.Second // for a grandchild that left the group and holds our pipe
	// The kernel ties a child's death signal to the thread that started it, not to the process: hold that thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := command.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // the command itself ended well
	}
	return err
}
