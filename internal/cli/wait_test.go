package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"countersign/workflows"
)

// result is how the request ended that waits for bob.
func result(o workflows.Outcome, ds ...workflows.Decision) workflows.Result {
	return workflows.Result{Outcome: o, Decisions: ds, Card: posted, EndedAt: asked.Add(time.Hour), Permalink: permalink, Digest: "d2"}
}

func TestReport(t *testing.T) {
	t.Parallel()
	no := decision(workflows.Rejected, bob)
	no.Reason = "Not\ntoday\x1b[2J."
	silent := result(workflows.Rejected)
	silent.ByDeadline = true
	for name, tc := range map[string]struct {
		res  workflows.Result
		code int
		says string // all that the error says
	}{
		"approved":               {result(workflows.Approved, decision(workflows.Approved, bob)), 0, ""},
		"rejected with a reason": {result(workflows.Rejected, no), ExitRejected, "the request was rejected: Not today [2J."},
		"rejected":               {result(workflows.Rejected, decision(workflows.Rejected, bob)), ExitRejected, "the request was rejected"},
		"rejected by deadline":   {silent, ExitRejected, "the request was rejected"},
		"expired":                {result(workflows.Expired), ExitExpired, "the request has expired: nobody decided in time"},
		"withdrawn":              {result(workflows.Withdrawn), ExitWithdrawn, "the request was withdrawn"},
		"failed":                 {workflows.Result{Outcome: workflows.Failed, Card: posted, Note: "It was\nterminated."}, ExitNotAsked, "the request ended without an outcome: It was terminated."},
		"failed before a card":   {workflows.Result{Outcome: workflows.Failed, Note: "No."}, ExitNotAsked, "nothing was asked: No."},
		"of a later version":     {result("postponed"), ExitNotAsked, "the request ended without an outcome: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			err := report(Streams{Out: &out}, tc.res)
			printed{fail: err, code: codeOf(err)}.says(t, tc.code)
			if err != nil && err.Error() != tc.says {
				t.Errorf("it says %q, want %q", err, tc.says)
			}
			if got := out.String(); !strings.HasPrefix(got, "{\n  \"outcome\": \""+string(tc.res.Outcome)+"\"") {
				t.Errorf("printed %s", got)
			}
		})
	}
}

func codeOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// The result is printed as it is in the documentation.
func TestResultAsJSON(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	yes := decision(workflows.Approved, workflows.Person{Name: "<alice> & co" + workflows.AsGiven})
	yes.Via, yes.Reason = workflows.Outside, "Slack is down."
	if err := report(Streams{Out: &out}, result(workflows.Approved, yes)); err != nil {
		t.Fatal(err)
	}
	const want = `{
  "outcome": "approved",
  "decisions": [
    {
      "outcome": "approved",
      "by": {
        "name": "<alice> & co (outside Slack, as given)"
      },
      "at": "2026-11-20T13:00:00Z",
      "via": "outside",
      "reason": "Slack is down."
    }
  ],
  "card": {
    "channel": "C0GENERAL1",
    "ts": "1.2"
  },
  "permalink": "https://example.slack.com/archives/C0GENERAL1/p12",
  "ended_at": "2026-11-20T13:00:00Z",
  "digest": "d2"
}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	two := request()
	two.Required = 2
	yes, no := decision(workflows.Approved, bob), decision(workflows.Rejected, carol)
	also, outside := decision(workflows.Approved, carol), decision(workflows.Approved, workflows.Person{Name: "al\x1bice" + workflows.AsGiven})
	extended := open("q", request())
	extended.Round.Changes = []workflows.Change{{Kind: workflows.Extend, Until: until.Add(time.Hour)}}
	later := closed("q", request(), workflows.Approved, yes)
	later.Round.Changes = extended.Round.Changes
	bare := result(workflows.Approved, yes)
	bare.Card, bare.Permalink, bare.Digest = workflows.Card{}, "", ""
	away := look{err: &serviceerror.Unavailable{Message: "away"}}
	ofTwo := func(ds ...workflows.Decision) workflows.Listed { return open("q", two, ds...) }
	said := func(lines ...string) string {
		return "Asked as w: " + permalink + "\nIt waits until Sat, 21 Nov 2026 12:00:00 UTC.\n" + strings.Join(lines, "")
	}
	has := func(round workflows.Request, end workflows.Result) map[string]history {
		return map[string]history{"q": {round: workflows.Round{Request: round, Number: 1}, end: end}}
	}
	for name, tc := range map[string]struct {
		f    fake
		args []string
		code int
		err  string // all of standard error
		fail string // part of the error
		out  string // part of standard output
	}{
		"approved at once": {
			f: fake{
				looks:     []look{{listed: []workflows.Listed{closed("q", request(), workflows.Approved, yes)}}},
				histories: has(request(), result(workflows.Approved, yes)),
			},
			err: said("bob: approved (1 of 1).\n"), out: `"outcome": "approved"`,
		},
		"two of two, one after the other": {
			f: fake{
				looks: []look{
					{},
					{listed: []workflows.Listed{ofTwo()}},
					{listed: []workflows.Listed{ofTwo(yes)}},
					{listed: []workflows.Listed{ofTwo(yes)}},
					{ended: true, listed: []workflows.Listed{closed("q", two, workflows.Approved, yes, also)}},
				},
				histories: has(two, result(workflows.Approved, yes, also)),
			},
			err: said("bob: approved (1 of 2).\n", "carol: approved (2 of 2).\n"), out: `"outcome": "approved"`,
		},
		"two of two at once": {
			f: fake{
				looks:     []look{{listed: []workflows.Listed{closed("q", two, workflows.Approved, outside, also)}}},
				histories: has(two, result(workflows.Approved, outside, also)),
			},
			err: said("al ice (outside Slack, as given): approved.\n", "carol: approved (2 of 2).\n"), out: `"outcome": "approved"`,
		},
		"rejected by the second": {
			f: fake{
				looks:     []look{{listed: []workflows.Listed{ofTwo(yes)}}, {ended: true, listed: []workflows.Listed{closed("q", two, workflows.Rejected, yes, no)}}},
				histories: has(two, result(workflows.Rejected, yes, no)),
			},
			code: ExitRejected, err: said("bob: approved (1 of 2).\n", "carol: rejected.\n"), fail: "the request was rejected", out: `"outcome": "rejected"`,
		},
		"extended": {
			f: fake{
				looks: []look{
					{listed: []workflows.Listed{open("q", request())}}, {listed: []workflows.Listed{extended}}, {listed: []workflows.Listed{extended}}, {ended: true, listed: []workflows.Listed{later}},
				},
				histories: has(request(), result(workflows.Approved, yes)),
			},
			err: said("It waits until Sat, 21 Nov 2026 13:00:00 UTC now.\n", "bob: approved (1 of 1).\n"),
		},
		"the list is a step ahead of the history": {
			f: fake{
				looks:     []look{{listed: []workflows.Listed{open("q", request())}}, {listed: []workflows.Listed{closed("q", request(), workflows.Approved, yes)}}, {listed: []workflows.Listed{closed("q", request(), workflows.Expired)}}},
				histories: has(request(), bare),
			},
			err: said("bob: approved (1 of 1).\n"), out: `"permalink": "` + permalink + `"`,
		},
		"Temporal is away for a while": {
			f: fake{
				looks:     []look{{listed: []workflows.Listed{open("q", request())}}, away, away, {listed: []workflows.Listed{open("q", request())}}, away, {listed: []workflows.Listed{closed("q", request(), workflows.Approved, yes)}}},
				histories: has(request(), result(workflows.Approved, yes)),
			},
			err: said("Temporal does not answer; still waiting: away\n", "Temporal does not answer; still waiting: away\n", "bob: approved (1 of 1).\n"),
		},
		"no worker runs": {
			f: fake{
				looks:     append(make([]look, 15), look{ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Approved, yes)}}),
				histories: has(request(), result(workflows.Approved, yes)),
			},
			err: "The card is not posted yet: is a worker running on the task queue countersign, and does it reach Slack?\n" + said("bob: approved (1 of 1).\n"),
		},
		"it may not be looked at": {f: fake{looks: []look{{err: &serviceerror.PermissionDenied{Message: "denied"}}}}, code: ExitNotAsked, fail: "denied"},
		"the ID is none":          {f: fake{looks: []look{{err: &serviceerror.InvalidArgument{Message: "too long"}}}}, code: ExitNotAsked, fail: "too long"},
		"there is none":           {f: fake{looks: []look{{err: &serviceerror.NotFound{}}}}, code: ExitUsage, fail: `there is no request "w" on the task queue countersign`},
		"another deployment's":    {f: fake{looks: []look{{queue: "other"}}}, code: ExitUsage, fail: `there is no request "w" on the task queue countersign`},
		"it cannot be asked": {
			f:    fake{looks: []look{{}, {ended: true}}, end: workflows.InvalidRequestError("Bob cannot\x1b decide.")},
			code: ExitNotAsked, fail: "nothing was asked: Bob cannot  decide.",
		},
		"it was terminated": {
			f:    fake{looks: []look{{ended: true}}, end: &temporal.WorkflowExecutionError{}},
			code: ExitNotAsked, fail: "nothing was asked: the workflow has failed",
		},
		"it was terminated before a card": {
			f:    fake{looks: []look{{ended: true}}, end: fmt.Errorf("run: %w", &temporal.TerminatedError{})},
			code: ExitNotAsked, fail: "nothing was asked: the workflow was terminated",
		},
		"it ran out of time before a card": {
			f:    fake{looks: []look{{ended: true}}, end: temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_START_TO_CLOSE, nil)},
			code: ExitNotAsked, fail: "nothing was asked: the workflow ran out of time",
		},
		"it was cancelled before a card": {
			f: fake{looks: []look{{ended: true}}, end: temporal.NewCanceledError()}, code: ExitWithdrawn, fail: "withdrawn", out: `"outcome": "withdrawn"`,
		},
		"it asked nothing": {f: fake{looks: []look{{ended: true}}, result: map[string]string{"x": "y"}}, code: ExitNotAsked, fail: "the workflow w has asked nothing"},
		"it asked nothing, and returns an approval": {
			f: fake{looks: []look{{ended: true}}, result: map[string]string{"outcome": "approved"}}, code: ExitNotAsked, fail: "the workflow w has asked nothing",
		},
		"it asked nothing, and returns text": {
			f: fake{looks: []look{{ended: true}}, result: "approved"}, code: ExitNotAsked, fail: "the workflow w has asked nothing",
		},
		"it was withdrawn before a card": {
			f: fake{looks: []look{{ended: true}}, result: workflows.Result{Outcome: workflows.Withdrawn}}, code: ExitWithdrawn, fail: "withdrawn", out: `"outcome": "withdrawn"`,
		},
		"it has continued as new, and the list alone has it": {
			f:   fake{looks: []look{{listed: []workflows.Listed{closed("q", request(), workflows.Approved, yes)}}}},
			err: said("bob: approved (1 of 1).\n"), out: `"digest": "d1"`,
		},
		"its result does not come at first": {
			f:    fake{looks: []look{{ended: true}, {ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Withdrawn)}}}, end: &serviceerror.Unavailable{Message: "busy"}, histories: has(request(), result(workflows.Withdrawn))},
			code: ExitWithdrawn, err: "Temporal does not answer; still waiting: busy\n" + said(), fail: "withdrawn",
		},
		"encrypted": {
			f:    fake{looks: []look{{}}, input: encrypted()},
			code: ExitNotAsked, fail: "the request is encrypted, and cannot be read here: set PAYLOAD_KEYS as its worker has it",
		},
		"several are open": {
			f:    fake{looks: []look{{listed: []workflows.Listed{open("p", request()), open("q", request())}}}},
			code: ExitUsage, fail: "it asks for several things: choose one with --question, of p (Deploy v2), q (Deploy v2)",
		},
		"one of several": {
			f: fake{
				looks:     []look{{listed: []workflows.Listed{open("p", request()), closed("q", request(), workflows.Expired)}}},
				histories: has(request(), result(workflows.Expired)),
			},
			args: []string{"--question", "q"}, code: ExitExpired, err: said(), fail: "expired",
		},
		"an unknown question": {
			f:    fake{looks: []look{{listed: []workflows.Listed{open("p", request())}}}, histories: has(request(), result(workflows.Expired))},
			args: []string{"--question", "x"}, code: ExitUsage, fail: "it has asked no question \"x\": `countersign show w` shows which",
		},
		"an earlier question that is not listed any more": {
			f:    fake{looks: []look{{listed: []workflows.Listed{open("p", request())}}}, histories: has(request(), result(workflows.Rejected, no))},
			args: []string{"--question", "q"}, code: ExitRejected, fail: "the request was rejected", out: `"outcome": "rejected"`,
		},
		"the one that is open": {
			f: fake{
				looks: []look{
					{listed: []workflows.Listed{open("q", request()), closed("p", request(), workflows.Expired)}},
					{listed: []workflows.Listed{open("o", request()), closed("q", request(), workflows.Approved, yes)}},
				},
				histories: has(request(), result(workflows.Approved, yes)),
			},
			err: said("bob: approved (1 of 1).\n"), out: `"outcome": "approved"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				p := tc.f.run(t, t.Context(), "", append([]string{"wait", "w"}, tc.args...)...)
				p.says(t, tc.code, tc.fail)
				if diff := cmp.Diff(tc.err, p.err); diff != "" {
					t.Errorf("standard error (-want +got):\n%s", diff)
				}
				if !strings.Contains(p.out, tc.out) {
					t.Errorf("printed %s, want %s in it", p.out, tc.out)
				}
			})
		})
	}
}

