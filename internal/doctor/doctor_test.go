package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/sdk/client"

	"countersign/internal/config"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
)

// lines are what the examination tells, each with its beginning alone where that is what is wanted.
func (w *world) lines(t *testing.T) (all []string) {
	t.Helper()
	r := w.Examine(t.Context(), func(f Finding) { all = append(all, f.String()) })
	if r.OK != !slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l, "FAIL") }) {
		t.Errorf("ok is %v of\n%s", r.OK, strings.Join(all, "\n"))
	}
	for _, l := range all {
		if strings.Contains(l, "secret\n") || strings.Contains(l, "-secret") || strings.Contains(l, "\n") {
			t.Errorf("a line shows a secret, or is several: %s", l)
		}
	}
	return all
}

func TestAllIsWell(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		world func(*testing.T) *world
		want  []string
	}{
		"socket": {func(t *testing.T) *world { return newWorld(t, true, slackSocket(t, hello)) }, []string{
			"ok    configuration   has all that run needs; Slack by Socket Mode",
			"ok    bot token       @countersign in the workspace Acme (T1), app A0123456789",
			"ok    app token       opens sockets of the app A0123456789",
			"ok    scopes          all 11 that are needed",
			"ok    socket          opens",
		}},
		"http": {func(t *testing.T) *world { return newWorld(t, false, bot(t, http.StatusOK)) }, []string{
			"ok    configuration   has all that run needs; Slack by signed HTTP",
			"ok    bot token       @countersign in the workspace Acme (T1), app A0123456789",
			"ok    signing secret  has the form of one",
			"ok    scopes          all 11 that are needed",
		}},
		"worker": {func(t *testing.T) *world {
			w := newWorld(t, false, "")
			w.Role = config.Worker
			return w
		}, []string{
			"ok    configuration   has all that worker needs; nothing is received from Slack",
			"ok    bot token       @countersign in the workspace Acme (T1), app A0123456789",
			"ok    scopes          all 11 that are needed",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tc.world(t)
			want := append(tc.want, "ok    manifest        has /greet, /approval, interactivity and app_home_opened")
			if name == "http" {
				want = append(want, "ok    request URL     "+w.slack.manifest.EventsURL+" leads to a bot with this signing secret")
			}
			want = append(want,
				"ok    channels        @countersign is in #general (C1)",
				"ok    people          APPROVERS: 1 person, 1 user group; REQUESTERS: all members, 1 person",
				"ok    user groups     1 user group, readable",
				"ok    Temporal        answers at 127.0.0.1:1, without TLS",
				"ok    namespace       default, which keeps what has ended for 3 days; countersign audit sees no more",
				"ok    workers         1 worker polls the task queue queue",
				"ok    bots            1 bot runs",
				"ok    reference keys  "+w.ours+"; 2 processes fit",
				"ok    clock           agrees with Slack's",
			)
			if diff := cmp.Diff(want, w.lines(t)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// bot answers at its Request URL with that status, and where that is 200 as a bot does.
func bot(t *testing.T, status int) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var c struct{ Type, Challenge string }
		if err := json.Unmarshal(body, &c); err != nil || c.Type != "url_verification" || r.URL.Path != "/slack/events" || r.Header.Get("X-Slack-Signature") == "" {
			t.Errorf("%s %s %s", r.Method, r.URL, body)
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "https://elsewhere.example/")
		}
		w.WriteHeader(status)
		if status == http.StatusOK {
			_ = json.NewEncoder(w).Encode(map[string]string{"challenge": c.Challenge})
		} else {
			_, _ = io.WriteString(w, "The signature\x1b[31m is wrong.\nmore")
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// Each mistake shows in its own lines, and changes no other. Where something else cannot be checked then, that says so.
func TestMistakes(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	afterToken := []string{"skip  scopes          after bot token", "skip  channels        after bot token", "skip  people          after bot token", "skip  user groups     after bot token"}
	afterTemporal := []string{"skip  namespace       after Temporal", "skip  workers         after Temporal", "skip  bots            after Temporal", "skip  reference keys  after Temporal"}
	for name, tc := range map[string]struct {
		http   bool
		change func(*world)
		want   []string // the beginnings of the lines that are others
	}{
		"faults of the configuration": {change: func(w *world) {
			w.Faults = []config.Fault{{Name: "SLACK_BOT_TOKEN", Problem: "is missing", Remedy: "copy it"}, {Name: "TEMPORAL_TLS", Problem: "is \"maybe\"", Remedy: "write true or false"}, {Name: "APPROVERS", Problem: "has \"x\"", Remedy: "list IDs"}, {Name: "TASK_QUEUE", Problem: "ends in -bots", Remedy: "take another name"}, {Name: "REFERENCE_KEYS", Problem: "is missing", Remedy: "run key"}}
		}, want: []string{
			"FAIL  SLACK_BOT_TOKEN is missing: copy it", `FAIL  TEMPORAL_TLS    is "maybe": write true or false`, `FAIL  APPROVERS       has "x": list IDs`, "FAIL  TASK_QUEUE      ends in -bots: take another name", "FAIL  REFERENCE_KEYS  is missing: run key",
			"skip  bot token       after SLACK_BOT_TOKEN", "ok    app token       opens sockets of the app A0123456789; of which app the bot token is could not be seen",
			"skip  scopes          after SLACK_BOT_TOKEN", "skip  channels        after SLACK_BOT_TOKEN",
			"skip  people          after APPROVERS", "skip  user groups     after APPROVERS", "skip  Temporal        after TEMPORAL_TLS", "skip  namespace       after TEMPORAL_TLS",
			"skip  workers         after TASK_QUEUE", "skip  bots            after TASK_QUEUE", "skip  reference keys  after REFERENCE_KEYS", "skip  clock           after SLACK_BOT_TOKEN",
		}},
		"token refused": {change: func(w *world) { w.slack.errs["Token"] = disowned("token_revoked") }, want: append([]string{
			"FAIL  bot token       Slack refuses SLACK_BOT_TOKEN (token_revoked): install the app again, and copy its Bot User OAuth Token",
			"ok    app token       opens sockets of the app A0123456789; of which app the bot token is could not be seen",
		}, afterToken...)},
		"Slack is away": {change: func(w *world) {
			w.slack.errs["Token"], w.slack.token.Timed = &slackapi.Error{Kind: slackapi.Failed}, false
			w.slack.errs["OpenSocket"] = context.DeadlineExceeded
		}, want: append([]string{
			"FAIL  bot token       Slack at https://slack.example/api/ does not answer (", "FAIL  app token       Slack at https://slack.example/api/ does not answer within 10s: check the network",
			"skip  socket          after app token", "skip  clock           after bot token",
		}, afterToken...)},
		"Slack asks to wait": {change: func(w *world) { w.slack.errs["Token"] = &slackapi.Error{Kind: slackapi.Limited} }, want: append([]string{
			"skip  bot token       Slack asks to wait: run it again in a minute",
			"ok    app token       opens sockets of the app A0123456789; of which app the bot token is could not be seen",
		}, afterToken...)},
		"app token of another app": {change: func(w *world) { w.Config.SlackAppToken = "xapp-1-A9-1-x" }, want: []string{
			"FAIL  app token       is of the app A9, and SLACK_BOT_TOKEN of the app A0123456789: take both from one app",
		}},
		"app token without an app":  {change: func(w *world) { w.Config.SlackAppToken = "xapp-x" }, want: []string{"ok    app token       opens sockets; of which app it is does not show"}},
		"app token refused":         {change: func(w *world) { w.slack.errs["OpenSocket"] = refusal("missing_scope") }, want: []string{"FAIL  app token       Slack refuses SLACK_APP_TOKEN (missing_scope): make an app-level token with connections:write", "skip  socket          after app token"}},
		"signing secret of no form": {http: true, change: func(w *world) { w.Config.SlackSigningSecret = "word" }, want: []string{"warn  signing secret  is not 32 hexadecimal digits"}},
		"signing secret is missing": {http: true, change: func(w *world) { w.Faults = []config.Fault{{Name: "SLACK_SIGNING_SECRET", Problem: "is missing"}} }, want: []string{"FAIL  SLACK_SIGNING_SECRET is missing", "skip  signing secret  after SLACK_SIGNING_SECRET", "skip  request URL     after SLACK_SIGNING_SECRET"}},
		"scopes missing": {change: func(w *world) {
			w.slack.token.Scopes = []string{"chat:write", "commands", "im:write", "users:read", "channels:read", "groups:read", "groups:history", "im:history", "mpim:history"}
		}, want: []string{"FAIL  scopes          lacks usergroups:read (", "warn  scopes          lacks channels:history ("}},
		"scopes not said":    {change: func(w *world) { w.slack.token.Scopes = nil }, want: []string{"skip  scopes          Slack does not say"}},
		"Socket Mode is off": {change: func(w *world) { w.slack.address = slackSocket(w.t, `{"type":"disconnect","reason":"link_disabled"}`) }, want: []string{"FAIL  socket          Slack closes it: Socket Mode is off (link_disabled): turn it on"}},
		"ten sockets": {change: func(w *world) {
			w.slack.address = slackSocket(w.t, `{"type":"disconnect","reason":"too_many_websockets"}`)
		}, want: []string{"FAIL  socket          Slack closes it (too_many_websockets): Slack allows ten"}},
		"no WebSocket":         {change: func(w *world) { w.slack.address = "ws" + strings.TrimPrefix(web.URL, "http") + "/?ticket=a-secret" }, want: []string{"FAIL  socket          Slack's socket does not answer (websocket: bad handshake: HTTP status 404): check whether a proxy"}},
		"no address":           {change: func(w *world) { w.slack.address = "ws://a b/?ticket=a-secret" }, want: []string{"FAIL  socket          Slack's socket does not answer (what Slack gave is no address)"}},
		"a click comes":        {change: func(w *world) { w.slack.address = slackSocket(w.t, hello, `{"type":"interactive","envelope_id":"1"}`) }, want: []string{"warn  socket          opens; 1 click or command came by it and was not taken: who made it sees Slack's warning sign"}},
		"others on the socket": {change: func(w *world) { w.slack.address = slackSocket(w.t, strings.Replace(hello, ":1", ":3", 1)) }, want: []string{"ok    socket          opens; 2 others of the app are open"}},
		"a bot runs":           {change: func(w *world) { w.Socket = false }, want: []string{"skip  socket          a bot runs: not opened, so that no click comes here: --socket opens it all the same"}},
		"a bot has ended": {change: func(w *world) {
			w.Socket = false
			w.temporal.pollers["queue-bots"][0] = poller(2*time.Minute, "", w.ours)
		}, want: []string{"skip  socket          a bot runs, or has just ended: not opened", "ok    bots            1 bot runs, or has just ended"}},
		"bots cannot be seen": {change: func(w *world) { w.Socket = false; w.dialErr = errAway; w.Config.Temporal.HostPort = "dns:///x:1" }, want: append([]string{"skip  socket          not opened, for it cannot be seen whether a bot runs", "FAIL  Temporal        at dns:///x:1 does not answer (away)"}, afterTemporal...)},
		"another deployment": {change: func(w *world) {
			w.Socket = false
			delete(w.temporal.pollers, "queue-bots")
			w.slack.address = slackSocket(w.t, strings.Replace(hello, ":1", ":2", 1))
		}, want: []string{"warn  socket          opens, but 1 other socket of the app is open and no bot of this deployment is seen: it has just begun, or Temporal has, or it is of another deployment: run it again in a minute", "warn  bots            none runs, so no click is taken: start countersign bot", "ok    reference keys  OURS; 1 process fits"}},
		"no configuration token":     {change: func(w *world) { w.ConfigToken = "" }, want: []string{"skip  manifest        commands, interactivity and events are not seen with the bot token: set SLACK_CONFIG_TOKEN"}},
		"refresh token":              {change: func(w *world) { w.ConfigToken = "xoxe-1-secret" }, want: []string{"FAIL  manifest        SLACK_CONFIG_TOKEN is the refresh token (xoxe-): copy the access token"}},
		"another kind of token":      {change: func(w *world) { w.ConfigToken = "xoxb-secret" }, want: []string{"FAIL  manifest        SLACK_CONFIG_TOKEN does not start with xoxe.xoxp-"}},
		"configuration token is old": {change: func(w *world) { w.slack.errs["Manifest"] = disowned("token_expired") }, want: []string{"FAIL  manifest        Slack refuses SLACK_CONFIG_TOKEN (token_expired): generate another"}},
		"not a collaborator":         {change: func(w *world) { w.slack.errs["Manifest"] = refusal("app_not_eligible") }, want: []string{"FAIL  manifest        SLACK_CONFIG_TOKEN may not see the app A0123456789 (app_not_eligible)"}},
		"manifest of before": {change: func(w *world) {
			m := &w.slack.manifest
			m.Commands, m.Events, m.Scopes, m.Home, m.Messages = m.Commands[:1], nil, m.Scopes[1:], false, false
			m.Commands[0].Escaped, m.Interactivity, m.SocketMode, m.Rotation = false, false, false, true
		}, want: []string{
			"warn  manifest        people in the text of /greet come as plain text: turn on", "FAIL  manifest        has no command /approval: add it under Slash Commands", "FAIL  manifest        interactivity is off, so no button works: turn it on under Interactivity & Shortcuts",
			"FAIL  manifest        Socket Mode is off, so Slack opens no socket: turn it on", "warn  manifest        does not subscribe to app_home_opened", "warn  manifest        has no home tab", "FAIL  manifest        has no messages tab", "FAIL  manifest        token rotation is on", "warn  manifest        lacks the scope chat:write, so that the next installation does",
		}},
		"Socket Mode is on": {http: true, change: func(w *world) { w.slack.manifest.SocketMode = true }, want: []string{"FAIL  manifest        Socket Mode is on, so Slack sends nothing to a Request URL: turn it off"}},
		"wrong Request URLs": {http: true, change: func(w *world) {
			w.slack.manifest.Commands[0].URL = ""
			w.slack.manifest.InteractivityURL = "https://x.example/slack"
		}, want: []string{"FAIL  manifest        the command /greet has no Request URL: set it under Slash Commands", "FAIL  manifest        the Request URL of interactivity is https://x.example/slack: have it end in /slack/events"}},
		"another host": {http: true, change: func(w *world) {
			w.URL = w.slack.manifest.EventsURL
			w.slack.manifest.EventsURL = "https://countersign.example.com/slack/events"
		}, want: []string{"FAIL  manifest        the Request URL of events is https://countersign.example.com/slack/events: set it to http://127.0.0.1:"}},
		"no URL known":       {http: true, change: func(w *world) { w.ConfigToken = "" }, want: []string{"skip  manifest        commands", "skip  request URL     whether Slack reaches a bot is not seen: give --url https://HOST"}},
		"another secret":     {http: true, change: func(w *world) { w.leads(bot(w.t, 401) + "/slack/events") }, want: []string{"FAIL  request URL     http://"}},
		"a redirect":         {http: true, change: func(w *world) { w.leads(bot(w.t, 302) + "/slack/events") }, want: []string{"FAIL  request URL     http://"}},
		"a proxy alone":      {http: true, change: func(w *world) { w.leads(bot(w.t, 502) + "/slack/events") }, want: []string{"FAIL  request URL     http://"}},
		"another site":       {http: true, change: func(w *world) { w.leads(web.URL + "/slack/events") }, want: []string{"FAIL  request URL     http://"}},
		"nobody at the URL":  {http: true, change: func(w *world) { w.leads("http://127.0.0.1:1/slack/events") }, want: []string{"FAIL  request URL     http://127.0.0.1:1/slack/events does not answer ("}},
		"not in the channel": {change: func(w *world) { w.Channels = []string{"C2", "C1"} }, want: []string{"FAIL  channels        @countersign is not in #random (C2): type /invite @countersign in it"}},
		"posts without": {change: func(w *world) {
			w.Channels = []string{"C2"}
			w.slack.token.Scopes = append(w.slack.token.Scopes, "chat:write.public")
		}, want: []string{"warn  channels        @countersign is not in #random (C2), and posts there by chat:write.public"}},
		"archived":         {change: func(w *world) { w.Channels = []string{"C3"} }, want: []string{"FAIL  channels        #old (C3) is archived: take another channel"}},
		"no such channel":  {change: func(w *world) { w.Channels = []string{"C9"} }, want: []string{"FAIL  channels        C9 is no channel of the workspace, or a private one in which @countersign is not: check the ID"}},
		"channel not said": {change: func(w *world) { w.slack.errs["Channel"] = refusal("missing_scope") }, want: []string{"skip  channels        after scopes"}},
		"channels":         {change: func(w *world) { w.Channels = nil }, want: []string{"ok    channels        @countersign is in 2 channels; --channel C… looks at one"}},
		"in no channel":    {change: func(w *world) { w.Channels, w.slack.channels = nil, nil }, want: []string{"warn  channels        @countersign is in no channel: type /invite @countersign in each channel"}},
		"nobody":           {change: func(w *world) { w.slack.people = nil }, want: []string{"FAIL  people          APPROVERS names U2, who is nobody in the workspace Acme: copy the member ID", "FAIL  people          REQUESTERS names U3, who is nobody"}},
		"no longer, and apps": {change: func(w *world) {
			w.slack.people = map[string]slackapi.Person{"U2": {Name: "bob", Team: theTeam, Deactivated: true}, "U3": {Name: "c\x1b[31m", Team: theTeam, Bot: true}}
		}, want: []string{"FAIL  people          APPROVERS names bob (U2), who is deactivated", "FAIL  people          REQUESTERS names c [31m (U3), which is an app"}},
		"others' people":  {change: func(w *world) { w.slack.people["U2"] = slackapi.Person{Name: "bob", Team: "T9"} }, want: []string{"FAIL  people          APPROVERS names bob (U2), who is of another organisation"}},
		"no approvers":    {change: func(w *world) { w.Config.Approvers = config.Approvers{} }, want: []string{"warn  people          APPROVERS is empty, so a request that names nobody is not asked"}},
		"people not said": {change: func(w *world) { w.slack.errs["Person"] = refusal("missing_scope") }, want: []string{"skip  people          after scopes"}},
		"groups": {change: func(w *world) {
			w.Config.Approvers.Groups = []string{"S1", "S2", "S3", "S4"}
			w.slack.groups["S2"] = slackapi.ListedGroup{Group: slackapi.Group{Handle: "@empty"}}
			w.slack.groups["S3"] = slackapi.ListedGroup{Group: slackapi.Group{Handle: "@off", Members: []string{"U2"}}, Disabled: true}
		}, want: []string{"ok    people          APPROVERS: 1 person, 4 user groups", "FAIL  user groups     APPROVERS names @empty (S2), which has no members: add people", "FAIL  user groups     APPROVERS names @off (S3), which is disabled", "FAIL  user groups     APPROVERS names S4, which is no user group of the workspace"}},
		"no groups in the plan": {change: func(w *world) { w.slack.errs["Groups"] = refusal("plan_upgrade_required") }, want: []string{"FAIL  user groups     APPROVERS names S1, and the workspace's plan has no user groups: name people"}},
		"no groups, and none named": {change: func(w *world) {
			w.slack.errs["Groups"] = refusal("plan_upgrade_required")
			w.Config.Approvers.Groups = nil
		}, want: []string{"ok    people          APPROVERS: 1 person;", "ok    user groups     the workspace's plan has none"}},
		"Temporal is away":   {change: func(w *world) { w.dialErr = errAway }, want: append([]string{"FAIL  Temporal        at 127.0.0.1:1 is not reachable (dial tcp"}, afterTemporal...)},
		"Temporal wants TLS": {change: func(w *world) { w.dialErr = errAway; w.Config.Temporal.HostPort = secure.Listener.Addr().String() }, want: append([]string{"FAIL  Temporal        at ADDRESS wants TLS: set TEMPORAL_TLS=true"}, afterTemporal...)},
		"another authority": {change: func(w *world) {
			w.dialErr = errAway
			w.Config.Temporal.HostPort = secure.Listener.Addr().String()
			w.Config.Temporal.Credentials = client.NewAPIKeyStaticCredentials("x")
		}, want: append([]string{"FAIL  Temporal        at ADDRESS speaks TLS, but not with this certificate"}, afterTemporal...)},
		"Temporal has no TLS": {change: func(w *world) {
			w.dialErr = errAway
			w.Config.Temporal.HostPort = web.Listener.Addr().String()
			w.Config.Temporal.Credentials = client.NewAPIKeyStaticCredentials("x")
		}, want: append([]string{"FAIL  Temporal        at ADDRESS does not speak TLS (tls: first record does not look like a TLS handshake): take TEMPORAL_API_KEY away"}, afterTemporal...)},
		"the web UI":     {change: func(w *world) { w.dialErr = errAway; w.Config.Temporal.HostPort = web.Listener.Addr().String() }, want: append([]string{"FAIL  Temporal        at ADDRESS takes connections, but does not answer as Temporal's frontend does: set the port"}, afterTemporal...)},
		"no credentials": {change: func(w *world) { w.dialErr = errDenied }, want: append([]string{"FAIL  Temporal        at 127.0.0.1:1 lets nobody in with these credentials"}, afterTemporal...)},
		"no namespace": {change: func(w *world) {
			err := serviceerror.NewNamespaceNotFound("default")
			w.temporal.errs["DescribeNamespace"], w.temporal.errs["DescribeTaskQueue"] = err, err
		}, want: []string{"FAIL  namespace       there is no default: set TEMPORAL_NAMESPACE, or create it", "skip  workers         after namespace", "skip  bots            after namespace", "skip  reference keys  after namespace"}},
		"may not describe": {change: func(w *world) { w.temporal.errs["DescribeNamespace"] = errDenied }, want: []string{"ok    namespace       default lets us in; how long it keeps"}},
		"not let in": {change: func(w *world) {
			w.temporal.errs["DescribeNamespace"], w.temporal.errs["DescribeTaskQueue"] = errDenied, errDenied
		}, want: []string{"FAIL  namespace       default does not let us in (Request unauthorized.): check TEMPORAL_API_KEY", "skip  workers         who polls the task queue queue may not be seen", "skip  bots            who polls", "skip  reference keys  who polls"}},
		"may not see pollers":     {change: func(w *world) { w.temporal.errs["DescribeTaskQueue"] = errDenied }, want: []string{"skip  workers         who polls the task queue queue may not be seen", "skip  bots            who polls", "skip  reference keys  who polls"}},
		"short memory":            {change: func(w *world) { w.temporal.kept = time.Hour }, want: []string{"warn  namespace       default keeps what has ended for 1h0m0s only"}},
		"nobody runs":             {change: func(w *world) { w.temporal.pollers = nil }, want: []string{"warn  workers         nobody polls the task queue queue, so nothing is asked: start countersign worker", "warn  bots            none runs", "skip  reference keys  OURS; nobody runs with whom to compare them: run it again"}},
		"workflows alone":         {change: func(w *world) { w.temporal.only = enumspb.TASK_QUEUE_TYPE_WORKFLOW }, want: []string{"warn  workers         somebody polls the task queue queue for workflows, and nobody for activities", "ok    reference keys  OURS; 1 process fits"}},
		"activities alone":        {change: func(w *world) { w.temporal.only = enumspb.TASK_QUEUE_TYPE_ACTIVITY }, want: []string{"warn  workers         somebody polls the task queue queue for activities, and nobody for workflows"}},
		"no current version":      {change: func(w *world) { w.version("b1", "") }, want: []string{"FAIL  workers         no version of d is the current one, so its workers get nothing: temporal worker deployment set-current-version --deployment-name d --build-id b1"}},
		"current version":         {change: func(w *world) { w.version("b1", "b1") }, want: []string{"ok    workers         1 worker polls the task queue queue, of the current version b1"}},
		"another current version": {change: func(w *world) { w.version("b2", "b1") }, want: []string{"FAIL  workers         no worker is of the current version b1 of d, so nothing is asked"}},
		"not versioned yet": {change: func(w *world) {
			w.version("", "")
			w.temporal.errs["DescribeWorkerDeployment"] = serviceerror.NewNotFound("none")
		}, want: nil},
		"versions cannot be seen": {change: func(w *world) { w.version("b1", "b1"); w.temporal.errs["DescribeWorkerDeployment"] = errAway }, want: []string{"skip  workers         which version of d gets tasks cannot be seen (away)"}},
		"worker of another key": {change: func(w *world) {
			w.temporal.pollers["queue"] = []*taskqueuepb.PollerInfo{poller(0, "", "other1", w.ours), poller(0, "", w.ours)}
		}, want: []string{"ok    workers         2 workers poll the task queue", "FAIL  reference keys  a worker seals buttons with other1, and here are only OURS: give bots and workers the same REFERENCE_KEYS"}},
		"bot of another key": {change: func(w *world) { w.temporal.pollers["queue-bots"][0] = poller(0, "", "other1") }, want: []string{"FAIL  reference keys  here OURS seals buttons, and a bot has only other1: give"}},
		"a key that both have here": {change: func(w *world) { // in the middle of a change of keys
			w.Config.ReferenceKeys, _ = reference.ParseKeys(reference.NewKey() + "," + reference.NewKey())
			first, second := w.Config.ReferenceKeys.IDs()[0], w.Config.ReferenceKeys.IDs()[1]
			w.temporal.pollers["queue"] = []*taskqueuepb.PollerInfo{poller(0, "", second, first)}
			w.temporal.pollers["queue-bots"] = []*taskqueuepb.PollerInfo{poller(0, "", first)}
			w.ours = second
		}, want: []string{"FAIL  reference keys  a worker seals buttons with OURS, and a bot has only "}},
		"another key, has ended":   {change: func(w *world) { w.temporal.pollers["queue"][0] = poller(2*time.Minute, "", "other1") }, want: []string{"ok    workers         1 worker polls the task queue queue, or has just ended", "warn  reference keys  a worker seals buttons with other1, and here are only OURS, or has just ended: give"}},
		"others' workers":          {change: func(w *world) { w.temporal.pollers["queue"][0] = poller(0, "") }, want: []string{"ok    reference keys  OURS; 1 process fits"}},
		"clock a little off":       {change: func(w *world) { w.slack.token.Ahead = -2 * time.Second }, want: []string{"ok    clock           is 2s behind Slack's"}},
		"clock off":                {change: func(w *world) { w.slack.token.Ahead = 40 * time.Second }, want: []string{"warn  clock           is 40s before Slack's: set this machine's clock by NTP"}},
		"clock far off":            {change: func(w *world) { w.slack.token.Ahead = -5 * time.Minute }, want: []string{"FAIL  clock           is 5m0s behind Slack's, so that clicks are refused: set"}},
		"clock off, token refused": {change: func(w *world) { w.slack.token.Ahead = time.Hour; w.slack.errs["Token"] = disowned("invalid_auth") }, want: append([]string{"FAIL  bot token       Slack refuses", "ok    app token       opens sockets of the app A0123456789; of which", "FAIL  clock           is 1h0m0s before Slack's"}, afterToken...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := ""
			if tc.http {
				url = bot(t, http.StatusOK)
			} else {
				url = slackSocket(t, hello)
			}
			w := newWorld(t, !tc.http, url)
			w.t = t
			well := w.lines(t)
			w.slack.address = url
			tc.change(w)
			got := w.lines(t)
			others := slices.DeleteFunc(slices.Clone(got), func(l string) bool { return slices.Contains(well, l) })
			if len(others) != len(tc.want) {
				t.Fatalf("%d lines are others, want %d:\n%s", len(others), len(tc.want), strings.Join(others, "\n"))
			}
			for _, want := range tc.want {
				want = strings.NewReplacer("OURS", w.ours, "ADDRESS", w.Config.Temporal.HostPort).Replace(want)
				if !slices.ContainsFunc(others, func(l string) bool { return strings.HasPrefix(l, want) }) {
					t.Errorf("no line begins with\n%s\nin\n%s", want, strings.Join(others, "\n"))
				}
			}
		})
	}
}

// What a Request URL answers says what to do.
func TestRequestURLAnswers(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{
		200: "leads to a bot with this signing secret",
		302: "leads elsewhere (HTTP status 302 The signature [31m is wrong.): have the Request URL be where that leads",
		401: "refuses the signature (HTTP status 401 The signature [31m is wrong.): give the bot the SLACK_SIGNING_SECRET",
		404: "leads to something else (HTTP status 404",
		502: "leads to no bot (HTTP status 502",
	} {
		w := newWorld(t, false, "")
		w.URL = bot(t, status) + "/slack/events"
		if got := w.lines(t); !slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "request URL") && strings.Contains(l, want) }) {
			t.Errorf("%d: no line says %q:\n%s", status, want, strings.Join(got, "\n"))
		}
	}
}

// A socket that says nothing ends the wait, and is closed.
func TestSilentSocket(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := greet(ctx, slackSocket(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the end of the wait", err)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	for want, all := range map[string][]Status{
		"All is well.": {OK, OK},
		"All is well; 1 thing could not be checked.":                 {OK, Skip},
		"Nothing failed; 2 warnings; 2 things could not be checked.": {Warn, Warn, Skip, Skip},
		"1 of 3 checks failed.":                                      {Fail, Warn, Skip},
	} {
		var r Report
		for _, s := range all {
			r.Findings = append(r.Findings, Finding{Status: s})
		}
		if got := r.Summary(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(Report{OK: true, Findings: []Finding{{"scopes", Warn, "lacks one", "add it"}, {Check: "socket", Status: OK, Says: "opens"}}})
	const want = `{"ok":true,"checks":[{"name":"scopes","status":"warn","says":"lacks one","fix":"add it"},{"name":"socket","status":"ok","says":"opens"}]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}
