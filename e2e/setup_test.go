package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/joho/godotenv"

	"countersign/internal/slacksim"
)

// Who has nothing but the binary answers the questions of setup; with the file that it writes the program runs.
func TestSetup(t *testing.T) {
	bothModes(t, func(w *world) {
		dir := w.TempDir()
		args, answers := []string{"setup"}, []string{slacksim.DefaultAppToken}
		if w.http {
			args, answers = append(args, "--http", "https://countersign.example.com"), []string{slacksim.DefaultSigningSecret, "127.0.0.1:0"}
		}
		answers = append(answers, slacksim.DefaultBotToken, w.sim.Person("bob").ID(), w.variable("TEMPORAL_ADDRESS"), "default", "")
		p := w.inFolder(dir, strings.Join(answers, "\n"), args...)
		<-p.ended
		if p.code != 0 {
			w.Errorf("setup ends with %d, want what the doctor ends with: 0\n%s", p.code, p.log)
		}
		w.runsIn(dir, p)

		// Once more, and all stays as it is.
		before := w.configured(dir)
		if p := w.inFolder(dir, strings.Join(answers, "\n"), args...); w.ends(p) != 2 || !strings.Contains(p.log.String(), "--force") {
			w.Errorf("setup where a file is ends with %d\n%s", p.code, p.log)
		}
		if p := w.inFolder(dir, strings.Repeat("\n", len(answers)), append(args, "--force")...); w.ends(p) != 0 {
			w.Errorf("setup --force ends with %d\n%s", p.code, p.log)
		}
		for name, value := range before {
			if w.configured(dir)[name] != value {
				w.Errorf("%s is another after setup --force", name)
			}
		}
	})
}

// inFolder runs the binary in a folder, without the variables of the world, but those by which tests do not get into each
// other's way.
func (w *world) inFolder(dir, stdin string, args ...string) *process {
	w.Helper()
	cmd := w.setup(dir, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return w.run("countersign "+args[0], cmd)
}

func (w *world) setup(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(shared.binary, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TASK_QUEUE=" + w.queue, "LOG_LEVEL=debug"}
	if args[0] == "setup" {
		cmd.Env = append(cmd.Env, "SLACK_API_URL="+w.variable("SLACK_API_URL"))
	}
	return cmd
}

func (w *world) ends(p *process) int {
	w.Helper()
	select {
	case <-p.ended:
	case <-w.ctx.Done():
		w.Fatalf("it does not end:\n%s", p.log)
	}
	return p.code
}

// configured are the variables of the folder's .env.
func (w *world) configured(dir string) map[string]string {
	w.Helper()
	vars, err := godotenv.Read(filepath.Join(dir, ".env"))
	w.must(err)
	return vars
}

// runsIn checks what setup has written, and asks and decides with what starts from that.
func (w *world) runsIn(dir string, setup *process) {
	w.Helper()
	info, err := os.Stat(filepath.Join(dir, ".env"))
	w.must(err)
	if info.Mode() != 0o600 {
		w.Errorf(".env has the mode %v", info.Mode())
	}
	var secrets []string
	for name, value := range w.configured(dir) {
		secrets = append(secrets, name+"="+value)
	}
	if !slices.ContainsFunc(secrets, func(v string) bool { return strings.HasPrefix(v, "REFERENCE_KEYS=") && len(v) > 40 }) {
		w.Error(".env has no key")
	}
	w.search("countersign setup", setup.log.String(), secrets)

	p := w.inFolder(dir, "", "run")
	if w.http {
		w.sim.SetRequestURL("http://" + w.sees(p, `msg=listening address=(\S+)`)[1] + "/slack/events")
	}
	w.sees(p, `msg=ready`)
	w.greet("general", "Europa") // The words of setup have World in them.
	card := w.card("general", "Europa")
	w.click(w.as("bob", "general"), card, "approve", true)
	w.closed(card, "Approved")
	w.message("general", func(m slacksim.Message) bool { return m.Text == "Hello, Europa!" })
	w.stop(p)
	w.search("countersign run", p.log.String(), secrets)
}
