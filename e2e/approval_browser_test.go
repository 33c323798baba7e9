package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// TestApprovalInBrowser is an approval as people see it, from the question to the answer, in Chromium.
func TestApprovalInBrowser(t *testing.T) {
	if *takePicture {
		t.Skip("only the pictures were asked for")
	}
	t.Parallel()
	b := startBrowser(t, findChromium(t))
	for _, tc := range []struct {
		name string
		test func(*world, browser)
	}{
		{"asked in the form, handed over, decided in the home", testBrowserForm},
		{"choices, inputs and a reason", testBrowserInputs},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, socketMode, shared.temporal.Address)
			w.patience(5 * time.Minute)
			w.start("run")
			tc.test(w, b)
		})
	}
}

func testBrowserForm(w *world, b browser) {
	const title = "Deploy version 2 to production"
	alice, bob, carol, dave := b.open(w.T, w.url, "alice"), b.open(w.T, w.url, "bob"), b.open(w.T, w.url, "carol"), b.open(w.T, w.url, "dave")
	alice.fillIn(requestForm{
		title: title, text: []string{"It has *passed* `make check`:", "- migrations can be undone", "- see [the plan](https://example.com/plan)"},
		approvers: []string{"Bob Baker", "Carol Cooper"}, required: "2", deadline: "4 hours",
	})
	alice.submit()

	for _, tab := range []*tab{alice, bob, carol, dave} {
		tab.see(card(title, "Asked by @alice", "May decide: @bob, @carol; 2 have to approve", "0 of 2 approved"))
	}
	for css, text := range map[string]string{"i": "passed", "code": "make check", "li": "migrations can be undone", `a[href="https://example.com/plan"]`: "the plan"} {
		bob.see(card(title).in(`.richtext `+css, text))
	}
	bob.click(card(title).button("approve"))
	bob.see(card(title, "1 of 2 approved: @bob", "Missing: @carol"))

	carol.see(card(title, "2 replies")) // The last that happens before: the card stays as it is while the menu is open.
	carol.choose(card(title), workflows.Delegate)
	carol.pick(filled("person"), "Dave Dawson")
	carol.submit()
	carol.see(card(title, "Missing: @dave", "Handed over from @carol to @dave"))

	dave.click(where(`[data-test=row-home]`))
	dave.see(where(`[data-test=home]`, "Waiting for you", title, "1 of 2 approved: @bob"))
	dave.click(where(`[data-test=home]`).button("approve"))
	dave.submit() // There is no card beside it: what is approved is shown before.
	dave.see(where(`[data-test=home]`, "Nothing waits for you.", title, "Approved by @bob and @dave"))
	dave.click(where(`[data-test=row-general]`))
	dave.see(closedCard(title, "Approved by @bob and @dave", "Handed over from @carol to @dave"))
	dave.click(closedCard(title).in(`[data-test=replies]`))
	dave.thread(
		"@bob, @carol: please decide until",
		"@bob approved (1 of 2). 1 more wanted.",
		"@carol handed their place over to @dave.",
		"Approved by @bob and @dave",
	)
	alice.see(closedCard(title, "Approved by @bob and @dave"))
}