// encrypted is an input as a codec makes it.
func encrypted() *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("binary/encrypted")}}}}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		f    fake
		args []string
		says string
	}{
		"wait":                    {fake{looks: []look{{listed: []workflows.Listed{open("q", request())}}}}, []string{"wait", "w"}, "countersign wait w"},
		"wait, Temporal is away":  {fake{looks: []look{{err: &serviceerror.Unavailable{}}}}, []string{"wait", "w"}, "countersign wait w"},
		"request, waiting":        {fake{looks: []look{{listed: []workflows.Listed{open("q", request())}}}}, minimal("--key", "1", "--wait"), "countersign wait request-1"},
		"request, no card as yet": {fake{looks: []look{{}}}, minimal("--key", "1"), "countersign wait request-1"},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				go func() {
					synctest.Wait() // until it waits
					stop()
				}()
				p := tc.f.run(t, ctx, "", tc.args...)
				p.says(t, ExitInterrupted, "the request stays open; come back with: "+tc.says)
				if p.out != "" {
					t.Errorf("printed %q", p.out)
				}
			})
		})
	}
	t.Run("while it connects", func(t *testing.T) {
		t.Parallel()
		ctx, stop := context.WithCancel(t.Context())
		stop()
		f := fake{connect: context.Canceled}
		f.run(t, ctx, "", "wait", "w").says(t, ExitInterrupted, "interrupted before Temporal answered")
	})
}

