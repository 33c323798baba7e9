package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/reference"
	"countersign/internal/slacksim"
)

const configToken = "xoxe.xoxp-1-sim"

// doctor runs countersign doctor in a folder with that .env; env is added to the environment. It returns the exit code, the
// lines, and what stands on standard error.
func (w *world) doctor(dotenv string, env []string, args ...string) (code int, said []string, stderr string) {
	w.Helper()
	cmd := exec.CommandContext(w.ctx, shared.binary, append([]string{"doctor"}, args...)...)
	cmd.Dir = w.TempDir()
	w.must(os.WriteFile(filepath.Join(cmd.Dir, ".env"), []byte(dotenv), 0o600))
	cmd.Env = env
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.Fatal(err)
	}
	searchLog(w.T, "countersign doctor", w.anonymous(out.String()+errs.String()), secretsOf(append(strings.Split(dotenv, "\n"), env...), w.sim))
	return cmd.ProcessState.ExitCode(), strings.Split(strings.TrimSpace(out.String()), "\n"), errs.String()
}

// setUp lets the app's manifest be seen, which is that of the documentation with the address of the bot in it, changed.
func (w *world) setUp(address string, change func(settings, features map[string]any)) {
	w.Helper()
	m := socketMode
	if w.http {
		m = httpMode
	}
	text, err := json.Marshal(manifest(w.T, m))
	w.must(err)
	var app map[string]any
	w.must(json.Unmarshal(bytes.ReplaceAll(text, []byte("https://countersign.example.com"), []byte(address)), &app))
	change(app["settings"].(map[string]any), app["features"].(map[string]any))
	w.sim.SetManifest(configToken, app)
}

func unchanged(_, _ map[string]any) {}

