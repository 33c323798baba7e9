package bot

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/slack-go/slack"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// entry is a request in a workflow's memo, open in its first round.
func entry(title string, change ...func(*workflows.Listed)) workflows.Listed {
	r := request
	r.Title = title
	l := workflows.Listed{
		Question: "ask-1", ActivityID: openActivity, Round: workflows.Round{Request: r, Number: 1}, Digest: hexDigest(r), Card: at,
		Missing: []workflows.Role{{Required: 1}}, AskedAt: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
	}
	for _, c := range change {
		c(&l)
	}
	return l
}

func endedAs(o workflows.Outcome, by ...workflows.Person) func(*workflows.Listed) {
	return func(l *workflows.Listed) {
		l.ActivityID, l.Missing, l.Outcome, l.EndedAt = "", nil, o, time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC)
		for _, p := range by {
			l.Round.Decisions = append(l.Round.Decisions, workflows.Decision{Outcome: o, By: p, At: l.EndedAt})
		}
	}
}

func askedBy(p workflows.Person, approvers ...string) func(*workflows.Listed) {
	return func(l *workflows.Listed) {
		l.Round.Requester, l.Round.Approvers = p.ID, workflows.Approvers{}
		for _, id := range approvers {
			switch {
			case workflows.IsGroup(id):
				l.Round.Approvers.Groups = append(l.Round.Approvers.Groups, id)
			case id == "channel":
				l.Round.Approvers.Channel = true
			default:
				l.Round.Approvers.Users = append(l.Round.Approvers.Users, id)
			}
		}
	}
}

// running is a workflow as Temporal lists it.
func running(t *testing.T, id string, requests ...workflows.Listed) *workflowpb.WorkflowExecutionInfo {
	t.Helper()
	w := &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "run-" + id}, TaskQueue: "countersign",
		Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
	}
	if requests != nil {
		w.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoRequests: payloads(t, requests).GetPayloads()[0]}}
	}
	return w
}

func as(w *workflowpb.WorkflowExecutionInfo, status enumspb.WorkflowExecutionStatus) *workflowpb.WorkflowExecutionInfo {
	w.Status = status
	return w
}

func typed(who workflows.Person, text string) map[string]string {
	return map[string]string{
		"command": CommandApproval, "text": text, "user_id": who.ID, "user_name": who.Name, "team_id": who.Team,
		"channel_id": at.Channel, "trigger_id": "1.2.3",
	}
}

func answered(r reply) string {
	body, _ := r.body.(map[string]any)
	if body["response_type"] != "ephemeral" {
		return ""
	}
	var b strings.Builder
	for _, said := range body["blocks"].([]slack.Block) {
		b.WriteString(said.(*slack.SectionBlock).Text.Text)
	}
	if text, ok := body["text"]; ok && text != b.String() {
		return fmt.Sprintf("%q, and in blocks %q", text, b.String())
	}
	return b.String()
}

// What a command is answered quotes others: it makes no links, and a long one is said once, for Slack takes no more.
func TestAnswer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text  string
		twice bool
	}{
		"short":              {"Of `https://evil.example` there is nothing.", true},
		"half of an answer":  {strings.Repeat("x", answerBytes/2-2), true}, // As JSON it has quotation marks.
		"more than a half":   {strings.Repeat("x", answerBytes/2-1), false},
		"many bytes as JSON": {strings.Repeat("<", answerBytes/12), false},
		"a whole answer":     {strings.Repeat("xxx xxxx\n", answerBytes/10), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := answer(tc.text)
			body, _ := r.body.(map[string]any)
			if got := answered(r); !r.ack || got != tc.text {
				t.Errorf("acknowledged %v, with %.60q", r.ack, got)
			}
			if _, twice := body["text"]; twice != tc.twice {
				t.Errorf("said in the text too: %v, want %v", twice, tc.twice)
			}
			if body["unfurl_links"] != false || body["unfurl_media"] != false {
				t.Errorf("unfurls links %v, media %v", body["unfurl_links"], body["unfurl_media"])
			}
			for _, b := range body["blocks"].([]slack.Block) {
				if said := b.(*slack.SectionBlock).Text; said.Type != slack.MarkdownType || !said.Verbatim {
					t.Errorf("a block of %s, verbatim %v", said.Type, said.Verbatim)
				}
			}
			// https://docs.slack.dev/apis/events-api/using-socket-mode
			if sent, err := json.Marshal(body); err != nil || len(sent) > 18_000 {
				t.Errorf("%d bytes, %v", len(sent), err)
			}
		})
	}
}

