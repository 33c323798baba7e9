package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"math"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var takePicture = flag.Bool("screenshots", false, "only take the pictures: the README's of the demo, docs/demo.png, and those of the cards, docs/cards")

// artifacts is where the browser tests leave what they saw.
const artifacts = "artifacts"

// TestBrowser is the demo as people see it: its page, in Chromium.
func TestBrowser(t *testing.T) {
	if *takePicture {
		t.Skip("only the README's picture was asked for")
	}
	t.Parallel()
	chromium := findChromium(t)
	page := launchDemo(t, "--temporal", shared.temporal.Address)
	b := startBrowser(t, chromium)
	// In sequence: what people see in a channel must not move under their mouse.
	for _, tc := range []struct {
		name string
		test func(*testing.T, string, browser)
	}{
		{"approve", testBrowserApprove},
		{"reject with a reason", testBrowserReject},
		{"a stranger is refused in private", testBrowserStranger},
		{"Escape decides nothing", testBrowserEscape},
		{"keyboard only", testBrowserKeyboard},
		{"a lost click can be repeated", testBrowserLostClick},
		{"no text breaks the page", testBrowserText},
		{"widths and colours", testBrowserLooks},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, page, b) })
	}
	t.Run("two browsers are two people", func(t *testing.T) { testBrowserTwo(t, page, b, startBrowser(t, chromium)) })
}

func testBrowserApprove(t *testing.T, page string, b browser) {
	alice := b.open(t, page, "alice")
	alice.greet("Approval")
	alice.see(privately("Only visible to you", "approval"))
	bob := b.open(t, page, "bob")
	bob.click(card("Greet Approval").button("approve"))
	bob.see(closedCard("Greet Approval", "Approved by"))
	bob.see(message("Hello, Approval!"))
	bob.gone(card("Greet Approval").button("approve"))
	bob.see(where(`#panel [data-test=line][data-kind=block_actions]`, "acknowledged in"))
	bob.see(where(`#panel [data-test=line]`, "chat.postMessage", "ok"))

	// Whoever asked is told in the card's thread.
	alice.see(message("Hello, Approval!"))
	alice.click(closedCard("Greet Approval").in(`[data-test=replies]`))
	alice.see(where(`#thread .replies-list [data-test=message]`, "“Greet Approval”", "Approved by"))
	alice.picture("thread")
}

func testBrowserReject(t *testing.T, page string, b browser) {
	alice, bob := b.open(t, page, "alice"), b.open(t, page, "bob")
	alice.greet("Rejection")
	bob.click(card("Greet Rejection").button("reject"))
	bob.see(where(`dialog[open][data-test=modal] [data-test=block-comment]`))
	bob.picture("reject")
	bob.click(where(`[name="comment/comment"]`))
	bob.write("Not <today> & not “tomorrow”")
	bob.click(where(`[data-test=modal-submit]`))
	bob.gone(where(`[data-test=modal]`))
	for _, tab := range []*tab{bob, alice} {
		tab.see(closedCard("Greet Rejection", "Rejected by", "Not <today> & not “tomorrow”"))
	}
}

func testBrowserStranger(t *testing.T, page string, b browser) {
	const refusal = "can decide this request."
	alice, guest := b.open(t, page, "alice"), b.open(t, page, "guest")
	alice.greet("Refusal")
	guest.click(card("Greet Refusal").button("approve"))
	guest.see(privately("Only visible to you", "Only @bob, @sre", refusal))
	guest.see(card("Greet Refusal").button("approve"))
	guest.picture("refusal")

	// Once she has seen what came after it, the refusal would be there if it were for her too.
	alice.greet("Somebody")
	alice.see(card("Greet Somebody"))
	alice.see(card("Greet Refusal").button("approve"))
	if alice.has(where(`article`, refusal)) {
		t.Error("Alice sees what is only visible to the guest")
	}
}

