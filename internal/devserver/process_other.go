//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package devserver

import (
	"os"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return nil }

// interrupt ends the process: there is no signal to ask it with.
func interrupt(p *os.Process) { _ = p.Kill() }

func kill(p *os.Process) { _ = p.Kill() }

// tryLock does not lock: two processes that fetch at once do the work twice, and the last one's result stays.
func tryLock(*os.File) (bool, error) { return true, nil }