func TestApprovalCommand(t *testing.T) {
	t.Parallel()
	const (
		help   = "*/approval* opens a form to ask"
		unsure = "I did not understand that.\n" + help
	)
	mine := entry("Mine", askedBy(bob, carol.ID))
	for name, tc := range map[string]struct {
		temporal *fakeTemporal
		who      workflows.Person // bob, where it is nobody
		text     string
		id       string // that is changed; empty: the second word
		lookUp   error

		says   []string
		silent []string // what it does not say
		want   *workflows.Change
		looked int // workflows that were described
	}{
		"help":                 {text: " Help ", says: []string{help}, silent: []string{unsure}},
		"help with more":       {text: "help me", says: []string{help}, silent: []string{unsure}},
		"an unknown word":      {text: "deploy", says: []string{unsure}},
		"a sentence":           {text: "please approve version 2", says: []string{unsure}},
		"list with more":       {text: "list all", says: []string{unsure}},
		"show without an ID":   {text: "show", says: []string{unsure}},
		"withdraw without ID":  {text: "withdraw", says: []string{unsure}},
		"extend nothing":       {text: "extend", says: []string{unsure}},
		"extend without time":  {text: "extend a", says: []string{unsure}},
		"delegate nothing":     {text: "delegate", says: []string{unsure}},
		"delegate to nobody":   {text: "delegate a", says: []string{unsure}},
		"delegate to a name":   {text: "delegate a @alice", says: []string{"Say to whom"}},
		"delegate to a group":  {text: "delegate a <!subteam^S0SRE00001|sre>", says: []string{"Say to whom"}},
		"delegate to everyone": {text: "delegate a <!everyone>", says: []string{"Say to whom"}},
		"delegate to two":      {text: "delegate a <@U0CAROL001><@U0BOB00001>", says: []string{"Say to whom"}},
		"hostile words":        {text: "<!channel> `rm` \u202e", says: []string{unsure}, silent: []string{"`rm`", "channel>"}},
		"very much":            {text: strings.Repeat("x ", 10_000), says: []string{unsure}},

		"an ID that there is not":  {text: "show nope", says: []string{"no request `nope`"}, looked: 1},
		"an ID with spaces":        {text: "show  my deploy   1", says: []string{"Spaced"}, looked: 1},
		"spaces in backticks":      {text: "show `my deploy 1`", says: []string{"Spaced"}, looked: 1},
		"a part of an ID":          {text: "show my deploy", says: []string{"no request `my deploy`"}, looked: 1},
		"an ID of backticks":       {text: "show ```", says: []string{"no request"}},
		"an ID in backticks":       {text: "show `mine`", says: []string{"Mine"}, looked: 1},
		"an ID with a backtick":    {text: "show a`*b*`c", says: []string{"no request `a*b*c`"}, looked: 1},
		"an ID with a mention":     {text: "show <!here>", says: []string{"no request `here`"}, looked: 1},
		"an ID with a person":      {text: "show <@U0BOB00001|bob>", says: []string{"no request `&lt;@U0BOB00001&gt;`"}, looked: 1},
		"an ID with entities":      {text: "show a&lt;!channel&gt;b", says: []string{"a&lt;!channel&gt;b"}, silent: []string{"<!channel"}, looked: 1},
		"an ID of other letters":   {text: "show größe", says: []string{"no request `größe`"}},
		"an ID with a control":     {text: "show a\x01b", says: []string{"no request `ab`"}, looked: 1}, // which is gone by then
		"an ID with a line's end":  {text: "show `a\r\nb`", says: []string{"no request"}, looked: 1},    // a space by then
		"an ID of all signs":       {text: "show !#~ {}", says: []string{"no request `!#~ {}`"}, looked: 1},
		"withdraw other letters":   {text: "withdraw größe", says: []string{"no request `größe`"}},
		"extend other letters":     {text: "extend größe 2h", says: []string{"no request `größe`"}},
		"an ID in quotes":          {text: "“show mine”", says: []string{"Mine"}, looked: 1},
		"an ID as long as can be":  {text: "show " + strings.Repeat("x", idLimit), says: []string{"no request"}, looked: 1},
		"a long ID is cut short":   {text: "show " + strings.Repeat("x", 100), says: []string{"no request `xxx", "` that concerns you"}, silent: []string{strings.Repeat("x", 81)}, looked: 1},
		"an ID that is too long":   {text: "show " + strings.Repeat("x", idLimit+1), says: []string{"no request"}},
		"an ID of another queue":   {text: "show elsewhere", says: []string{"no request"}, silent: []string{"Secret"}, looked: 1},
		"an ID without requests":   {text: "show other", says: []string{"no request"}, looked: 1},
		"an ID of a broken memo":   {text: "show broken", says: []string{"no request"}, looked: 1},
		"an ID of somebody else's": {text: "show theirs", says: []string{"no request"}, silent: []string{"Theirs"}, looked: 1},
		"an ID for the channel":    {text: "show anyones", says: []string{"no request"}, silent: []string{"Anyone"}, looked: 1},
		"Temporal is away":         {text: "show away", says: []string{"Temporal did not answer"}, looked: 1},

		"withdraw":                       {text: "withdraw mine", says: []string{"It is withdrawn"}, want: &workflows.Change{Kind: workflows.Withdraw}, looked: 1},
		"withdraw in capitals":           {text: "WITHDRAW mine", says: []string{"It is withdrawn"}, want: &workflows.Change{Kind: workflows.Withdraw}, looked: 1},
		"withdraw somebody else's":       {text: "withdraw theirs", says: []string{"no request"}, looked: 1},
		"withdraw of another queue":      {text: "withdraw elsewhere", says: []string{"no request"}, looked: 1},
		"withdraw what has ended":        {text: "withdraw over", says: []string{"Too late", "Over"}, looked: 1},
		"withdraw what was ended":        {text: "withdraw killed", says: []string{"Too late", "Killed"}, looked: 1},
		"withdraw what is the channel's": {text: "withdraw anyones", says: []string{"no request"}, silent: []string{"Anyone"}, looked: 1},
		"withdraw one of two":            {text: "withdraw two", says: []string{"several things"}, looked: 1},
		"withdraw the one that is open": {
			text: "withdraw half", says: []string{"It is withdrawn"}, want: &workflows.Change{Kind: workflows.Withdraw, Question: "ask-2"}, looked: 1,
		},
		"withdraw an ID with spaces": {
			text: "withdraw my deploy 1", id: "my deploy 1", says: []string{"It is withdrawn"}, want: &workflows.Change{Kind: workflows.Withdraw}, looked: 1,
		},
		"withdraw, groups cannot be looked up": {
			text: "withdraw groups", lookUp: errGroups, says: []string{"could not check with Slack", "nothing was changed"}, looked: 1,
		},
		"show, groups cannot be looked up": {text: "show groups", lookUp: errGroups, says: []string{"could not check with Slack"}, silent: []string{"Group's"}, looked: 1},
		"show mine, groups cannot be looked up": {
			text: "show ours", lookUp: errGroups, says: []string{"Mine", "User groups could not be checked"}, silent: []string{"Group's"}, looked: 1,
		},
		"withdraw, Temporal refuses": {
			text: "withdraw mine", temporal: &fakeTemporal{answers: []error{notChanged("Only who asked for this can withdraw it.")}},
			says: []string{"Only who asked"}, want: &workflows.Change{Kind: workflows.Withdraw}, looked: 1,
		},
		"withdraw, Temporal goes away": {
			text: "withdraw mine", temporal: &fakeTemporal{updates: []error{unavailable}},
			says: []string{"could not confirm"}, want: &workflows.Change{Kind: workflows.Withdraw}, looked: 1,
		},
		"extend": {
			text: "extend mine 2h", says: []string{"It waits until", "2026-11-21"}, want: &workflows.Change{Kind: workflows.Extend, Longer: "2h"}, looked: 1,
			temporal: &fakeTemporal{updated: mine},
		},
		"extend an ID with spaces, by a time with one": {
			text: "extend my deploy 1 2 h", id: "my deploy 1", says: []string{"It waits until"}, want: &workflows.Change{Kind: workflows.Extend, Longer: "2h"}, looked: 1,
			temporal: &fakeTemporal{updated: mine},
		},
		"extend an ID with spaces": {
			text: "extend `my deploy 1` `3d`", id: "my deploy 1", says: []string{"It waits until"}, want: &workflows.Change{Kind: workflows.Extend, Longer: "3d"}, looked: 1,
			temporal: &fakeTemporal{updated: mine},
		},
		"extend by a time with a space": {
			text: "extend mine 2 h", says: []string{"It waits until"}, want: &workflows.Change{Kind: workflows.Extend, Longer: "2h"}, looked: 1,
			temporal: &fakeTemporal{updated: mine},
		},
		"extend a number, for no time": {text: "extend 2 h", says: []string{"no request `2`"}, looked: 1},
		"extend, for no time": {
			text: "extend mine soon", temporal: &fakeTemporal{answers: []error{notChanged("Say how much longer.")}},
			says: []string{"Say how much"}, want: &workflows.Change{Kind: workflows.Extend, Longer: "soon"}, looked: 1,
		},
		"delegate": {
			text: "delegate yours <@U0CAROL001|carol>", says: []string{"handed over to <@U0CAROL001>"}, looked: 1,
			want: &workflows.Change{Kind: workflows.Delegate, To: carol.ID},
		},
		"delegate an ID with spaces": {
			text: "delegate my deploy 1 <@U0CAROL001|carol b>", id: "my deploy 1", says: []string{"handed over to <@U0CAROL001>"}, looked: 1,
			want: &workflows.Change{Kind: workflows.Delegate, To: carol.ID},
		},
		"delegate to a bot":    {text: "delegate yours <@U0ROBOT001>", says: []string{"choose somebody else"}, looked: 1},
		"withdraw, by a guest": {who: guest, text: "withdraw yours", says: []string{"It is withdrawn"}, want: &workflows.Change{Kind: workflows.Withdraw}, looked: 1},
		"a person of another workspace": {
			who: external, text: "withdraw mixed", says: []string{"I work for another workspace"},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), cmp.Or(tc.temporal, new(fakeTemporal))
			elsewhere := running(t, "elsewhere", entry("Secret", askedBy(bob, bob.ID)))
			elsewhere.TaskQueue = "other"
			broken := running(t, "broken", mine)
			broken.Memo.Fields[workflows.MemoRequests].Data = []byte(`[{"question":"ask-1","round":{"title":7}}`)
			f.running = []*workflowpb.WorkflowExecutionInfo{
				running(t, "mine", mine), elsewhere, broken, running(t, "other"),
				running(t, "my deploy 1", entry("Spaced", askedBy(bob, carol.ID))),
				running(t, "groups", entry("Group's", askedBy(alice, "S0SRE00001"))),
				running(t, "ours", mine, entry("Group's", askedBy(alice, "S0SRE00001"))),
				running(t, "theirs", entry("Theirs", askedBy(alice, carol.ID))),
				running(t, "yours", entry("Yours", askedBy(alice, bob.ID, guest.ID))),
				running(t, "anyones", entry("Anyone's", askedBy(alice, "channel"))),
				running(t, "mixed", entry("Mixed", askedBy(alice, external.ID))),
				running(t, "over", entry("Over", askedBy(bob, carol.ID), endedAs(workflows.Approved, carol))),
				running(t, "two", mine, entry("Second", askedBy(bob, carol.ID), func(l *workflows.Listed) { l.Question, l.ActivityID = "ask-2", "ask-2-decision-1-x" })),
				running(t, "half", entry("First", askedBy(bob, carol.ID), endedAs(workflows.Rejected, carol)),
					entry("Second", askedBy(bob, carol.ID), func(l *workflows.Listed) { l.Question, l.ActivityID = "ask-2", "ask-2-decision-1-x" })),
			}
			f.closed = []*workflowpb.WorkflowExecutionInfo{as(running(t, "killed", entry("Killed", askedBy(bob, carol.ID))), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED)}
			f.unchecked, s.lookUp = map[string]error{"away": unavailable}, tc.lookUp
			b, _ := newBot(t, s, f, nil)
			who := tc.who
			if who.ID == "" {
				who = bob
			}
			r := deliver(t, b, slashCommand, typed(who, tc.text))
			text := answered(r)
			if !r.ack || len(s.said)+len(s.modals)+len(f.started)+len(f.completions) > 0 {
				t.Errorf("acknowledged %v; said %q; %d modals, %d workflows", r.ack, s.said, len(s.modals), len(f.started))
			}
			for _, part := range tc.says {
				if !strings.Contains(text, part) {
					t.Errorf("said %q, want %q", text, part)
				}
			}
			for _, part := range tc.silent {
				if strings.Contains(text, part) {
					t.Errorf("said %q, with %q", text, part)
				}
			}
			if len(f.looked) != tc.looked {
				t.Errorf("described %q, want %d", f.looked, tc.looked)
			}
			var want, got []workflows.Change
			if tc.want != nil {
				c := *tc.want
				c.By, c.Via, c.Question = who, workflows.ViaCommand, cmp.Or(c.Question, "ask-1")
				want = append(want, c)
			}
			for _, o := range f.changes {
				got = append(got, o.Args[0].(workflows.Change))
				if o.RunID != "run-"+o.WorkflowID || o.WorkflowID != cmp.Or(tc.id, strings.Fields(tc.text)[1]) {
					t.Errorf("changed %s of %s", o.RunID, o.WorkflowID)
				}
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// Temporal's client would take the process for broken where it is asked for such an ID.
func TestFindRequestAsksForNoOtherSigns(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		id     string
		looked int
	}{
		"printable":        {" ~my!deploy", 1},
		"another letter":   {"größe", 0},
		"not UTF-8":        {"a\xff", 0},
		"a control":        {"a\x01b", 0},
		"the end of text":  {"a\x00", 0},
		"the end of line":  {"a\nb", 0},
		"the last control": {"a\x7f", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := new(fakeTemporal)
			b, _ := newBot(t, newSlack(), f, nil)
			if fs, no := b.findRequest(t.Context(), command{UserID: bob.ID}, tc.id); len(fs) > 0 || !strings.Contains(string(no), "There is no request") {
				t.Errorf("found %+v, %q", fs, no)
			}
			if len(f.looked) != tc.looked {
				t.Errorf("described %q, want %d", f.looked, tc.looked)
			}
		})
	}
}

func TestApprovalList(t *testing.T) {
	t.Parallel()
	link := func(l *workflows.Listed) { l.Permalink = "https://sim.slack.com/archives/C0GENERAL1/p1" }
	approved := func(l *workflows.Listed) {
		l.Round.Required, l.Round.Decisions = 2, []workflows.Decision{{Outcome: workflows.Approved, By: bob}}
		l.Counted = []string{bob.ID}
	}
	all := func(t *testing.T) *fakeTemporal {
		return &fakeTemporal{running: []*workflowpb.WorkflowExecutionInfo{
			running(t, "for-bob", entry("For Bob", askedBy(alice, bob.ID), link)),
			running(t, "of-bob", entry("Of Bob", askedBy(bob, carol.ID))),
			running(t, "for-sre", entry("For SRE", askedBy(alice, "S0SRE00001"))),
			running(t, "for-nobody", entry("For the channel", askedBy(alice, "channel"))),
			running(t, "by-bob", entry("By Bob", askedBy(alice, bob.ID, carol.ID), approved)),
			running(t, "self", entry("Bob himself", askedBy(bob, bob.ID, carol.ID))),
			running(t, "over", entry("Over", askedBy(alice, bob.ID), endedAs(workflows.Approved, bob))),
			running(t, "no-card"),
		}}
	}
	for name, tc := range map[string]struct {
		who     workflows.Person
		change  func(*testing.T, *fakeTemporal, *fakeSlack)
		waiting []string
		asked   []string
		says    []string
	}{
		"approver": {who: bob, waiting: []string{"For Bob"}, asked: []string{"Of Bob", "Bob himself"}, says: []string{"<https://sim.slack.com/archives/C0GENERAL1/p1|", "`for-bob`"}},
		"member":   {who: carol, waiting: []string{"Of Bob", "For SRE", "By Bob", "Bob himself"}, says: []string{"asked nothing"}},
		"guest":    {who: guest, says: []string{"Nothing waits for you."}},
		"guest, where guests may": {
			who: guest, waiting: []string{"For SRE"}, change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.running = append(f.running[:2:2], running(t, "for-sre", entry("For SRE", askedBy(alice, "S0SRE00001"), func(l *workflows.Listed) { l.Round.AllowGuests = true })))
			},
		},
		"person who cannot be looked up": {
			who: carol, change: func(_ *testing.T, _ *fakeTemporal, s *fakeSlack) { delete(s.people, carol.ID) },
			waiting: []string{"Of Bob", "By Bob", "Bob himself"}, says: []string{"User groups could not be checked"},
		},
		"one whose approval does not count any more": {
			who: bob, waiting: []string{"Again"}, change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.running = []*workflowpb.WorkflowExecutionInfo{running(t, "again", entry("Again", askedBy(alice, bob.ID), approved, func(l *workflows.Listed) { l.Counted = nil }))}
			},
		},
		"member, who handed over": {
			who: carol, waiting: []string{"For others"}, change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				to := func(from, to workflows.Person) func(*workflows.Listed) {
					return func(l *workflows.Listed) {
						l.Round.Changes = []workflows.Change{{Kind: workflows.Delegate, By: from, To: to.ID}}
					}
				}
				f.running = []*workflowpb.WorkflowExecutionInfo{
					running(t, "gone", entry("Gone", askedBy(alice, carol.ID, "S0SRE00001"), to(carol, bob))),
					running(t, "others", entry("For others", askedBy(alice, bob.ID, "S0SRE00001"), to(bob, alice))),
				}
			},
		},
		"nobody": {who: workflows.Person{ID: "U0NOBODY01", Team: team}, says: []string{"Nothing waits for you.", "You have asked nothing"}},
		"in pages of Temporal's": {
			who: bob, change: func(_ *testing.T, f *fakeTemporal, _ *fakeSlack) { f.pages = 1 }, waiting: []string{"For Bob"}, asked: []string{"Of Bob", "Bob himself"},
		},
		"decided meanwhile": {
			who: bob, change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.now = map[string]*workflowpb.WorkflowExecutionInfo{
					"for-bob": running(t, "for-bob", entry("For Bob", askedBy(alice, bob.ID, carol.ID), approved)),
					"of-bob":  as(running(t, "of-bob", entry("Of Bob", askedBy(bob, carol.ID))), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED),
					"self":    nil,
				}
			},
			says: []string{"Nothing waits for you.", "You have asked nothing"},
		},
		"a row cannot be checked": {
			who: bob, change: func(_ *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.unchecked = map[string]error{"for-bob": unavailable}
			},
			waiting: []string{"For Bob"}, asked: []string{"Of Bob", "Bob himself"}, says: []string{"Could not be checked"},
		},
		"Temporal is away": {
			who: bob, change: func(_ *testing.T, f *fakeTemporal, _ *fakeSlack) { f.lists = unavailable }, says: []string{"Could not load"},
		},
		"groups cannot be looked up": {
			who: carol, change: func(_ *testing.T, _ *fakeTemporal, s *fakeSlack) { s.lookUp = errors.New("down") },
			waiting: []string{"Of Bob", "By Bob", "Bob himself"}, says: []string{"User groups could not be checked"},
		},
		"many": {
			who: bob, change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.running = nil
				for n := range 12 {
					f.running = append(f.running, running(t, fmt.Sprintf("w-%d", n), entry(fmt.Sprintf("Number %d.", n), askedBy(alice, bob.ID))))
				}
			},
			waiting: []string{
				"Number 0.", "Number 1.", "Number 2.", "Number 3.", "Number 4.", "Number 5.", "Number 6.", "Number 7.", "Number 8.", "Number 9.",
			}, says: []string{"These are the latest 10"},
		},
		"one of many approvers": {
			who: bob, change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				var others []string
				for n := range 20 {
					others = append(others, fmt.Sprintf("U%05d", n))
				}
				f.running = []*workflowpb.WorkflowExecutionInfo{running(t, "w", entry("Many", askedBy(alice, append(others, bob.ID)...)))}
			},
			waiting: []string{"Many"}, says: []string{"May decide: <@U0BOB00001>, <@U00000>, ", "11 others"},
		},
		"more than are looked at": {
			who: bob, change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				w := running(t, "no-requests")
				for range record.LookAtOpen {
					f.running = append(f.running, w)
				}
				f.pages = record.LookAtOpen / 2
			},
			waiting: []string{"For Bob"}, asked: []string{"Of Bob", "Bob himself"}, says: []string{"only the latest were looked at"},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), all(t)
			if tc.change != nil {
				tc.change(t, f, s)
			}
			b, _ := newBot(t, s, f, nil)
			text := answered(deliver(t, b, slashCommand, typed(tc.who, "list")))
			waiting, asked, _ := strings.Cut(text, "*Asked by you*")
			titles := func(s string) (all []string) {
				for line := range strings.Lines(s) {
					if rest, ok := strings.CutPrefix(line, "•  *"); ok {
						title, _, _ := strings.Cut(rest, "*")
						all = append(all, title)
					}
				}
				return all
			}
			if diff := gocmp.Diff([][]string{tc.waiting, tc.asked}, [][]string{titles(waiting), titles(asked)}); diff != "" {
				t.Errorf("listed (-want +got):\n%s\nof %s", diff, text)
			}
			for _, part := range tc.says {
				if !strings.Contains(text, part) {
					t.Errorf("said %q, want %q", text, part)
				}
			}
		})
	}
}