func testBrowserEscape(t *testing.T, page string, b browser) {
	alice, bob := b.open(t, page, "alice"), b.open(t, page, "bob")
	alice.greet("Escape")
	bob.click(card("Greet Escape").button("reject"))
	bob.click(where(`[name="comment/comment"]`))
	bob.write("never sent")
	bob.press(kb.Escape)
	bob.gone(where(`[data-test=modal]`))
	// The focus is where it was, and the card can still be decided otherwise.
	bob.focused(`[data-test=button-reject]`)
	bob.click(card("Greet Escape").button("approve"))
	bob.see(closedCard("Greet Escape", "Approved by"))
	if bob.has(where(`article`, "never sent")) {
		t.Error("what was typed in the closed form is shown")
	}
}

func testBrowserText(t *testing.T, page string, b browser) {
	carol, alice := b.open(t, page, "carol"), b.open(t, page, "alice")
	for _, text := range []string{"look at :constructor: and :__proto__: now", "<img src=x onerror=alert(1)> & <b>", "<!date^x^{date}|when> ```"} {
		carol.click(where(`[data-test=composer]`))
		carol.write(text)
		carol.press(kb.Enter)
		for _, tab := range []*tab{carol, alice} {
			tab.see(message(text))
		}
	}
	alice.greet("Afterwards")
	alice.see(card("Greet Afterwards"))
}

func testBrowserKeyboard(t *testing.T, page string, b browser) {
	one := b.open(t, page, "alice")
	one.tabTo(where(`[data-test=composer]`))
	one.write("/gr")
	one.see(where(`[data-test=suggestions] [role=option]`, "/greet"))
	one.press(kb.Enter) // completes
	one.holds(`[data-test=composer]`, "/greet ")
	one.write("Keyboard")
	one.press(kb.Enter) // sends
	one.see(card("Greet Keyboard"))

	one.tabTo(where(`[data-test=act-as]`))
	one.press(kb.Enter)
	one.focused(`[data-test=person-alice]`)
	one.press(kb.ArrowDown)
	one.focused(`[data-test=person-bob]`)
	one.press(kb.Enter)
	one.see(where(`[data-test=act-as]`, "Bob Baker"))
	one.see(card("Greet Keyboard").button("approve"))
	one.tabTo(card("Greet Keyboard").button("approve"))
	one.press(kb.Enter)
	one.see(closedCard("Greet Keyboard", "Approved by"))
}

func testBrowserLostClick(t *testing.T, page string, b browser) {
	alice, bob := b.open(t, page, "alice"), b.open(t, page, "bob")
	alice.greet("Again")
	bob.see(card("Greet Again").button("approve"))
	bob.click(where(`[data-test=fault-lost_click]`))
	bob.see(where(`[data-test=fault-lost_click][aria-checked=true]`))
	bob.click(card("Greet Again").button("approve"))
	bob.see(card("Greet Again").button("approve").is(`[aria-busy=true]`))
	bob.see(card("Greet Again").in(`[data-test=warning]`))
	bob.see(where(`[data-test=fault-lost_click][aria-checked=false]`))
	bob.picture("lost-click")
	bob.click(card("Greet Again").button("approve"))
	bob.see(closedCard("Greet Again", "Approved by"))
	bob.gone(closedCard("Greet Again").in(`[data-test=warning]`))
}

func testBrowserTwo(t *testing.T, page string, first, second browser) {
	bob, carol := first.open(t, page, "bob"), second.open(t, page, "carol")
	bob.greet("Two")
	carol.see(card("Greet Two").button("approve"))
	// Bob asked, so only Carol may decide; what she does is what he sees, without a reload.
	bob.click(card("Greet Two").button("approve"))
	bob.see(privately("You asked for this yourself"))
	carol.click(card("Greet Two").button("approve"))
	for _, tab := range []*tab{bob, carol} {
		tab.see(closedCard("Greet Two", "Approved by", "@carol"))
		tab.see(message("Hello, Two!"))
	}
	if carol.has(where(`article`, "You asked for this yourself")) {
		t.Error("Carol sees what is only visible to Bob")
	}
}