func testBrowserInputs(w *world, b browser) {
	const title, reason = "Deploy version 3", "Not before the review of <b>“billing”</b>."
	bob, carol, alice := b.open(w.T, w.url, "bob"), b.open(w.T, w.url, "carol"), b.open(w.T, w.url, "alice")
	run := w.approval(workflows.Request{
		Title: title, Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol"), Required: 2,
		Choices:      []workflows.Choice{{Label: "Europe first", Value: "eu"}, {Label: "America first", Value: "us"}},
		Confirm:      "Orders cannot be taken for a minute.",
		RejectReason: workflows.Required,
		Inputs: []workflows.Input{
			{Name: "instances", Label: "Instances", Type: workflows.NumberInput, Initial: "3"},
			{Name: "speed", Label: "Speed", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "All at once", Value: "all"}, {Label: "One by one", Value: "one"}}, Initial: "all"},
			{Name: "day", Label: "Day", Type: workflows.DateInput},
			{Name: "watch", Label: "Who watches", Type: workflows.PersonInput},
			{Name: "note", Label: "Note", Lines: true, Optional: true},
		},
	})
	open := where(`#messages [data-test=message]:has([data-test=button-approve_1])`, title)

	// Who thinks better of it has decided nothing.
	bob.see(open.in(`.richtext`, "Instances: 3", "Speed: All at once", "Day: empty"))
	bob.click(open.button("approve_2"))
	bob.see(where(`[data-test=confirm]`, "Orders cannot be taken for a minute."))
	bob.click(where(`[data-test=confirm-no]`))
	bob.gone(where(`[data-test=confirm]`))
	bob.click(open.button("approve_1"))
	bob.click(where(`[data-test=confirm-yes]`))
	bob.see(where(`[data-test=modal]`, "You choose: Europe first"))
	bob.tabTo(filled("input-2"))
	bob.write("12012026")
	bob.holds(`[data-test=modal] [data-test=input-input-2]`, "2026-12-01")
	bob.overwrite(filled("input-0"), "some")
	bob.submit()
	bob.see(where(`[data-test=error-input-0]`, "number"))
	bob.see(where(`[data-test=error-input-3]`, "required"))
	bob.overwrite(filled("input-0"), "5")
	bob.pick(filled("input-1"), "One by one")
	bob.pick(filled("input-3"), "Erin Ellis")
	bob.click(filled("input-4"))
	bob.write("Two lines,\nof <text>.")
	bob.submit()
	for _, tab := range []*tab{bob, carol} {
		tab.see(open.in(`.richtext`, "Instances: 5 (changed by @bob)", "Speed: One by one (changed by @bob)", "Day: 2026-12-01", "Who watches: @erin", "Note: Two lines,\nof <text>."))
		tab.see(where(`#messages [data-test=message]`, title, "1 of 2 approved: @bob for Europe first"))
	}

	carol.click(open.button("reject"))
	carol.see(where(`[data-test=modal] [data-test=block-comment]`, "Reason"))
	carol.click(where(`[data-test=modal-submit]`))
	carol.see(where(`[data-test=error-comment]`, "required"))
	carol.click(filled("comment"))
	carol.write(reason)
	carol.submit()
	for _, tab := range []*tab{bob, carol, alice} {
		tab.see(closedCard(title, "Rejected by @carol", "Reason:", reason))
	}
	res := w.outcome(run, workflows.Rejected)
	if d, _ := res.Decision(); d.By.Name != "carol" || d.Reason != reason || len(res.Decisions) != 2 ||
		res.Decisions[0].Choice != "eu" || res.Decisions[0].Inputs["watch"] != w.sim.Person("erin").ID() {
		w.Errorf("the result is %+v", res)
	}
}

// filled is what is filled in, by the action's ID, in the open modal.
func filled(action string) spot { return where(`[data-test=modal] [data-test=input-` + action + `]`) }

// requestForm is what a person fills in to ask for an approval.
type requestForm struct {
	title              string
	text               []string // lines
	approvers          []string // by their full names
	required, deadline string
}

// fillIn opens the form with the command, and fills it in.
func (b *tab) fillIn(f requestForm) {
	b.Helper()
	b.click(where(`[data-test=composer]`))
	b.write("/approval")
	b.see(where(`[data-test=suggestions] [role=option]`, "/approval"))
	b.press(kb.Enter) // completes
	b.holds(`[data-test=composer]`, "/approval ")
	b.press(kb.Enter) // sends
	b.see(filled("title"))
	b.click(filled("title"))
	b.write(f.title)
	b.click(filled("text"))
	b.write(strings.Join(f.text, "\n"))
	for i, name := range f.approvers {
		if i == 0 {
			b.click(filled("approvers"))
		} else { // The focus is still there.
			b.focused(`[data-test=modal] [data-test=input-approvers]`)
			b.press(kb.ArrowDown)
		}
		b.write(name)
		b.press(kb.Enter)
		b.see(where(`[data-test=modal] .token`, name))
	}
	b.overwrite(filled("required"), f.required)
	b.pick(filled("deadline"), f.deadline)
}