// An answer is acknowledged in Socket Mode, which takes less than 20 KB.
func TestAnswersAreNotTooLong(t *testing.T) {
	t.Parallel()
	long := func(n int, title string) workflows.Listed {
		var many []string
		for i := range 12 {
			many = append(many, fmt.Sprintf("U%09d", i))
		}
		return entry(title, askedBy(alice, append(many, bob.ID)...), func(l *workflows.Listed) {
			l.Question = fmt.Sprintf("ask-%d", n)
			l.Permalink = "https://sim.slack.com/archives/C0GENERAL1/p1795176000000100"
		})
	}
	hostile := strings.Repeat("<&>", 50)
	for name, tc := range map[string]struct {
		text  string
		id    func(n int) string
		title string
		one   bool // workflow that asks for all
		rows  int  // at the least
		says  string
	}{
		"list":               {text: "list", id: func(n int) string { return fmt.Sprint("w-", n) }, title: hostile, rows: 4, says: "The others are in my home."},
		"list of long IDs":   {text: "list", id: func(n int) string { return strings.Repeat("<", 900) + fmt.Sprint(n) }, title: hostile, rows: 1, says: "This is the latest. The others are in my home."},
		"list of wide IDs":   {text: "list", id: func(n int) string { return strings.Repeat("\U0001F600", 240) + fmt.Sprint(n) }, title: strings.Repeat("\U0001F600", 150), rows: 2, says: "The others are in my home."},
		"list of short ones": {text: "list", id: func(n int) string { return fmt.Sprint("w-", n) }, title: "Deploy", rows: 10, says: "These are the latest 10. The others are in my home."},
		"show":               {text: "show w-0", id: func(int) string { return "w-0" }, title: hostile, one: true, rows: 4, says: "The others are in my home."},
		"show one":           {text: "show " + strings.Repeat("&", 900), id: func(int) string { return strings.Repeat("&", 900) }, title: hostile, rows: 1, says: "Open card"},
	} {
		inTime(t, name, func(t *testing.T) {
			f := &fakeTemporal{}
			var requests []workflows.Listed
			for n := range 15 {
				requests = append(requests, long(n, tc.title))
				if !tc.one {
					f.running = append(f.running, running(t, tc.id(n), requests[n]))
				}
			}
			if tc.one {
				f.running = append(f.running, running(t, tc.id(0), requests...))
			}
			b, _ := newBot(t, newSlack(), f, nil)
			r := deliver(t, b, slashCommand, typed(bob, tc.text))
			body, err := json.Marshal(r.body)
			if err != nil || len(body) > answerBytes+1000 {
				t.Errorf("the answer has %d bytes, %v", len(body), err)
			}
			text := answered(r)
			if n := strings.Count(text, "May decide: "); n < tc.rows || !strings.Contains(text, tc.says) {
				t.Errorf("the answer has %d rows, want %d, and %q: %s", n, tc.rows, tc.says, text)
			}
		})
	}
}

