package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/slack-go/slack"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// opens is the event of a person who opens a tab of the app's home.
func opens(who workflows.Person, tab string) map[string]any {
	return map[string]any{
		"type": "event_callback", "team_id": team, "event_id": "Ev0001",
		"event": map[string]any{"type": "app_home_opened", "user": who.ID, "tab": tab, "channel": "D0HOME0001", "event_ts": "1.2"},
	}
}

// seen is what stands in a home: titles by section, and the buttons.
type seen struct {
	waiting, asked, decided []string
	buttons                 []string // action IDs
	text                    string
	references              map[string]string // by action
}

func look(t *testing.T, v slack.HomeTabViewRequest) (s seen) {
	t.Helper()
	s.references = make(map[string]string)
	var section *[]string
	for _, block := range v.Blocks.BlockSet {
		j, err := json.Marshal(block)
		if err != nil {
			t.Fatal(err)
		}
		s.text += string(j) + "\n"
		switch block := block.(type) {
		case *slack.HeaderBlock:
			section = map[string]*[]string{"Waiting for you": &s.waiting, "Asked by you": &s.asked, "Recently decided": &s.decided}[block.Text.Text]
		case *slack.RichTextBlock:
			line := block.Elements[0].(*slack.RichTextSection).Elements[0].(*slack.RichTextSectionTextElement)
			*section = append(*section, line.Text)
		case *slack.ActionBlock:
			for _, e := range block.Elements.ElementSet {
				b := e.(*slack.ButtonBlockElement)
				s.buttons = append(s.buttons, b.ActionID)
				s.references[b.ActionID] = b.Value
			}
		}
	}
	return s
}

// last is the home that was shown last.
func last(t *testing.T, s *fakeSlack) seen {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.homes) == 0 {
		t.Fatal("no home was shown")
	}
	return look(t, s.homes[len(s.homes)-1].view)
}

