// Modals. See https://docs.slack.dev/surfaces/modals.

import {$, fill, h, icon} from "./dom.js";
import {app, send} from "./store.js";
import {block} from "./blocks.js";
import {decode} from "./text.js";

const trouble = "We had some trouble connecting. Try again?";
let shown = "", id = "", fields = new Map(), invoker = "", waiting = false, own = "";

// from notes what was clicked last, to which the focus returns.
document.addEventListener("click", e => {
  const at = e.target.closest?.("[data-focus]");
  if (at && !$("modal").contains(at)) invoker = {focus: at.dataset.focus, ts: at.closest("[data-ts]")?.dataset.ts};
}, true);

function giveBack() {
  const at = document.activeElement;
  if (at && at !== document.body && !$("modal").contains(at)) return;
  const within = invoker.ts ? document.querySelector(`[data-ts="${invoker.ts}"]`) : document;
  const e = within?.querySelector(`[data-focus="${CSS.escape(invoker.focus || "")}"]`) || within?.querySelector?.("button") || $("composer-text");
  e?.focus();
}

// drawModal shows the person's top modal, or none.
export function drawModal() {
  const v = app.world.modal, d = $("modal");
  if (!v) {
    if (d.open) d.close();
    if (shown) setTimeout(giveBack);
    shown = id = "";
    return;
  }
  const local = [[...app.busy], [...app.warned.keys()]].map(l => l.filter(k => k.startsWith(v.id)).join());
  if (shown !== v.id + v.hash + local) {
    // What was typed stays where the input is still the same.
    const kept = id === v.id ? new Map([...fields].map(([key, read]) => [key, read()])) : new Map();
    const held = d.contains(document.activeElement) ? document.activeElement.dataset.focus : "";
    const same = id === v.id;
    shown = v.id + v.hash + local;
    id = v.id;
    fields = new Map();
    build(d, v, kept);
    if (!d.open) d.showModal();
    const again = same && held ? d.querySelector(`[data-focus="${CSS.escape(held)}"]`) : null;
    (again || d.querySelector("[autofocus]") || d.querySelector(".body :is(input, textarea, select)") || d.querySelector("footer button:last-child"))?.focus();
  }
  showErrors(d, v);
}

function build(d, v, kept) {
  const place = {key: v.id, body: {view: v.id}, edits: v.hash, fields, kept};
  own = "";
  const cancel = async () => {
    const answer = await send("close", {});
    if (answer.failed) complain(d, own = answer.failed);
  };
  const submit = async e => {
    e.preventDefault();
    if (waiting) return;
    waiting = true;
    busy(d, true);
    complain(d, own = "");
    const values = Object.fromEntries([...fields].map(([key, read]) => [key, read()]));
    const answer = await send("submit", {view: v.id, values});
    waiting = false;
    busy(d, false);
    own = answer.failed === "The stand-in does not answer." ? trouble : answer.failed || "";
    if (own) complain(d, own);
    else setTimeout(() => d.querySelector("[aria-invalid=true]")?.focus(), 60);
  };
  d.oncancel = e => { e.preventDefault(); cancel(); };
  fill(d, h("form", {novalidate: true, onsubmit: submit},
    h("header", {}, h("h2", {id: "modal-title"}, decode(v.title)),
      h("button", {type: "button", class: "iconic", "aria-label": "Close", "data-focus": "close", "data-test": "modal-close", onclick: cancel}, icon("cross"))),
    h("div", {class: "problem", role: "alert", hidden: true, "data-test": "modal-error"}),
    h("div", {class: "body"}, v.blocks.map(b => block(b, place))),
    h("footer", {},
      h("button", {type: "button", class: "button", "data-focus": "cancel", "data-test": "modal-cancel", onclick: cancel}, decode(v.close || (v.submit ? "Cancel" : "Close"))),
      v.submit ? h("button", {type: "submit", class: "button primary", "data-focus": "submit", "data-test": "modal-submit"}, h("span", {class: "spinner", hidden: true}), decode(v.submit)) : null)));
  busy(d, waiting);
}

function busy(d, on) {
  const b = d.querySelector("[type=submit]");
  if (!b) return;
  b.querySelector(".spinner").hidden = !on;
  for (const [key, value] of [["aria-busy", on], ["aria-disabled", on]]) {
    if (value) b.setAttribute(key, "true");
    else b.removeAttribute(key);
  }
}

function complain(d, text) {
  const e = d.querySelector("[data-test=modal-error]");
  if (e.textContent === text) return;
  e.replaceChildren(...(text ? [icon("warning"), text] : []));
  e.hidden = !text;
}

function showErrors(d, v) {
  for (const e of d.querySelectorAll("[data-error]")) {
    const text = v.errors?.[e.dataset.error] || "";
    if (e.textContent !== text) e.replaceChildren(...(text ? [icon("warning"), h("span", {}, text)] : []));
    const field = e.parentElement.querySelector("input, textarea, select");
    if (text) field?.setAttribute("aria-invalid", "true");
    else field?.removeAttribute("aria-invalid");
  }
  complain(d, own || v.error || "");
}
