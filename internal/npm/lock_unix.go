//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package npm

import (
	"errors"
	"os"
	"syscall"
)

// lock locks the file against other processes until it is closed.
func lock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