// Of an error that Temporal gives before there is a card, the exit code is the same for a caller that waits and one that does not.
func TestRequestFailsBeforeItsCard(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"waiting": {"--wait"}, "not waiting": nil} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				f := fake{looks: []look{{}, {ended: true}}, end: workflows.InvalidRequestError("Nobody may decide.")}
				p := f.run(t, t.Context(), "", minimal(args...)...)
				p.says(t, ExitNotAsked, "nothing was asked: Nobody may decide.")
				if p.out != "" {
					t.Errorf("printed %q", p.out)
				}
			})
		})
	}
}

// A request that ends before anybody could look has its result printed without --wait too.
func TestRequestDecidedAtOnce(t *testing.T) {
	inTime(t, func(t *testing.T) {
		no := decision(workflows.Rejected, bob)
		f := fake{
			looks:     []look{{ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Rejected, no)}}},
			histories: map[string]history{"q": {round: workflows.Round{Request: request(), Number: 1}, end: result(workflows.Rejected, no)}},
		}
		p := f.run(t, t.Context(), "", minimal()...)
		p.says(t, ExitRejected, "the request was rejected")
		if !strings.Contains(p.out, `"outcome": "rejected"`) {
			t.Errorf("printed %s", p.out)
		}
	})
}

// broken cannot be written to, as a full disk.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// Whoever cannot be told of an approval must not go on with it, nor take it for a rejection.
func TestResultCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"wait": {"wait", "w"}, "request": minimal("--wait")} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				yes := decision(workflows.Approved, bob)
				f := has(request())
				f.histories["q"] = history{round: f.histories["q"].round, end: result(workflows.Approved, yes)}
				f.looks, f.out = []look{{ended: true, listed: []workflows.Listed{closed("q", request(), workflows.Approved, yes)}}}, broken{}
				f.run(t, t.Context(), "", args...).says(t, ExitNotAsked, "no space left on device")
			})
		})
	}
}

