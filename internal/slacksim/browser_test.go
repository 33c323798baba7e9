package slacksim_test

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

// patience is how long a browser test waits for anything before it fails.
const patience = 30 * time.Second

// TestPageInABrowser uses what the page shows of Block Kit, in Chromium, as people do.
func TestPageInABrowser(t *testing.T) {
	t.Parallel()
	b := startChromium(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"overflow by keyboard": testPageOverflow,
		"confirmation":         testPageConfirm,
		"form":                 testPageForm,
		"Home":                 testPageHome,
		"news after a click":   testPageNewsAfterClick,
		"direct message":       testPageDirectMessage,
		"rich text":            testPageRichText,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

func testPageOverflow(t *testing.T, b context.Context) {
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	postActions(t, sim, api, sim.Channel("general").ID)
	bob := openPage(t, b, sim, "bob", "general")
	const more, extend, delegate = `[data-test=overflow-more]`, `[data-test=option-extend-ref]`, `[data-test=option-delegate-ref]`
	bob.until(`const e = document.querySelector(args[0]); e?.focus(); return e === document.activeElement`, more)
	bob.press(kb.Enter)
	bob.focused(extend)
	bob.press(kb.ArrowDown)
	bob.focused(delegate)
	bob.press(kb.ArrowDown)
	bob.focused(extend)
	bob.press(kb.Escape)
	bob.gone(extend)
	bob.focused(more)
	if got := acted(t, sim); len(got) > 0 {
		t.Errorf("Escape sends %v", got)
	}
	bob.press(kb.Enter)
	bob.focused(extend)
	bob.press(kb.ArrowUp)
	bob.focused(delegate)
	bob.press(kb.Enter)
	waitActed(t, sim, 1)
	if got := acted(t, sim)[0]; got["type"] != "overflow" || got["selected_option"].(map[string]any)["value"] != "delegate-ref" {
		t.Errorf("%v", got)
	}
}

func testPageConfirm(t *testing.T, b context.Context) {
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	postActions(t, sim, api, sim.Channel("general").ID)
	bob := openPage(t, b, sim, "bob", "general")
	bob.click(`[data-test=button-approve].primary`)
	bob.see(`[data-test=confirm]`, "It runs at once.")
	bob.click(`[data-test=confirm-no]`)
	bob.gone(`[data-test=confirm]`)
	bob.click(`[data-test=button-reject].danger`)
	waitActed(t, sim, 1)
	bob.click(`[data-test=button-approve]`)
	bob.click(`[data-test=confirm-yes]`)
	waitActed(t, sim, 2)
	var ids []any
	for _, a := range acted(t, sim) {
		ids = append(ids, a["action_id"])
	}
	if diff := cmp.Diff([]any{"reject", "approve"}, ids); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func testPageForm(t *testing.T, b context.Context) {
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	openForm(t, sim, api)
	bob := openPage(t, b, sim, "bob", "general")
	block := func(id string) string { return `[data-test=modal] [data-test=block-` + id + `] ` }
	submit := func() { bob.click(`[data-test=modal-submit]`) }

	// What is wrong stands beside each input, and nothing is sent.
	bob.fill(block("reason")+"input", "no")
	bob.fill(block("count")+"input", "11")
	bob.fill(block("risk")+"select", "")
	bob.fill(block("day")+"input", "")
	bob.click(block("many") + ".token button")
	bob.click(block("tick") + "[data-test=option-read]")
	submit()
	for id, text := range map[string]string{
		"reason": "at least 3", "count": "at most 10", "risk": "required", "day": "required", "many": "required", "tick": "required", "one": "", "note": "",
	} {
		bob.until(`const e = document.querySelector(args[0]).textContent; return args[1] ? e.includes(args[1]) : e === ""`, `[data-test=error-`+id+`]`, text)
	}
	if got := submissions(sim); len(got) > 0 {
		t.Fatalf("sent: %v", got)
	}

	bob.fill(block("reason")+"input", "because")
	bob.fill(block("count")+"input", "10")
	bob.fill(block("risk")+"select", "high")
	bob.fill(block("day")+"input", "2027-01-15")
	bob.fill(block("many")+"select", "U0ERIN0001")
	bob.fill(block("many")+"select", "U0FRANK001")
	bob.until(`return document.querySelector(args[0]).disabled`, block("many")+"select")
	bob.click(block("tick") + "label")
	bob.fill(block("note")+"textarea", "two\nlines")
	submit()
	bob.gone(`[data-test=modal]`)
	var payload struct {
		View struct{ State slack.ViewState }
	}
	if err := json.Unmarshal(submissions(sim)[0].Payload, &payload); err != nil {
		t.Fatal(err)
	}
	v := payload.View.State.Values
	got := []string{v["reason"]["a"].Value, v["count"]["a"].Value, v["risk"]["a"].SelectedOption.Value, v["day"]["a"].SelectedDate, v["one"]["a"].SelectedUser, v["note"]["a"].Value}
	got = append(got, v["many"]["a"].SelectedUsers...)
	for _, o := range v["tick"]["a"].SelectedOptions {
		got = append(got, o.Value)
	}
	want := []string{"because", "10", "high", "2027-01-15", "U0BOB00001", "two\nlines", "U0ERIN0001", "U0FRANK001", "read"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got)\n%s", diff)
	}
}

func testPageHome(t *testing.T, b context.Context) {
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		if ic, ok := e.Data.(slack.InteractionCallback); ok && ic.Type == slack.InteractionTypeBlockActions && ic.ActionCallback.BlockActions[0].ActionID == "approve" {
			if _, err := api.OpenViewContext(t.Context(), ic.TriggerID, form()); err != nil {
				t.Error(err)
			}
		}
		ack(client, e)
	})
	bob := openPage(t, b, sim, "bob", "general")
	bob.click(`[data-test=row-home]`)
	bob.see(`[data-test=home-empty]`, "")
	if err := sim.Wait(t.Context(), func(st slacksim.State) bool {
		return slices.ContainsFunc(st.Deliveries, func(d slacksim.Delivery) bool { return d.Kind == slacksim.AppHomeOpened && d.Acked })
	}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one waits", "two wait"} {
		if _, err := publishHome(t, api, sim.Person("bob").ID(), text, nil); err != nil {
			t.Fatal(err)
		}
		bob.see(`[data-test=home]`, text)
	}
	bob.fill(`[data-test=home] [data-test=input-filter]`, "decided")
	waitActed(t, sim, 1)
	if _, err := publishHome(t, api, sim.Person("bob").ID(), "none waits", nil); err != nil {
		t.Fatal(err)
	}
	bob.see(`[data-test=home]`, "none waits")
	bob.until(`return document.querySelector(args[0]).value === "decided"`, `[data-test=home] [data-test=input-filter]`)
	bob.click(`[data-test=home] [data-test=overflow-more]`)
	bob.click(`[data-test=option-withdraw]`)
	waitActed(t, sim, 2)
	bob.click(`[data-test=home] [data-test=button-approve]`)
	bob.see(`[data-test=modal] [data-test=block-reason]`, "")
	bob.click(`[data-test=modal-submit]`)
	bob.gone(`[data-test=modal]`)
	bob.focused(`[data-test=home] [data-test=button-approve]`)
	if got := submissions(sim); len(got) != 1 || !got[0].Acked {
		t.Errorf("%v", got)
	}
	bob.click(`[data-test=tab-app]`)
	bob.see(`[data-test=composer]`, "")
	bob.click(`[data-test=tab-home]`)
	bob.see(`[data-test=home]`, "none waits")
}