func TestDoctor(t *testing.T) {
	bothModes(t, func(w *world) {
		w.patience(3 * time.Minute)
		address := ""
		if w.http {
			p := w.launch([]string{"run"})
			address = "http://" + w.sees(p, `msg=listening address=(\S+)`)[1]
			w.sees(p, "msg=ready")
		} else {
			w.start("run")
		}
		w.setUp(address, unchanged)
		env := append(slices.Clone(w.env), "SLACK_CONFIG_TOKEN="+configToken, "REQUESTERS=members,"+w.ids("sre"))
		args := []string{"--channel", w.sim.Channel("general").ID}
		if w.http {
			args = append(args, "--url", address)
		}

		// Both poll, and are listed, a moment after they are ready.
		var (
			code int
			well []string
			errs string
		)
		for code, well, errs = w.doctor("", env, args...); !has(well, "process fits", "processes fit") && w.again(); {
			code, well, errs = w.doctor("", env, args...)
		}
		keys, err := reference.ParseKeys(w.variable("REFERENCE_KEYS"))
		w.must(err)
		ours := keys.IDs()[0]
		want := []string{"ok    configuration   has all that run needs; Slack by Socket Mode", "ok    bot token       @countersign in the workspace Stand-in (T0SIM0001), app A0APP00001"}
		if w.http {
			want[0] = "ok    configuration   has all that run needs; Slack by signed HTTP"
			want = append(want, "warn  signing secret  is not 32 hexadecimal digits, as those of Slack are: copy the Signing Secret from Basic Information of your Slack app") // The stand-in's.
		} else {
			want = append(want, "ok    app token       opens sockets of the app A0APP00001")
		}
		want = append(want, "ok    scopes          all 11 that are needed")
		if !w.http {
			want = append(want, "skip  socket          a bot runs: not opened, so that no click comes here: --socket opens it all the same")
		}
		want = append(want, "ok    manifest        has /greet, /approval, interactivity and app_home_opened")
		if w.http {
			want = append(want, "ok    request URL     "+address+"/slack/events leads to a bot with this signing secret")
		}
		want = append(want,
			"ok    channels        @countersign is in #general (C0GENERAL1)",
			"ok    people          APPROVERS: 2 people; REQUESTERS: all members, 1 user group",
			"ok    user groups     2 user groups, readable",
			"ok    Temporal        answers at "+w.variable("TEMPORAL_ADDRESS")+", without TLS",
			"ok    namespace       default, which keeps what has ended for 1 day; countersign audit sees no more",
			"ok    workers         1 worker polls the task queue "+w.queue,
			"ok    bots            1 bot runs",
			"ok    reference keys  "+ours+"; 2 processes fit",
			"ok    clock           agrees with Slack's",
		)
		if w.http {
			want = append(want, "Nothing failed; 1 warning.")
		} else {
			want = append(want, "All is well; 1 thing could not be checked.")
		}
		if code != 0 || !slices.Equal(well, want) || errs != "" {
			w.Fatalf("exit code %d, and standard error %q, of\n%s\nwant\n%s", code, errs, strings.Join(well, "\n"), strings.Join(want, "\n"))
		}

		code, said, _ := w.doctor("", env, append(args, "--json")...)
		var report struct {
			OK     *bool
			Checks []struct{ Name, Status, Says, Fix string }
		}
		if err := json.Unmarshal([]byte(strings.Join(said, "\n")), &report); code != 0 || err != nil || report.OK == nil || !*report.OK || len(report.Checks) != len(want)-1 ||
			report.Checks[1].Name != "bot token" || report.Checks[1].Status != "ok" || report.Checks[1].Says == "" {
			w.Errorf("exit code %d, %v, of %s", code, err, strings.Join(said, "\n"))
		}

		scopes, elsewhere := w.sim.Scopes(), "127.0.0.1:1"
		afterTemporal := []string{"skip  namespace       after Temporal", "skip  workers         after Temporal", "skip  bots            after Temporal", "skip  reference keys  after Temporal"}
		unseenBot := "skip  socket          not opened, for it cannot be seen whether a bot runs"
		afterToken := func(what string) (all []string) {
			for _, check := range []string{"scopes         ", "channels       ", "people         ", "user groups    "} {
				all = append(all, "skip  "+check+" after "+what)
			}
			return all
		}
		ofWhichApp := "ok    app token       opens sockets of the app A0APP00001; of which app the bot token is could not be seen"
		for name, m := range map[string]struct {
			in     mode // empty: in both
			env    []string
			args   []string
			do     func()
			undo   func()
			want   []string // the beginnings of the lines that are others
			socket []string // of others in Socket Mode
			http   []string // of others with signed HTTP
			no     int      // of those of want that fail
		}{
			"a token of the wrong kind": {
				env: []string{"SLACK_BOT_TOKEN=" + slacksim.DefaultAppToken}, no: 1,
				want:   append(afterToken("SLACK_BOT_TOKEN"), "FAIL  SLACK_BOT_TOKEN holds an app-level token (xapp-), which belongs in SLACK_APP_TOKEN", "skip  bot token       after SLACK_BOT_TOKEN", "skip  clock           after SLACK_BOT_TOKEN"),
				socket: []string{ofWhichApp}, http: []string{"skip  manifest        after SLACK_BOT_TOKEN"},
			},
			"an unknown token": {
				env: []string{"SLACK_BOT_TOKEN=xoxb-another"}, no: 1,
				want:   append(afterToken("bot token"), "FAIL  bot token       Slack refuses SLACK_BOT_TOKEN (invalid_auth): install the app again, and copy"),
				socket: []string{ofWhichApp}, http: []string{"skip  manifest        after bot token"},
			},
			"a token of another app": {
				in: socketMode, env: []string{"SLACK_APP_TOKEN=xapp-1-A0OTHER001-1-sim"}, no: 1,
				do: func() { w.sim.SetAppToken("xapp-1-A0OTHER001-1-sim") }, undo: func() { w.sim.SetAppToken(slacksim.DefaultAppToken) },
				want: []string{"FAIL  app token       is of the app A0OTHER001, and SLACK_BOT_TOKEN of the app A0APP00001: take both from one app"},
			},
			"an unknown app token": {
				in: socketMode, env: []string{"SLACK_APP_TOKEN=xapp-another"}, no: 1,
				want: []string{"FAIL  app token       Slack refuses SLACK_APP_TOKEN (invalid_auth): make an app-level token", "skip  socket          after app token"},
			},
			"no Slack": {
				env: []string{"SLACK_API_URL=http://" + elsewhere + "/api/"}, no: 1,
				want:   append(afterToken("bot token"), "FAIL  bot token       Slack at http://127.0.0.1:1/api/ does not answer (", "skip  clock           after bot token"),
				socket: []string{"FAIL  app token       Slack at http://127.0.0.1:1/api/ does not answer (", "skip  socket          after app token", "FAIL  manifest        the app A0APP00001: Slack does not answer ("},
				http:   []string{"skip  manifest        after bot token"},
			},
			"scopes are missing": {
				do: func() {
					w.sim.SetScopes(slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == "usergroups:read" || s == "im:history" })...)
				},
				undo: func() { w.sim.SetScopes(scopes...) }, no: 1,
				want: []string{"FAIL  scopes          lacks usergroups:read (", "warn  scopes          lacks im:history (", "skip  user groups     after scopes"},
			},
			"not in the channel": {
				args: []string{"--channel", w.sim.Channel("random").ID}, no: 1,
				want: []string{"FAIL  channels        @countersign is not in #random (C0RANDOM01): type /invite @countersign in it"},
			},
			"no such channel": {args: []string{"--channel", "C0NOWHERE1"}, no: 1, want: []string{"FAIL  channels        C0NOWHERE1 is no channel of the workspace"}},
			"an unknown group": {
				env: []string{"APPROVERS=" + w.ids("bob") + ",S0NOBODY01"}, no: 1,
				want: []string{"ok    people          APPROVERS: 1 person, 1 user group;", "FAIL  user groups     APPROVERS names S0NOBODY01, which is no user group of the workspace: copy the group's ID"},
			},
			"people who cannot": {
				env: []string{"APPROVERS=" + w.ids("bob,former,external") + ",U0NOBODY01"}, no: 3,
				want: []string{"FAIL  people          APPROVERS names former (", "FAIL  people          APPROVERS names external (", "FAIL  people          APPROVERS names U0NOBODY01, who is nobody in the workspace Stand-in"},
			},
			"no approvers": {env: []string{"APPROVERS="}, want: []string{"warn  people          APPROVERS is empty"}},
			"a plan without groups": {
				do: func() { w.sim.Inject(slacksim.Fault{Method: "usergroups.list", Error: "plan_upgrade_required"}) }, undo: w.sim.ClearFaults, no: 1,
				want: []string{"FAIL  user groups     REQUESTERS names S0SRE00001, and the workspace's plan has no user groups: name people"},
			},
			"no Temporal": {
				env: []string{"TEMPORAL_ADDRESS=" + elsewhere}, no: 1, socket: []string{unseenBot},
				want: append(slices.Clone(afterTemporal), "FAIL  Temporal        at 127.0.0.1:1 is not reachable ("),
			},
			"Temporal without TLS": {
				env: []string{"TEMPORAL_TLS=true"}, no: 1, socket: []string{unseenBot},
				want: append(slices.Clone(afterTemporal), "FAIL  Temporal        at "+w.variable("TEMPORAL_ADDRESS")+" does not speak TLS ("),
			},
			"another server than Temporal": {
				env: []string{"TEMPORAL_ADDRESS=" + strings.TrimPrefix(w.url, "http://")}, no: 1, socket: []string{unseenBot},
				want: append(slices.Clone(afterTemporal), "FAIL  Temporal        at "+strings.TrimPrefix(w.url, "http://")+" takes connections, but does not answer as Temporal's frontend does"),
			},
			"no namespace": {
				env: []string{"TEMPORAL_NAMESPACE=nowhere"}, no: 1, socket: []string{unseenBot},
				want: []string{"FAIL  namespace       there is no nowhere: set TEMPORAL_NAMESPACE, or create it", "skip  workers         after namespace", "skip  bots            after namespace", "skip  reference keys  after namespace"},
			},
			"another task queue": {
				env: []string{"TASK_QUEUE=" + w.queue + "-elsewhere"}, socket: []string{"warn  socket          opens, but "},
				want: []string{"warn  workers         nobody polls the task queue " + w.queue + "-elsewhere, so nothing is asked: start", "warn  bots            none runs", "skip  reference keys  " + ours + "; nobody runs with whom to compare them"},
			},
			"other keys": {
				env: []string{"REFERENCE_KEYS=" + reference.NewKey()}, no: 2,
				want: []string{"FAIL  reference keys  a worker seals buttons with " + ours + ", and here are only ", "FAIL  reference keys  here "},
			},
			"a command is not in the manifest": {
				do: func() {
					w.setUp(address, func(_, features map[string]any) { features["slash_commands"] = features["slash_commands"].([]any)[:1] })
				}, undo: func() { w.setUp(address, unchanged) }, no: 1,
				want: []string{"FAIL  manifest        has no command /approval: add it under Slash Commands, or take the new manifest"},
			},
			"interactivity is off": {
				do: func() {
					w.setUp(address, func(settings, _ map[string]any) { delete(settings, "interactivity") })
				}, undo: func() { w.setUp(address, unchanged) }, no: 1,
				want: []string{"FAIL  manifest        interactivity is off, so no button works: turn it on under Interactivity & Shortcuts"},
			},
			"Socket Mode is the other way": {
				do: func() {
					w.setUp(address, func(settings, _ map[string]any) { settings["socket_mode_enabled"] = w.http })
				}, undo: func() { w.setUp(address, unchanged) }, no: 1,
				socket: []string{"FAIL  manifest        Socket Mode is off"}, http: []string{"FAIL  manifest        Socket Mode is on"},
			},
			"an old configuration token": {env: []string{"SLACK_CONFIG_TOKEN=xoxe.xoxp-another"}, no: 1, want: []string{"FAIL  manifest        Slack refuses SLACK_CONFIG_TOKEN (invalid_auth): generate another"}},
			"another signing secret": {
				in: httpMode, env: []string{"SLACK_SIGNING_SECRET=another"}, no: 1,
				want: []string{"FAIL  request URL     " + address + "/slack/events refuses the signature (HTTP status 401 "},
			},
			"another host in the manifest": {
				in: httpMode, do: func() { w.setUp("https://countersign.example.com", unchanged) }, undo: func() { w.setUp(address, unchanged) }, no: 3,
				want: []string{
					"FAIL  manifest        the Request URL of the command /greet is https://countersign.example.com/slack/events: set it to " + address, "FAIL  manifest        the Request URL of the command /approval is",
					"FAIL  manifest        the Request URL of interactivity is", "FAIL  manifest        the Request URL of events is",
				},
			},
			"nobody at the Request URL":     {in: httpMode, args: []string{"--url", "http://" + elsewhere}, do: func() { w.setUp("http://"+elsewhere, unchanged) }, undo: func() { w.setUp(address, unchanged) }, no: 1, want: []string{"FAIL  request URL     http://127.0.0.1:1/slack/events does not answer ("}},
			"another site at it":            {in: httpMode, args: []string{"--url", w.url}, do: func() { w.setUp(w.url, unchanged) }, undo: func() { w.setUp(address, unchanged) }, no: 1, want: []string{"FAIL  request URL     " + w.url + "/slack/events leads to something else (HTTP status 404"}},
			"a clock that is behind":        {do: func() { w.sim.SetSkew(2 * time.Minute) }, undo: func() { w.sim.SetSkew(0) }, no: 1, want: []string{"FAIL  clock           is "}},
			"a clock that is a little fast": {do: func() { w.sim.SetSkew(-45 * time.Second) }, undo: func() { w.sim.SetSkew(0) }, want: []string{"warn  clock           is 4"}},
		} {
			if m.in != "" && (m.in == httpMode) != w.http {
				continue
			}
			want := append(slices.Clone(m.want), m.socket...)
			if w.http {
				want = append(slices.Clone(m.want), m.http...)
			}
			if m.do != nil {
				m.do()
			}
			code, said, stderr := w.doctor("", append(slices.Clone(env), m.env...), append(slices.Clone(args), m.args...)...)
			if m.undo != nil {
				m.undo()
			}
			if m.no > 0 {
				if code != 1 || !strings.HasSuffix(stderr, " checks failed.\n") {
					w.Errorf("%s: exit code %d, want 1; standard error is %q", name, code, stderr)
				}
			} else if code != 0 || stderr != "" {
				w.Errorf("%s: exit code %d, want 0; standard error is %q", name, code, stderr)
			}
			var others []string
			for _, l := range said {
				if !slices.Contains(well, l) && !strings.HasSuffix(l, "checked.") && !strings.HasSuffix(l, "warning.") && !strings.HasSuffix(l, "warnings.") {
					others = append(others, l)
				}
			}
			for _, prefix := range want {
				if !slices.ContainsFunc(others, func(l string) bool { return strings.HasPrefix(l, prefix) }) {
					w.Errorf("%s: no line begins with\n%s", name, prefix)
				}
			}
			if len(others) != len(want) {
				w.Errorf("%s: %d lines are others, want %d", name, len(others), len(want))
			}
			if w.Failed() {
				w.Fatalf("%s:\n%s", name, strings.Join(said, "\n"))
			}
		}
		// The deployment is as it was.
		if code, said, _ := w.doctor("", env, args...); code != 0 || !slices.Equal(said, well) {
			w.Errorf("exit code %d at last, of\n%s", code, strings.Join(said, "\n"))
		}
	})
}

