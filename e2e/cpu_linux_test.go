package e2e

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the CPU time of a process that runs, all its threads together. The clock's number is what
// clock_getcpuclockid(3) makes of a process ID.
func cpuOf(pid int) (time.Duration, error) {
	const sched = 2
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|sched), &t)
	return time.Duration(t.Nano()), err
}