// testPageNewsAfterClick has what happens elsewhere reach the page after a click in the sidebar, and before the page has
// read its new address.
func testPageNewsAfterClick(t *testing.T, b context.Context) {
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	w := openPage(t, b, sim, "bob", "general")
	// The stream is made anew for another person.
	w.until(`
		const Stream = EventSource;
		window.EventSource = class extends Stream {
			constructor(...args) {
				super(...args);
				this.addEventListener("message", e => { window.news = () => this.dispatchEvent(new MessageEvent("message", {data: e.data})); });
			}
		};
		location.hash = "#as=carol&in=general";
		return true;`)
	w.until(`return !!window.news`)
	w.see(`[data-test=act-as]`, "Carol")
	w.until(`
		document.querySelector("[data-test=row-home]").click();
		window.news();
		return true;`)
	w.see(`[data-test=home-empty]`, "")
	w.until(`return new URLSearchParams(location.hash.slice(1)).get("in") === "home"`)
	if err := sim.Wait(t.Context(), func(st slacksim.State) bool {
		return slices.ContainsFunc(st.Deliveries, func(d slacksim.Delivery) bool { return d.Kind == slacksim.AppHomeOpened && d.Acked })
	}); err != nil {
		t.Fatal(err)
	}
}

func testPageDirectMessage(t *testing.T, b context.Context) {
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	erin := openPage(t, b, sim, "erin", "general")
	m := postActions(t, sim, api, sim.Person("erin").ID())
	erin.see(`[data-test=row-app] [data-test=unread]`, "1")
	erin.click(`[data-test=row-app]`)
	erin.click(`[data-test=message] [data-test=button-reject]`)
	waitActed(t, sim, 1)
	if _, _, _, err := api.UpdateMessageContext(t.Context(), m.Channel, m.TS, slack.MsgOptionText("Rejected", false)); err != nil {
		t.Fatal(err)
	}
	erin.see(`[data-test=message]`, "Rejected")
	erin.gone(`[data-test=button-reject]`)
}