// homely is a Temporal with requests of all kinds for bob.
func homely(t *testing.T) *fakeTemporal {
	t.Helper()
	later := func(l *workflows.Listed) { l.EndedAt = l.EndedAt.Add(time.Hour) }
	return &fakeTemporal{
		running: []*workflowpb.WorkflowExecutionInfo{
			running(t, "waits", entry("Waits", askedBy(alice, bob.ID))),
			running(t, "asked", entry("Asked", askedBy(bob, carol.ID))),
			running(t, "theirs", entry("Theirs", askedBy(alice, carol.ID))),
			running(t, "channel", entry("Channel's", askedBy(alice, "channel"))),
			running(t, "group", entry("Group's", askedBy(alice, "S0SRE00001"))),
			running(t, "goes-on", entry("Ended in a workflow that goes on", askedBy(alice, bob.ID), endedAs(workflows.Rejected, bob))),
			running(t, "none"),
		},
		closed: []*workflowpb.WorkflowExecutionInfo{
			as(running(t, "done", entry("Done", askedBy(bob, carol.ID), endedAs(workflows.Approved, carol), later)), enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED),
			as(running(t, "not-ours", entry("Not ours", askedBy(alice, carol.ID), endedAs(workflows.Approved, carol))), enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED),
			as(running(t, "killed", entry("Killed", askedBy(alice, bob.ID))), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED),
		},
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		who    workflows.Person
		change func(*testing.T, *fakeTemporal, *fakeSlack)

		waiting, asked, decided []string
		buttons                 []string
		says                    []string
		looked                  int // workflows that were described
	}{
		"approver and requester": {
			who: bob, waiting: []string{"Waits"}, asked: []string{"Asked"}, decided: []string{"Done", "Ended in a workflow that goes on", "Killed"},
			buttons: []string{"approve", "reject", "withdraw"}, looked: 5,
		},
		"member of a group": {
			who: carol, waiting: []string{"Asked", "Theirs", "Group's"}, decided: []string{"Done", "Not ours"},
			buttons: []string{"approve", "reject", "approve", "reject", "approve", "reject"}, looked: 5,
		},
		"nobody": {who: external, says: []string{"Nothing waits for you", "Nothing that you asked is open", "Nothing was decided recently"}},
		"ended meanwhile": {
			who: bob, decided: []string{"Done", "Ended in a workflow that goes on", "Killed"}, looked: 5,
			change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.now = map[string]*workflowpb.WorkflowExecutionInfo{
					"waits": running(t, "waits", entry("Waits", askedBy(alice, bob.ID), endedAs(workflows.Expired))),
					"asked": as(running(t, "asked", entry("Asked", askedBy(bob, carol.ID))), enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED),
				}
			},
		},
		"decided by them meanwhile": {
			who: bob, asked: []string{"Asked"}, decided: []string{"Done", "Ended in a workflow that goes on", "Killed"}, buttons: []string{"withdraw"}, looked: 5,
			change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.now = map[string]*workflowpb.WorkflowExecutionInfo{"waits": running(t, "waits", entry("Waits", askedBy(alice, bob.ID, carol.ID), func(l *workflows.Listed) {
					l.Round.Required, l.Round.Decisions = 2, []workflows.Decision{{Outcome: workflows.Approved, By: bob}}
					l.Counted = []string{bob.ID}
				}))}
			},
		},
		"given to others meanwhile": {
			who: bob, asked: []string{"Asked"}, decided: []string{"Done", "Ended in a workflow that goes on", "Killed"}, buttons: []string{"withdraw"}, looked: 5,
			change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.now = map[string]*workflowpb.WorkflowExecutionInfo{"waits": running(t, "waits", entry("Waits", askedBy(alice, bob.ID), func(l *workflows.Listed) {
					l.Round.Changes = []workflows.Change{{Kind: workflows.Delegate, By: bob, To: carol.ID}}
				}))}
			},
		},
		"forgotten meanwhile": {
			who: bob, asked: []string{"Asked"}, decided: []string{"Ended in a workflow that goes on", "Killed"}, buttons: []string{"withdraw"}, looked: 5,
			change: func(_ *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.now = map[string]*workflowpb.WorkflowExecutionInfo{"waits": nil, "done": nil}
			},
		},
		"asks something else by now": {
			who: bob, asked: []string{"Asked"}, decided: []string{"Done", "Ended in a workflow that goes on", "Killed"}, buttons: []string{"withdraw"}, looked: 5,
			change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				other := entry("Other", askedBy(alice, bob.ID), func(l *workflows.Listed) { l.Question = "ask-2" })
				f.now = map[string]*workflowpb.WorkflowExecutionInfo{"waits": running(t, "waits", other)}
			},
		},
		"cannot be checked": {
			who: bob, waiting: []string{"Waits"}, asked: []string{"Asked"}, decided: []string{"Done", "Ended in a workflow that goes on", "Killed"},
			buttons: []string{"withdraw"}, says: []string{"Could not be checked"}, looked: 5,
			change: func(_ *testing.T, f *fakeTemporal, _ *fakeSlack) {
				f.unchecked = map[string]error{"waits": unavailable}
			},
		},
		"Temporal is away": {
			who: bob, says: []string{"Could not load your requests"},
			change: func(_ *testing.T, f *fakeTemporal, _ *fakeSlack) { f.lists = unavailable },
		},
		"groups cannot be looked up": {
			who: carol, waiting: []string{"Asked", "Theirs"}, decided: []string{"Done", "Not ours"}, says: []string{"User groups could not be checked"},
			buttons: []string{"approve", "reject", "approve", "reject"}, looked: 4,
			change: func(_ *testing.T, _ *fakeTemporal, s *fakeSlack) { s.lookUp = errors.New("down") },
		},
		"the member cannot be looked up": {
			who: carol, waiting: []string{"Asked", "Theirs"}, decided: []string{"Done", "Not ours"}, says: []string{"User groups could not be checked"},
			buttons: []string{"approve", "reject", "approve", "reject"}, looked: 4,
			change: func(_ *testing.T, _ *fakeTemporal, s *fakeSlack) { delete(s.people, carol.ID) },
		},
		"member of a group, who handed their place over": {
			who: carol, waiting: []string{"Asked"}, buttons: []string{"approve", "reject"}, decided: []string{"Done", "Not ours"}, looked: 3,
			change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				over := func(l *workflows.Listed) {
					l.Round.Changes = []workflows.Change{{Kind: workflows.Delegate, By: carol, To: bob.ID}}
				}
				f.running = append(f.running[1:2:2], running(t, "group", entry("Group's", askedBy(alice, "S0SRE00001"), over)))
			},
		},
		"more than are looked at": {
			who: carol, waiting: []string{"Asked", "Theirs", "Group's"}, decided: []string{"Done", "Not ours"}, says: []string{"Only the latest requests were looked at"},
			buttons: []string{"approve", "reject", "approve", "reject", "approve", "reject"}, looked: 5,
			change: func(t *testing.T, f *fakeTemporal, _ *fakeSlack) {
				none := as(running(t, "none"), enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED)
				f.closed = append(f.closed, slices.Repeat([]*workflowpb.WorkflowExecutionInfo{none}, record.LookAtEnded)...)
				f.pages = record.LookAtEnded
			},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), homely(t)
			if tc.change != nil {
				tc.change(t, f, s)
			}
			b, _ := newBot(t, s, f, nil)
			if r := deliver(t, b, event, opens(tc.who, "home")); !r.ack || r.body != nil {
				t.Errorf("answered %v with %v", r.ack, r.body)
			}
			if len(s.homes) != 1 || s.homes[0].user != tc.who.ID || len(s.said)+len(s.modals) > 0 {
				t.Fatalf("showed %d homes, said %q", len(s.homes), s.said)
			}
			got := last(t, s)
			if diff := cmp.Diff([][]string{tc.waiting, tc.asked, tc.decided}, [][]string{got.waiting, got.asked, got.decided}); diff != "" {
				t.Errorf("shows (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.buttons, got.buttons); diff != "" {
				t.Errorf("buttons (-want +got):\n%s", diff)
			}
			for _, part := range tc.says {
				if !strings.Contains(got.text, part) {
					t.Errorf("does not say %q: %s", part, got.text)
				}
			}
			if len(f.looked) != tc.looked {
				t.Errorf("described %q, want %d", f.looked, tc.looked)
			}
			if len(f.queries) != 2 && f.pages == 0 {
				t.Errorf("asked Temporal for %q", f.queries)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]any{
		"messages tab":            opens(bob, "messages"),
		"no tab":                  map[string]any{"event": map[string]any{"type": "app_home_opened", "user": bob.ID}},
		"nobody":                  map[string]any{"event": map[string]any{"type": "app_home_opened", "tab": "home"}},
		"a message":               map[string]any{"event": map[string]any{"type": "message", "user": bob.ID, "tab": "home"}},
		"an uninstall":            map[string]any{"event": map[string]any{"type": "app_uninstalled"}},
		"no event":                map[string]any{"type": "event_callback"},
		"an event that is none":   map[string]any{"event": "app_home_opened"},
		"a user who is an object": map[string]any{"event": map[string]any{"type": "user_change", "user": map[string]any{"id": bob.ID}}},
		"another workspace":       map[string]any{"team_id": "T0OTHER001", "event": map[string]any{"type": "app_home_opened", "tab": "home", "user": bob.ID}},
		"null":                    nil,
		"a list":                  []any{1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newSlack(), homely(t)
			b, _ := newBot(t, s, f, nil)
			if r := deliver(t, b, event, e); !r.ack || r.body != nil {
				t.Errorf("answered %v with %v: Slack sends it again", r.ack, r.body)
			}
			if len(s.homes)+len(s.said)+len(f.queries) > 0 {
				t.Errorf("showed %d homes after %q", len(s.homes), f.queries)
			}
		})
	}
}