// has reports whether a line has one of what.
func has(lines []string, what ...string) bool {
	return slices.ContainsFunc(lines, func(l string) bool {
		return slices.ContainsFunc(what, func(s string) bool { return strings.Contains(l, s) })
	})
}

// Before the first start nobody runs: that is no fault, and the socket is opened, and closed again.
func TestDoctorBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	dotenv := strings.Join(w.env[2:], "\n")
	code, said, errs := w.doctor(dotenv, w.env[:2])
	if code != 0 || errs != "" || !has(said, "ok    socket          opens") || !has(said, "warn  workers         nobody polls") || !has(said, "warn  bots            none runs") ||
		!has(said, "skip  manifest        commands, interactivity and events are not seen") || !has(said, "ok    channels        @countersign is in 4 channels") || said[len(said)-1] != "Nothing failed; 2 warnings; 2 things could not be checked." {
		w.Errorf("exit code %d, standard error %q, of\n%s", code, errs, strings.Join(said, "\n"))
	}
	w.must(w.sim.WaitConnections(w.ctx, 0))
	if posted := w.sim.State().Messages; len(posted) > 0 {
		w.Errorf("it has posted %+v", posted)
	}

	// With --socket it looks beside a bot, which goes on taking the clicks.
	w.start("run")
	if code, said, _ := w.doctor(dotenv, w.env[:2], "--socket"); code != 0 || !has(said, "ok    socket          opens; 1 other of the app is open", "ok    socket          opens; 2 others") {
		w.Errorf("exit code %d of\n%s", code, strings.Join(said, "\n"))
	}
	run := w.ask("general", "World")
	w.click(w.as("bob", "general"), w.card("general", "Greet World"), "approve", true)
	if got, err := w.result(run); got != "Hello, World!" || err != nil {
		w.Errorf("Greeting returned %q, %v", got, err)
	}
}

