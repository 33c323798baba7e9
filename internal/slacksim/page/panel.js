// "What just happened": deliveries to the app, calls of the Web API, and faults to make.

import {$, h, icon, sync} from "./dom.js";
import {app, channel, fault, render} from "./store.js";
import {say} from "./blocks.js";
import {decode} from "./text.js";
import {find} from "./messages.js";

// drawPanel draws it, if it is open.
export function drawPanel() {
  const panel = $("panel");
  document.body.classList.toggle("paneled", app.panel);
  panel.hidden = !app.panel;
  if (!app.panel || !app.log) return;
  if (!panel.firstChild) {
    panel.append(
      h("header", {}, h("h2", {}, "What just happened"), h("span", {class: "quiet grow", id: "sockets", "data-test": "sockets"}),
        h("button", {type: "button", class: "iconic", "aria-label": "Close", "data-test": "panel-close", onclick: closePanel}, icon("cross"))),
      h("details", {class: "faults", open: innerHeight > 700, "data-test": "faults"},
        h("summary", {}, icon("bolt"), "Make something go wrong", h("span", {class: "armed", id: "armed"})),
        h("div", {class: "switches", id: "faults"}),
        h("button", {type: "button", class: "button", "data-test": "clear-faults", onclick: () => did(fault("", false))}, "Clear all faults")),
      h("ol", {id: "log", tabindex: "0", "aria-label": "Newest first", "data-test": "log"}));
  }
  const l = app.log;
  $("sockets").textContent = l.http ? "over HTTP" : l.sockets === 1 ? "1 socket open" : l.sockets + " sockets open";
  const on = l.faults.filter(f => f.on).length;
  $("armed").textContent = on ? on + " on" : "";
  sync($("faults"), l.faults.map(f => ({key: f.name, sign: String(f.on) + l.http, make: () => toggle(f)})));
  const lines = l.lines.toReversed();
  sync($("log"), lines.length
    ? lines.map(e => ({key: "line-" + e.id, sign: JSON.stringify([e, present(e)]), make: () => line(e)}))
    : [{key: "none", sign: "", make: () => h("li", {class: "empty"}, "Nothing yet.")}]);
}

function closePanel() {
  app.panel = false;
  app.panelChosen = true;
  render();
  setTimeout(() => document.querySelector("[data-test=panel-toggle]").focus());
}

const did = async doing => { const why = await doing; if (why) say(why); };

function toggle(f) {
  const now = f.kind === "now";
  return h("button", {
    type: "button", class: "switch " + f.kind, "data-focus": f.name, "data-test": "fault-" + f.name,
    role: now ? null : "switch", "aria-checked": now ? null : String(f.on), onclick: () => did(fault(f.name, now ? true : !f.on)),
  }, now ? icon("plug") : h("span", {class: "knob", "aria-hidden": "true"}), h("span", {class: "grow"}, f.text),
  f.on ? h("span", {class: "state"}, f.kind === "next" ? "waiting" : "on") : null);
}

const present = e => e.ts && app.world.messages.some(m => m.channel === e.channel && m.ts === e.ts) && !!channel(e.channel);

const kinds = {slash_command: "slash command", block_actions: "click", view_submission: "modal submitted", view_closed: "modal closed", app_home_opened: "Home opened", raw: "payload"};

function line(e) {
  const time = new Date(e.at);
  const stamp = h("time", {datetime: time.toISOString()}, time.toLocaleTimeString(undefined, {hour12: false}) + "." + String(time.getMilliseconds()).padStart(3, "0"));
  if (e.kind === "note") return h("li", {class: "line note", "data-kind": "note", "data-test": "line"}, stamp, h("span", {}, e.text));
  const state = !e.done ? "waiting" : e.ok ? "good" : "bad";
  const result = h("span", {class: "result " + state}, state === "waiting" ? h("span", {class: "spinner"}) : icon(state === "good" ? "check" : "warning"), outcome(e));
  const link = e.link ? h("a", {class: "workflow", href: e.link.url, target: "_blank", rel: "noreferrer noopener", "data-test": "workflow", title: "Open the workflow " + e.link.text + " in Temporal's web UI"}, icon("external"), h("span", {}, e.link.text)) : null;
  const met = e.met ? h("span", {class: "met"}, icon("bolt"), e.met) : null;
  if (e.kind === "delivery") {
    return h("li", {class: "line delivery", "data-kind": e.text, "data-test": "line"}, stamp,
      h("div", {class: "what"}, h("span", {class: "way"}, "to the app"), h("b", {}, words(e.what) || kinds[e.text] || e.text), h("span", {}, " by " + (e.who || "nobody"))),
      h("div", {class: "how"}, h("code", {}, e.text), h("span", {}, e.via + (e.attempt ? ", second try" : "")), result), met, link);
  }
  return h("li", {class: "line call", "data-kind": e.text, "data-test": "line"}, stamp,
    h("div", {class: "what"}, h("span", {class: "way"}, "from the app"), h("b", {}, e.text)),
    h("div", {class: "how"}, about(e), result), met, link);
}

const words = what => decode(what || "").replace(/<[@#!][^|>]*\|@?([^>]*)>/g, "@$1").replace(/<(https?:[^|>]*)>/g, "$1");

// about says which message or person a call is about; a message that one sees can be gone to.
function about(e) {
  const text = [e.where, e.ts ? "message of " + new Date(Number(e.ts) * 1000).toLocaleTimeString(undefined, {hour12: false}) : ""].filter(Boolean).join(", ");
  if (!text) return null;
  return present(e)
    ? h("button", {type: "button", class: "textlink", title: "Show " + e.channel + " " + e.ts, "data-focus": "show-" + e.id, onclick: () => find(e.channel, e.ts)}, text)
    : h("span", {title: [e.channel, e.ts].filter(Boolean).join(" ")}, text);
}

function outcome(e) {
  if (!e.done) return e.kind === "delivery" ? "waiting" : "in flight";
  const took = e.took_ms ? " " + e.took_ms + " ms" : " < 1 ms";
  if (e.kind === "delivery") return e.ok ? "acknowledged in" + took : "not acknowledged: " + e.error + " after" + took;
  if (e.ok) return "ok," + took;
  if (e.status === 0) return (e.performed ? "done, but the answer was cut" : "connection cut") + "," + took;
  return [e.status !== 200 ? e.status : "", e.error].filter(Boolean).join(" ") + (e.performed ? " (done all the same)" : "") + "," + took;
}