// Whatever there is to list, Slack is asked once for all user groups, and not at all where none may decide.
func TestGroupsAreLookedUpOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		approvers func(n int) string
		down      error
		want      int
	}{
		"many groups":                   {func(n int) string { return fmt.Sprintf("S0GROUP%04d", n) }, nil, 1},
		"many groups, and Slack is off": {func(n int) string { return fmt.Sprintf("S0GROUP%04d", n) }, errGroups, 1},
		"no group":                      {func(int) string { return bob.ID }, nil, 0},
	} {
		for _, where := range []string{"home", "list"} {
			inTime(t, name+", "+where, func(t *testing.T) {
				s, f := newSlack(), &fakeTemporal{}
				s.lookUp = tc.down
				for n := range 30 {
					f.running = append(f.running, running(t, fmt.Sprintf("w-%d", n), entry("Deploy", askedBy(alice, tc.approvers(n)))))
				}
				b, _ := newBot(t, s, f, nil)
				if where == "home" {
					deliver(t, b, event, opens(bob, "home"))
				} else {
					deliver(t, b, slashCommand, typed(bob, "list"))
				}
				if diff := cmp.Diff(slices.Repeat([]string{"groups"}, tc.want), s.lookUps, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("looked up (-want +got):\n%s", diff)
				}
			})
		}
	}
	inTime(t, "for all homes", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		for _, who := range []workflows.Person{alice, bob, carol} {
			deliver(t, b, event, opens(who, "home"))
		}
		s.lookUps, s.lookUp = nil, errGroups
		keep(t, b)
		pass(b.HomeEvery)
		if diff := cmp.Diff([]string{"groups"}, s.lookUps); diff != "" {
			t.Errorf("looked up (-want +got):\n%s", diff)
		}
	})
}

// turned is a click on a button of the home.
func turned(who workflows.Person, action, value string) map[string]any {
	p := inHome(clicked(who, action, value))
	p["actions"].([]any)[0].(map[string]any)["block_id"] = "page-waiting"
	return p
}