func testPageRichText(t *testing.T, b context.Context) {
	sim, api := start(t, slacksim.Options{})
	part := func(kind, rest string) string { return `{"type":"` + kind + `",` + rest + `}` }
	item := func(text string) string {
		return part("rich_text_section", `"elements":[`+part("text", `"text":"`+text+`"`)+`]`)
	}
	blocks := `[{"type":"rich_text","elements":[` +
		part("rich_text_section", `"elements":[`+
			part("text", `"text":"bold","style":{"bold":true}`)+`,`+part("text", `"text":"italic","style":{"italic":true}`)+`,`+
			part("text", `"text":"struck","style":{"strike":true}`)+`,`+part("text", `"text":"code","style":{"code":true}`)+`,`+
			part("link", `"url":"https://example.com/plan","text":"the plan"`)+`,`+
			part("user", `"user_id":"U0ERIN0001"`)+`,`+part("usergroup", `"usergroup_id":"S0SECURITY"`)+`]`) + `,` +
		part("rich_text_list", `"style":"bullet","elements":[`+item("one")+`,`+item("two")+`]`) + `,` +
		part("rich_text_list", `"style":"ordered","indent":1,"elements":[`+item("inner")+`]`) + `,` +
		part("rich_text_quote", `"elements":[`+part("text", `"text":"quoted"`)+`]`) + `,` +
		part("rich_text_preformatted", `"elements":[`+part("text", `"text":"go test"`)+`]`) + `]}]`
	postBlocks(t, sim, api, blocks)
	bob := openPage(t, b, sim, "bob", "general")
	for css, text := range map[string]string{
		"b": "bold", "i": "italic", "s": "struck", "code": "code", `a[href="https://example.com/plan"]`: "the plan", ".mention": "@erin",
		".mention ~ .mention": "@security", "ul > li": "one", "ul > li ~ li": "two", "ol.indent-1 > li": "inner", "blockquote": "quoted", "pre": "go test",
	} {
		bob.see(`[data-test=message] .richtext `+css, text)
	}
}

// acted returns the actions that have been delivered so far.
func acted(t *testing.T, sim *slacksim.Server) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, d := range sim.Deliveries() {
		var payload struct{ Actions []map[string]any }
		if err := json.Unmarshal(d.Payload, &payload); err != nil {
			t.Fatal(err)
		}
		all = append(all, payload.Actions...)
	}
	return all
}

// waitActed waits until n actions have been delivered and acknowledged.
func waitActed(t *testing.T, sim *slacksim.Server, n int) {
	t.Helper()
	if err := sim.Wait(t.Context(), func(st slacksim.State) bool {
		acked := 0
		for _, d := range st.Deliveries {
			if d.Kind == slacksim.BlockActions && d.Acked {
				acked++
			}
		}
		return acked >= n
	}); err != nil {
		t.Fatal(err)
	}
}

