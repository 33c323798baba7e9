package card

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// PageRows is how many rows a page of one of the home's sections has at the most.
const PageRows = 10

// Home is what a person sees in the app's home.
type Home struct {
	// Waiting are requests that wait for the person, Asked those that they have asked, Decided those that have ended.
	Waiting, Asked, Decided Section
	// Failed says why nothing could be loaded; it is shown instead of the sections.
	Failed string
	// At is when this was looked up.
	At time.Time
}

// Section is one page of requests.
type Section struct {
	Rows []Row
	Page int  // from 0
	More bool // there is a next page
	// Truncated says that only the latest were looked at.
	Truncated bool
	// Unchecked says that user groups could not be checked: what concerns the person as a member of one may be missing.
	Unchecked bool
}

// Unchecked is what stands under a section in which what concerns the person as a member of a user group may be missing.
const Unchecked = "User groups could not be checked just now: what concerns you as a member of one may be missing here."

// Row is a request in a list.
type Row struct {
	workflows.Listed
	WorkflowID string
	// Reference is for the row's buttons; without it there are none.
	Reference string
	// Unknown says that it could not be checked whether this still holds.
	Unknown bool
	// Viewer is the user ID of who looks at the list: of those who may decide they are named first.
	Viewer string
}

// The sections of the home, as the actions of its page buttons and its metadata name them.
const (
	SectionWaiting = "waiting"
	SectionAsked   = "asked"
	SectionDecided = "decided"
)

// DrawHome draws the app's home. Of each section at most so many rows are drawn as a page has, and fewer where Slack
// would not take them. Its metadata has the page of each section, as a JSON object: a click brings it along.
// https://docs.slack.dev/surfaces/app-home
func DrawHome(h Home) slack.HomeTabViewRequest {
	pages, _ := json.Marshal(map[string]int{
		SectionWaiting: h.Waiting.Page, SectionAsked: h.Asked.Page, SectionDecided: h.Decided.Page,
	})
	for most := PageRows; ; most-- {
		v := slack.HomeTabViewRequest{
			Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: drawHome(h, most)}, PrivateMetadata: string(pages),
		}
		if b, err := json.Marshal(v); most == 1 || err != nil || len(b) < viewBytes {
			return v
		}
	}
}

func drawHome(h Home, most int) []slack.Block {
	var blocks []slack.Block
	if h.Failed != "" {
		blocks = append(blocks, mrkdwn("Could not load your requests: "+words(h.Failed, ReasonLimit)))
	} else {
		blocks = append(blocks, section(SectionWaiting, "Waiting for you", "Nothing waits for you.", h.Waiting, most, waitingRow)...)
		blocks = append(blocks, slack.NewDividerBlock())
		blocks = append(blocks, section(SectionAsked, "Asked by you", "Nothing that you asked is open.", h.Asked, most, askedRow)...)
		blocks = append(blocks, slack.NewDividerBlock())
		blocks = append(blocks, section(SectionDecided, "Recently decided", "Nothing was decided recently.", h.Decided, most, decidedRow)...)
	}
	if !h.At.IsZero() {
		blocks = append(blocks, slack.NewDividerBlock(), context("Updated "+Date(h.At)))
	}
	return blocks
}

func section(name, head, empty string, s Section, most int, draw func(Row, int) []slack.Block) []slack.Block {
	blocks := []slack.Block{slack.NewHeaderBlock(plain(head))}
	for i, row := range first(s.Rows, most) {
		blocks = append(blocks, draw(row, i)...)
	}
	switch {
	case len(s.Rows) == 0 && s.Page > 0:
		blocks = append(blocks, mrkdwn("Nothing more."))
	case len(s.Rows) == 0:
		blocks = append(blocks, mrkdwn(empty))
	case len(s.Rows) > most:
		blocks = append(blocks, context(fmt.Sprintf("%d more do not fit here.", len(s.Rows)-most)))
	}
	if s.Truncated {
		blocks = append(blocks, context("Only the latest requests were looked at: older ones may be missing here."))
	}
	if s.Unchecked {
		blocks = append(blocks, context(Unchecked))
	}
	var turn []slack.BlockElement
	page := func(to int, text string) {
		b := slack.NewButtonBlockElement(fmt.Sprintf("%s_%s_%d", ActionPage, name, to), "", plain(text))
		b.AccessibilityLabel = text + " page of: " + head
		turn = append(turn, b)
	}
	if s.Page > 0 {
		page(s.Page-1, "Previous")
	}
	if s.More {
		page(s.Page+1, "Next")
	}
	if len(turn) > 0 {
		blocks = append(blocks, slack.NewActionBlock(ActionPage+"-"+name, turn...))
	}
	return blocks
}