func TestHomePages(t *testing.T) {
	t.Parallel()
	many := func(t *testing.T) *fakeTemporal {
		f := &fakeTemporal{}
		for n := range 25 {
			f.running = append(f.running, running(t, fmt.Sprintf("w-%d", n), entry(fmt.Sprintf("Number %d.", n), askedBy(alice, bob.ID))))
		}
		return f
	}
	page := func(from, to int) (all []string) {
		for n := from; n < to; n++ {
			all = append(all, fmt.Sprintf("Number %d.", n))
		}
		return all
	}
	for name, tc := range map[string]struct {
		actions []string
		want    []string
		turns   []string // buttons that turn pages
	}{
		"first":             {want: page(0, 10), turns: []string{"page_waiting_1"}},
		"second":            {actions: []string{"page_waiting_1"}, want: page(10, 20), turns: []string{"page_waiting_0", "page_waiting_2"}},
		"last":              {actions: []string{"page_waiting_1", "page_waiting_2"}, want: page(20, 25), turns: []string{"page_waiting_1"}},
		"there and back":    {actions: []string{"page_waiting_1", "page_waiting_0"}, want: page(0, 10), turns: []string{"page_waiting_1"}},
		"past the last":     {actions: []string{"page_waiting_999999999"}, want: page(20, 25), turns: []string{"page_waiting_1"}},
		"before the first":  {actions: []string{"page_waiting_-1"}, want: page(0, 10), turns: []string{"page_waiting_1"}},
		"of nothing":        {actions: []string{"page_asked_7"}, want: page(0, 10), turns: []string{"page_waiting_1"}},
		"of no section":     {actions: []string{"page_holiday_1"}, want: page(0, 10), turns: []string{"page_waiting_1"}},
		"no number":         {actions: []string{"page_waiting_x", "page_waiting", "page_", "page", "page_waiting_99999999999999999999"}, want: page(0, 10), turns: []string{"page_waiting_1"}},
		"an unknown button": {actions: []string{"dance"}, want: page(0, 10), turns: []string{"page_waiting_1"}},
	} {
		inTime(t, name, func(t *testing.T) {
			s := newSlack()
			b, _ := newBot(t, s, many(t), nil)
			deliver(t, b, event, opens(bob, "home"))
			for _, action := range tc.actions {
				if r := deliver(t, b, interactive, turned(bob, action, "")); !r.ack || r.body != nil || len(s.said)+len(s.modals) > 0 {
					t.Errorf("%s: answered %v with %v, said %q", action, r.ack, r.body, s.said)
				}
			}
			got := last(t, s)
			if diff := cmp.Diff(tc.want, got.waiting); diff != "" {
				t.Errorf("shows (-want +got):\n%s", diff)
			}
			turns := slices.DeleteFunc(got.buttons, func(a string) bool { return !strings.HasPrefix(a, card.ActionPage) })
			if diff := cmp.Diff(tc.turns, turns); diff != "" {
				t.Errorf("turns (-want +got):\n%s", diff)
			}
			if n := len(b.homes.of(bob.ID).pages); n > 3 {
				t.Errorf("%d pages are kept", n)
			}
		})
	}
	inTime(t, "a process that did not open it", func(t *testing.T) {
		s := newSlack()
		b, _ := newBot(t, s, many(t), nil)
		deliver(t, b, interactive, turned(bob, "page_waiting_2", ""))
		if diff := cmp.Diff(page(20, 25), last(t, s).waiting); diff != "" {
			t.Errorf("shows (-want +got):\n%s", diff)
		}
	})
	// A click brings the pages along which the home has, whichever process drew it.
	other := func(t *testing.T, s *fakeSlack, f *fakeTemporal, keys *Bot) *Bot {
		b, _ := newBot(t, s, f, nil)
		b.Keys = keys.Keys
		return b
	}
	either := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	for name, tc := range map[string]struct {
		metadata string
		want     []string
	}{
		"of the home":       {metadata: "", want: page(20, 25)},
		"of nothing":        {metadata: "{}", want: page(0, 10)},
		"null":              {metadata: "null", want: page(0, 10)},
		"of no numbers":     {metadata: `{"waiting":"2"}`, want: page(0, 10)},
		"of a modal":        {metadata: `{"reference":"v1.x.y"}`, want: page(0, 10)},
		"of other sections": {metadata: `{"holiday":2,"waiting":1}`, want: page(10, 20)},
		"far away":          {metadata: `{"waiting":999999}`, want: page(20, 25)},
		"before the first":  {metadata: `{"waiting":-3}`, want: page(0, 10)},
	} {
		inTime(t, "turned elsewhere, metadata "+name, func(t *testing.T) {
			s, f := newSlack(), many(t)
			first, _ := newBot(t, s, f, nil)
			second := other(t, s, f, first)
			deliver(t, first, event, opens(bob, "home"))
			deliver(t, first, interactive, turned(bob, "page_waiting_2", ""))
			p := turned(bob, "page_asked_0", "")
			p["view"] = map[string]any{"id": "V1", "private_metadata": either(tc.metadata, s.homes[len(s.homes)-1].view.PrivateMetadata)}
			deliver(t, second, interactive, p)
			if diff := cmp.Diff(tc.want, last(t, s).waiting); diff != "" {
				t.Errorf("shows (-want +got):\n%s", diff)
			}
			for section := range second.homes.of(bob.ID).pages {
				if !isSection(section) {
					t.Errorf("keeps the page of %q", section)
				}
			}
		})
	}
	inTime(t, "Temporal is away, and comes back at another process", func(t *testing.T) {
		s, f := newSlack(), many(t)
		first, _ := newBot(t, s, f, nil)
		second := other(t, s, f, first)
		f.lists = unavailable
		deliver(t, first, interactive, turned(bob, "page_waiting_2", ""))
		f.lists = nil
		p := turned(bob, "page_asked_0", "")
		p["view"] = map[string]any{"id": "V1", "private_metadata": s.homes[0].view.PrivateMetadata}
		deliver(t, second, interactive, p)
		if diff := cmp.Diff(page(20, 25), last(t, s).waiting); diff != "" {
			t.Errorf("shows (-want +got):\n%s", diff)
		}
	})
	inTime(t, "of two processes the last one that was clicked at keeps it", func(t *testing.T) {
		s, f := newSlack(), many(t)
		first, _ := newBot(t, s, f, nil)
		second := other(t, s, f, first)
		keep(t, first)
		keep(t, second)
		deliver(t, first, event, opens(bob, "home"))
		deliver(t, second, interactive, turned(bob, "page_waiting_2", ""))
		decide := func() { // All see another page then.
			f.mu.Lock()
			f.running = f.running[1:]
			f.mu.Unlock()
			pass(time.Minute)
		}
		for n := range 4 {
			decide()
			if diff := cmp.Diff(page(21+n, 25), last(t, s).waiting); diff != "" {
				t.Errorf("shows (-want +got):\n%s", diff)
			}
		}
		if first.homes.of(bob.ID) != nil || second.homes.of(bob.ID) == nil || len(s.homes) != 6 {
			t.Errorf("the first keeps %v, the second %v, after %d homes", first.homes.users(), second.homes.users(), len(s.homes))
		}
		// And back again.
		deliver(t, first, event, opens(bob, "home"))
		decide()
		if first.homes.of(bob.ID) == nil || second.homes.of(bob.ID) != nil || len(s.homes) != 8 {
			t.Errorf("the first keeps %v, the second %v, after %d homes", first.homes.users(), second.homes.users(), len(s.homes))
		}
	})
	inTime(t, "the page goes", func(t *testing.T) {
		s, f := newSlack(), many(t)
		b, _ := newBot(t, s, f, nil)
		deliver(t, b, interactive, turned(bob, "page_waiting_2", ""))
		f.running = f.running[:15]
		deliver(t, b, event, opens(bob, "home"))
		if diff := cmp.Diff(page(10, 15), last(t, s).waiting); diff != "" {
			t.Errorf("shows (-want +got):\n%s", diff)
		}
	})
	t.Run("in a modal or a message", func(t *testing.T) {
		t.Parallel()
		s := newSlack()
		b, _ := newBot(t, s, many(t), nil)
		p := clicked(bob, "page_waiting_1", "")
		p["actions"].([]any)[0].(map[string]any)["block_id"] = "page-waiting"
		if r := deliver(t, b, interactive, p); !r.ack || len(s.homes) > 0 {
			t.Errorf("acknowledged %v, showed %d homes", r.ack, len(s.homes))
		}
	})
}