// submit sends the open modal off, and waits until it is closed, or has something to say against it.
func (b *tab) submit() {
	b.Helper()
	b.click(where(`[data-test=modal-submit]`))
	until[bool](b, "the modal's end", `return !find(args[0]) || !!find(args[1])`, where(`[data-test=modal]`), where(`[data-test=modal] [data-test^=error-]:not(:empty)`))
}

// overwrite replaces what stands in a field.
func (b *tab) overwrite(field spot, text string) {
	b.Helper()
	b.click(field)
	b.press(kb.End)
	for range until[string](b, "the field's text", `return find(args[0]).value + "."`, field)[1:] {
		b.press(kb.Backspace)
	}
	b.write(text)
}

// pick chooses from a menu of the browser's own: opens it, and types what is wanted.
func (b *tab) pick(menu spot, option string) {
	b.Helper()
	b.click(menu)
	b.write(option)
	b.press(kb.Enter)
}

// choose chooses from a card's menu.
func (b *tab) choose(card spot, what workflows.ChangeKind) {
	b.Helper()
	b.click(card.in(`[data-test=overflow-more]`))
	b.click(card.in(`[data-test=option-` + string(what) + `]`))
}

// thread checks that the thread that is open has these lines and no others.
func (b *tab) thread(want ...string) {
	b.Helper()
	const lines = `#thread .replies-list [data-test=message]`
	b.see(where(lines, want[len(want)-1]))
	got := until[[]string](b, "the thread", `return [...document.querySelectorAll(args[0])].map(e => e.textContent)`, lines)
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.Contains(got[i], want[i])
	}
	if !ok {
		b.Errorf("the thread is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// pictures is where the pictures of the cards are.
const pictures = "../docs/cards"

// TestCardScreenshots takes a picture of each state of a card, and of the forms, the thread and the home: make
// screenshots.
func TestCardScreenshots(t *testing.T) {
	if !*takePicture {
		t.Skip("the pictures were not asked for: make screenshots")
	}
	b := startBrowser(t, findChromium(t))
	w := newWorld(t, socketMode, shared.temporal.Address)
	w.patience(4 * time.Minute)
	w.start("run")
	open := func(name string) *tab {
		tab := b.open(t, w.url, name)
		tab.size(1280, 1200)
		return tab
	}
	alice, bob, carol, dave := open("alice"), open("bob"), open("carol"), open("dave")
	frank := open("frank") // He only looks on.
	frank.size(cardWidth, 1200)

	// What most of them ask.
	version2 := workflows.Request{
		Title: "Deploy version 2 to production",
		Text: "All tests have passed in *staging*. What is new:\n" +
			"- orders can be changed **until they are packed**\n" +
			"- `checkout` restarts one instance at a time\n\n" +
			"> Migrations can be undone within a day.",
		Fields: []workflows.Field{{Label: "Service", Value: "orders"}, {Label: "Commit", Value: "9c41f2e"}, {Label: "Change", Value: "412 lines in 23 files"}},
		Link:   workflows.Link{URL: "https://example.com/releases/2", Text: "Release notes"}, Deadline: "1d",
		Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol"),
	}
	asked := map[string]bool{}
	appeared := func() posted {
		m := w.message("general", func(m slacksim.Message) bool { return m.ThreadTS == "" && !asked[m.TS] })
		asked[m.TS] = true
		return posted(m.TS)
	}
	ask := func(change func(*workflows.Request)) posted {
		r := version2
		change(&r)
		w.approval(r)
		return appeared()
	}

	// One whose thread has everything: the reminder takes a minute.
	whole := ask(func(r *workflows.Request) {
		r.Title, r.Required, r.Deadline, r.RemindEvery = "Move the orders to the new database", 2, "4h", "1m"
		r.Escalate = []workflows.Escalation{{After: "2h", Approvers: w.people("erin")}}
	})
	bob.click(whole.shows().button("approve"))
	carol.see(whole.shows("1 of 2", "2 replies"))
	carol.choose(whole.shows(), workflows.Delegate)
	carol.pick(filled("person"), "Dave Dawson")
	carol.submit()
	alice.see(whole.shows("Handed over", "3 replies"))
	alice.choose(whole.shows(), workflows.Extend)
	alice.pick(filled("longer"), "4 hours")
	alice.submit()
	alice.see(whole.shows("Extended", "4 replies"))
	alice.choose(whole.shows(), workflows.Escalate)
	alice.submit()
	alice.see(whole.shows("Escalated", "5 replies"))

	// From the question to the approval.
	deploy := ask(func(r *workflows.Request) { r.Required = 2 })
	frank.see(deploy.shows("0 of 2", "1 reply"))
	frank.shoot("open", deploy.css(), 0)
	bob.click(deploy.shows().button("approve"))
	frank.see(deploy.shows("1 of 2", "2 replies"))
	frank.shoot("half", deploy.css(), 0)
	carol.click(deploy.shows().button("approve"))
	frank.see(deploy.shows("Approved by", "3 replies"))
	frank.shoot("approved", deploy.css(), 0)

	roles := ask(func(r *workflows.Request) {
		r.Approvers, r.Roles = workflows.Approvers{}, []workflows.Role{
			{Name: "security", Approvers: workflows.Approvers{Groups: []string{w.sim.Group("security").ID}}},
			{Name: "operations", Approvers: workflows.Approvers{Groups: []string{w.sim.Group("sre").ID}}, Required: 2},
		}
	})
	bob.click(roles.shows().button("approve"))
	frank.see(roles.shows("1 of 3", "2 replies"))
	frank.shoot("roles", roles.css(), 0)

	inputs := ask(func(r *workflows.Request) {
		r.Title, r.Text, r.Required, r.ApproveComment = "More instances for the sale on Friday", "The load was three times as high last year.", 2, workflows.Optional
		r.Fields, r.Link = r.Fields[:1], workflows.Link{URL: "https://example.com/load", Text: "Load of last year"}
		r.Inputs = []workflows.Input{
			{Name: "instances", Label: "Instances", Type: workflows.NumberInput, Initial: "6"},
			{Name: "region", Label: "Region", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "Europe"}, {Label: "America"}}, Initial: "Europe"},
			{Name: "until", Label: "In use until", Type: workflows.DateInput, Initial: workflows.Text(time.Now().AddDate(0, 0, 8).Format(time.DateOnly))},
			{Name: "owner", Label: "Who looks after it", Type: workflows.PersonInput, Initial: workflows.Text(w.sim.Person("dave").ID())},
		}
	})
	bob.click(inputs.shows().button("approve"))
	bob.overwrite(filled("input-0"), "8")
	bob.click(filled("comment"))
	bob.write("Six were not enough last year.")
	bob.shootModal("form")
	bob.submit()
	frank.see(inputs.shows("1 of 2", "8 (changed by", "2 replies"))
	frank.shoot("inputs", inputs.css(), 0)

	choices := ask(func(r *workflows.Request) {
		r.Title, r.Choices = "Where is version 2 deployed first?", []workflows.Choice{{Label: "Europe"}, {Label: "America"}, {Label: "Everywhere"}}
	})
	frank.see(choices.shows("1 reply"))
	frank.shoot("choices", choices.css(), 0)

	alice.fillIn(requestForm{
		title: "Publish the price list of December", text: []string{"The sales team has *checked* it:", "- prices are with VAT", "- old offers stay valid until Friday"},
		approvers: []string{"Bob Baker", "Dave Dawson"}, required: "2", deadline: "1 day",
	})
	alice.shootModal("request-form")
	alice.submit()
	prices := appeared()
	frank.see(prices.shows("1 reply"))

	rejected := ask(func(*workflows.Request) {})
	bob.click(rejected.shows().button("reject"))
	bob.click(filled("comment"))
	bob.write("The migration locks the table orders for minutes. Please split it, and ask again.")
	bob.submit()
	frank.see(rejected.shows("Rejected by", "2 replies"))
	frank.shoot("rejected", rejected.css(), 0)

	expired := ask(func(r *workflows.Request) { r.Deadline = "3s" })
	frank.see(expired.shows("Expired on", "2 replies"))
	frank.shoot("expired", expired.css(), 0)

	withdrawn := ask(func(*workflows.Request) {})
	alice.choose(withdrawn.shows(), workflows.Withdraw)
	alice.submit()
	frank.see(withdrawn.shows("Withdrawn by", "2 replies"))
	frank.shoot("withdrawn", withdrawn.css(), 0)

	delegated := ask(func(*workflows.Request) {})
	carol.choose(delegated.shows(), workflows.Delegate)
	carol.pick(filled("person"), "Dave Dawson")
	carol.submit()
	frank.see(delegated.shows("Handed over", "2 replies"))
	frank.shoot("delegated", delegated.css(), 0)

	extended := ask(func(*workflows.Request) {})
	bob.choose(extended.shows(), workflows.Extend)
	bob.pick(filled("longer"), "1 day")
	bob.submit()
	frank.see(extended.shows("Extended by", "2 replies"))
	frank.shoot("extended", extended.css(), 0)

	w.message("general", func(m slacksim.Message) bool {
		return m.ThreadTS == string(whole) && slacksim.Contains("still waits")(m)
	})
	dave.click(whole.shows().button("approve"))
	frank.see(whole.shows("Approved by"))
	frank.click(whole.shows().in(`[data-test=replies]`))
	frank.see(where(`#thread .replies-list [data-test=message]`, "Approved by"))
	frank.click(where(`#thread h2`)) // takes the mouse from the messages
	frank.shoot("thread", `#thread .count, #thread .replies-list`, 6)

	dave.greet("the new colleagues")
	dave.click(where(`[data-test=row-home]`))
	dave.see(where(`[data-test=home]`, "Publish the price list", "Deploy version 2", "Move the orders", "Greet the new colleagues"))
	dave.size(cardWidth, 1200)
	dave.shoot("home", `[data-test=home]`, 0)
}

