package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.temporal.io/sdk/client"

	"countersign/internal/reference"
)

const (
	botToken = "xoxb-secret-bot"
	appToken = "xapp-secret-app"
	secret   = "secret-signing"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	keys := reference.NewKey()
	got, err := load(t, Run, "SLACK_BOT_TOKEN="+botToken, "SLACK_SIGNING_SECRET="+secret, "REFERENCE_KEYS="+keys)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		SlackBotToken:      botToken,
		SlackSigningSecret: secret,
		ListenAddress:      ":3000",
		SlackAPIURL:        "https://slack.com/api/",
		Temporal:           client.Options{HostPort: "localhost:7233", Namespace: "default"},
		TaskQueue:          "countersign",
		StickyCacheSize:    1000,
		Requesters:         Requesters{Members: true},
		Deadline:           24 * time.Hour,
		LogFormat:          "text",
	}
	if diff := diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if got.ReferenceKeys == nil || len(got.ReferenceKeys.IDs()) != 1 {
		t.Errorf("keys are %v", got.ReferenceKeys)
	}
	if p, err := got.Temporal.DataConverter.ToPayload("World"); err != nil || got.PayloadKeys != nil || string(p.GetData()) != `"World"` {
		t.Errorf("payloads are %v (%v), with nothing that has them encrypted", p, err)
	}
	if !got.Approvers.Empty() || got.Requesters.String() != "members" {
		t.Errorf("approvers %v, requesters %v", got.Approvers, got.Requesters)
	}
}