func TestOpenRequest(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		who        workflows.Person
		channel    string
		requesters Requesters
		slack      func(*fakeSlack)
		says       string // empty: the form opens
	}{
		"member":                   {who: bob, requesters: Requesters{Members: true}},
		"guest":                    {who: guest, requesters: Requesters{Members: true}, says: "Only full members"},
		"named guest":              {who: guest, requesters: Requesters{Users: []string{guest.ID}}},
		"not among the requesters": {who: bob, requesters: Requesters{Users: []string{carol.ID}}, says: "REQUESTERS"},
		"direct message":           {who: bob, channel: "D0ALICE001", requesters: Requesters{Members: true}, says: "Use /approval in a channel"},
		"Slack is down":            {who: bob, requesters: Requesters{Members: true}, slack: func(s *fakeSlack) { s.lookUp = errors.New("down") }, says: "could not check"},
		"modal does not open":      {who: bob, requesters: Requesters{Members: true}, slack: func(s *fakeSlack) { s.modal = errors.New("expired_trigger_id") }, says: "could not open the form"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newSlack(), &fakeTemporal{}
			if tc.slack != nil {
				tc.slack(s)
			}
			b, _ := newBot(t, s, f, nil)
			b.Requesters = tc.requesters
			p := typed(tc.who, " ")
			p["channel_id"] = cmp.Or(tc.channel, at.Channel)
			r := deliver(t, b, slashCommand, p)
			if !r.ack || !strings.Contains(answered(r), tc.says) || len(f.started) > 0 {
				t.Errorf("answered %v with %v", r.ack, r.body)
			}
			if opened := len(s.modals) == 1; opened != (tc.says == "") {
				t.Fatalf("opened %v", opened)
			}
			if tc.says != "" {
				return
			}
			var m modal
			if err := json.Unmarshal([]byte(s.modals[0].PrivateMetadata), &m); err != nil || m != (modal{Channel: at.Channel, Trigger: "1.2.3"}) || s.modals[0].CallbackID != card.CallbackRequest || r.body != nil {
				t.Errorf("opened %s, which keeps %+v (%v); answered %v", s.modals[0].CallbackID, m, err, r.body)
			}
		})
	}
}

