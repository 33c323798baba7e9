package e2e

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"countersign/internal/slacksim"
)

// At a terminal what is secret does not show, and Ctrl-C at such a question leaves the terminal as it was, and no file.
func TestSetupAtATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	dir := w.TempDir()
	keys, line := w.terminal()
	shown := newLines()
	go func() {
		b := make([]byte, 1024)
		for {
			n, err := keys.Read(b)
			if err != nil {
				return
			}
			_, _ = shown.Write(b[:n])
		}
	}()
	begin := func() *process {
		cmd := w.setup(dir, "setup")
		cmd.Stdin = line
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // its standard input
		return w.run("countersign setup", cmd)
	}
	types := func(p *process, prompt, answer string, secret bool) {
		w.sees(p, prompt)
		for w.echoes(line) == secret && w.again() {
		}
		_, err := keys.WriteString(answer)
		w.must(err)
	}

	p := begin()
	types(p, "App-level token.*: ", slacksim.DefaultAppToken+"\n", true)
	types(p, "Bot User OAuth Token, .*: ", "\x03", true)
	if w.ends(p) != 130 || !w.echoes(line) {
		t.Errorf("after Ctrl-C it ends with %d, and what is typed shows: %v", p.code, w.echoes(line))
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("after Ctrl-C there are %v: %v", files, err)
	}

	p = begin()
	types(p, "App-level token.*: ", slacksim.DefaultAppToken+"\n", true)
	types(p, "Bot User OAuth Token, .*: ", slacksim.DefaultBotToken+"\n", true)
	types(p, "Approvers: ", w.sim.Person("bob").ID()+"\n", false)
	types(p, "Address.*: ", w.variable("TEMPORAL_ADDRESS")+"\n", false)
	types(p, "Namespace.*: ", "\n", false)
	if w.ends(p) != 0 {
		t.Errorf("it ends with %d", p.code)
	}
	if typed := shown.String(); !strings.Contains(typed, w.sim.Person("bob").ID()) || strings.Contains(typed, slacksim.DefaultAppToken) || strings.Contains(typed, slacksim.DefaultBotToken) {
		t.Errorf("at the terminal shows %q", typed)
	}
	w.runsIn(dir, p)
}

// terminal is a terminal: what a person does at it, and what a program has of it.
func (w *world) terminal() (keys, line *os.File) {
	w.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.Skipf("there are no pseudo-terminals here: %v", err)
	}
	w.Cleanup(func() { _ = keys.Close() })
	w.must(unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	w.must(err)
	line, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	w.must(err)
	w.Cleanup(func() { _ = line.Close() })
	return keys, line
}

// echoes reports whether what is typed shows.
func (w *world) echoes(line *os.File) bool {
	w.Helper()
	mode, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
	w.must(err)
	return mode.Lflag&unix.ECHO != 0
}