// What stands in the home is decided and withdrawn as on the card, with references of its own.
// approveAtHome approves as bob does in the home: there the request is shown before, for no card stands beside it.
func approveAtHome(t *testing.T, b *Bot, s *fakeSlack, sealed string) reply {
	t.Helper()
	if r := deliver(t, b, interactive, inHome(clicked(bob, card.ActionApprove, sealed))); !r.ack || len(s.modals) != 1 {
		t.Fatalf("acknowledged %v, and opened %d modals", r.ack, len(s.modals))
	}
	p := submitted(t, bob, "", "")
	p["view"].(map[string]any)["private_metadata"] = s.modals[0].PrivateMetadata
	return deliver(t, b, interactive, p)
}

func TestDecideInTheHome(t *testing.T) {
	t.Parallel()
	// open has the one open activity stand in the person's home.
	open := func(t *testing.T, s *fakeSlack, who workflows.Person, approvers ...string) (*Bot, *fakeTemporal, seen) {
		t.Helper()
		w := running(t, "greet-1", entry("Greet World", askedBy(alice, approvers...)))
		w.Execution.RunId = "run-1"
		f := &fakeTemporal{running: []*workflowpb.WorkflowExecutionInfo{w}, listsItsOwn: true}
		b, _ := newBot(t, s, f, nil)
		deliver(t, b, event, opens(who, "home"))
		return b, f, last(t, s)
	}
	inTime(t, "approves", func(t *testing.T) {
		s := newSlack()
		b, f, home := open(t, s, bob, bob.ID)
		f.listsItsOwn, f.running = false, nil
		r := approveAtHome(t, b, s, home.references[card.ActionApprove])
		if !r.ack || len(f.completions) != 1 || f.completions[0].activityID != openActivity {
			t.Fatalf("acknowledged %v after %+v", r.ack, f.completions)
		}
		d := f.completions[0].result.(workflows.Decision)
		if d.Via != workflows.ViaHome || d.Card != (workflows.Card{}) || d.Digest == "" || d.By != bob {
			t.Errorf("decided %+v", d)
		}
		if got := last(t, s); len(s.homes) != 2 || len(got.waiting) > 0 {
			t.Errorf("showed %d homes, the last with %q waiting", len(s.homes), got.waiting)
		}
	})
	inTime(t, "a process that did not open it", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, sealed := newBot(t, s, f, nil)
		approveAtHome(t, b, s, sealed)
		if len(f.completions) != 1 || len(s.homes) != 1 || s.homes[0].user != bob.ID {
			t.Errorf("%d decisions, and showed %d homes", len(f.completions), len(s.homes))
		}
	})
	inTime(t, "on the card, where nobody looks at a home", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, sealed := newBot(t, s, f, nil)
		deliver(t, b, interactive, clicked(bob, card.ActionApprove, sealed))
		if len(f.completions) != 1 || len(s.homes)+len(f.queries) > 0 {
			t.Errorf("%d decisions, and showed %d homes", len(f.completions), len(s.homes))
		}
	})
	inTime(t, "rejects", func(t *testing.T) {
		s := newSlack()
		b, f, home := open(t, s, bob, bob.ID)
		deliver(t, b, interactive, inHome(clicked(bob, card.ActionReject, home.references[card.ActionReject])))
		if len(s.modals) != 1 {
			t.Fatalf("%d modals", len(s.modals))
		}
		p := submitted(t, bob, "", "No.")
		p["view"].(map[string]any)["private_metadata"] = s.modals[0].PrivateMetadata
		if r := deliver(t, b, interactive, p); !r.ack || r.body != nil || len(f.completions) != 1 {
			t.Fatalf("answered %v with %v after %d decisions", r.ack, r.body, len(f.completions))
		}
		if err := f.completions[0].err; err == nil {
			t.Errorf("decided %+v", f.completions[0].result)
		}
	})
	for name, tc := range map[string]struct {
		who   workflows.Person
		says  string
		opens error
	}{
		"somebody else":      {who: carol, says: "Only <@U0BOB00001> can decide"},
		"no modal will open": {who: carol, opens: errors.New("expired_trigger_id"), says: "U0CAROL001 directly: Only <@U0BOB00001> can decide"},
	} {
		inTime(t, name, func(t *testing.T) {
			s := newSlack()
			b, f, home := open(t, s, bob, bob.ID)
			s.modal = tc.opens
			r := deliver(t, b, interactive, inHome(clicked(tc.who, card.ActionApprove, home.references[card.ActionApprove])))
			if !r.ack || !committed(f, 0) {
				t.Errorf("acknowledged %v after %d decisions", r.ack, len(f.completions))
			}
			if tc.opens != nil {
				says(t, s, []string{tc.says})
				return
			}
			says(t, s, nil)
			shown, _ := json.Marshal(s.modals)
			if len(s.modals) != 1 || s.modals[0].CallbackID != card.CallbackTold || !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(string(shown), `\u003c`, "<"), `\u003e`, ">"), tc.says) {
				t.Errorf("told %s, want %q", shown, tc.says)
			}
		})
	}
	inTime(t, "withdraws", func(t *testing.T) {
		s := newSlack()
		b, f, home := open(t, s, alice, bob.ID)
		f.running = nil
		p := turned(alice, card.ActionWithdraw, home.references[card.ActionWithdraw])
		if r := deliver(t, b, interactive, p); !r.ack || r.body != nil || len(s.modals) > 0 {
			t.Errorf("answered %v with %v", r.ack, r.body)
		}
		want := []workflows.Change{{Kind: workflows.Withdraw, By: alice, Via: workflows.ViaHome, Question: "ask-1"}}
		if diff := cmp.Diff(want, changed(t, f)); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if got := last(t, s); len(s.homes) != 2 || len(got.asked) > 0 {
			t.Errorf("showed %d homes, the last with %q", len(s.homes), got.asked)
		}
	})
	inTime(t, "withdraws, and may not", func(t *testing.T) {
		s := newSlack()
		b, f, home := open(t, s, alice, bob.ID)
		f.answers = []error{notChanged("Only who asked for this can withdraw it.")}
		deliver(t, b, interactive, turned(bob, card.ActionWithdraw, home.references[card.ActionWithdraw]))
		if shown, _ := json.Marshal(s.modals); len(s.modals) != 1 || !strings.Contains(string(shown), "Only who asked") {
			t.Errorf("told %s", shown)
		}
	})
	inTime(t, "withdraws by what is no reference", func(t *testing.T) {
		s := newSlack()
		b, f, _ := open(t, s, alice, bob.ID)
		deliver(t, b, interactive, turned(alice, card.ActionWithdraw, "v1.x.y"))
		if len(f.changes) > 0 || len(s.modals) != 1 {
			t.Errorf("changed %+v, told %d times", f.changes, len(s.modals))
		}
	})
}