func testBrowserLooks(t *testing.T, page string, b browser) {
	b.open(t, page, "alice").greet("Looks")
	for _, scheme := range []string{"light", "dark"} {
		bob := b.open(t, page, "bob")
		bob.scheme(scheme)
		look := func(name string) {
			t.Helper()
			bob.fits(name)
			bob.picture(name + "-" + scheme)
		}
		bob.size(1440, 900)
		bob.see(card("Greet Looks").button("approve"))
		bob.see(where(`[data-test=panel] [data-test=line]`))
		look("wide")

		bob.size(380, 800)
		bob.gone(where(`[data-test=panel]`))
		bob.see(card("Greet Looks"))
		look("narrow")

		bob.click(where(`[data-test=drawer]`))
		bob.see(where(`[data-test=row-general]`))
		look("narrow-drawer")
		bob.press(kb.Escape)
		bob.gone(where(`[data-test=row-general]`))

		bob.click(where(`[data-test=panel-toggle]`))
		bob.see(where(`[data-test=panel] [data-test=line]`))
		look("narrow-panel")
		bob.press(kb.Escape)
		bob.gone(where(`[data-test=panel]`))

		bob.click(card("Greet Looks").button("reject"))
		bob.see(where(`[data-test=modal-submit]`))
		look("narrow-modal")
		bob.click(where(`[data-test=modal-cancel]`))
		bob.gone(where(`[data-test=modal]`))
	}
}

// TestScreenshots takes the README's picture: make screenshots.
func TestScreenshots(t *testing.T) {
	if !*takePicture {
		t.Skip("the README's picture was not asked for: make screenshots")
	}
	b := startBrowser(t, findChromium(t))
	page := launchDemo(t) // With a Temporal server of its own, to whose web UI the page links.
	alice, bob := b.open(t, page, "alice"), b.open(t, page, "bob")
	bob.size(1280, 800)
	alice.greet("World")
	bob.click(card("Greet World").button("approve"))
	bob.see(closedCard("Greet World", "Approved by"))
	bob.see(message("Hello, World!"))
	bob.see(closedCard("Greet World").in(`[data-test=replies]`))
	alice.greet("the new colleagues")
	bob.see(card("Greet the new colleagues").button("approve"))
	bob.click(where(`[data-test=faults] summary`)) // closes it: the lines are what is to be seen
	bob.gone(where(`[data-test=clear-faults]`))
	bob.see(where(`[data-test=panel] [data-test=workflow]`))
	bob.click(where(`[data-test=title]`)) // takes the focus from what was clicked

	const file, limit = "../docs/demo.png", 300_000
	var shot []byte
	for _, scale := range []float64{2, 1.5, 1} { // the sharpest that is small enough
		if shot = bob.screenshot(scale); len(shot) < limit {
			break
		}
	}
	if len(shot) >= limit {
		t.Fatalf("the picture has %d bytes, want less than %d", len(shot), limit)
	}
	bob.must(os.WriteFile(file, shot, 0o644))
	t.Logf("%s: %d bytes", file, len(shot))
}

// findChromium finds the browser. Without one the test is skipped, unless this is CI.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const none = "no chromium is installed, so the page is not tested in a browser (Debian: apt-get install chromium)"
	if os.Getenv("CI") == "true" || *takePicture {
		t.Fatal(none)
	}
	t.Skip(none)
	return ""
}

// launchDemo starts the demo and returns the address of its page.
func launchDemo(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithTimeoutCause(t.Context(), patience, errors.New("waited for too long"))
	defer stop()
	w := &world{T: t, ctx: ctx, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "XDG_CACHE_HOME=" + os.Getenv("XDG_CACHE_HOME")}}
	p := w.launch(append([]string{"demo", "--address", "127.0.0.1:0"}, args...))
	return w.sees(p, `Slack \(a stand-in\)\s+(http://\S+)`)[1]
}

// browser is a running Chromium with a profile of its own.
type browser struct{ context.Context }

func startBrowser(t *testing.T, chromium string) browser {
	t.Helper()
	ctx, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.UserDataDir(filepath.Join(t.TempDir(), "profile")), chromedp.NoSandbox, chromedp.DisableGPU,
		// A mouse that hovers, which Chromium does not have where there is no screen.
		chromedp.Flag("blink-settings", "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"))...)
	t.Cleanup(stop)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("close Chromium: %v", err)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", chromium, err)
	}
	return browser{ctx}
}

// tab is one person's page.
type tab struct {
	*testing.T
	ctx context.Context
	who string
}

