//go:build !linux

package e2e

import (
	"errors"
	"time"
)

// cpuOf is the CPU time of a process; only Linux tells that of others while they run.
func cpuOf(int) (time.Duration, error) { return 0, errors.ErrUnsupported }
