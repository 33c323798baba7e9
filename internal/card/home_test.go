package card

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

const cardLink = "https://sim.slack.example/archives/C0GENERAL1/p1795176000000000"

// row is the round as it is listed.
func row(r workflows.Round, reference string) Row {
	l := workflows.Listed{Round: r, Permalink: cardLink, AskedAt: asked, ActivityID: "request-decision-1-abc"}
	for _, m := range r.Tally().Missing {
		l.Missing = append(l.Missing, workflows.Role{Name: m.Name, Required: m.Required})
	}
	for _, d := range r.Tally().Approvals {
		l.Counted = append(l.Counted, d.By.ID)
	}
	l.Round.Text, l.Round.Fields, l.Round.Link, l.Round.Request.Escalate = "", nil, workflows.Link{}, nil
	l.Round.Decisions = nil
	for _, d := range r.Decisions {
		l.Round.Decisions = append(l.Round.Decisions, workflows.Decision{Outcome: d.Outcome, By: d.By, At: d.At, Choice: d.Choice})
	}
	return Row{Listed: l, WorkflowID: "deploy_web-7", Reference: reference}
}

func endedRow(r workflows.Round, o workflows.Outcome, at time.Time) Row {
	l := row(r, "")
	l.Outcome, l.EndedAt, l.ActivityID, l.Missing = o, at, "", nil
	l.ByDeadline = o == workflows.Approved && len(r.Decisions) == 0
	return l
}

func homes() map[string]Home {
	unknown := row(round(request(), 1), "")
	unknown.Unknown = true
	chosen := choosing()
	chosen.Decisions = []workflows.Decision{approval(bob, "eu-1", "")}
	rejected := round(request(), 1)
	rejected.Decisions = []workflows.Decision{{Outcome: workflows.Rejected, By: bob, At: decided}}
	approved, given := halfway(), halfway()
	given.Decisions[0].By = pipeline
	taken := endedRow(round(request(), 1), workflows.Withdrawn, decided)
	taken.Round.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: pipeline, Via: workflows.Outside}}
	refused := round(request(), 1)
	refused.Decisions = []workflows.Decision{{Outcome: workflows.Rejected, By: pipeline, At: decided}}
	return map[string]Home{
		"home_as_given": {
			At: decided, Waiting: Section{Rows: []Row{row(given, "v1.three")}},
			Decided: Section{Rows: []Row{endedRow(given, workflows.Approved, decided), endedRow(refused, workflows.Rejected, decided), taken}},
		},
		"home": {
			At:      decided,
			Waiting: Section{Rows: []Row{row(round(request(), 1), "v1.one"), row(chosen, "v1.two"), row(halfway(), "v1.three"), unknown}, More: true},
			Asked:   Section{Rows: []Row{row(round(deploy(), 1), "v1.four")}, Page: 1, More: true},
			Decided: Section{Rows: []Row{
				endedRow(approved, workflows.Approved, decided), endedRow(rejected, workflows.Rejected, decided),
				endedRow(round(request(), 1), workflows.Expired, asked.Add(24*time.Hour)),
				endedRow(round(request(), 1), workflows.Approved, asked.Add(24*time.Hour)),
				endedRow(round(request(), 1), workflows.Withdrawn, decided),
			}, Page: 2, Truncated: true},
		},
		"home_unchecked": {
			At: decided, Waiting: Section{Rows: []Row{row(round(request(), 1), "v1.one")}, Unchecked: true}, Decided: Section{Truncated: true, Unchecked: true},
		},
		"home_empty":  {At: decided, Asked: Section{Page: 3}},
		"home_failed": {At: decided, Failed: "Temporal did not answer.\n<!here> *now*"},
	}
}

// shows checks a home by Slack's rules.
func shows(t *testing.T, v slack.HomeTabViewRequest) {
	t.Helper()
	sim, api := newSlack()
	_, err := api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: sim.Person("bob").ID(), View: v})
	if err != nil {
		t.Errorf("publish: %v %v", err, details(err))
	}
	if b, err := json.Marshal(v); err != nil || len(b) > 250_000 {
		t.Errorf("the view has %d bytes, %v", len(b), err)
	}
	wellFormed(t, v.Blocks.BlockSet)
}

func TestHome(t *testing.T) {
	t.Parallel()
	for name, h := range homes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := DrawHome(h)
			golden(t, name, map[string]any{"text": speak(v.Blocks.BlockSet), "blocks": v.Blocks})
			shows(t, v)
		})
	}
}

func TestHomeIsNeverTooLong(t *testing.T) {
	t.Parallel()
	full := func(reference string) Section {
		s := Section{Page: 1, More: true, Truncated: true}
		one := row(atLimits("&"), reference)
		for range 25 {
			s.Rows = append(s.Rows, one)
		}
		return s
	}
	decided := full("")
	for i := range decided.Rows {
		decided.Rows[i].Outcome, decided.Rows[i].EndedAt = workflows.Approved, asked
	}
	v := DrawHome(Home{Waiting: full(strings.Repeat("x", 1500)), Asked: full(strings.Repeat("x", 1500)), Decided: decided, At: asked})
	if n := len(v.Blocks.BlockSet); n > 100 || n < 30 {
		t.Errorf("%d blocks", n)
	}
	shows(t, v)
}