// open opens the page as a person, in a browser context of its own: what another tab has stored is not there. When the
// test ends, nothing may have gone wrong in it.
func (b browser) open(t *testing.T, page, person string) *tab {
	t.Helper()
	var mu sync.Mutex
	var wrong []string
	ctx, stop := chromedp.NewContext(b, chromedp.WithNewBrowserContext(), chromedp.WithListener(func(ev any) {
		what := ""
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			what = fmt.Sprintf("exception: %s %+v", ev.ExceptionDetails.Text, ev.ExceptionDetails.Exception)
		case *runtime.EventConsoleAPICalled:
			if ev.Type == "error" || ev.Type == "warning" || ev.Type == "assert" {
				what = fmt.Sprintf("console: %+v", ev.Args)
			}
		case *log.EventEntryAdded:
			if ev.Entry.Level == log.EntryLevelError || ev.Entry.Level == log.EntryLevelWarning {
				what = fmt.Sprintf("log: %s %s", ev.Entry.Text, ev.Entry.URL)
			}
		}
		if what != "" {
			mu.Lock()
			wrong = append(wrong, what)
			mu.Unlock()
		}
	}))
	tab := &tab{T: t, ctx: ctx, who: person}
	t.Cleanup(func() {
		if t.Failed() {
			tab.failure()
		}
		stop()
		mu.Lock()
		defer mu.Unlock()
		if len(wrong) > 0 {
			t.Errorf("the page of %s complains:\n%s", person, strings.Join(wrong, "\n"))
		}
	})
	tab.must(chromedp.Do(ctx)) // The tab lives as long as the context of this call.
	tab.do(chromedp.Navigate(page + "/#" + url.Values{"as": {person}, "in": {"general"}}.Encode()))
	tab.size(1280, 900)
	tab.see(where(`[data-test=composer]`))
	return tab
}

func (b *tab) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", b.who, err)
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	b.must(chromedp.Do(ctx, steps...))
}

// spot is a place on the page: each step is a CSS selector, and text that the element has. Of several that are visible
// it is the last, which on this page is the newest.
type spot []step

type step struct {
	CSS  string   `json:"css"`
	Text []string `json:"text"`
}

func where(css string, text ...string) spot { return spot{{css, text}} }

func (s spot) in(css string, text ...string) spot { return append(s[:len(s):len(s)], step{css, text}) }

func (s spot) button(action string) spot { return s.in(`[data-test=button-` + action + `]`) }

// is narrows the last step.
func (s spot) is(css string) spot {
	last := s[len(s)-1]
	return append(s[:len(s)-1:len(s)-1], step{last.CSS + css, last.Text})
}

func message(text ...string) spot { return where(`#messages [data-test=message]`, text...) }

func privately(text ...string) spot { return where(`#messages [data-test=private-message]`, text...) }

// card is an open card, closedCard one that nobody can decide any more.
func card(text ...string) spot {
	return where(`#messages [data-test=message]:has([data-test=button-approve])`, text...)
}

func closedCard(text ...string) spot {
	return where(`#messages [data-test=message]:not(:has([data-test=button-approve])):has(.block)`, text...)
}

// find is the JavaScript that finds a spot.
const find = `const find = steps => {
	let at = document;
	for (const {css, text} of steps) {
		at = [...at.querySelectorAll(css)].filter(e => e.checkVisibility({visibilityProperty: true}) && (text || []).every(t => e.textContent.includes(t))).at(-1);
		if (!at) return null;
	}
	return at;
};`

// until waits until the body of a JavaScript function returns something true, and returns that.
func until[T any](b *tab, what, body string, args ...any) T {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	got, err := chromedp.Run(ctx, chromedp.PollFunction[T](`(...args) => {`+find+body+`}`,
		chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(patience), chromedp.WithPollingArgs(args...)))
	if err != nil {
		b.Fatalf("%s waited for %s: %v", b.who, what, err)
	}
	return got
}

func (b *tab) see(s spot) {
	b.Helper()
	until[bool](b, fmt.Sprint("the sight of ", s), `return !!find(args[0])`, s)
}

func (b *tab) gone(s spot) {
	b.Helper()
	until[bool](b, fmt.Sprint("the end of ", s), `return !find(args[0])`, s)
}