func submissions(sim *slacksim.Server) []slacksim.Delivery {
	return slices.DeleteFunc(sim.Deliveries(), func(d slacksim.Delivery) bool { return d.Kind != slacksim.ViewSubmission })
}

// startChromium starts a browser. Without one the test is skipped, unless this is CI.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no chromium is installed")
		}
		t.Skip("no chromium is installed, so the page is not tested in a browser (Debian: apt-get install chromium)")
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(t.TempDir(), "profile")), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true))...)
	t.Cleanup(stop)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close Chromium: %v", err)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// window is one person's page in a browser.
type window struct {
	*testing.T
	ctx context.Context
}

// openPage opens the page as a person, in a channel. No script on it may fail.
func openPage(t *testing.T, b context.Context, sim *slacksim.Server, person, channel string) *window {
	t.Helper()
	var mu sync.Mutex
	var wrong []string
	ctx, stop := chromedp.NewContext(b, chromedp.WithNewBrowserContext(), chromedp.WithListener(func(ev any) {
		if e, ok := ev.(*runtime.EventExceptionThrown); ok {
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, e.ExceptionDetails.Text)
		}
	}))
	w := &window{t, ctx}
	t.Cleanup(func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		if len(wrong) > 0 {
			t.Errorf("the page complains: %q", wrong)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(sim.BaseURL()+"/#"+url.Values{"as": {person}, "in": {channel}}.Encode())); err != nil {
		t.Fatal(err)
	}
	w.until(`return !!document.querySelector("[data-test=composer]")`)
	return w
}

// until waits until the body of a JavaScript function returns true. Its args stand in args.
func (w *window) until(body string, args ...any) {
	w.Helper()
	ctx, stop := context.WithTimeout(w.ctx, patience)
	defer stop()
	_, err := chromedp.Run(ctx, chromedp.PollFunction[bool](`(...args) => {
		const seen = (css, text) => [...document.querySelectorAll(css)].filter(e => e.checkVisibility() && e.textContent.includes(text || ""));
		`+body+`}`, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience), chromedp.WithPollingArgs(args...)))
	if err != nil {
		w.Fatalf("%s %v: %v", body, args, err)
	}
}

// see waits until something that the selector matches, with that text, can be seen; gone, until nothing can.
func (w *window) see(css, text string) {
	w.Helper()
	w.until(`return seen(...args).length > 0`, css, text)
}

func (w *window) gone(css string) { w.Helper(); w.until(`return seen(args[0]).length === 0`, css) }

// click clicks once on what can be seen and used.
func (w *window) click(css string) {
	w.Helper()
	w.until(`const e = seen(args[0])[0];
		if (!e || e.disabled || e.getAttribute("aria-disabled") === "true") return false;
		e.focus();
		e.click();
		return true`, css)
}

// fill puts a value into an input or a menu.
func (w *window) fill(css, value string) {
	w.Helper()
	w.until(`const e = seen(args[0])[0];
		if (!e || e.disabled) return false;
		e.value = args[1];
		for (const kind of ["input", "change"]) e.dispatchEvent(new Event(kind, {bubbles: true}));
		return true`, css, value)
}

func (w *window) focused(css string) {
	w.Helper()
	w.until(`return !!document.activeElement?.matches(args[0])`, css)
}

// press presses a key, which goes down with its text, as a keyboard has it.
func (w *window) press(key string) {
	w.Helper()
	ctx, stop := context.WithTimeout(w.ctx, patience)
	defer stop()
	err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, r := range key {
			events := kb.Encode(r) // down, text if it has any, up
			if len(events) == 3 {
				events[0].Text, events[0].UnmodifiedText = events[1].Text, events[1].UnmodifiedText
				events = slices.Delete(events, 1, 2)
			}
			for _, e := range events {
				if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, *e); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	if err != nil {
		w.Fatalf("press %q: %v", key, err)
	}
}
