package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"

	"countersign/workflows"
)

// minimal are the flags that a request needs.
func minimal(more ...string) []string {
	return append([]string{"request", "--title", "Deploy v2", "--channel", "C0GENERAL1"}, more...)
}

// sent is what the workflow was started with.
func (f *fake) sent(t *testing.T) string {
	t.Helper()
	b, err := json.MarshalIndent(f.with, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRequestIsSent(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args  []string
		file  string
		stdin string
		want  string
		says  string // on standard error, beside the progress
	}{
		"flags": {
			args: minimal("--text", "More.", "--field", "Service=web=shop", "--field", "Empty=", "--link", "https://ci.example/7",
				"--requester", "U0ALICE001", "--approver", "U0BOB00001,S0SRE00001", "--approver", "channel", "--required", "2", "--deadline", "3d",
				"--remind-every", "1h", "--choice", "Europe, west", "--choice", "America", "--confirm", "Really?", "--tell-requester"),
			want: `{
				"title": "Deploy v2", "channel": "C0GENERAL1", "text": "More.", "fields": [{"label": "Service", "value": "web=shop"}, {"label": "Empty", "value": ""}],
				"link": {"url": "https://ci.example/7"}, "requester": "U0ALICE001",
				"approvers": {"users": ["U0BOB00001"], "groups": ["S0SRE00001"], "channel": true}, "required": 2, "deadline": "3d",
				"remind_every": "1h", "choices": [{"label": "Europe, west"}, {"label": "America"}], "confirm": "Really?", "tell_requester": true}`,
		},
		"flags that were not given are not sent": {args: minimal(), want: `{"title": "Deploy v2", "channel": "C0GENERAL1"}`},
		"a file": {
			args: []string{"request"}, file: `{"title": "From a file", "channel": "C0GENERAL1", "deadline": 90, "inputs": [{"name": "n", "initial": 3}]}`,
			want: `{"title": "From a file", "channel": "C0GENERAL1", "deadline": 90, "inputs": [{"name": "n", "initial": 3}]}`,
		},
		"a flag wins over the file": {
			args: []string{"request", "--title", "From a flag", "--approver", "U0CAROL001"},
			file: `{"title": "From a file", "channel": "C0GENERAL1", "approvers": {"groups": ["S0SRE00001"]}}`,
			want: `{"title": "From a flag", "channel": "C0GENERAL1", "approvers": {"users": ["U0CAROL001"]}}`,
		},
		"a flag that says no wins too": {
			args: []string{"request", "--tell-requester=false"}, file: `{"title": "T", "channel": "C0GENERAL1", "tell_requester": true}`,
			want: `{"title": "T", "channel": "C0GENERAL1", "tell_requester": false}`,
		},
		"a byte order mark": {
			args: []string{"request"}, file: "\ufeff" + `{"title": "T", "channel": "C0GENERAL1"}`, want: `{"title": "T", "channel": "C0GENERAL1"}`,
		},
		"standard input": {
			args: []string{"request", "--from", "-"}, stdin: ` {"title": "T", "channel": "C0GENERAL1"} `,
			want: `{"title": "T", "channel": "C0GENERAL1"}`,
		},
		"fields of a later version": {
			args: []string{"request"}, file: `{"title": "T", "channel": "C0GENERAL1", "urgency": {"level": 9007199254740993}, "colour\u001b": null}`,
			want: `{"title": "T", "channel": "C0GENERAL1", "urgency": {"level": 9007199254740993}, "colour\u001b": null}`,
			says: "This version does not know colour , urgency: it is left to the worker.\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.file != "" {
				tc.args = append(tc.args, "--from", file(t, tc.file))
			}
			inTime(t, func(t *testing.T) {
				f := &fake{looks: []look{{listed: []workflows.Listed{open("q", request())}}}}
				p := f.run(t, t.Context(), tc.stdin, tc.args...)
				p.says(t, 0)
				if len(f.started) != 1 {
					t.Fatalf("%d starts: %v", len(f.started), p.fail)
				}
				var want, got any
				if err := errors.Join(json.Unmarshal([]byte(tc.want), &want), json.Unmarshal([]byte(f.sent(t)), &got)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("the workflow's input (-want +got):\n%s", diff)
				}
				id := f.started[0].ID
				if rest, ok := strings.CutPrefix(id, "request-"); !ok || len(rest) != 16 || f.started[0].TaskQueue != "countersign" {
					t.Errorf("started as %q on %q", id, f.started[0].TaskQueue)
				}
				wantErr := tc.says + "Asked as " + id + ": " + permalink + "\nIt waits until Sat, 21 Nov 2026 12:00:00 UTC.\n"
				if p.err != wantErr {
					t.Errorf("standard error (-want +got):\n%s", cmp.Diff(wantErr, p.err))
				}
				wantOut := "{\n  \"permalink\": \"" + permalink + "\",\n  \"run_id\": \"r\",\n  \"workflow_id\": \"" + id + "\"\n}\n"
				if p.out != wantOut {
					t.Errorf("standard output (-want +got):\n%s", cmp.Diff(wantOut, p.out))
				}
			})
		})
	}
}

