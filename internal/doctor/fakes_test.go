package doctor

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"countersign/internal/config"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
)

// fakeSlack is a workspace in which all is well, until a test changes it. Errors are by the method's name.
type fakeSlack struct {
	token    slackapi.Token
	address  string
	people   map[string]slackapi.Person
	groups   map[string]slackapi.ListedGroup
	channels map[string]slackapi.Channel
	manifest slackapi.Manifest
	errs     map[string]error
}

func (f *fakeSlack) Token(context.Context) (slackapi.Token, error) {
	if err := f.errs["Token"]; err != nil {
		return slackapi.Token{Timed: f.token.Timed, Ahead: f.token.Ahead}, err
	}
	return f.token, nil
}

func (f *fakeSlack) OpenSocket(context.Context) (string, error) {
	return f.address, f.errs["OpenSocket"]
}

func (f *fakeSlack) Person(_ context.Context, id string) (slackapi.Person, error) {
	p, ok := f.people[id]
	if err := f.errs["Person"]; err != nil || ok {
		return p, err
	}
	return p, refusal("user_not_found")
}

func (f *fakeSlack) Groups(context.Context) (map[string]slackapi.ListedGroup, error) {
	return f.groups, f.errs["Groups"]
}

func (f *fakeSlack) Channel(_ context.Context, id string) (slackapi.Channel, error) {
	c, ok := f.channels[id]
	if err := f.errs["Channel"]; err != nil || ok {
		return c, err
	}
	return c, refusal("channel_not_found")
}

func (f *fakeSlack) Channels(_ context.Context, kinds ...string) (n int, more bool, err error) {
	for _, c := range f.channels {
		if c.Member && (!c.Private || len(kinds) == 2) {
			n++
		}
	}
	return n, false, f.errs["Channels"]
}

func (f *fakeSlack) Manifest(_ context.Context, _, app string) (slackapi.Manifest, error) {
	if app != f.token.AppID {
		return slackapi.Manifest{}, refusal("invalid_app_id")
	}
	return f.manifest, f.errs["Manifest"]
}

func refusal(code string) error  { return &slackapi.Error{Kind: slackapi.Refused, Code: code} }
func disowned(code string) error { return &slackapi.Error{Kind: slackapi.Unauthorized, Code: code} }

// fakeTemporal is a server with one namespace. Errors are by the method's name.
type fakeTemporal struct {
	kept    time.Duration
	pollers map[string][]*taskqueuepb.PollerInfo // by task queue, of either kind
	only    enumspb.TaskQueueType                // the kind for which there are pollers; 0: both
	current string                               // build ID of the current version
	errs    map[string]error
}

func (f *fakeTemporal) WorkflowService() workflowservice.WorkflowServiceClient { return service{f: f} }

// service is the part of a server that is asked by requests.
type service struct {
	workflowservice.WorkflowServiceClient
	f *fakeTemporal
}

func (f *fakeTemporal) DescribeTaskQueue(_ context.Context, queue string, kind enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error) {
	if err := f.errs["DescribeTaskQueue"]; err != nil {
		return nil, err
	}
	r := &workflowservice.DescribeTaskQueueResponse{}
	if f.only == 0 || f.only == kind || strings.HasSuffix(queue, "-bots") {
		r.Pollers = f.pollers[queue]
	}
	return r, nil
}

func (s service) DescribeNamespace(context.Context, *workflowservice.DescribeNamespaceRequest, ...grpc.CallOption) (*workflowservice.DescribeNamespaceResponse, error) {
	if err := s.f.errs["DescribeNamespace"]; err != nil {
		return nil, err
	}
	return &workflowservice.DescribeNamespaceResponse{Config: &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(s.f.kept)}}, nil
}

func (s service) DescribeWorkerDeployment(context.Context, *workflowservice.DescribeWorkerDeploymentRequest, ...grpc.CallOption) (*workflowservice.DescribeWorkerDeploymentResponse, error) {
	if err := s.f.errs["DescribeWorkerDeployment"]; err != nil {
		return nil, err
	}
	routing := &deploymentpb.RoutingConfig{}
	if s.f.current != "" {
		routing.CurrentDeploymentVersion = &deploymentpb.WorkerDeploymentVersion{BuildId: s.f.current}
	}
	return &workflowservice.DescribeWorkerDeploymentResponse{WorkerDeploymentInfo: &deploymentpb.WorkerDeploymentInfo{RoutingConfig: routing}}, nil
}

// poller is somebody with such keys who last polled so long ago, as a version; empty: of none.
func poller(ago time.Duration, buildID string, keys ...string) *taskqueuepb.PollerInfo {
	p := &taskqueuepb.PollerInfo{
		Identity:       "1@host keys=" + strings.Join(keys, ","),
		LastAccessTime: timestamppb.New(time.Now().Add(-ago)),
	}
	if len(keys) == 0 {
		p.Identity = "1@host"
	}
	if buildID != "" {
		p.DeploymentOptions = &deploymentpb.WorkerDeploymentOptions{BuildId: buildID, WorkerVersioningMode: enumspb.WORKER_VERSIONING_MODE_VERSIONED}
	}
	return p
}