// cardWidth is the width of a picture of a card, in CSS pixels.
const cardWidth = 640

// posted is a card, by its timestamp.
type posted string

func (p posted) css() string { return `#messages [data-ts="` + string(p) + `"]` }

// shows is the card once it shows all of text.
func (p posted) shows(text ...string) spot { return where(p.css(), text...) }

// shoot takes a picture of what the selector matches: as sharp as the file may be large.
func (b *tab) shoot(name, css string, margin float64) {
	b.Helper()
	b.must(os.MkdirAll(pictures, 0o755))
	file, limit := filepath.Join(pictures, name+".png"), 80_000
	for _, scale := range []float64{2, 1.5, 1} {
		if shot := b.part(scale, css, margin); len(shot) < limit {
			b.must(os.WriteFile(file, shot, 0o644))
			b.Logf("%s: %d bytes, %g pixels to one of CSS", file, len(shot), scale)
			return
		}
	}
	b.Errorf("%s would have more than %d bytes", file, limit)
}

// shootModal takes a picture of the modal that is open, without what is behind it, nor a cursor.
func (b *tab) shootModal(name string) {
	b.Helper()
	b.click(where(`#modal-title`))
	until[bool](b, "a plain ground", `
		const sheet = new CSSStyleSheet();
		sheet.replaceSync("dialog::backdrop { background: var(--ground) !important; }");
		document.adoptedStyleSheets = [sheet];
		return true;`)
	b.shoot(name, `[data-test=modal]`, 14)
	until[bool](b, "the ground as it was", `document.adoptedStyleSheets = []; return true;`)
}