// A number that JSON can hold is sent as it was written.
func TestRequestKeepsLargeNumbers(t *testing.T) {
	name := file(t, `{"title": "T", "channel": "C0GENERAL1", "later": 9007199254740993}`)
	inTime(t, func(t *testing.T) {
		f := &fake{looks: []look{{listed: []workflows.Listed{open("q", request())}}}}
		f.run(t, t.Context(), "", "request", "--from", name).says(t, 0)
		if got := f.sent(t); !strings.Contains(got, "9007199254740993") {
			t.Errorf("sent %s", got)
		}
	})
}

// What is wrong is said, and nothing is started.
func TestRequestIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		file string
		code int
		says []string // parts of the error
	}{
		"nothing at all": {args: []string{"request"}, code: ExitNotAsked, says: []string{
			"nothing was asked:\n  The title is empty.\n  The channel \"\" is not the ID of a Slack channel, such as C0123456789, or of a person.",
		}},
		"every fault": {
			args: []string{"request", "--required", "21", "--deadline", "soon", "--remind-every", "1s", "--requester", "alice", "--link", "ftp://x"},
			file: `{"title": "", "channel": "#general", "allow_self": "yes"}`, code: ExitNotAsked,
			says: []string{
				"\n  In the JSON of the request allow_self is of the type string", "\n  The title is empty.", "\n  The link leads to", "\n  The channel \"#general\"",
				"\n  The requester \"alice\"", "\n  required is 21", "\n  The deadline is \"soon\"", "\n  remind_every is \"1s\"",
			},
		},
		"a fault with control characters": {
			args: []string{"request", "--title", "T"}, file: `{"channel": "C0GENERAL1", "allow_self": 1, "on_expiry": "\u001b[31m"}`,
			code: ExitNotAsked, says: []string{"on_expiry is"},
		},
		"text in place of a list": {args: minimal(), file: `{"choices": "both"}`, code: ExitNotAsked, says: []string{"choices is of the type string, and has to be a list."}},
		"not JSON":                {args: []string{"request"}, file: `{"title": "T",}`, code: ExitUsage, says: []string{"is not JSON: invalid character"}},
		"an empty file":           {args: []string{"request"}, file: " ", code: ExitUsage, says: []string{"is not JSON"}},
		"two objects":             {args: []string{"request"}, file: `{"title": "T"} {}`, code: ExitUsage, says: []string{"is not JSON"}},
		"null":                    {args: []string{"request"}, file: `null`, code: ExitUsage, says: []string{"has to be a JSON object, with the fields of a request"}},
		"a list":                  {args: []string{"request"}, file: `[{"title": "T"}]`, code: ExitUsage, says: []string{"has to be a JSON object"}},
		"no such file":            {args: []string{"request", "--from", "/nowhere/request.json"}, code: ExitUsage, says: []string{"read the request: open /nowhere/request.json"}},
		"an approver that is none": {
			args: minimal("--approver", "U0BOB00001,@sre"), code: ExitUsage, says: []string{`--approver "@sre" is not the ID`},
		},
		"a field without =": {args: minimal("--field", "Service"), code: ExitUsage, says: []string{`--field "Service" has no = in it: write LABEL=VALUE`}},
		"a word too much":   {args: minimal("now"), code: ExitUsage, says: []string{`takes no argument, but has "now"`}},
		"an empty key":      {args: minimal("--key", ""), code: ExitUsage, says: []string{"--key is empty: give a value, or leave it out."}},
		"every fault of flags and request": {
			args: []string{"request", "--title", "", "--approver", "", "--approver", "@sre", "--field", "Service", "--choice", "", "--key", "a b", "--deadline", "", "--required", "21"},
			code: ExitUsage, says: []string{
				"nothing was asked:\n", "\n  --title is empty", "\n  --approver is empty", "\n  --approver \"@sre\" is not", "\n  --field \"Service\" has no =",
				"\n  --choice is empty", "\n  --key may have", "\n  --deadline is empty", "\n  The title is empty.", "\n  The channel \"\"", "\n  required is 21",
			},
		},
		"an empty approver":                 {args: minimal("--approver", ""), code: ExitUsage, says: []string{"--approver is empty"}},
		"an empty approver beside another":  {args: minimal("--approver", "U0BOB00001", "--approver", ""), code: ExitUsage, says: []string{"--approver is empty"}},
		"an empty requester":                {args: minimal("--requester", ""), code: ExitUsage, says: []string{"--requester is empty"}},
		"an empty text over that of a file": {args: minimal("--text", ""), file: `{"text": "x"}`, code: ExitUsage, says: []string{"--text is empty"}},
		"an empty link":                     {args: minimal("--link", ""), code: ExitUsage, says: []string{"--link is empty"}},
		"no file":                           {args: minimal("--from", ""), code: ExitUsage, says: []string{"--from is empty"}},
		"a key that a shell would read":     {args: minimal("--key", "a;b"), code: ExitUsage, says: []string{"--key may have"}},
		"a key of other letters":            {args: minimal("--key", "größe"), code: ExitUsage, says: []string{"--key may have"}},
		"a key that is too long":            {args: minimal("--key", strings.Repeat("k", 201)), code: ExitUsage, says: []string{"--key may have 200 characters"}},
		"a key of two lines":                {args: minimal("--key", "a\nb"), code: ExitUsage, says: []string{"--key may have 200 characters, which are letters from A to Z, digits, and . _ : / @ + = -"}},
		"a key of no text":                  {args: minimal("--key", "a\xffb"), code: ExitUsage, says: []string{"--key may have 200 characters, which are letters from A to Z, digits, and . _ : / @ + = -"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.file != "" {
				tc.args = append(tc.args, "--from", file(t, tc.file))
			}
			f := &fake{}
			p := f.run(t, t.Context(), "", tc.args...)
			p.says(t, tc.code, tc.says...)
			if f.connected > 0 || p.out != "" {
				t.Errorf("%d connections; printed %q", f.connected, p.out)
			}
			for _, line := range strings.Split(p.fail.Error(), "\n") {
				if line != plain(line) {
					t.Errorf("it would steer a terminal: %q", line)
				}
			}
		})
	}
}