// keep has the bot keep its homes until the test ends.
func keep(t *testing.T, b *Bot) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var kept sync.WaitGroup
	kept.Go(func() { b.KeepHomes(ctx) })
	t.Cleanup(func() { stop(); kept.Wait() })
}

// pass lets time pass, in a bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestKeepHomes(t *testing.T) {
	t.Parallel()
	inTime(t, "draws only what has changed", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		keep(t, b)
		pass(time.Minute)
		if len(f.queries) > 0 {
			t.Errorf("nobody looks, and Temporal is asked for %q", f.queries)
		}
		deliver(t, b, event, opens(bob, "home"))
		deliver(t, b, event, opens(carol, "home"))
		pass(time.Minute)
		if len(s.homes) != 2 {
			t.Errorf("nothing has changed, and %d homes were drawn", len(s.homes))
		}
		f.mu.Lock()
		f.running = f.running[1:] // Carol does not see it.
		f.mu.Unlock()
		pass(time.Minute)
		if got := last(t, s); len(s.homes) != 3 || s.homes[2].user != bob.ID || len(got.waiting) > 0 {
			t.Errorf("%d homes were drawn, the last with %q", len(s.homes), got.waiting)
		}
	})
	inTime(t, "one look for all", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		for n := range 50 {
			deliver(t, b, event, opens(workflows.Person{ID: fmt.Sprintf("U%05d", n)}, "home"))
		}
		f.queries = nil
		keep(t, b)
		pass(b.HomeEvery)
		if len(f.queries) != 2 { // Of what is open, and of what has ended.
			t.Errorf("%d questions for Temporal, want 2", len(f.queries))
		}
	})
	inTime(t, "Temporal goes away, and comes back", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		keep(t, b)
		deliver(t, b, event, opens(bob, "home"))
		for i, err := range []error{unavailable, nil} {
			f.mu.Lock()
			f.lists = err
			f.mu.Unlock()
			pass(time.Minute)
			if got := last(t, s); len(s.homes) != i+2 || strings.Contains(got.text, "Could not load") != (err != nil) {
				t.Errorf("%v: %d homes were drawn, the last is %s", err, len(s.homes), got.text)
			}
		}
	})
	inTime(t, "Slack does not show it", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		keep(t, b)
		s.home = errors.New("ratelimited")
		deliver(t, b, event, opens(bob, "home"))
		s.mu.Lock()
		s.home = nil
		s.mu.Unlock()
		pass(time.Minute)
		if len(s.homes) != 1 {
			t.Errorf("%d homes were drawn, want one", len(s.homes))
		}
	})
	inTime(t, "the page that was turned to stays", func(t *testing.T) {
		s, f := newSlack(), &fakeTemporal{}
		for n := range 15 {
			f.running = append(f.running, running(t, fmt.Sprintf("w-%d", n), entry(fmt.Sprintf("Number %d.", n), askedBy(alice, bob.ID))))
		}
		b, _ := newBot(t, s, f, nil)
		keep(t, b)
		deliver(t, b, event, opens(bob, "home"))
		deliver(t, b, interactive, turned(bob, "page_waiting_1", ""))
		f.mu.Lock()
		f.running = f.running[1:]
		f.mu.Unlock()
		pass(time.Minute)
		if got := last(t, s); len(s.homes) != 3 || len(got.waiting) != 4 {
			t.Errorf("%d homes were drawn, the last with %q", len(s.homes), got.waiting)
		}
	})
	inTime(t, "who has not opened it for long", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		keep(t, b)
		deliver(t, b, event, opens(bob, "home"))
		pass(viewedFor - time.Minute)
		f.mu.Lock()
		f.lists = unavailable // That it is drawn anew is no reason to keep it for longer.
		f.mu.Unlock()
		pass(2 * time.Minute)
		f.mu.Lock()
		f.queries = nil
		f.mu.Unlock()
		pass(time.Minute)
		if len(f.queries) > 0 || len(s.homes) != 2 {
			t.Errorf("asked %d times, and drew %d homes", len(f.queries), len(s.homes))
		}
	})
	t.Run("of no more than so many", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			h := newHomes()
			for n := range viewersMost + 10 {
				h.open(fmt.Sprintf("U%05d", n), nil)
				pass(time.Millisecond)
			}
			if n := len(h.users()); n != viewersMost || h.of("U00009") != nil || h.of("U00010") == nil {
				t.Errorf("%d homes are kept, want the latest %d", n, viewersMost)
			}
			h.open("U00500", nil)
			if n := len(h.users()); n != viewersMost || h.of("U00010") == nil {
				t.Errorf("%d homes are kept after one of them was opened again", n)
			}
		})
	})
	inTime(t, "ends in the middle", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		for _, who := range []workflows.Person{alice, bob, carol} {
			deliver(t, b, event, opens(who, "home"))
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		b.KeepHomes(ctx)
		if len(s.homes) != 3 {
			t.Errorf("%d homes were drawn", len(s.homes))
		}
	})
}