func TestEveryVariable(t *testing.T) {
	t.Parallel()
	got, err := load(t, Run,
		"SLACK_BOT_TOKEN= "+botToken+"\r", "SLACK_APP_TOKEN="+appToken, "SLACK_SIGNING_SECRET="+secret,
		"LISTEN_ADDRESS=127.0.0.1:0", "SLACK_API_URL=http://127.0.0.1:8080/api",
		"TEMPORAL_ADDRESS=temporal.example:7233", "TEMPORAL_NAMESPACE=approvals", "TEMPORAL_API_KEY=secret-api-key",
		"TEMPORAL_DEPLOYMENT_NAME=approvals/countersign", "TEMPORAL_WORKER_BUILD_ID=v1.2.3",
		"TASK_QUEUE=q", "STICKY_CACHE_SIZE=7", "APPROVERS=U1, W2,S3,,channel", "ALLOW_SELF_APPROVAL=true", "ALLOW_GUESTS=1", "ALLOW_APPROVAL_ON_EXPIRY=TRUE",
		"REQUESTERS=members,U4,S5",
		"DEADLINE=90m", "REFERENCE_KEYS="+reference.NewKey()+","+reference.NewKey(), "LOG_LEVEL=debug", "LOG_FORMAT=json",
		"PAYLOAD_KEYS="+reference.NewKey()+", "+reference.NewKey(), "ALLOW_OUTSIDE_DECISIONS=1",
		"OTEL_SERVICE_NAME=approvals", "OTEL_EXPORTER_OTLP_ENDPOINT=http://secret@collector.example:4318")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		SlackBotToken:         botToken,
		SlackAppToken:         appToken,
		SlackSigningSecret:    secret,
		ListenAddress:         "127.0.0.1:0",
		SlackAPIURL:           "http://127.0.0.1:8080/api/",
		Temporal:              client.Options{HostPort: "temporal.example:7233", Namespace: "approvals"},
		DeploymentName:        "approvals/countersign",
		WorkerBuildID:         "v1.2.3",
		TaskQueue:             "q",
		StickyCacheSize:       7,
		Approvers:             Approvers{Users: []string{"U1", "W2"}, Groups: []string{"S3"}, Channel: true},
		AllowSelfApproval:     true,
		AllowGuests:           true,
		AllowApprovalOnExpiry: true,
		AllowOutsideDecisions: true,
		Requesters:            Requesters{Users: []string{"U4"}, Groups: []string{"S5"}, Members: true},
		Deadline:              90 * time.Minute,
		OpenTelemetry:         map[string]string{"OTEL_SERVICE_NAME": "approvals", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://secret@collector.example:4318"},
		LogLevel:              slog.LevelDebug,
		LogFormat:             "json",
	}
	if diff := diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if got.Temporal.Credentials == nil || got.Temporal.ConnectionOptions.TLS == nil {
		t.Error("an API key must turn TLS on")
	}
	if len(got.ReferenceKeys.IDs()) != 2 || len(got.PayloadKeys.IDs()) != 2 {
		t.Errorf("keys are %v and %v", got.ReferenceKeys, got.PayloadKeys)
	}
	if got, want := got.Approvers.String(), "U1,W2,S3,channel"; got != want {
		t.Errorf("approvers are %q, want %q", got, want)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		role Role
		vars []string
		want []string // the names of the faults
	}{
		"run with nothing":         {Run, nil, []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "REFERENCE_KEYS"}},
		"bot with nothing":         {Bot, nil, []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "REFERENCE_KEYS"}},
		"worker with nothing":      {Worker, nil, []string{"SLACK_BOT_TOKEN", "REFERENCE_KEYS"}},
		"worker, admin at :3000":   {Worker, []string{"ADMIN_ADDRESS=:3000"}, []string{"SLACK_BOT_TOKEN", "REFERENCE_KEYS"}},
		"demo with nothing":        {Demo, nil, nil},
		"bot with an app token":    {Bot, []string{"SLACK_APP_TOKEN=" + appToken}, []string{"SLACK_BOT_TOKEN", "REFERENCE_KEYS"}},
		"bot with an empty one":    {Bot, []string{"SLACK_APP_TOKEN= "}, []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "REFERENCE_KEYS"}},
		"demo ignores Slack's":     {Demo, []string{"SLACK_BOT_TOKEN=x", "SLACK_APP_TOKEN=x", "SLACK_API_URL=x", "REFERENCE_KEYS=x"}, nil},
		"demo looks at the others": {Demo, []string{"DEADLINE=x"}, []string{"DEADLINE"}},
		"demo has no payload keys": {Demo, []string{"PAYLOAD_KEYS=x"}, nil},
		"demo has no version":      {Demo, []string{"TEMPORAL_DEPLOYMENT_NAME=x"}, nil},
		"client with nothing":      {Client, nil, nil},
		"client ignores Slack's": {Client, []string{
			"SLACK_BOT_TOKEN=x", "SLACK_APP_TOKEN=x", "SLACK_SIGNING_SECRET=xoxb-x", "SLACK_API_URL=x", "LISTEN_ADDRESS=x",
			"APPROVERS=x", "REQUESTERS=x", "DEADLINE=x", "REFERENCE_KEYS=x", "TEMPORAL_WORKER_BUILD_ID=x",
		}, nil},
		"client looks at the others": {
			Client,
			[]string{"TEMPORAL_ADDRESS=x", "TASK_QUEUE='", "PAYLOAD_KEYS=x", "ALLOW_OUTSIDE_DECISIONS=x", "LOG_LEVEL=x", "LOG_FORMAT=x"},
			[]string{"TEMPORAL_ADDRESS", "TASK_QUEUE", "PAYLOAD_KEYS", "ALLOW_OUTSIDE_DECISIONS", "LOG_LEVEL", "LOG_FORMAT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, c.role, c.vars...)
			var got []string
			for _, f := range faultsOf(t, err) {
				got = append(got, f.Name)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	pem := "-----BEGIN PRIVATE KEY-----secret-pem"
	for name, c := range map[string]struct {
		vars []string
		want []string // a part of each line, in order
	}{
		"bot token missing":       {[]string{"SLACK_BOT_TOKEN="}, []string{"SLACK_BOT_TOKEN is missing: copy the Bot User OAuth Token from OAuth & Permissions of your Slack app (docs/slack-app.md)"}},
		"keys missing":            {[]string{"REFERENCE_KEYS="}, []string{"REFERENCE_KEYS is missing: run `countersign key` and put its output here"}},
		"bot token malformed":     {[]string{"SLACK_BOT_TOKEN=secret"}, []string{"SLACK_BOT_TOKEN does not start with xoxb-: copy the Bot"}},
		"app token as bot token":  {[]string{"SLACK_BOT_TOKEN=xapp-secret"}, []string{"SLACK_BOT_TOKEN holds an app-level token (xapp-), which belongs in SLACK_APP_TOKEN: "}},
		"user token as bot token": {[]string{"SLACK_BOT_TOKEN=xoxp-secret"}, []string{"SLACK_BOT_TOKEN holds a person's token (xoxp-)"}},
		"tokens swapped": {
			[]string{"SLACK_BOT_TOKEN=" + appToken, "SLACK_APP_TOKEN=" + botToken},
			[]string{"SLACK_BOT_TOKEN holds an app-level token", "SLACK_APP_TOKEN holds a bot token (xoxb-), which belongs in SLACK_BOT_TOKEN: "},
		},
		"unseen in the bot token": {[]string{"SLACK_BOT_TOKEN=xoxb-\u200bsecret"}, []string{"SLACK_BOT_TOKEN has characters that no token has: copy the Bot"}},
		"app token malformed":     {[]string{"SLACK_APP_TOKEN=secret", "SLACK_SIGNING_SECRET="}, []string{"SLACK_APP_TOKEN does not start with xapp-"}},
		"token as signing secret": {[]string{"SLACK_SIGNING_SECRET=xoxb-secret"}, []string{"SLACK_SIGNING_SECRET holds a bot token"}},
		"no port":                 {[]string{"LISTEN_ADDRESS=localhost"}, []string{`LISTEN_ADDRESS is "localhost": write host:port`}},
		"port not a number":       {[]string{"LISTEN_ADDRESS=:http"}, []string{`LISTEN_ADDRESS is ":http"`}},
		"port too large":          {[]string{"LISTEN_ADDRESS=:65536"}, []string{`LISTEN_ADDRESS is ":65536"`}},
		"API URL relative":        {[]string{"SLACK_API_URL=slack.com/api/"}, []string{"SLACK_API_URL is not an absolute http or https URL"}},
		"API URL of ftp":          {[]string{"SLACK_API_URL=ftp://slack.com/api/"}, []string{"SLACK_API_URL is not"}},
		"API URL without host":    {[]string{"SLACK_API_URL=https:///api/"}, []string{"SLACK_API_URL is not"}},
		"API URL with a query":    {[]string{"SLACK_API_URL=https://slack.com/api/?x=y"}, []string{"SLACK_API_URL is not"}},
		"API URL with a password": {[]string{"SLACK_API_URL=https://me:secret@slack.com/api/"}, []string{"SLACK_API_URL is not"}},
		"API URL garbled":         {[]string{"SLACK_API_URL=https://me:secret%zz@slack.com/api/"}, []string{"SLACK_API_URL is not"}},
		"Temporal without port":   {[]string{"TEMPORAL_ADDRESS=localhost"}, []string{`TEMPORAL_ADDRESS is "localhost"`}},
		"Temporal as URL":         {[]string{"TEMPORAL_ADDRESS=http://localhost:7233"}, []string{`TEMPORAL_ADDRESS is "http://localhost:7233": write host:port, without http://`}},
		"TLS neither way":         {[]string{"TEMPORAL_TLS=yes"}, []string{`TEMPORAL_TLS is "yes": write true or false`}},
		"certificate without key": {[]string{"TEMPORAL_TLS_CLIENT_CERT_PATH=cert.pem"}, []string{"TEMPORAL_TLS_* cannot be used: "}},
		"key in place of a path":  {[]string{"TEMPORAL_TLS_CLIENT_KEY_PATH=" + pem}, []string{"TEMPORAL_TLS_CLIENT_KEY_PATH holds what should be in the file: use TEMPORAL_TLS_CLIENT_KEY_DATA for it"}},
		"profile missing":         {[]string{"TEMPORAL_PROFILE=prod"}, []string{`TEMPORAL_PROFILE is "prod": name a profile that is in `}},
		"config file a folder":    {[]string{"TEMPORAL_CONFIG_FILE=/"}, []string{"TEMPORAL_CONFIG_FILE cannot be read: "}},
		"approver by name":        {[]string{"APPROVERS=U1,@alice,bob,channel"}, []string{`APPROVERS has "@alice", "bob": list user IDs`}},
		"approvers members":       {[]string{"APPROVERS=members"}, []string{`APPROVERS has "members"`}},
		"approver a channel":      {[]string{"APPROVERS=C123"}, []string{`APPROVERS has "C123"`}},
		"approver lower case":     {[]string{"APPROVERS=u123"}, []string{`APPROVERS has "u123"`}},
		"approver one letter":     {[]string{"APPROVERS=U"}, []string{`APPROVERS has "U"`}},
		"requesters channel":      {[]string{"REQUESTERS=channel"}, []string{`REQUESTERS has "channel": list user IDs (U… or W…), user-group IDs (S…) or the word members`}},
		"self approval maybe":     {[]string{"ALLOW_SELF_APPROVAL=maybe"}, []string{`ALLOW_SELF_APPROVAL is "maybe": write true or false`}},
		"guests maybe":            {[]string{"ALLOW_GUESTS=members"}, []string{`ALLOW_GUESTS is "members": write true or false`}},
		"expiry maybe":            {[]string{"ALLOW_APPROVAL_ON_EXPIRY=approve"}, []string{`ALLOW_APPROVAL_ON_EXPIRY is "approve": write true or false`}},
		"deadline in days":        {[]string{"DEADLINE=1d"}, []string{`DEADLINE is "1d": write a duration`}},
		"deadline too short":      {[]string{"DEADLINE=999ms"}, []string{"DEADLINE is 999ms: it may be 1s to 8760h"}},
		"deadline negative":       {[]string{"DEADLINE=-1h"}, []string{"DEADLINE is -1h0m0s"}},
		"deadline too long":       {[]string{"DEADLINE=8761h"}, []string{"DEADLINE is 8761h0m0s"}},
		"keys malformed":          {[]string{"REFERENCE_KEYS=secret!"}, []string{"REFERENCE_KEYS is malformed: item 1 is not base64: each key"}},
		"payload keys malformed":  {[]string{"PAYLOAD_KEYS=" + reference.NewKey() + ",secret!"}, []string{"PAYLOAD_KEYS is malformed: item 2 is not base64: each key must be one that `countersign key` printed"}},
		"payload keys short":      {[]string{"PAYLOAD_KEYS=c2VjcmV0"}, []string{"PAYLOAD_KEYS is malformed: item 1 has 6 bytes instead of 32"}},
		"no payload key":          {[]string{"PAYLOAD_KEYS=,"}, []string{"PAYLOAD_KEYS is malformed: there is no key"}},
		"token as payload keys":   {[]string{"PAYLOAD_KEYS=xoxb-1-secret"}, []string{"PAYLOAD_KEYS is malformed: item 1"}},
		"outside decisions maybe": {[]string{"ALLOW_OUTSIDE_DECISIONS=cli"}, []string{`ALLOW_OUTSIDE_DECISIONS is "cli": write true or false`}},
		"token as outside":        {[]string{"ALLOW_OUTSIDE_DECISIONS=xoxb-1-secret"}, []string{"ALLOW_OUTSIDE_DECISIONS is a Slack token: write true"}},
		"two ways to encrypt": {
			[]string{"PAYLOAD_KEYS=" + reference.NewKey(), "TEMPORAL_CODEC_ENDPOINT=http://localhost:8888"},
			[]string{"PAYLOAD_KEYS is set, and so is a codec endpoint for Temporal: use one of them"},
		},
		"codec relative":         {[]string{"TEMPORAL_CODEC_ENDPOINT=localhost:8888"}, []string{"TEMPORAL_CODEC_ENDPOINT is not an absolute http or https URL: write the URL of the codec server"}},
		"codec without host":     {[]string{"TEMPORAL_CODEC_ENDPOINT=http:///secret"}, []string{"TEMPORAL_CODEC_ENDPOINT is not"}},
		"codec garbled":          {[]string{"TEMPORAL_CODEC_ENDPOINT=https://me:secret%zz@codec.example/"}, []string{"TEMPORAL_CODEC_ENDPOINT is not"}},
		"codec auth alone":       {[]string{"TEMPORAL_CODEC_AUTH=Bearer secret"}, []string{"TEMPORAL_CODEC_ENDPOINT is missing, and TEMPORAL_CODEC_AUTH is set: set both, or none"}},
		"API key in plain text":  {[]string{"TEMPORAL_API_KEY=k", "TEMPORAL_TLS=false"}, []string{"TEMPORAL_API_KEY would be sent in plain text"}},
		"deployment alone":       {[]string{"TEMPORAL_DEPLOYMENT_NAME=x"}, []string{"TEMPORAL_WORKER_BUILD_ID is missing, and TEMPORAL_DEPLOYMENT_NAME is set: set both, or none"}},
		"deployment with a dot":  {[]string{"TEMPORAL_DEPLOYMENT_NAME=x.y", "TEMPORAL_WORKER_BUILD_ID=v1.2.3"}, []string{"TEMPORAL_DEPLOYMENT_NAME has a dot or a colon: use letters"}},
		"build ID alone":         {[]string{"TEMPORAL_WORKER_BUILD_ID=x"}, []string{"TEMPORAL_DEPLOYMENT_NAME is missing, and TEMPORAL_WORKER_BUILD_ID is set: set both, or none"}},
		"level unknown":          {[]string{"LOG_LEVEL=loud"}, []string{`LOG_LEVEL is "loud": write debug, info, warn or error`}},
		"format unknown":         {[]string{"LOG_FORMAT=xml"}, []string{`LOG_FORMAT is "xml": write text or json`}},
		"token as approver":      {[]string{"APPROVERS=xoxb-1-secret,bob"}, []string{`APPROVERS has a Slack token, "bob": list user IDs`}},
		"token as requester":     {[]string{"REQUESTERS=xapp-1-secret"}, []string{"REQUESTERS has a Slack token: list user IDs"}},
		"token as log level":     {[]string{"LOG_LEVEL=xoxp-1-secret"}, []string{"LOG_LEVEL is a Slack token: write debug"}},
		"token as log format":    {[]string{"LOG_FORMAT=xoxb-1-secret"}, []string{"LOG_FORMAT is a Slack token: write text"}},
		"token as deadline":      {[]string{"DEADLINE=xoxb-1-secret"}, []string{"DEADLINE is a Slack token: write a duration"}},
		"token as self approval": {[]string{"ALLOW_SELF_APPROVAL=xoxe.xoxb-1-secret"}, []string{"ALLOW_SELF_APPROVAL is a Slack token: write true"}},
		"token as guests":        {[]string{"ALLOW_GUESTS=xoxb-1-secret"}, []string{"ALLOW_GUESTS is a Slack token: write true"}},
		"token as expiry":        {[]string{"ALLOW_APPROVAL_ON_EXPIRY=xoxb-1-secret"}, []string{"ALLOW_APPROVAL_ON_EXPIRY is a Slack token: write true"}},
		"token as own address":   {[]string{"LISTEN_ADDRESS=xapp-1-secret"}, []string{"LISTEN_ADDRESS is a Slack token: write host:port"}},
		"token as API URL":       {[]string{"SLACK_API_URL=xoxb-1-secret"}, []string{"SLACK_API_URL is not an absolute"}},
		"no number":              {[]string{"STICKY_CACHE_SIZE=many"}, []string{`STICKY_CACHE_SIZE is "many": write a whole number`}},
		"less than nothing":      {[]string{"STICKY_CACHE_SIZE=-1"}, []string{`STICKY_CACHE_SIZE is -1: write a whole number`}},
		"a queue of bots":        {[]string{"TASK_QUEUE=countersign-bots"}, []string{"TASK_QUEUE ends in -bots: take another name"}},
		"admin garbled":          {[]string{"ADMIN_ADDRESS=9090"}, []string{`ADMIN_ADDRESS is "9090": write host:port`}},
		"admin where Slack is":   {[]string{"ADMIN_ADDRESS=:3000"}, []string{"ADMIN_ADDRESS is LISTEN_ADDRESS: take another port"}},
		"token as server":        {[]string{"TEMPORAL_ADDRESS=xoxb-1-secret"}, []string{"TEMPORAL_ADDRESS is a Slack token: write host:port"}},
		"token as TLS":           {[]string{"TEMPORAL_TLS=xoxb-1-secret"}, []string{"TEMPORAL_TLS is a Slack token: write true"}},
		"token as profile":       {[]string{"TEMPORAL_PROFILE=xoxb-1-secret"}, []string{"TEMPORAL_PROFILE is a Slack token: name a profile"}},
		"token as keys":          {[]string{"REFERENCE_KEYS=xoxb-1-secret"}, []string{"REFERENCE_KEYS is malformed: item 1"}},
		"several at once": {
			[]string{"LOG_FORMAT=xml", "LOG_LEVEL=loud", "REFERENCE_KEYS=", "DEADLINE=1d", "APPROVERS=x", "TEMPORAL_ADDRESS=x", "SLACK_API_URL=x", "SLACK_SIGNING_SECRET=", "SLACK_BOT_TOKEN="},
			[]string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_API_URL", "TEMPORAL_ADDRESS", "APPROVERS", "DEADLINE", "REFERENCE_KEYS", "LOG_LEVEL", "LOG_FORMAT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := append([]string{"SLACK_BOT_TOKEN=" + botToken, "SLACK_SIGNING_SECRET=" + secret, "REFERENCE_KEYS=" + reference.NewKey()}, c.vars...)
			got, err := load(t, Run, vars...)
			all := faultsOf(t, err)
			if len(all) != len(c.want) {
				t.Fatalf("%d faults, want %d:\n%v", len(all), len(c.want), err)
			}
			for i, line := range strings.Split(err.Error(), "\n") {
				if !strings.Contains(line, c.want[i]) {
					t.Errorf("line %d is %q\nwant %q", i, line, c.want[i])
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("shows a secret: %v", err)
			}
			if got.SlackBotToken != "" {
				t.Error("gives a configuration beside the error")
			}
		})
	}
}

func TestDotenv(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file    string
		environ []string
		want    string // the task queue
		fault   string
	}{
		"only the file":             {"# comment\n\nTASK_QUEUE=file\n", nil, "file", ""},
		"environment wins":          {"TASK_QUEUE=file", []string{"TASK_QUEUE=env"}, "env", ""},
		"empty environment wins":    {"TASK_QUEUE=file", []string{"TASK_QUEUE="}, "countersign", ""},
		"empty in the file":         {"TASK_QUEUE=\n", nil, "countersign", ""},
		"quoted, with CRLF":         {"TASK_QUEUE=\"file\" \r\nLOG_LEVEL=info\r\n", nil, "file", ""},
		"over several lines":        {"X=\"a\nb\"\nTASK_QUEUE=file\n", nil, "file", ""},
		"a mark of UTF-8":           {"\ufeffTASK_QUEUE=file\n", nil, "file", ""},
		"UTF-16":                    {"\xff\xfeT\x00A\x00", nil, "", "is no text in UTF-8: save it as UTF-8"},
		"no file":                   {"-", nil, "countersign", ""},
		"line without =":            {"TASK_QUEUE=file\nSLACK_APP_TOKEN xapp-secret\nX=secret\n", nil, "", "is malformed at line 2: "},
		"last line without =":       {"TASK_QUEUE=file\n\nxapp-secret", nil, "", "is malformed at line 3: "},
		"last, with a newline":      {"TASK_QUEUE=file\n\nxappsecret\n", nil, "", "is malformed at line 3: "},
		"only line":                 {"xapp-secret", nil, "", "is malformed at line 1: "},
		"quote that does not close": {"X=1\nTASK_QUEUE=\"secret\nY=2\n", nil, "", "is malformed at line 2: "},
		"after a quote over lines":  {"X=\"a\n\nb\"\nsecret!\nY=2\n", nil, "", "is malformed at line 4: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), ".env")
			if c.file != "-" {
				write(t, path, c.file)
			}
			got, err := Load(Demo, append(c.environ, noFile(t)), path)
			if c.fault == "" {
				if err != nil || got.TaskQueue != c.want {
					t.Errorf("task queue %q, %v; want %q", got.TaskQueue, err, c.want)
				}
				return
			}
			all := faultsOf(t, err)
			if len(all) != 1 || all[0].Name != path || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "secret") {
				t.Errorf("fault is %v, want %q", err, c.fault)
			}
		})
	}
	t.Run("a folder", func(t *testing.T) {
		t.Parallel()
		_, err := Load(Demo, []string{noFile(t)}, t.TempDir())
		if len(faultsOf(t, err)) != 1 || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("fault is %v", err)
		}
	})
}

func TestTemporalFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "temporal.toml")
	write(t, path, `
[profile.default]
address = "file.example:7233"
namespace = "file"
[profile.prod]
address = "prod.example:7233"
api_key = "secret"
`)
	for name, c := range map[string]struct {
		role                Role
		vars                []string
		address, namespace  string
		credentials, noFile bool
	}{
		"default profile":          {Worker, nil, "file.example:7233", "file", false, false},
		"named profile":            {Worker, []string{"TEMPORAL_PROFILE=prod"}, "prod.example:7233", "default", true, false},
		"environment over file":    {Worker, []string{"TEMPORAL_ADDRESS=env.example:1"}, "env.example:1", "file", false, false},
		"empty is not set":         {Worker, []string{"TEMPORAL_ADDRESS=", "TEMPORAL_NAMESPACE= "}, "file.example:7233", "file", false, false},
		"no server for the demo":   {Demo, nil, "", "default", false, false},
		"a server for the demo":    {Demo, []string{"TEMPORAL_ADDRESS=dns:///env.example"}, "dns:///env.example", "file", false, false},
		"a profile for the demo":   {Demo, []string{"TEMPORAL_PROFILE=prod"}, "prod.example:7233", "default", true, false},
		"a namespace for the demo": {Demo, []string{"TEMPORAL_NAMESPACE=n"}, "", "n", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vars := append([]string{"SLACK_BOT_TOKEN=" + botToken, "REFERENCE_KEYS=" + reference.NewKey(), "TEMPORAL_CONFIG_FILE=" + path}, c.vars...)
			got, err := Load(c.role, vars, "")
			if err != nil {
				t.Fatal(err)
			}
			if got.Temporal.HostPort != c.address || got.Temporal.Namespace != c.namespace || (got.Temporal.Credentials != nil) != c.credentials {
				t.Errorf("address %q, namespace %q, credentials %v", got.Temporal.HostPort, got.Temporal.Namespace, got.Temporal.Credentials != nil)
			}
		})
	}
	t.Run("malformed", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "temporal.toml")
		write(t, path, "[profile.default]\napi_key = tsecret\n")
		_, err := Load(Demo, []string{"TEMPORAL_CONFIG_FILE=" + path, "TEMPORAL_ADDRESS=x:1"}, "")
		all := faultsOf(t, err)
		if len(all) != 1 || all[0].Name != "TEMPORAL_CONFIG_FILE" || !strings.Contains(err.Error(), path+") is malformed at line 2") || strings.Contains(err.Error(), "secret") {
			t.Errorf("fault is %v", err)
		}
	})
	t.Run("empty header removes one", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "temporal.toml")
		write(t, path, "[profile.default.grpc_meta]\nx-a = \"1\"\nx-b = \"2\"\n")
		got, err := Load(Demo, []string{"TEMPORAL_CONFIG_FILE=" + path, "TEMPORAL_ADDRESS=x:1", "TEMPORAL_GRPC_META_X_A="}, "")
		if err != nil {
			t.Fatal(err)
		}
		headers, err := got.Temporal.HeadersProvider.GetHeaders(t.Context())
		if diff := cmp.Diff(map[string]string{"x-b": "2"}, headers); diff != "" || err != nil {
			t.Errorf("headers (-want +got):\n%s%v", diff, err)
		}
	})
}

