package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"

	"countersign/workflows"
)

// listing is what Temporal lists: one workflow for each open request, and for each that has ended.
func listing(all ...workflows.Listed) map[bool][]*workflowpb.WorkflowExecutionInfo {
	list := map[bool][]*workflowpb.WorkflowExecutionInfo{}
	for _, l := range all {
		id := "w"
		if l.Question != "q" {
			id = l.Question
		}
		list[l.Outcome != ""] = append(list[l.Outcome != ""], described(id, l))
	}
	return list
}

// hostile is text that wants to steer a terminal.
const hostile = "a\x1b[31mred\x07\r\n\tb\u009b2J\u202ec\x7f\xff"

func TestPlain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ s, want string }{
		"words":             {"Grüße, 漢字 🎉", "Grüße, 漢字 🎉"},
		"an escape":         {"\x1b[31mred\x1b]8;;http://evil\x07", " [31mred ]8;;http://evil "},
		"lines and tabs":    {"a\nb\r\nc\td", "a b  c d"},
		"of eight bits":     {"a\u009b2Jb\u0085c", "a 2Jb c"},
		"turned around":     {"a\u202eb\u2066c\u2069", "a b c "},
		"delete":            {"a\x7fb", "a b"},
		"a byte of no text": {"a\x9bb\xff", "a\ufffdb\ufffd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := plain(tc.s); got != tc.want {
				t.Errorf("plain(%q) = %q, want %q", tc.s, got, tc.want)
			}
		})
	}
}