// has says whether something is there now.
func (b *tab) has(s spot) bool {
	b.Helper()
	return until[string](b, "an answer", `return find(args[0]) ? "yes" : "no"`, s) == "yes"
}

// click clicks with the mouse, once the spot stands still and nothing lies over it.
func (b *tab) click(s spot) {
	b.Helper()
	for range 5 { // What comes in may move the page under the mouse.
		if b.clickOnce(s) {
			return
		}
	}
	b.Fatalf("%s: five clicks missed %v", b.who, s)
}

// clickOnce clicks where the spot is, and says whether it was hit.
func (b *tab) clickOnce(s spot) bool {
	b.Helper()
	at := until[[]float64](b, fmt.Sprint("a place to click at ", s), `
		const e = find(args[0]);
		if (!e || e.disabled || e.getAttribute("aria-disabled") === "true") return null;
		const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2, now = [x, y, r.width].join();
		if (window.stood !== now) {
			window.stood = now;
			e.scrollIntoView({block: "nearest"});
			return null;
		}
		if (!e.contains(document.elementFromPoint(x, y))) return null;
		window.stood = "";
		window.hit = "";
		document.addEventListener("click", c => { window.hit = e.contains(c.target) ? "yes" : "no"; }, {once: true, capture: true});
		// Where the page is drawn anew between the button's going down and up, there is no click.
		document.addEventListener("pointerup", () => setTimeout(() => { window.hit ||= "no"; }), {once: true, capture: true});
		return [x, y];`, s)
	b.do(chromedp.MouseClickXY(at[0], at[1]))
	return until[string](b, fmt.Sprint("the click at ", s), `return window.hit || null;`) == "yes"
}

// write types text, and press presses one key. A key goes down with its text, as a keyboard has it: what chromedp sends
// by itself, the text after the key, reaches a field even if the page has dealt with the key.
func (b *tab) write(text string) {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, r := range text {
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
}

func (b *tab) press(key string) { b.Helper(); b.write(key) }

// greet asks for a greeting, by the slash command.
func (b *tab) greet(name string) {
	b.Helper()
	b.click(where(`[data-test=composer]`))
	b.write("/greet " + name)
	b.press(kb.Enter)
	b.see(card("Greet " + name))
}

// focused waits until the focus is at what the selector matches.
func (b *tab) focused(css string) {
	b.Helper()
	until[bool](b, "the focus at "+css, `return document.activeElement?.matches(args[0])`, css)
}

func (b *tab) holds(css, value string) {
	b.Helper()
	until[bool](b, css+" to hold "+value, `return document.querySelector(args[0]).value === args[1]`, css, value)
}

// tabTo presses Tab until the focus is there.
func (b *tab) tabTo(s spot) {
	b.Helper()
	b.see(s)
	for range 100 {
		if until[string](b, "an answer", `return find(args[0]) === document.activeElement ? "there" : "elsewhere"`, s) == "there" {
			return
		}
		b.press(kb.Tab)
	}
	b.Fatalf("%s: Tab does not reach %v", b.who, s)
}

func (b *tab) size(width, height int64) { b.Helper(); b.scaled(width, height, 1) }

// scaled has the window show scale pixels to one of CSS. It leaves alone how the mouse is, as chromedp's own does not.
func (b *tab) scaled(width, height int64, scale float64) {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: scale})
		return err
	}))
	until[bool](b, fmt.Sprintf("a width of %d", width), `return innerWidth === args[0] && devicePixelRatio === args[1]`, width, scale)
}

// scheme chooses the colours: light or dark.
func (b *tab) scheme(name string) {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return err
	}))
	until[bool](b, name+" colours", `return matchMedia("(prefers-color-scheme: " + args[0] + ")").matches`, name)
}