// world is a deployment in which all is well, and what it is made of.
type world struct {
	Deployment
	slack    *fakeSlack
	temporal *fakeTemporal
	ours     string // the ID of our first key
	dialErr  error
	t        *testing.T
}

// version has the worker be of a build of a Worker Deployment, of which another, or the same, is the current version.
func (w *world) version(build, current string) {
	w.Config.DeploymentName, w.Config.WorkerBuildID, w.temporal.current = "d", build, current
	w.temporal.pollers[theQueue][0] = poller(0, build, w.ours)
}

const (
	theTeam  = "T1"
	theApp   = "A0123456789"
	theQueue = "queue"
)

// newWorld is one with a bot and a worker that run, by Socket Mode or signed HTTP; url is where a bot answers, or a socket.
func newWorld(t *testing.T, socket bool, url string) *world {
	t.Helper()
	keys, err := reference.ParseKeys(reference.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ours: keys.IDs()[0]}
	w.slack = &fakeSlack{
		token: slackapi.Token{
			Self: slackapi.Self{Team: theTeam, UserID: "U1", BotID: "B1", AppID: theApp},
			Name: "countersign", Workspace: "Acme", Timed: true,
		},
		address:  url,
		people:   map[string]slackapi.Person{"U2": {Name: "bob", Team: theTeam}, "U3": {Name: "carol", Team: theTeam}},
		groups:   map[string]slackapi.ListedGroup{"S1": {Group: slackapi.Group{Handle: "@sre", Members: []string{"U2"}}}},
		channels: map[string]slackapi.Channel{"C1": {Name: "general", Member: true}, "C2": {Name: "random"}, "C3": {Name: "old", Archived: true}, "C4": {Name: "leads", Private: true, Member: true}},
		errs:     map[string]error{},
	}
	w.temporal = &fakeTemporal{
		kept: 72 * time.Hour, errs: map[string]error{},
		pollers: map[string][]*taskqueuepb.PollerInfo{theQueue: {poller(0, "", w.ours)}, theQueue + "-bots": {poller(0, "", w.ours)}},
	}
	w.Deployment = Deployment{
		Config: config.Config{
			SlackBotToken: "xoxb-secret", SlackAPIURL: "https://slack.example/api/", TaskQueue: theQueue, ReferenceKeys: keys,
			Approvers: config.Approvers{Users: []string{"U2"}, Groups: []string{"S1"}}, Requesters: config.Requesters{Users: []string{"U3"}, Members: true},
			Temporal: client.Options{HostPort: "127.0.0.1:1", Namespace: "default"},
		},
		App: App{
			Commands: []string{"/greet", "/approval"}, Events: []string{"app_home_opened"}, Path: "/slack/events", Scopes: slackapi.Scopes(),
		},
		Slack: w.slack, ConfigToken: "xoxe.xoxp-secret", Channels: []string{"C1"}, Socket: socket,
		Dial: func(context.Context) (Temporal, error) { return w.temporal, w.dialErr },
	}
	to := ""
	if socket {
		w.Config.SlackAppToken = "xapp-1-" + theApp + "-1-secret"
	} else {
		w.Config.SlackSigningSecret, to = strings.Repeat("0a", 16), url+w.App.Path
	}
	for _, s := range w.App.Scopes {
		w.slack.token.Scopes = append(w.slack.token.Scopes, s.Name)
	}
	w.slack.manifest = slackapi.Manifest{
		Scopes: w.slack.token.Scopes, Events: w.App.Events, EventsURL: to, InteractivityURL: to,
		Interactivity: true, SocketMode: socket, Home: true, Messages: true,
	}
	for _, c := range w.App.Commands {
		w.slack.manifest.Commands = append(w.slack.manifest.Commands, slackapi.ManifestCommand{Name: c, URL: to, Escaped: true})
	}
	return w
}

// leads has the app's Request URLs, and --url, be this one.
func (w *world) leads(to string) {
	w.URL, w.slack.manifest.EventsURL, w.slack.manifest.InteractivityURL = to, to, to
	for i := range w.slack.manifest.Commands {
		w.slack.manifest.Commands[i].URL = to
	}
}

// slackSocket is Slack's end of a socket: it says each of these, and then waits for the other end to close it.
func slackSocket(t *testing.T, says ...string) (address string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for _, s := range says {
			if err := c.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
				t.Error(err)
			}
		}
		for {
			if _, m, err := c.ReadMessage(); err == nil {
				t.Errorf("something was acknowledged: %s", m)
			} else {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

const hello = `{"type":"hello","num_connections":1,"connection_info":{"app_id":"` + theApp + `"}}`

var (
	errAway   = errors.New("away")
	errDenied = serviceerror.NewPermissionDenied("Request unauthorized.", "")
)