func TestSubmitRequest(t *testing.T) {
	t.Parallel()
	text := func(block, s string) map[string]any { return fills(block, "plain_text_input", "value", s) }
	form := func(change ...map[string]any) map[string]any {
		all := map[string]any{}
		for _, c := range append([]map[string]any{
			text(card.BlockTitle, "Deploy \u202eversion 2"),
			fills(card.BlockText, "plain_text_input", "value", nil),
			fills(card.BlockApprovers, "multi_users_select", "selected_users", []string{}),
			fills(card.BlockRequired, "number_input", "value", "1"),
			fills(card.BlockDeadline, "static_select", "selected_option", nil),
		}, change...) {
			maps.Copy(all, c)
		}
		return all
	}
	users := func(ids ...string) map[string]any {
		return fills(card.BlockApprovers, "multi_users_select", "selected_users", ids)
	}
	title, approvers, required := []string{card.BlockTitle}, []string{card.BlockApprovers}, []string{card.BlockRequired}
	const robot, former = "U0ROBOT001", "U0FORMER01"
	started := serviceerror.NewWorkflowExecutionAlreadyStarted("started", "1", "run-1")
	for name, tc := range map[string]struct {
		state   map[string]any
		who     workflows.Person // bob, where it is nobody
		channel string
		start   error
		fails   error  // look-ups
		down    string // the one who cannot be looked up

		want   *workflows.Request // what is asked; nil: nothing
		faults []string
		says   string
	}{
		"the least": {state: form(), want: &workflows.Request{Title: "Deploy version 2", Required: 1}},
		"all of it": {
			state: form(text(card.BlockText, "See *this*.\n<!channel>"), users(carol.ID, alice.ID), text(card.BlockRequired, "2"),
				fills(card.BlockDeadline, "static_select", "selected_option", map[string]any{"value": "4h"})),
			want: &workflows.Request{
				Title: "Deploy version 2", Text: "See *this*.\n<!channel>", Approvers: workflows.Approvers{Users: []string{carol.ID, alice.ID}},
				Required: 2, Deadline: "4h",
			},
		},
		"already taken":                 {state: form(), start: started, want: &workflows.Request{Title: "Deploy version 2", Required: 1}},
		"Temporal is away":              {state: form(), start: unavailable, want: &workflows.Request{Title: "Deploy version 2", Required: 1}, faults: title, says: "Submit it again as it is; if it was taken, nothing is asked twice."},
		"no title":                      {state: form(text(card.BlockTitle, " \u200b ")), faults: title, says: "The title is empty."},
		"a text that is too long":       {state: form(text(card.BlockText, strings.Repeat("x", workflows.MaxText+1))), faults: []string{card.BlockText}, says: "2001 characters"},
		"no number":                     {state: form(text(card.BlockRequired, "two")), faults: required, says: "a number from 1"},
		"none of them":                  {state: form(text(card.BlockRequired, "0")), faults: required, says: "a number from 1"},
		"too many of them":              {state: form(users(carol.ID), text(card.BlockRequired, "21")), faults: required, says: "Write a number from 1 to 20."},
		"more than there are":           {state: form(users(carol.ID), text(card.BlockRequired, "2")), faults: required, says: "Only 1 of those named can decide: choose more people, or a smaller number."},
		"more than there are besides":   {state: form(users(carol.ID, bob.ID, alice.ID, carol.ID), text(card.BlockRequired, "3")), faults: required, says: "Only 2 of those named"},
		"two of nobody":                 {state: form(text(card.BlockRequired, "2")), faults: approvers, says: "Say who may decide"},
		"only the requester":            {state: form(users(bob.ID)), faults: approvers, says: "You cannot decide your own request: choose somebody else."},
		"only the requester, of two":    {state: form(users(bob.ID), text(card.BlockRequired, "2")), faults: approvers, says: "You cannot decide your own request"},
		"an approver that is none":      {state: form(users("<!here>")), faults: approvers, says: "somebody whom Slack does not know"},
		"people who cannot decide":      {state: form(users(robot, carol.ID, former, guest.ID, external.ID)), faults: approvers, says: "Choose others instead of: Robot, somebody without a name, Eve Extern."},
		"more of them than are named":   {state: form(users(robot, former, external.ID, "U0NOBODY01", "U0NOBODY02", "U0NOBODY03", "U0NOBODY04")), faults: approvers, says: "does not know, 2 more."},
		"a guest is to decide":          {state: form(users(guest.ID)), want: &workflows.Request{Title: "Deploy version 2", Approvers: workflows.Approvers{Users: []string{guest.ID}}, Required: 1}},
		"several faults":                {state: form(text(card.BlockTitle, ""), users(robot), text(card.BlockRequired, "x")), faults: []string{card.BlockRequired, card.BlockTitle}, says: "The title is empty."},
		"a deadline that is none":       {state: form(fills(card.BlockDeadline, "static_select", "selected_option", map[string]any{"value": "soon"})), faults: []string{card.BlockDeadline}, says: "not a duration"},
		"approvers cannot be looked up": {state: form(users(carol.ID)), down: carol.ID, faults: approvers, says: "could not check with Slack who they are, so nothing was asked"},
		"a channel that is none":        {state: form(), channel: "general", faults: title, says: "is not the ID of a Slack channel"},
		"a person of another workspace": {state: form(), who: external, faults: title, says: "Only people of this workspace"},
		"a guest":                       {state: form(), who: guest, faults: title, says: "Only full members"},
		"Slack is down":                 {state: form(), fails: errors.New("down"), faults: title, says: "could not check"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newSlack(), &fakeTemporal{starts: []error{tc.start}}
			s.lookUp = tc.fails
			s.people[robot] = slackapi.Person{Team: team, Bot: true, Name: "\u202eRobot"}
			s.people[external.ID] = slackapi.Person{Team: external.Team, Name: "Eve Extern"}
			if tc.down != "" {
				s.unknown = map[string]error{tc.down: errors.New("down")}
			}
			b, _ := newBot(t, s, f, nil)
			who := tc.who
			if who.ID == "" {
				who = bob
			}
			r := deliver(t, b, interactive, filled(t, who, card.CallbackRequest, modal{Channel: cmp.Or(tc.channel, at.Channel), Trigger: "7.7.7"}, tc.state))
			checkFaults(t, r, tc.faults, tc.says)
			var want []any
			if tc.want != nil {
				tc.want.Channel, tc.want.Requester = at.Channel, who.ID
				want = []any{*tc.want}
				if o := f.started[0]; o.ID != ApprovalID("7.7.7") || o.TaskQueue != "countersign" || o.WorkflowIDReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE ||
					reflect.ValueOf(f.types[0]).Pointer() != reflect.ValueOf(workflows.Approval).Pointer() {
					t.Errorf("started %+v", o)
				}
			}
			if diff := gocmp.Diff(want, f.inputs, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if len(s.said)+len(f.completions)+len(f.changes) > 0 {
				t.Errorf("said %q, after %d decisions and %d changes", s.said, len(f.completions), len(f.changes))
			}
		})
	}
	begun := func(t *testing.T, trigger string) map[string]any {
		t.Helper()
		return filled(t, bob, card.CallbackRequest, modal{Channel: at.Channel, Trigger: trigger}, form())
	}
	t.Run("without what opened it", func(t *testing.T) {
		t.Parallel()
		broken := begun(t, "7.7.7")
		broken["view"].(map[string]any)["private_metadata"] = "{"
		for _, p := range []any{broken, begun(t, "")} {
			f := &fakeTemporal{}
			b, _ := newBot(t, newSlack(), f, nil)
			checkFaults(t, deliver(t, b, interactive, p), title, "another version of the app")
			if len(f.started) > 0 {
				t.Errorf("started %+v", f.started)
			}
		}
	})
	t.Run("submitted twice", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, _ := newBot(t, newSlack(), f, nil)
		for _, trigger := range []string{"7.7.7", "7.7.7", "8.8.8"} {
			checkFaults(t, deliver(t, b, interactive, begun(t, trigger)), nil, "")
		}
		if f.started[0].ID != f.started[1].ID || f.started[0].ID == f.started[2].ID {
			t.Errorf("workflow IDs %s, %s and, by another form, %s", f.started[0].ID, f.started[1].ID, f.started[2].ID)
		}
	})
}