// fits checks that nothing is wider than the window, nor than what holds it: there is no scrolling sideways, and
// nothing that is cut off without an ellipsis.
func (b *tab) fits(what string) {
	b.Helper()
	if wide := until[string](b, "the widths", `
		const shown = e => e.checkVisibility({visibilityProperty: true}) && !e.closest(".unseen, svg");
		const over = e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && getComputedStyle(e).textOverflow !== "ellipsis" && getComputedStyle(e).display !== "inline";
		const out = e => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.right > innerWidth + 1 || r.left < -1); };
		const named = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.className ? "." + e.className : "") + " " + e.scrollWidth + ">" + e.clientWidth;
		return [...document.querySelectorAll("html, body, body *")].filter(e => shown(e) && (over(e) || out(e))).map(named).join("\n") || "none";`); wide != "none" {
		b.picture("overflow-" + strings.ReplaceAll(what, " ", "-"))
		b.Errorf("%s: wider than there is room for:\n%s", what, wide)
	}
}

// screenshot is what the person sees, as a PNG of scale pixels to one of CSS.
func (b *tab) screenshot(scale float64) []byte { b.Helper(); return b.part(scale, "", 0) }

// part is what the person sees of what the selector matches, with a margin around it, or of all if there is none, as a
// PNG of scale pixels to one of CSS.
func (b *tab) part(scale float64, css string, margin float64) []byte {
	b.Helper()
	at := until[[]int64](b, "the size", `return [innerWidth, innerHeight]`)
	b.scaled(at[0], at[1], scale)
	part := []float64{0, 0, float64(at[0]), float64(at[1])}
	if css != "" {
		part = b.bounds(css)
	}
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	b.must(err)
	img, err := png.Decode(bytes.NewReader(shot))
	b.must(err)
	pixels := func(css float64) int { return int(math.Round(css * scale)) }
	cut := image.Rect(pixels(part[0]-margin), pixels(part[1]-margin), pixels(part[2]+margin), pixels(part[3]+margin))
	return small(b.T, img, cut.Intersect(img.Bounds()))
}

// small is a part of a picture as a PNG of the 256 colours that it has most of, and of no other: a quarter of what
// Chromium writes, and nobody sees the difference.
func small(t *testing.T, img image.Image, part image.Rectangle) []byte {
	t.Helper()
	count := map[color.Color]int{}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			count[img.At(x, y)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	out := image.NewPaletted(part.Sub(part.Min), most[:min(len(most), 256)])
	index := map[color.Color]uint8{}
	for c := range count {
		index[c] = uint8(out.Palette.Index(c))
	}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			out.SetColorIndex(x-part.Min.X, y-part.Min.Y, index[img.At(x, y)])
		}
	}
	var file bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&file, out); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// bounds is where what the selector matches is on the screen, once all of it is there and stands still: left, top,
// right and bottom.
func (b *tab) bounds(css string) []float64 {
	b.Helper()
	return until[[]float64](b, "a picture of "+css, `
		const all = [...document.querySelectorAll(args[0])];
		all.at(-1)?.scrollIntoView({block: "nearest"});
		const r = all.map(e => e.getBoundingClientRect()), most = (f, of) => Math[f](...r.map(of));
		const at = [most("min", r => r.left), most("min", r => r.top), most("max", r => r.right), most("max", r => r.bottom)], now = at.join();
		if (window.stood !== now || at[1] < 0 || at[3] > innerHeight) {
			window.stood = now;
			return null;
		}
		window.stood = "";
		return at;`, css)
}

// picture keeps what the person sees, for whoever looks at a run of CI.
func (b *tab) picture(name string) {
	b.Helper()
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()) // As Chromium has it: to make it small takes seconds.
	b.must(err)
	b.must(os.MkdirAll(artifacts, 0o755))
	b.must(os.WriteFile(filepath.Join(artifacts, name+".png"), shot, 0o644))
}

// failure keeps what a failed test last saw.
func (b *tab) failure() {
	ctx, stop := context.WithTimeout(b.ctx, patience)
	defer stop()
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(artifacts, 0o755)
	}
	name := filepath.Join(artifacts, "failed-"+strings.NewReplacer("/", "-", " ", "-").Replace(b.Name())+"-"+b.who+".png")
	if err == nil {
		err = os.WriteFile(name, shot, 0o644)
	}
	b.Logf("%s saw %s: %v", b.who, name, err)
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(location.hash + "\n" + document.body.innerText).slice(0, 2000)`))
	b.Logf("%s read %q: %v", b.who, text, err)
}