func TestConfigShowsNoSecret(t *testing.T) {
	t.Parallel()
	key, payloadKey := reference.NewKey(), reference.NewKey()
	c, err := load(t, Run, "SLACK_BOT_TOKEN="+botToken, "SLACK_APP_TOKEN="+appToken, "SLACK_SIGNING_SECRET="+secret,
		"TEMPORAL_API_KEY=secret-api-key", "REFERENCE_KEYS="+key, "PAYLOAD_KEYS="+payloadKey, "TASK_QUEUE=visible")
	if err != nil {
		t.Fatal(err)
	}
	nested := struct{ C Config }{c}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("config", "config", c, "pointer", &c, "nested", nested)
	}
	asJSON, err := json.Marshal(nested)
	if err != nil {
		t.Fatal(err)
	}
	for name, shown := range map[string]string{
		"log":     log.String(),
		"JSON":    string(asJSON),
		"verbs":   fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c),
		"pointer": fmt.Sprintf("%v %+v %#v %s", &c, &c, &c, &c),
		"nested":  fmt.Sprintf("%v %+v %#v", nested, nested, nested),
	} {
		if strings.Contains(shown, "secret") || strings.Contains(shown, key[:10]) || strings.Contains(shown, payloadKey[:10]) {
			t.Errorf("%s shows a secret: %s", name, shown)
		}
		if !strings.Contains(shown, "visible") {
			t.Errorf("%s does not show the rest: %s", name, shown)
		}
	}
	for _, want := range []string{"SLACK_BOT_TOKEN=*** ", "TEMPORAL_API_KEY=*** ", "ALLOW_GUESTS=false ", "ALLOW_APPROVAL_ON_EXPIRY=false ", "REFERENCE_KEYS=" + c.ReferenceKeys.IDs()[0], "PAYLOAD_KEYS=" + c.PayloadKeys.IDs()[0]} {
		if !strings.Contains(c.String(), want) {
			t.Errorf("%q is not in %s", want, c)
		}
	}
}

