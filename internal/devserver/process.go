package devserver

import (
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// process is a child process with its descendants: a process group, where the system has them. A signal of the
// terminal does not reach it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended
	err  error         // how it ended; to be read after done

	mu    sync.Mutex
	asked bool // to end, by us
}

// launch starts cmd.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = time.Second // for what still holds the output when the child has ended
	started := make(chan error)
	go func() {
		// Linux ends the child with the thread that started it: this one waits for the child.
		// https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

// stop asks the child to end, and kills it if it has not ended in time. It waits until the child has ended.
func (p *process) stop(in time.Duration) (ended, killed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return !p.asked, false
	default:
	}
	p.asked = true
	interrupt(p.cmd.Process)
	timer := time.NewTimer(in)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		killed = true
	}
	kill(p.cmd.Process) // what remains of the group
	<-p.done
	return false, killed
}

// kill ends the child at once, and waits until it has ended.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return // its ID may be another's by now
	default:
	}
	p.asked = true
	kill(p.cmd.Process)
	<-p.done
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 1000 // bytes

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if extra := len(t.text) - tailSize; extra > 0 {
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(b), nil
}

// suffix is what to put after an error: nothing if nothing was written.
func (t *tail) suffix() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := strings.TrimSpace(string(t.text)); text != "" {
		return ": " + text
	}
	return ""
}