// With nothing configured it says all that is missing, one line for each, and looks at what there is.
func TestDoctorOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	bare := []string{w.env[0], w.env[1], "TEMPORAL_ADDRESS=" + w.variable("TEMPORAL_ADDRESS")}
	code, said, errs := w.doctor("", bare)
	if code != 1 || !strings.HasPrefix(errs, "countersign: 3 of ") || !has(said, "FAIL  SLACK_BOT_TOKEN is missing: copy") || !has(said, "FAIL  SLACK_SIGNING_SECRET is missing: copy") ||
		!has(said, "FAIL  REFERENCE_KEYS  is missing: run `countersign key`") || !has(said, "ok    namespace       default") {
		w.Errorf("exit code %d, standard error %q, of\n%s", code, errs, strings.Join(said, "\n"))
	}
	if code, said, _ := w.doctor("", append(bare, "SLACK_BOT_TOKEN="+slacksim.DefaultBotToken, "SLACK_API_URL="+w.variable("SLACK_API_URL"), "REFERENCE_KEYS="+reference.NewKey()), "--role", "worker"); code != 0 || has(said, "socket  ", "request URL", "signing secret") {
		w.Errorf("exit code %d of a worker:\n%s", code, strings.Join(said, "\n"))
	}
	for _, args := range [][]string{{"--role", "demo"}, {"--channel", "#general"}, {"--url", "countersign.example.com"}, {"--url", "https://a:b@countersign.example.com"}, {"now"}, {"--what"}} {
		if code, said, errs := w.doctor("", bare, args...); code != 2 || said[0] != "" || !strings.HasPrefix(errs, "countersign: ") {
			w.Errorf("%q: exit code %d, want 2; it says %q and %q", args, code, said, errs)
		}
	}
}

// A worker that seals with another key than the bot has shows, whichever of the two the configuration is of.
func TestDoctorOfOtherKeys(t *testing.T) {
	oneMode(t, func(w *world) {
		other := "REFERENCE_KEYS=" + reference.NewKey()
		w.start("bot")
		w.start("worker", other)
		for _, tc := range []struct {
			role string
			env  []string
			want string
		}{
			{"bot", nil, "FAIL  reference keys  a worker seals buttons with "}, {"worker", []string{other}, "FAIL  reference keys  here "},
		} {
			code, said, _ := 0, []string(nil), ""
			for code, said, _ = w.doctor("", append(slices.Clone(w.env), tc.env...), "--role", tc.role); !has(said, tc.want) && w.again(); {
				code, said, _ = w.doctor("", append(slices.Clone(w.env), tc.env...), "--role", tc.role)
			}
			if code != 1 || !has(said, "give bots and workers the same REFERENCE_KEYS, and restart them") {
				w.Errorf("exit code %d of\n%s", code, strings.Join(said, "\n"))
			}
		}
	})
}