func waitingRow(row Row, i int) []slack.Block {
	blocks := []slack.Block{rowTitle(row), context(rowLine(row, true))}
	if row.Reference != "" {
		blocks = append(blocks, Buttons(row.Round, row.Reference, fmt.Sprintf("%s-home-%d", BlockDecision, i), false))
	}
	return blocks
}

func askedRow(row Row, i int) []slack.Block {
	blocks := []slack.Block{rowTitle(row), context(rowLine(row, false))}
	if row.Reference != "" {
		b := slack.NewButtonBlockElement(ActionWithdraw, row.Reference, plain("Withdraw"))
		b.AccessibilityLabel = within("Withdraw: "+spoken(title(row.Round.Request)), buttonLimit)
		b.Confirm = confirm("Nobody can decide it any more: "+title(row.Round.Request), "Withdraw")
		blocks = append(blocks, slack.NewActionBlock(fmt.Sprintf("%s-%d", ActionWithdraw, i), b))
	}
	return blocks
}

func decidedRow(row Row, _ int) []slack.Block {
	return []slack.Block{rowTitle(row), context(rowLine(row, true))}
}

// rowTitle shows what the request is called, and leads to its card.
func rowTitle(row Row) slack.Block {
	line := (&rich{}).add(spans(title(row.Round.Request), bold()))
	if url, _, ok := safeURL(row.Permalink); ok {
		line.text("  ").link(url, openCard)
	}
	return slack.NewRichTextBlock("", line.section())
}

// rowLine says how the request stands.
func rowLine(row Row, asked bool) string {
	var lines []string
	r := row.Round
	if row.Outcome != "" {
		lines = append(lines, strings.TrimSuffix(Sentence(row.result(), Mrkdwn), "."))
	}
	if asked && r.Requester != "" {
		lines = append(lines, "Asked by "+user(r.Requester))
	}
	if row.Outcome == "" {
		lines = append(lines, until(r))
		if worthTelling(r) {
			counted, others := row.counted()
			lines = append(lines, progress(r, row.missing(), counted, others))
		}
	}
	if row.Unknown {
		lines = append(lines, "Could not be checked: this may have changed")
	}
	return strings.Join(lines, between)
}

// missing are the roles that are not filled, with their people.
func (row Row) missing() []workflows.Role {
	wanted := row.Round.Wanted()
	var all []workflows.Role
	for _, m := range row.Missing {
		if i := slices.IndexFunc(wanted, func(w workflows.Role) bool { return w.Name == m.Name }); i >= 0 {
			m.Approvers = row.viewerFirst(wanted[i].Approvers)
		}
		all = append(all, m)
	}
	return all
}

// viewerFirst has whoever looks at the list stand first among those who may decide: only some of them are named.
func (row Row) viewerFirst(a workflows.Approvers) workflows.Approvers {
	if i := slices.Index(a.Users, row.Viewer); i > 0 {
		a.Users = append([]string{row.Viewer}, slices.Delete(slices.Clone(a.Users), i, i+1)...)
	}
	return a
}

// counted are the decisions that count together, and others those that do not.
func (row Row) counted() (counted, others []workflows.Decision) {
	var last []workflows.Decision
	for i, d := range row.Round.Decisions {
		if !includes(row.Round.Decisions[i+1:], d.By.ID) {
			last = append(last, d)
		}
	}
	for _, d := range last {
		if slices.Contains(row.Counted, d.By.ID) {
			counted = append(counted, d)
		} else {
			others = append(others, d)
		}
	}
	return counted, others
}

// result is how the request ended, as far as a list tells.
func (row Row) result() workflows.Result {
	res := workflows.Result{
		Outcome: row.Outcome, ByDeadline: row.ByDeadline, EndedAt: row.EndedAt, Decisions: row.Round.Decisions, Changes: row.Round.Changes,
	}
	if res.Outcome == workflows.Approved { // Those who approved something else have no part in it.
		res.Decisions, _ = row.counted()
	}
	if n := len(res.Decisions); n > 0 {
		res.Choice = res.Decisions[n-1].Choice
	}
	return res
}

// ListLine is a request in a list, in mrkdwn.
func ListLine(row Row) string {
	parts := []string{"*" + words(title(row.Round.Request), 2*TitleLimit) + "*"}
	if url, _, ok := safeURL(row.Permalink); ok {
		parts = append(parts, "<"+escape(url)+"|"+openCard+">")
	}
	parts = append(parts, rowLine(row, true))
	if row.Outcome == "" && !worthTelling(row.Round) {
		parts = append(parts, "May decide: "+names(row.viewerFirst(row.Round.Who()), mostMissing, inTheChannel))
	}
	parts = append(parts, ID(row.WorkflowID))
	return cutMarkup(strings.Join(parts, between), markupLimit)
}

// ID is a workflow's ID, or what somebody takes for one, in mrkdwn.
func ID(id string) string {
	return "`" + escape(strings.ReplaceAll(Clean(id, ReasonLimit), "`", "")) + "`"
}