func TestRequestWithAKey(t *testing.T) {
	t.Parallel()
	var same map[string]any
	if err := json.Unmarshal([]byte(`{"channel":"C0GENERAL1","title":"Deploy v2"}`), &same); err != nil {
		t.Fatal(err)
	}
	already := serviceerror.NewWorkflowExecutionAlreadyStarted("already", "", "r")
	done := history{round: workflows.Round{Request: request(), Number: 1}, end: workflows.Result{Outcome: workflows.Approved, Card: posted, EndedAt: until}}
	looks := []look{{listed: []workflows.Listed{open("q", request())}}, {ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Approved)}}}
	key := strings.Repeat("k", 200)

	t.Run("the first", func(t *testing.T) {
		inTime(t, func(t *testing.T) {
			f := &fake{looks: looks}
			f.run(t, t.Context(), "", minimal("--key", key)...).says(t, 0)
			if len(f.started) != 1 || f.started[0].ID != "request-"+key || !f.started[0].WorkflowExecutionErrorWhenAlreadyStarted {
				t.Errorf("started with %+v", f.started)
			}
		})
	})
	t.Run("a repeat", func(t *testing.T) {
		inTime(t, func(t *testing.T) {
			f := &fake{looks: looks, start: already, input: same, histories: map[string]history{"q": done}}
			p := f.run(t, t.Context(), "", minimal("--key", "1", "--wait")...)
			p.says(t, 0)
			if !strings.HasPrefix(p.err, "The request request-1 is open already.\nAsked as request-1") || !strings.Contains(p.out, `"outcome": "approved"`) {
				t.Errorf("printed %q and %q", p.out, p.err)
			}
		})
	})
	for name, other := range map[string]any{
		"another title":       map[string]any{"title": "Deploy v3", "channel": "C0GENERAL1"},
		"one field more":      map[string]any{"title": "Deploy v2", "channel": "C0GENERAL1", "text": "x"},
		"one field that is 0": map[string]any{"title": "Deploy v2", "channel": "C0GENERAL1", "required": 0},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				f := &fake{looks: looks, start: already, input: other}
				p := f.run(t, t.Context(), "", minimal("--key", "1", "--wait")...)
				p.says(t, ExitUsage, "another request is open with this key (request-1): wait for it, withdraw it, or use another key")
			})
		})
	}
	t.Run("the open one has no such input", func(t *testing.T) {
		inTime(t, func(t *testing.T) {
			f := &fake{looks: looks, start: already, input: "text"}
			f.run(t, t.Context(), "", minimal("--key", "1")...).says(t, ExitNotAsked, "look at the open request of that key")
		})
	})
}