// limitedHomes shows so many homes, and asks to wait then.
type limitedHomes struct {
	*fakeSlack
	left  *atomic.Int64
	after time.Duration
	asked *atomic.Int64
}

func (l limitedHomes) PublishHome(ctx context.Context, user, hash string, v slack.HomeTabViewRequest) (string, error) {
	l.asked.Add(1)
	if l.left.Add(-1) < 0 {
		return "", &slackapi.Error{Kind: slackapi.Limited, Method: "views.publish", RetryAfter: l.after}
	}
	return l.fakeSlack.PublishHome(ctx, user, hash, v)
}

func TestSlackLimitsHomes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		after, paused time.Duration
	}{
		"half a minute": {30 * time.Second, 30 * time.Second},
		"at once":       {0, 0},
		"for ever":      {1000 * time.Hour, pauseMost},
	} {
		inTime(t, name, func(t *testing.T) {
			const people, perRound = 10, 3
			s, f := newSlack(), &fakeTemporal{}
			b, _ := newBot(t, s, f, nil)
			var all []string
			for n := range people {
				who := workflows.Person{ID: fmt.Sprintf("U%05d", n)}
				all = append(all, who.ID)
				deliver(t, b, event, opens(who, "home"))
			}
			l := limitedHomes{s, new(atomic.Int64), tc.after, new(atomic.Int64)}
			b.Slack = l
			round := max(b.HomeEvery, tc.paused)
			s.homes = nil
			keep(t, b)
			pass(b.HomeEvery / 2) // between two looks
			var drawn []string
			const rounds = 5
			for n := range rounds {
				f.mu.Lock() // All of them see it.
				f.running = []*workflowpb.WorkflowExecutionInfo{running(t, "w", entry(fmt.Sprintf("Number %d.", n), askedBy(alice, all...)))}
				f.mu.Unlock()
				l.left.Store(perRound)
				l.asked.Store(0)
				pass(round)
				if got := l.asked.Load(); got > perRound+1 {
					t.Errorf("Slack was asked %d times within %v, want %d and one that is refused", got, round, perRound)
				}
			}
			for _, h := range s.homes {
				drawn = append(drawn, h.user)
			}
			times := make(map[string]int)
			for _, user := range drawn {
				times[user]++
			}
			for _, user := range all {
				if n := times[user]; n < len(drawn)/people || n > len(drawn)/people+1 {
					t.Errorf("%s was drawn %d times of %d: %q", user, n, len(drawn), drawn)
				}
			}
			if len(drawn) < (rounds-1)*perRound {
				t.Errorf("%d homes were drawn", len(drawn))
			}
		})
	}
	inTime(t, "ends while it waits", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		b.Slack = limitedHomes{s, new(atomic.Int64), time.Hour, new(atomic.Int64)}
		deliver(t, b, event, opens(bob, "home"))
		keep(t, b)
		pass(b.HomeEvery + time.Second)
		if len(s.homes) > 0 {
			t.Errorf("%d homes were drawn", len(s.homes))
		}
	})
}