// What people copy from a message is no more than what it says.
func TestQuote(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ s, want string }{
		"safe":         {"request-deploy:1/a@b+c=d_e.f", "request-deploy:1/a@b+c=d_e.f"},
		"empty":        {"", "''"},
		"a command":    {"a; rm -rf ~", "'a; rm -rf ~'"},
		"a quote":      {"it's $(x)", `'it'\''s $(x)'`},
		"steers":       {"a\x1b[2J", "'a [2J'"},
		"other script": {"größe", "'größe'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := quote(tc.s); got != tc.want {
				t.Errorf("quote(%q) = %s, want %s", tc.s, got, tc.want)
			}
		})
	}
	f := fake{looks: []look{{ended: true}}}
	f.run(t, t.Context(), "", "withdraw", "a;b $(c)", "--by", "x").says(t, ExitRejected, "see `countersign show 'a;b $(c)'`")
}

func TestOneID(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"wait", "show", "withdraw", "decide"} {
		for name, args := range map[string][]string{"none": nil, "two": {"a", "b"}, "an empty one": {""}} {
			t.Run(command+", "+name, func(t *testing.T) {
				t.Parallel()
				f := &fake{}
				f.run(t, t.Context(), "", append([]string{command}, args...)...).says(t, ExitUsage, "give the request's ID: countersign "+command+" ID", "`countersign list`")
				if f.connected > 0 {
					t.Error("it connects")
				}
			})
		}
		t.Run(command+", one of other characters", func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.run(t, t.Context(), "", command, "größe\n").says(t, ExitUsage, `the ID "größe\n" has characters that no request's ID has`)
			if f.connected > 0 {
				t.Error("it connects")
			}
		})
	}
}

func TestCompleteID(t *testing.T) {
	t.Parallel()
	f := fake{list: listing(open("q", request()), open("$(reboot)", request()), open("a b", request()))} // A shell would take two for more.
	p := f.run(t, t.Context(), "", "__complete", "wait", "")
	if want := "w\tDeploy v2\n:4\n"; p.out != want {
		t.Errorf("completed %q, want %q", p.out, want)
	}
	for name, tc := range map[string]struct {
		f    fake
		args []string
		want string
	}{
		"a second one":            {f, []string{"show", "w", ""}, ":4\n"},
		"Temporal is away":        {fake{connect: errors.New("away")}, []string{"decide", ""}, ":1\n"},
		"the list cannot be read": {fake{}, []string{"withdraw", ""}, ":1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p := tc.f.run(t, t.Context(), "", append([]string{"__complete"}, tc.args...)...); p.out != tc.want {
				t.Errorf("completed %q, want %q", p.out, tc.want)
			}
		})
	}
}

func TestTransient(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"away":              {&serviceerror.Unavailable{}, true},
		"too slow":          {context.DeadlineExceeded, true},
		"too many":          {serviceerror.NewResourceExhausted(enumspb.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT, ""), true},
		"not allowed":       {&serviceerror.PermissionDenied{}, false},
		"our own":           {exit(ExitUsage, "no"), false},
		"cannot be allowed": {&serviceerror.InvalidArgument{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := transient(tc.err); got != tc.want {
				t.Errorf("transient is %v", got)
			}
		})
	}
}

// undecoded is an error of what decrypts.
type undecoded struct{}

func (undecoded) Error() string   { return "payload codec: no key a1" }
func (undecoded) Undecoded() bool { return true }

// What cannot be decrypted at the beginning never can; later on, a codec server may be away for a while.
func TestUndecoded(t *testing.T) {
	t.Parallel()
	t.Run("at first", func(t *testing.T) {
		inTime(t, func(t *testing.T) {
			for _, args := range [][]string{{"wait", "w"}, {"show", "w"}, {"withdraw", "w", "--by", "x"}} {
				f := fake{looks: []look{{err: undecoded{}}}}
				f.run(t, t.Context(), "", args...).says(t, ExitNotAsked, "cannot be read here: set PAYLOAD_KEYS as its worker has it (payload codec: no key a1)")
			}
		})
	})
	t.Run("later", func(t *testing.T) {
		inTime(t, func(t *testing.T) {
			f := fake{
				looks:     []look{{listed: []workflows.Listed{open("q", request())}}, {err: undecoded{}}, {listed: []workflows.Listed{closed("q", request(), workflows.Expired)}}},
				histories: map[string]history{"q": {round: workflows.Round{Request: request(), Number: 1}, end: result(workflows.Expired)}},
			}
			p := f.run(t, t.Context(), "", "wait", "w")
			p.says(t, ExitExpired)
			if !strings.Contains(p.err, "still waiting: payload codec: no key a1\n") {
				t.Errorf("it says %q", p.err)
			}
		})
	})
}