// Who waits for a file that does not come can leave.
func TestInterruptedWhileItReads(t *testing.T) {
	inTime(t, func(t *testing.T) {
		in, never := io.Pipe()
		defer never.Close()
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			synctest.Wait() // until it reads
			stop()
		}()
		f := &fake{in: in}
		f.run(t, ctx, "", "request", "--from", "-", "--wait").says(t, ExitInterrupted, "nothing was asked")
		if f.connected > 0 {
			t.Error("it connects")
		}
	})
}

func TestSame(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		a, b string
		want bool
	}{
		"other spaces and order":  {`{"title":"T","approvers":{"users":["U1"],"groups":[]}}`, `{ "approvers" : {"groups": [ ], "users": ["U1"] }, "title": "T" }`, true},
		"escapes":                 {`{"title":"é<"}`, `{"title":"\u00e9\u003c"}`, true},
		"another order of a list": {`{"approvers":{"users":["U1","U2"]}}`, `{"approvers":{"users":["U2","U1"]}}`, false},
		"text and number":         {`{"deadline":"90"}`, `{"deadline":90}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a, b map[string]json.RawMessage
			if err := errors.Join(json.Unmarshal([]byte(tc.a), &a), json.Unmarshal([]byte(tc.b), &b)); err != nil {
				t.Fatal(err)
			}
			if got := same(a, b); got != tc.want {
				t.Errorf("same is %v", got)
			}
		})
	}
}

func TestRequestCannotStart(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, tc := range map[string]struct {
		ctx  context.Context
		f    fake
		code int
		says string
	}{
		"Temporal is away":          {t.Context(), fake{connect: errors.New("temporal does not answer")}, ExitNotAsked, "temporal does not answer"},
		"something is to be mended": {t.Context(), fake{connect: &Error{Code: ExitUsage, Err: errors.New("TASK_QUEUE")}}, ExitUsage, "TASK_QUEUE"},
		"interrupted before":        {stopped, fake{connect: context.Canceled}, ExitInterrupted, "nothing was asked"},
		"it is refused":             {t.Context(), fake{start: &serviceerror.PermissionDenied{Message: "not here"}}, ExitNotAsked, "start the request: not here"},
		"interrupted meanwhile":     {stopped, fake{start: context.Canceled}, ExitInterrupted, "it is not known whether it was asked; look with: countersign show request-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tc.f.run(t, tc.ctx, "", minimal("--key", "1")...)
			p.says(t, tc.code, tc.says)
		})
	}
}