// A home that was drawn since a look at Temporal began is not drawn over with what that look found.
func TestAnOlderLookIsNotShown(t *testing.T) {
	t.Parallel()
	inTime(t, "older", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		older, err := b.lookAround(t.Context())
		f.running = nil
		pass(time.Second)
		deliver(t, b, event, opens(bob, "home"))
		if err := b.draw(t.Context(), bob.ID, older, err); err != nil {
			t.Error(err)
		}
		if got := last(t, s); len(s.homes) != 1 || len(got.waiting) > 0 {
			t.Errorf("%d homes were drawn, the last with %q", len(s.homes), got.waiting)
		}
	})
}

// slowHomes takes long to show homes: each a second less than the one before.
type slowHomes struct {
	*fakeSlack
	takes *atomic.Int64 // nanoseconds
}

func (s slowHomes) PublishHome(ctx context.Context, user, hash string, v slack.HomeTabViewRequest) (string, error) {
	select {
	case <-time.After(time.Duration(s.takes.Add(-int64(time.Second)))):
		return s.fakeSlack.PublishHome(ctx, user, hash, v)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func newSlowHomes(s *fakeSlack, takes time.Duration) slowHomes {
	slow := slowHomes{s, new(atomic.Int64)}
	slow.takes.Store(int64(takes))
	return slow
}

// Who turns pages while their home is drawn ends up with the page that they turned to last.
func TestTurnWhileDrawing(t *testing.T) {
	t.Parallel()
	inTime(t, "turns", func(t *testing.T) {
		s, f := newSlack(), &fakeTemporal{}
		for n := range 25 {
			f.running = append(f.running, running(t, fmt.Sprintf("w-%d", n), entry(fmt.Sprintf("Number %d.", n), askedBy(alice, bob.ID))))
		}
		b, _ := newBot(t, s, f, nil)
		b.Slack = newSlowHomes(s, 4*time.Second)
		var clicks sync.WaitGroup
		for n := range 3 {
			clicks.Go(func() {
				pass(time.Duration(n) * 100 * time.Millisecond)
				deliver(t, b, interactive, turned(bob, fmt.Sprintf("page_waiting_%d", n), ""))
			})
		}
		clicks.Wait()
		pass(time.Minute)
		if got := last(t, s); len(got.waiting) != 5 {
			t.Errorf("shows %q, want the last page", got.waiting)
		}
	})
	inTime(t, "Slack hangs", func(t *testing.T) {
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		b.Slack = newSlowHomes(s, time.Hour)
		ctx, stop := context.WithTimeout(t.Context(), afterBudget)
		defer stop()
		begun := time.Now()
		go b.openHome(ctx, bob.ID)
		synctest.Wait()
		b.openHome(ctx, bob.ID)
		if took := time.Since(begun); took > afterBudget {
			t.Errorf("took %v", took)
		}
		synctest.Wait()
	})
	// For the race detector.
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		s, f := newSlack(), homely(t)
		b, _ := newBot(t, s, f, nil)
		b.HomeEvery = time.Microsecond
		keep(t, b)
		var all sync.WaitGroup
		for n := range 20 {
			who := []workflows.Person{alice, bob, carol}[n%3]
			all.Go(func() { deliver(t, b, event, opens(who, "home")) })
			all.Go(func() { deliver(t, b, interactive, turned(who, fmt.Sprintf("page_waiting_%d", n), "")) })
			all.Go(func() { deliver(t, b, slashCommand, typed(who, "list")) })
		}
		all.Wait()
		if len(s.homes) < 3 {
			t.Errorf("%d homes were drawn", len(s.homes))
		}
	})
}

// A decision in the home is in the trace that the card was posted in.
func TestHomeIsTraced(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if got := (&Bot{}).reference(record.Found{Listed: workflows.Listed{Trace: trace}}).Trace; got != trace {
		t.Errorf("the reference has the trace %q, want %q", got, trace)
	}
}