// TestExample holds .env.example and Config together.
func TestExample(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", ".env.example")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	type variable struct {
		name, value string
		required    bool
	}
	var got []variable
	for _, m := range regexp.MustCompile(`(?m)^(# )?([A-Z_]+)=(.*)$`).FindAllStringSubmatch(string(text), -1) {
		got = append(got, variable{m[2], m[3], m[1] == ""})
	}

	// What has no "#" is what a first set-up needs: Socket Mode, and somebody to decide.
	missing := map[string]bool{"SLACK_APP_TOKEN": true, "APPROVERS": true}
	_, err = load(t, Run, "SLACK_APP_TOKEN=xapp-1")
	for _, f := range faultsOf(t, err) {
		missing[f.Name] = true
	}
	var want []variable
	for field := range reflect.TypeFor[Config]().Fields() {
		if field.Name == "Temporal" {
			want = append(want,
				variable{"TEMPORAL_ADDRESS", temporalAddress, false},
				variable{"TEMPORAL_NAMESPACE", temporalNamespace, false},
				variable{"TEMPORAL_API_KEY", "", false})
			continue
		}
		name := field.Tag.Get("env")
		if field.Name == "OpenTelemetry" {
			name = otlpEndpoint
		}
		want = append(want, variable{name, field.Tag.Get("envDefault"), missing[name]})
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(variable{})); diff != "" {
		t.Errorf(".env.example (-want +got):\n%s", diff)
	}

	// As it is, it lacks a way to receive Slack and what is required besides, and nothing else is wrong with it.
	_, err = Load(Run, []string{noFile(t)}, path)
	var lacks []string
	for _, f := range faultsOf(t, err) {
		lacks = append(lacks, f.Name)
	}
	if diff := cmp.Diff([]string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "REFERENCE_KEYS"}, lacks); diff != "" {
		t.Errorf("as .env it lacks (-want +got):\n%s", diff)
	}
	// What a log shows has the same names in the same order.
	var shown, names []string
	for _, a := range (Config{}).attrs() {
		if a.Key != "TEMPORAL_TLS" {
			shown = append(shown, a.Key)
		}
	}
	for _, v := range want {
		names = append(names, v.name)
	}
	if diff := cmp.Diff(names, shown); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
}

// load loads from vars alone: no .env, and no temporal.toml of the person who runs the test.
func load(t *testing.T, role Role, vars ...string) (Config, error) {
	t.Helper()
	return Load(role, append([]string{noFile(t)}, vars...), "")
}

func noFile(t *testing.T) string {
	t.Helper()
	return "TEMPORAL_CONFIG_FILE=" + filepath.Join(t.TempDir(), "temporal.toml")
}

func faultsOf(t *testing.T, err error) []Fault {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error is %T: %v", err, err)
	}
	return e.Faults
}

func diff(want, got Config) string {
	return cmp.Diff(want, got,
		cmpopts.IgnoreFields(Config{}, "ReferenceKeys", "PayloadKeys"),
		cmp.Comparer(func(a, b client.Options) bool { return a.HostPort == b.HostPort && a.Namespace == b.Namespace }))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