// The pages come back with a click.
func TestHomeKeepsItsPages(t *testing.T) {
	t.Parallel()
	for _, failed := range []string{"", "Temporal did not answer."} {
		h := Home{Waiting: Section{Page: 2}, Decided: Section{Page: 7}, Failed: failed}
		if got, want := DrawHome(h).PrivateMetadata, `{"asked":0,"decided":7,"waiting":2}`; got != want {
			t.Errorf("the metadata is %s, want %s", got, want)
		}
	}
}

// Whoever looks at a list is among those whom it names, however many may decide.
func TestViewerIsNamedFirst(t *testing.T) {
	t.Parallel()
	many := request()
	many.Approvers = workflows.Approvers{Groups: []string{"S0SRE00001"}}
	for n := range 20 {
		many.Approvers.Users = append(many.Approvers.Users, fmt.Sprintf("U%09d", n))
	}
	two := many
	two.Required = 2
	named := two
	named.Required, named.Approvers, named.Roles = 0, workflows.Approvers{}, []workflows.Role{
		{Name: "Ops", Required: 1, Approvers: many.Approvers}, {Name: "Security", Required: 1, Approvers: many.Approvers},
	}
	for name, tc := range map[string]struct {
		request workflows.Request
		viewer  string
		want    []string
		not     string
	}{
		"last of many":         {many, "U000000019", []string{"May decide: <@U000000019>, <@U000000000>, <@U000000001>"}, ""},
		"last of many, of two": {two, "U000000019", []string{"2 of <@U000000019>, <@U000000000>"}, ""},
		"of two roles":         {named, "U000000019", []string{"1 of <@U000000019>, <@U000000000>", "(Ops) and 1 of <@U000000019>"}, ""},
		"first of many":        {many, "U000000000", []string{"May decide: <@U000000000>, <@U000000001>"}, ""},
		"none of them":         {many, "U0NOBODY01", []string{"May decide: <@U000000000>, <@U000000001>"}, "U0NOBODY01"},
		"nobody":               {many, "", []string{"May decide: <@U000000000>, <@U000000001>"}, "<@>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := row(round(tc.request, 1), "v1.one")
			r.Viewer = tc.viewer
			before := fmt.Sprint(r.Round)
			got := ListLine(r)
			home, err := json.Marshal(DrawHome(Home{Waiting: Section{Rows: []Row{r}}}).Blocks)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("the line is %q, want %q in it", got, want)
				}
				inHome := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(home))
				if strings.HasPrefix(want, "May decide") == strings.Contains(inHome, want) { // The home says it only where several have to.
					t.Errorf("the home is %s, want %q in it", inHome, want)
				}
			}
			if tc.not != "" && strings.Contains(got, tc.not) {
				t.Errorf("the line is %q, with %q", got, tc.not)
			}
			if after := fmt.Sprint(r.Round); after != before {
				t.Errorf("the row was changed to %s", after)
			}
		})
	}
}

func TestListLine(t *testing.T) {
	t.Parallel()
	odd := row(round(request(), 1), "")
	odd.Round.Title, odd.WorkflowID, odd.Permalink = "*T* <!here> `x`", "a`b <c> & d_e", "https://slack.example/p?a=<b>|c"
	far := row(atLimits("&"), "")
	given := endedRow(round(request(), 1), workflows.Withdrawn, decided)
	given.Round.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: pipeline, Via: workflows.Outside}}
	unknown := row(round(request(), 1), "")
	unknown.Unknown, unknown.Permalink = true, "javascript:alert(1)"
	for name, tc := range map[string]struct {
		row  Row
		want []string
	}{
		"one approval": {row(round(request(), 1), ""), []string{"*Greet World*", "<" + cardLink + "|Open card>", "Asked by <@U0ALICE001>", "Until <!date^", "May decide: <@U0BOB00001>, <@U0CAROL001>", "`deploy_web-7`"}},
		"halfway":      {row(halfway(), ""), []string{"1 of 3 approved: <@U0BOB00001>. Missing: 2 of <!subteam^S0SRE00001> (Operations)"}},
		"ended":        {endedRow(round(request(), 1), workflows.Withdrawn, decided), []string{"Withdrawn on <!date^"}},
		"as given":     {given, []string{"Withdrawn by pipeline_4711 &lt;b&gt; &amp; co (outside Slack, as given) on <!date^"}},
		"odd":          {odd, []string{"*T &lt;!here&gt; x*", "`ab &lt;c&gt; &amp; d_e`", "<https://slack.example/p?a=%3Cb%3E%7Cc|Open card>"}},
		"unknown":      {unknown, []string{"Could not be checked"}},
		"at limits":    {far, []string{"approved"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ListLine(tc.row)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("the line is %q, want %q in it", got, want)
				}
			}
			if n := len([]rune(got)); n > 3000 {
				t.Errorf("%d characters", n)
			}
			if strings.Contains(got, "javascript") {
				t.Errorf("a link that leads to no page: %q", got)
			}
			wellFormed(t, []slack.Block{mrkdwn(got)})
		})
	}
}

func TestPageButtons(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(DrawHome(homes()["home"]).Blocks)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"page_waiting_1", "page_asked_0", "page_asked_2", "page_decided_1"} {
		if !strings.Contains(string(b), fmt.Sprintf("%q", id)) {
			t.Errorf("no button %s", id)
		}
	}
}