func TestPerson(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		p    workflows.Person
		want string
	}{
		"in Slack":       {bob, "bob"},
		"without a name": {workflows.Person{ID: "U0BOB00001"}, "U0BOB00001"},
		"a name alone":   {workflows.Person{Name: "al\x1bice" + workflows.AsGiven}, "al ice (outside Slack, as given)"},
		"nobody":         {workflows.Person{}, "somebody outside Slack"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := person(tc.p); got != tc.want {
				t.Errorf("person(%+v) = %q, want %q", tc.p, got, tc.want)
			}
		})
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	two := request()
	two.Title, two.Required = "Deploy to "+strings.Repeat("x", 60), 2
	odd := request()
	odd.Title = hostile
	rejected := closed("n", request(), workflows.Rejected, decision(workflows.Rejected, bob))
	strange := closed("s", request(), workflows.Outcome("\x1b[2J"))
	strange.EndedAt = time.Time{}
	all := fake{list: listing(open("q", request()), open("half", two, decision(workflows.Approved, bob)), open("odd", odd), rejected, strange)}
	none := fake{list: listing(rejected)}
	cut := fake{list: listing(open("q", request())), more: []byte("more")}
	for n := range 500 { // A page of Temporal's.
		cut.list[false] = append(cut.list[false], described("n"+string(rune('a'+n%26))))
		cut.list[true] = append(cut.list[true], described("m"+string(rune('a'+n%26))))
	}
	for name, tc := range map[string]struct {
		f        *fake
		args     []string
		out, err string
	}{
		"open": {f: &all, out: "" +
			"ID    TITLE                                               STATE            ASKED             UNTIL\n" +
			"w     Deploy v2                                           waiting          2026-11-20 12:00  2026-11-21 12:00\n" +
			"half  Deploy to xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  1 of 2 approved  2026-11-20 12:00  2026-11-21 12:00\n" +
			"odd   a [31mred    b 2J c \ufffd                               waiting          2026-11-20 12:00  2026-11-21 12:00\n"},
		"ended": {f: &all, args: []string{"--ended"}, out: "" +
			"ID  TITLE      STATE     ASKED             ENDED\n" +
			"n   Deploy v2  rejected  2026-11-20 12:00  2026-11-20 13:00\n" +
			"s   Deploy v2   [2J      2026-11-20 12:00  \n"},
		"none":             {f: &none, err: "There are none.\n"},
		"none, as JSON":    {f: &none, args: []string{"--json"}, out: "[]\n"},
		"more than enough": {f: &cut, err: "There are so many that only the latest 2000 workflows were looked at.\n", out: "ID  TITLE      STATE    ASKED             UNTIL\n" + strings.Repeat("w   Deploy v2  waiting  2026-11-20 12:00  2026-11-21 12:00\n", 4)},
		"more have ended":  {f: &cut, args: []string{"--ended"}, err: "There are so many that only the latest 500 workflows were looked at.\nThere are none.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := tc.f.run(t, t.Context(), "", append([]string{"list"}, tc.args...)...)
			p.says(t, 0)
			if diff := cmp.Diff(tc.out, p.out); diff != "" {
				t.Errorf("standard output (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.err, p.err); diff != "" {
				t.Errorf("standard error (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("Temporal is away", func(t *testing.T) {
		p := (&fake{}).run(t, t.Context(), "", "list")
		if p.fail == nil || !strings.Contains(p.fail.Error(), "list the requests: away") {
			t.Errorf("it says %v", p.fail)
		}
	})
	t.Run("not connected", func(t *testing.T) {
		boom := errors.New("boom")
		for _, command := range [][]string{{"list"}, {"show", "w"}, {"withdraw", "w", "--by", "x"}, {"decide", "w", "--approve", "--reason", "x", "--by", "x"}} {
			if p := (&fake{connect: boom}).run(t, t.Context(), "", command...); !errors.Is(p.fail, boom) {
				t.Errorf("%s: %v", command, p.fail)
			}
		}
	})
}

func TestListAsJSON(t *testing.T) {
	t.Parallel()
	f := fake{list: listing(open("q", request()))}
	p := f.run(t, t.Context(), "", "list", "--json")
	const want = `[
  {
    "workflow_id": "w",
    "run_id": "r",
    "question": "q",
    "activity_id": "q-decision-1-00000000",
    "round": {
      "title": "Deploy v2",
      "channel": "C0GENERAL1",
      "requester": "U0ALICE001",
      "approvers": {
        "users": [
          "U0BOB00001",
          "U0CAROL001"
        ]
      },
      "expires_at": "2026-11-21T12:00:00Z",
      "round": 1
    },
    "missing": [
      {
        "name": "",
        "required": 1
      }
    ],
    "digest": "d1",
    "card": {
      "channel": "C0GENERAL1",
      "ts": "1.2"
    },
    "permalink": "https://example.slack.com/archives/C0GENERAL1/p12",
    "asked_at": "2026-11-20T12:00:00Z"
  }
]
`
	if diff := cmp.Diff(want, p.out); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

// detailed is a request of some of everything, halfway.
func detailed() (workflows.Request, workflows.Listed) {
	r := request()
	r.Text = "Ships the *new checkout*.\n\nIt takes an hour.\x1b[2J"
	r.Fields = []workflows.Field{{Label: "Service\x1b[31m", Value: "web\tshop"}, {Label: "Empty"}}
	r.Approvers = workflows.Approvers{}
	r.Roles = []workflows.Role{
		{Name: "Security", Approvers: workflows.Approvers{Users: []string{carol.ID}}},
		{Name: "Operations", Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}, Channel: true}, Required: 2},
	}
	yes := decision(workflows.Approved, carol)
	yes.Roles = []string{"Security"}
	l := open("q", r, yes)
	l.Round.Text, l.Round.Fields = "", nil // A list has no texts.
	l.Round.Changes = []workflows.Change{
		{Kind: workflows.Delegate, By: bob, To: carol.ID, At: asked},
		{Kind: workflows.Extend, By: bob, Until: until, At: asked.Add(time.Minute)},
		{Kind: workflows.Escalate, Role: "Operations", At: asked.Add(time.Hour)},
	}
	return r, l
}

func TestShow(t *testing.T) {
	t.Parallel()
	r, halfway := detailed()
	both := request()
	both.Required = 2
	both.Approvers.Users = append(both.Approvers.Users, both.Requester) // who may not decide
	withdrawn := closed("q", request(), workflows.Withdrawn)
	withdrawn.Round.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: workflows.Person{Name: "pipeline 4711" + workflows.AsGiven}, Via: workflows.Outside, At: asked}}
	silent := closed("p", request(), workflows.Approved)
	silent.ByDeadline = true
	for name, tc := range map[string]struct {
		f        fake
		out, err string
	}{
		"halfway": {
			f: fake{looks: []look{{listed: []workflows.Listed{halfway}}}, histories: map[string]history{"q": {round: workflows.Round{Request: r, Number: 2}}}},
			out: "" +
				"Title           Deploy v2\n" +
				"Text            | Ships the *new checkout*.\n" +
				"                | \n" +
				"                | It takes an hour. [2J\n" +
				"Fields           \n" +
				"  Service [31m  web shop\n" +
				"State           1 of 3 approved\n" +
				"                approved by carol, 2026-11-20 13:00\n" +
				"                handed over by bob, 2026-11-20 12:00\n" +
				"                extended by bob, 2026-11-20 12:01\n" +
				"                escalated by time, 2026-11-20 13:00\n" +
				"Waits for       2 of S0SRE00001, anyone who can see the card as Operations\n" +
				"Until           2026-11-21 12:00\n" +
				"Asked           2026-11-20 12:00\n" +
				"Card            https://example.slack.com/archives/C0GENERAL1/p12\n" +
				"Workflow        w\n" +
				"Run             r\n" +
				"Question        q\n",
		},
		"who has approved is not waited for": {
			f: fake{looks: []look{{listed: []workflows.Listed{open("q", both, decision(workflows.Approved, bob))}}}},
			out: "" +
				"Title      Deploy v2\n" +
				"State      1 of 2 approved\n" +
				"           approved by bob, 2026-11-20 13:00\n" +
				"Waits for  1 of U0CAROL001\n" +
				"Until      2026-11-21 12:00\n" +
				"Asked      2026-11-20 12:00\n" +
				"Card       https://example.slack.com/archives/C0GENERAL1/p12\n" +
				"Workflow   w\n" +
				"Run        r\n" +
				"Question   q\n",
		},
		"its history is gone": {
			f: fake{looks: []look{{listed: []workflows.Listed{open("q", request())}}}},
			out: "" +
				"Title      Deploy v2\n" +
				"State      waiting\n" +
				"Waits for  1 of U0BOB00001, U0CAROL001\n" +
				"Until      2026-11-21 12:00\n" +
				"Asked      2026-11-20 12:00\n" +
				"Card       https://example.slack.com/archives/C0GENERAL1/p12\n" +
				"Workflow   w\n" +
				"Run        r\n" +
				"Question   q\n",
		},
		"two that have ended": {
			f: fake{looks: []look{{ended: true, listed: []workflows.Listed{withdrawn, silent}}}},
			out: "" +
				"Title     Deploy v2\n" +
				"State     withdrawn\n" +
				"          withdrawn by pipeline 4711 (outside Slack, as given), 2026-11-20 12:00\n" +
				"Ended     2026-11-20 13:00\n" +
				"Asked     2026-11-20 12:00\n" +
				"Card      https://example.slack.com/archives/C0GENERAL1/p12\n" +
				"Workflow  w\n" +
				"Run       r\n" +
				"Question  q\n" +
				"\n" +
				"Title     Deploy v2\n" +
				"State     approved\n" +
				"          by its deadline: nobody decided in time\n" +
				"Ended     2026-11-20 13:00\n" +
				"Asked     2026-11-20 12:00\n" +
				"Card      https://example.slack.com/archives/C0GENERAL1/p12\n" +
				"Workflow  w\n" +
				"Run       r\n" +
				"Question  p\n",
		},
		"nothing yet": {f: fake{looks: []look{{}}}, err: "It runs, and has asked nothing yet.\n"},
		"nothing":     {f: fake{looks: []look{{ended: true}}}, err: "It has ended, and asked nothing. `countersign wait w` says why.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tc.f.run(t, t.Context(), "", "show", "w")
			p.says(t, 0)
			if diff := cmp.Diff(tc.out, p.out); diff != "" {
				t.Errorf("standard output (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.err, p.err); diff != "" {
				t.Errorf("standard error (-want +got):\n%s", diff)
			}
		})
	}
	for name, tc := range map[string]struct {
		f    fake
		code int
		says string
	}{
		"there is none":        {fake{looks: []look{{err: &serviceerror.NotFound{}}}}, ExitUsage, `there is no request "w" on the task queue countersign`},
		"another deployment's": {fake{looks: []look{{queue: "other"}}}, ExitUsage, `there is no request "w"`},
		"Temporal is away":     {fake{looks: []look{{err: &serviceerror.Unavailable{Message: "away"}}}}, 1, "look the request up: away"},
		"encrypted":            {fake{looks: []look{{}}, input: encrypted()}, ExitNotAsked, "set PAYLOAD_KEYS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.f.run(t, t.Context(), "", "show", "w").says(t, tc.code, tc.says)
		})
	}
}

// As JSON nothing is cut, and what would steer a terminal is escaped.
func TestShowAsJSON(t *testing.T) {
	t.Parallel()
	r, halfway := detailed()
	f := fake{looks: []look{{listed: []workflows.Listed{halfway}}}, histories: map[string]history{"q": {round: workflows.Round{Request: r, Number: 2}}}}
	p := f.run(t, t.Context(), "", "show", "w", "--json")
	p.says(t, 0)
	for _, want := range []string{`"workflow_id": "w"`, `"text": "Ships the *new checkout*.\n\nIt takes an hour.\u001b[2J"`, `"label": "Service\u001b[31m"`, `"missing": [`} {
		if !strings.Contains(p.out, want) {
			t.Errorf("it lacks %s:\n%s", want, p.out)
		}
	}
	if strings.Contains(p.out, "\x1b") {
		t.Errorf("it would steer a terminal: %q", p.out)
	}
	empty := fake{looks: []look{{}}}
	if p := empty.run(t, t.Context(), "", "show", "w", "--json"); p.out != "[]\n" || p.err != "" {
		t.Errorf("of nothing it prints %q and %q", p.out, p.err)
	}
}
