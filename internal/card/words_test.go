package card

import (
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

func TestSentence(t *testing.T) {
	t.Parallel()
	const (
		when = "<!date^1795181400^{date_short} at {time}|2026-11-20 13:30 UTC>"
		bare = "2026-11-20 13:30 UTC"
	)
	evil := workflows.Person{ID: "U0BOB00001", Name: "bob\u202e <!channel>"}
	nobody := workflows.Person{}
	several := func(o workflows.Outcome, ds ...workflows.Decision) workflows.Result {
		return workflows.Result{Outcome: o, Decisions: ds, EndedAt: decided}
	}
	chosen := several(workflows.Approved, approval(bob, "a", ""), approval(carol, "b", ""), approval(alice, "b", ""))
	chosen.Choice = "b"
	turned := several(workflows.Approved, approval(bob, "a", ""), approval(carol, "b", ""), approval(bob, "b", ""))
	turned.Choice = "b"
	filled := several(workflows.Approved, approval(bob, "", ""), approval(carol, "", ""), approval(nobody, "", ""))
	filled.Decisions[1].Inputs = map[string]string{"n": "1"}
	filled.Inputs = map[string]string{"n": "1"}
	silent, partly := several(workflows.Approved), several(workflows.Rejected, approval(bob, "", ""))
	silent.ByDeadline, partly.ByDeadline = true, true
	taken, gone := ended(workflows.Withdrawn, ""), ended(workflows.Withdrawn, "")
	taken.Changes = []workflows.Change{{Kind: workflows.Extend, By: bob}, {Kind: workflows.Withdraw, By: alice}}
	gone.Decisions = []workflows.Decision{approval(bob, "", "")}
	crowd := several(workflows.Approved)
	for range 25 {
		crowd.Decisions = append(crowd.Decisions, approval(workflows.Person{ID: "U" + string(rune('A'+len(crowd.Decisions))), Name: "p"}, "", ""))
	}

	given, both := taken, several(workflows.Approved, approval(bob, "", ""), approval(pipeline, "", ""))
	given.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: pipeline, Via: workflows.Outside}}
	long := workflows.Person{Name: strings.Repeat("<", workflows.MaxName) + workflows.AsGiven}
	hostile := workflows.Person{Name: "*al\u202eice* <@U0BOB00001>\x1b[31m\n<!channel> https://evil.example _x_ `y`" + workflows.AsGiven}
	const cleaned = "alice &lt;@U0BOB00001&gt;[31m &lt;!channel&gt; https://evil.example x y (outside Slack, as given)"

	for name, tc := range map[string]struct {
		res  workflows.Result
		m    Markup
		want string
	}{
		"approved as given":           {by(workflows.Approved, pipeline, ""), Mrkdwn, "Approved by pipeline_4711 &lt;b&gt; &amp; co (outside Slack, as given) on " + when + "."},
		"approved as given, bare":     {by(workflows.Approved, pipeline, ""), Bare, "Approved by pipeline_4711 <b> & *co* (outside Slack, as given) on " + bare + "."},
		"rejected as given":           {by(workflows.Rejected, pipeline, "No."), Mrkdwn, "Rejected by pipeline_4711 &lt;b&gt; &amp; co (outside Slack, as given) on " + when + "."},
		"rejected as given, bare":     {by(workflows.Rejected, pipeline, "No."), Bare, "Rejected by pipeline_4711 <b> & *co* (outside Slack, as given) on " + bare + "."},
		"withdrawn as given":          {given, Mrkdwn, "Withdrawn by pipeline_4711 &lt;b&gt; &amp; co (outside Slack, as given) on " + when + "."},
		"withdrawn as given, bare":    {given, Bare, "Withdrawn by pipeline_4711 <b> & *co* (outside Slack, as given) on " + bare + "."},
		"by one, and another outside": {both, Mrkdwn, "Approved by <@U0BOB00001> and pipeline_4711 &lt;b&gt; &amp; co (outside Slack, as given) on " + when + "."},
		"hostile as given":            {by(workflows.Approved, hostile, ""), Mrkdwn, "Approved by " + cleaned + " on " + when + "."},
		"hostile as given, bare":      {by(workflows.Approved, hostile, ""), Bare, "Approved by *alice* <@U0BOB00001>[31m <!channel> https://evil.example _x_ `y` (outside Slack, as given) on " + bare + "."},
		"long as given":               {by(workflows.Approved, long, ""), Mrkdwn, "Approved by " + strings.Repeat("&lt;", 39) + "… (outside Slack, as given) on " + when + "."},
		"long as given, bare":         {by(workflows.Approved, long, ""), Bare, "Approved by " + strings.Repeat("<", 80) + " (outside Slack, as given) on " + bare + "."},

		"approved":             {by(workflows.Approved, bob, ""), Mrkdwn, "Approved by <@U0BOB00001> on " + when + "."},
		"approved, bare":       {by(workflows.Approved, bob, ""), Bare, "Approved by bob on " + bare + "."},
		"by two":               {several(workflows.Approved, approval(bob, "", ""), approval(carol, "", "")), Mrkdwn, "Approved by <@U0BOB00001> and <@U0CAROL001> on " + when + "."},
		"by three, bare":       {several(workflows.Approved, approval(bob, "", ""), approval(carol, "", ""), approval(alice, "", "")), Bare, "Approved by bob, carol and alice on " + bare + "."},
		"of one choice":        {chosen, Bare, "Approved by carol and alice on " + bare + "."},
		"after another choice": {turned, Bare, "Approved by carol and bob on " + bare + "."},
		"of the same values":   {filled, Bare, "Approved by carol and somebody outside Slack on " + bare + "."},
		"by a crowd":           {crowd, Bare, "Approved by p, p, p, p, p, p, p, p, p, p, p, p, p, p, p, p, p, p, p, p and 5 more on " + bare + "."},
		"rejected after a yes": {several(workflows.Rejected, approval(bob, "", ""), workflows.Decision{Outcome: workflows.Rejected, By: carol}), Bare, "Rejected by carol on " + bare + "."},
		"hostile name, bare":   {by(workflows.Rejected, evil, ""), Bare, "Rejected by bob <!channel> on " + bare + "."},
		"outside":              {by(workflows.Rejected, nobody, ""), Bare, "Rejected on " + bare + ", decided outside Slack."},
		"approved outside":     {by(workflows.Approved, nobody, ""), Bare, "Approved on " + bare + ", decided outside Slack."},
		"expired":              {ended(workflows.Expired, ""), Bare, "Expired on " + bare + ": nobody decided in time."},
		"expired halfway":      {several(workflows.Expired, approval(bob, "", "")), Bare, "Expired on " + bare + ": there were not enough approvals in time."},
		"approved by deadline": {silent, Bare, "Approved on " + bare + ": nobody decided in time, which counts as approval here."},
		"rejected by deadline": {partly, Bare, "Rejected on " + bare + ": there were not enough approvals in time, which counts as rejection here."},
		"withdrawn":            {ended(workflows.Withdrawn, ""), Bare, "Withdrawn on " + bare + ", before anybody decided."},
		"withdrawn halfway":    {gone, Bare, "Withdrawn on " + bare + ", before it was decided."},
		"withdrawn by":         {taken, Bare, "Withdrawn by alice on " + bare + "."},
		"failed":               {ended(workflows.Failed, "a <b>\n& c"), Mrkdwn, "Ended on " + when + " without a decision. a &lt;b&gt; &amp; c"},
		"failed, bare":         {ended(workflows.Failed, "a <b>\n& c"), Bare, "Ended on " + bare + " without a decision. a <b> & c"},
		"failed, formats":      {ended(workflows.Failed, "*bold* _it_ ~no~ `code` ```block``` <@U0BOB00001> <!here>"), Mrkdwn, "Ended on " + when + " without a decision. bold it no code block &lt;@U0BOB00001&gt; &lt;!here&gt;"},
		"no time known":        {workflows.Result{Outcome: workflows.Failed}, Mrkdwn, "Ended without a decision."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Sentence(tc.res, tc.m); got != tc.want {
				t.Errorf("Sentence = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	two := choosing()
	two.Choices = nil
	with := func(r workflows.Round, ds ...workflows.Decision) workflows.Round {
		r.Decisions = ds
		return r
	}
	extended := round(request(), 1)
	extended.Changes = []workflows.Change{{Kind: workflows.Extend, By: alice, Until: asked}}
	roles := round(deploy(), 1)
	secure := approval(bob, "", "")
	secure.Roles = []string{"Security"}
	anyone := two
	anyone.Approvers = workflows.Approvers{Channel: true}
	own := two
	own.Approvers = workflows.Approvers{Users: []string{alice.ID, bob.ID, carol.ID}}

	for name, tc := range map[string]struct {
		round workflows.Round
		want  string
	}{
		"one is wanted":         {round(request(), 1), ""},
		"one, extended":         {extended, ""},
		"nobody of two":         {two, "0 of 2 approved. Missing: <@U0BOB00001>, <@U0CAROL001>"},
		"one of two":            {with(two, approval(bob, "", "")), "1 of 2 approved: <@U0BOB00001>. Missing: <@U0CAROL001>"},
		"outside":               {with(two, approval(workflows.Person{}, "", "")), "1 of 2 approved: somebody outside Slack. Missing: 1 of <@U0BOB00001>, <@U0CAROL001>"},
		"outside, as given":     {with(two, approval(pipeline, "", "")), "1 of 2 approved: pipeline_4711 &lt;b&gt; &amp; co (outside Slack, as given). Missing: 1 of <@U0BOB00001>, <@U0CAROL001>"},
		"two outside":           {with(two, approval(pipeline, "", ""), approval(workflows.Person{Name: "erin" + workflows.AsGiven}, "", "")), "1 of 2 approved: erin (outside Slack, as given). Missing: 1 of <@U0BOB00001>, <@U0CAROL001>"},
		"as a mention":          {with(two, approval(workflows.Person{Name: "<@U0BOB00001> <!here>" + workflows.AsGiven}, "", "")), "1 of 2 approved: &lt;@U0BOB00001&gt; &lt;!here&gt; (outside Slack, as given). Missing: 1 of <@U0BOB00001>, <@U0CAROL001>"},
		"one person twice":      {with(two, approval(bob, "", ""), approval(bob, "", "")), "1 of 2 approved: <@U0BOB00001>. Missing: <@U0CAROL001>"},
		"different choices":     {with(choosing(), approval(bob, "Staging", ""), approval(carol, "eu-1", "")), "1 of 2 approved: <@U0CAROL001> for Production (Europe), and otherwise <@U0BOB00001> for Staging. Missing: <@U0BOB00001>"},
		"roles":                 {roles, "0 of 3 approved. Missing: 1 of <@U0BOB00001>, <!subteam^S0SECURITY> (Security) and 2 of <!subteam^S0SRE00001> (Operations)"},
		"one role is filled":    {with(roles, secure), "1 of 3 approved: <@U0BOB00001>. Missing: 2 of <!subteam^S0SRE00001> (Operations)"},
		"the channel":           {anyone, "0 of 2 approved. Missing: 2 of anyone in the channel"},
		"requester among them":  {own, "0 of 2 approved. Missing: <@U0BOB00001>, <@U0CAROL001>"},
		"enough":                {with(two, approval(bob, "", ""), approval(carol, "", "")), "2 of 2 approved: <@U0BOB00001> and <@U0CAROL001>"},
		"a choice with formats": {with(choosing(), approval(bob, "*x* <!here>", "")), "1 of 2 approved: <@U0BOB00001> for x &lt;!here&gt;. Missing: <@U0CAROL001>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Progress(tc.round); got != tc.want {
				t.Errorf("Progress = %q, want %q", got, tc.want)
			}
			// What a list has of it says the same, where all that is needed is there.
			listed := row(tc.round, "")
			if got := ListLine(listed); tc.want != "" && !strings.Contains(got, tc.want) {
				t.Errorf("the list says %q, want %q in it", got, tc.want)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	var all []workflows.Change
	for i := range 8 {
		all = append(all, workflows.Change{Kind: workflows.Extend, By: alice, Until: decided.Add(time.Duration(i) * time.Hour)})
	}
	for name, tc := range map[string]struct {
		changes []workflows.Change
		want    string
	}{
		"none":       {nil, ""},
		"withdrawal": {[]workflows.Change{{Kind: workflows.Withdraw, By: alice}}, ""},
		"delegated":  {[]workflows.Change{{Kind: workflows.Delegate, By: bob, To: carol.ID}}, "Handed over from <@U0BOB00001> to <@U0CAROL001>"},
		"escalated":  {[]workflows.Change{{Kind: workflows.Escalate, By: alice, Approvers: workflows.Approvers{Groups: []string{"S1"}}}}, "Escalated to <!subteam^S1> by <@U0ALICE001>"},
		"by time":    {[]workflows.Change{{Kind: workflows.Escalate, Role: "*Sec*", Approvers: workflows.Approvers{Users: []string{bob.ID}}}}, "Escalated to <@U0BOB00001> (Sec)"},
		"many": {all, "There were 3 earlier changes\n" +
			"Extended by <@U0ALICE001> until " + Date(all[3].Until) + "\n" + "Extended by <@U0ALICE001> until " + Date(all[4].Until) + "\n" +
			"Extended by <@U0ALICE001> until " + Date(all[5].Until) + "\n" + "Extended by <@U0ALICE001> until " + Date(all[6].Until) + "\n" +
			"Extended by <@U0ALICE001> until " + Date(all[7].Until)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := changes(tc.changes); got != tc.want {
				t.Errorf("changes = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestApprovers(t *testing.T) {
	t.Parallel()
	got := Approvers(workflows.Approvers{Users: []string{"U1", "U2>"}, Groups: []string{"S1", "<!channel>"}, Channel: true})
	want := "<@U1>, U2&gt;, <!subteam^S1>, &lt;!channel&gt;, anyone in this channel"
	if got != want {
		t.Errorf("Approvers = %q, want %q", got, want)
	}
}

func TestOption(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]int{
		"approve": 0, "approve_1": 1, "approve_2": 2, "approve_5": 5,
		"approve_0": -1, "approve_6": -1, "approve_01": -1, "approve_+1": -1, "approve_": -1, "approve1": -1, "approve_1_": -1, "reject": -1, "": -1, "xapprove_1": -1,
	} {
		n, ok := Option(action)
		if want < 0 && ok || want >= 0 && (!ok || n != want) {
			t.Errorf("Option(%q) = %d, %v", action, n, ok)
		}
	}
	for i := range workflows.MaxChoices {
		r := choosing()
		for len(r.Choices) < workflows.MaxChoices {
			r.Choices = append(r.Choices, workflows.Choice{Label: "more"})
		}
		button, is := Buttons(r, "v1.reference", "decision-1", false).Elements.ElementSet[i].(*slack.ButtonBlockElement)
		if !is {
			t.Fatalf("element %d is no button", i)
		}
		if n, ok := Option(button.ActionID); !ok || n != i+1 || button.Style != "" {
			t.Errorf("button %d is choice %d, %v, in style %q", i, n, ok, button.Style)
		}
	}
}

// What others wrote makes no quotation where it begins a line of ours; within one ">" is only a sign.
func TestWordsMakeNoQuotation(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"> quoted": "quoted", ">>> quoted": "quoted", " > > quoted": "quoted", "\u200b> quoted": "quoted",
		"a > b": "a &gt; b", "a >": "a &gt;", ">": "", "b": "b",
	} {
		if got := words(text, TitleLimit); got != want {
			t.Errorf("words(%q) = %q, want %q", text, got, want)
		}
	}
}
