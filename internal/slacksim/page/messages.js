// Messages, in the channel and in threads.

import {$, fill, h, icon, sync} from "./dom.js";
import {app, appName, channel, channelOf, dismiss, dismissed, markRead, nameOf, person, readUntil, render, seconds, unread} from "./store.js";
import {block} from "./blocks.js";
import {ago, clock, dayText, mrkdwn} from "./text.js";
import {avatar, lead} from "./people.js";
import {go} from "./route.js";
import {composer} from "./composer.js";

const when = m => new Date(seconds(m.ts) * 1000);
const groupFor = 5 * 60; // seconds during which messages of one author stand under one name

// place is where the blocks of a message stand.
const place = m => ({key: m.channel + m.ts, body: {channel: m.channel, ts: m.ts}, blocks: m.blocks, edits: m.edits});

// local is what this browser knows of a message: clicks in flight, warnings, choices.
function local(m) {
  const own = key => key.startsWith(m.channel + m.ts + "|");
  return [[...app.busy].filter(own), [...app.warned.keys()].filter(own)];
}

function message(m, {follows, replies, inThread}) {
  const bot = m.bot || person(m.user)?.bot || m.user === "USLACKBOT";
  const blocks = m.blocks?.length ? m.blocks.map(b => block(b, place(m))) : h("div", {class: "words"}, mrkdwn(m.text));
  const short = follows && !m.private;
  return h("article", {
    class: "message" + (m.private ? " private" : "") + (short ? " follows" : ""), "data-ts": m.ts, "data-test": m.private ? "private-message" : "message",
    "aria-label": nameOf(m.user) + ", " + clock(when(m)),
  },
  m.private ? h("div", {class: "only"}, icon("eye"), "Only visible to you") : null,
  h("div", {class: "gutter"}, short ? h("time", {class: "hover", datetime: when(m).toISOString()}, clock(when(m)).replace(/\s*[AP]M$/i, "")) : avatar(m.user)),
  h("div", {class: "content"},
    short ? null : h("div", {class: "by"}, h("b", {}, nameOf(m.user)), bot ? h("span", {class: "badge"}, "APP") : null,
      person(m.user)?.note && !bot ? h("span", {class: "note"}, person(m.user).note) : null,
      h("time", {datetime: when(m).toISOString(), title: when(m).toLocaleString()}, clock(when(m)))),
    blocks,
    m.edited ? h("span", {class: "quiet"}, "(edited)") : null,
    m.private ? h("button", {type: "button", class: "textlink", "data-focus": "dismiss", "data-test": "dismiss", onclick: () => dismiss(m)}, "Dismiss message") : null,
    replies?.length ? threadLink(m, replies) : null,
    !inThread && !m.private ? h("button", {
      type: "button", class: "reply", "aria-label": "Reply in thread", title: "Reply in thread", "data-focus": "reply", "data-test": "reply",
      onclick: () => go({thread: m.ts}),
    }, icon("reply")) : null));
}

function threadLink(m, replies) {
  const authors = [...new Set(replies.map(r => r.user))].slice(0, 4);
  return h("button", {type: "button", class: "replies", "data-focus": "replies", "data-test": "replies", onclick: () => go({thread: m.ts})},
    authors.map(id => avatar(id, "tiny")), h("span", {class: "many"}, replies.length === 1 ? "1 reply" : replies.length + " replies"),
    h("span", {class: "quiet"}, "Last reply " + (Date.now() - when(replies.at(-1)) < 60000 ? "less than a minute ago" : ago(when(replies.at(-1))))));
}

// rows are the messages with dividers between days, and above the first that is new.
function rows(list, all, inThread) {
  const out = [];
  let last = null;
  const newFrom = inThread ? null : app.newFrom[list[0]?.channel];
  let marked = false;
  for (const m of list) {
    const day = when(m).toDateString(), today = new Date().toDateString();
    if (!inThread && day !== (last && when(last).toDateString())) {
      out.push({key: "day " + day, sign: today, make: () => h("div", {class: "day", role: "separator"}, h("span", {}, dayText(when(m))))});
      last = null;
    }
    if (newFrom && !marked && seconds(m.ts) > seconds(newFrom) && m.user !== app.world.me && !m.private) {
      marked = true;
      out.push({key: "new", sign: "", make: () => h("div", {class: "day new", role: "separator"}, h("span", {}, "New"))});
      last = null;
    }
    const replies = inThread ? null : all.filter(r => r.thread_ts === m.ts && r.ts !== m.ts && !dismissed(r));
    const follows = !!last && last.user === m.user && !last.private && seconds(m.ts) - seconds(last.ts) < groupFor && !m.blocks?.length;
    out.push({
      key: m.ts,
      sign: JSON.stringify([m, follows, replies?.map(r => r.ts), replies?.length ? Math.floor(Date.now() / 60000) : 0, local(m), app.names, today]),
      make: () => message(m, {follows, replies, inThread}),
    });
    last = m;
  }
  return out;
}

let shown = "", heard = new Map();

// drawMain draws what is open: a channel, direct messages, or the Home tab.
export function drawMain() {
  const home = app.open === "home";
  const c = channelOf(app.open);
  drawHead(c, home);
  const box = $("messages"), scroll = $("scroll");
  const opened = app.me + app.open !== shown;
  if (opened) {
    shown = app.me + app.open;
    box.replaceChildren();
    heard = new Map();
    if (c) app.newFrom = unread(c.id) && readUntil(c.id) !== "0" ? {[c.id]: readUntil(c.id)} : {};
  }
  if (home) {
    drawHome(box);
    drawFoot(null, true);
    return;
  }
  const all = c ? app.world.messages.filter(m => m.channel === c.id && !dismissed(m)) : [];
  const stamps = new Set(all.map(m => m.ts));
  const list = all.filter(m => !m.thread_ts || m.thread_ts === m.ts || !stamps.has(m.thread_ts));
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  box.dataset.channel = c?.id || "";
  sync(box, list.length ? rows(list, all, false) : [{key: "none", sign: app.open, make: () => empty(c)}]);
  const mine = list.at(-1)?.user === app.world.me;
  if (opened || atEnd || (mine && !heard.has(list.at(-1).ts))) scroll.scrollTop = scroll.scrollHeight;
  $("newer").hidden = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80 || !list.some(m => !heard.has(m.ts)) && $("newer").hidden;
  announce(list, opened);
  if (c && document.visibilityState === "visible" && list.length) markRead(c.id, list.filter(m => !m.private).at(-1)?.ts || "0");
  drawFoot(c, false);
}

// announce tells screen readers what is new or has changed.
function announce(list, opened) {
  const lines = [];
  for (const m of list) {
    const before = heard.get(m.ts);
    if (before === m.text) continue;
    heard.set(m.ts, m.text);
    if (opened || m.user === app.world.me) continue;
    lines.push(h("p", {}, nameOf(m.user) + (before === undefined ? (m.private ? ", only to you: " : ": ") : " changed a message: "), mrkdwn(m.text).map(n => n.textContent ?? n)));
  }
  if (lines.length) $("live").replaceChildren(...lines);
}

function empty(c) {
  const text = !c ? "This person is in no such channel." : c.dm ? "This is the beginning of your direct messages with " + appName() + "."
    : "This is the very beginning of #" + c.name + ".";
  return h("div", {class: "empty"}, c && !c.dm ? h("span", {class: "big"}, lead(c)) : null, h("p", {}, text),
    c && !c.dm && app.world.commands.length ? h("p", {class: "quiet"}, "Try ", h("code", {}, app.world.commands[0].name + " " + app.world.commands[0].usage)) : null);
}

let headed = "";

function drawHead(c, home) {
  const elsewhere = app.world.channels.filter(o => o.member && o.id !== c?.id).reduce((n, o) => n + unread(o.id), 0);
  const sign = JSON.stringify([app.me, app.open, c, app.names, app.panel, app.drawer, app.connected, elsewhere]);
  if (sign === headed) return;
  headed = sign;
  const held = $("head").contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const members = c?.members.map(person).filter(p => p && !p.bot).length;
  const title = home ? appName() : c?.dm ? appName() : c?.name || "No channel";
  fill($("head"),
    h("button", {type: "button", class: "iconic narrow" + (elsewhere ? " dot" : ""), "aria-label": "Channels and people" + (elsewhere ? ", " + elsewhere + " unread" : ""), "aria-expanded": String(app.drawer), "data-focus": "drawer", "data-test": "drawer",
      onclick: () => {
        app.drawer = !app.drawer;
        render();
        setTimeout(() => document.querySelector("[data-test=act-as]").focus());
      }}, icon("menu")),
    h("h2", {"data-test": "title"}, home || c?.dm ? avatar(app.world.app, "small") : c ? lead(c) : null, h("span", {}, title)),
    home || c?.dm ? h("span", {class: "tabs"},
      tab("home", "Home", home), tab("app", "Messages", !home)) : null,
    c && !c.dm ? h("span", {class: "quiet wide"}, members === 1 ? "1 member" : members + " members") : null,
    h("span", {class: "grow"}),
    h("button", {type: "button", class: "button toggle", "aria-pressed": String(app.panel), "data-focus": "panel", "data-test": "panel-toggle", "aria-label": "What just happened",
      onclick: () => {
        app.panel = !app.panel;
        app.panelChosen = true;
        render();
        setTimeout(() => $("main").inert && document.querySelector("[data-test=panel-close]").focus());
      }}, icon("activity"), h("span", {class: "wide"}, "What just happened")));
  if (held) $("head").querySelector(`[data-focus="${held}"]`)?.focus();
  const notices = [];
  if (!app.connected) notices.push(h("div", {class: "notice bad", role: "alert", "data-test": "reconnecting"}, h("span", {class: "spinner"}), "Reconnecting to the stand-in …"));
  if (c && !c.dm && !c.app) notices.push(h("div", {class: "notice", "data-test": "not-member"}, icon("info"), appName() + " is not in this channel: its commands work here, but it cannot post."));
  if (c?.shared) notices.push(h("div", {class: "notice", "data-test": "shared"}, icon("shared"), "This channel is shared with another organisation."));
  fill($("notices"), notices);
}

function tab(open, text, current) {
  return h("button", {type: "button", class: "tab", "aria-current": current ? "page" : null, "data-focus": "tab-" + open, "data-test": "tab-" + open, onclick: () => go({in: open, thread: ""})}, text);
}

// What is in the inputs of the Home tab with this ID, which stays when the app publishes it again.
let homeID = "", homeFields = new Map();

function homeTab(v) {
  const kept = homeID === v.id ? new Map([...homeFields].map(([key, read]) => [key, read()])) : new Map();
  homeID = v.id;
  homeFields = new Map();
  const p = {key: v.id, body: {view: v.id}, blocks: v.blocks, edits: v.hash, fields: homeFields, kept};
  return h("section", {class: "home", "data-test": "home", "aria-label": "Home of " + appName()}, v.blocks.map(b => block(b, p)));
}

function drawHome(box) {
  const v = app.world.home;
  const busy = v && [[...app.busy], [...app.warned.keys()]].map(l => l.filter(k => k.startsWith(v.id)));
  sync(box, [v
    ? {key: "home", sign: JSON.stringify([v, busy, app.names]), make: () => homeTab(v)}
    : {key: "none", sign: "home", make: () => h("div", {class: "empty", "data-test": "home-empty"}, h("span", {class: "big"}, avatar(app.world.app)),
      h("p", {}, appName() + " has not published a Home tab."))}]);
}

// The composers stay, so that what is being typed stays.
let foot = "", main, inThread;

function drawFoot(c, home) {
  const kind = home || !c ? "none" : c.archived ? "archived" : c.dm && app.world.read_only_dm ? "read-only" : "open";
  const sign = kind + (kind === "open" ? "" : c?.name);
  if (kind === "open") {
    main ??= composer({id: "composer", where: () => ({channel: channelOf(app.open)?.id})});
    main.label(c.dm ? "Message " + appName() : "Message #" + c.name);
  }
  if (sign === foot) return;
  foot = sign;
  $("foot").replaceChildren(...{
    none: () => [],
    archived: () => [h("p", {class: "closed", "data-test": "archived"}, icon("archive"), "You are viewing #" + c.name + ", an archived channel.")],
    "read-only": () => [h("p", {class: "closed", "data-test": "read-only"}, icon("info"), "Sending messages to this app has been turned off.")],
    open: () => [main.node],
  }[kind]());
}

let threadShown = "";

// drawThread draws the pane of a thread, if one is open.
export function drawThread() {
  const pane = $("thread"), c = channelOf(app.open);
  const all = c && app.thread ? app.world.messages.filter(m => m.channel === c.id && !dismissed(m)) : [];
  const parent = all.find(m => m.ts === app.thread);
  const open = !!parent;
  if (open !== !pane.hidden) pane.hidden = !open;
  document.body.classList.toggle("threaded", open);
  if (!open) {
    threadShown = "";
    pane.replaceChildren();
    return;
  }
  const key = app.me + c.id + app.thread;
  if (threadShown !== key) {
    threadShown = key;
    inThread = composer({id: "thread-composer", inThread: true, where: () => ({channel: c.id, thread_ts: parent.ts})});
    inThread.label("Reply…");
    fill(pane,
      h("header", {}, h("h2", {}, "Thread"), h("span", {class: "quiet grow"}, c.dm ? appName() : "#" + c.name),
        h("button", {type: "button", class: "iconic", "aria-label": "Close the thread", "data-test": "close-thread", onclick: closeThread}, icon("cross"))),
      h("div", {class: "scroll", tabindex: "0", "aria-label": "Replies"}, h("div", {class: "parent"}), h("div", {class: "count"}), h("div", {class: "replies-list"})),
      ...(c.archived || c.dm && app.world.read_only_dm ? [] : [inThread.node]));
    (document.getElementById("thread-composer-text") || pane.querySelector("button")).focus();
  }
  const replies = all.filter(m => m.thread_ts === parent.ts && m.ts !== parent.ts);
  const scroll = pane.querySelector(".scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  sync(pane.querySelector(".parent"), rows([parent], all, true));
  const visible = replies.filter(m => !m.private).length;
  const counter = pane.querySelector(".count"), text = visible === 1 ? "1 reply" : visible + " replies";
  counter.hidden = !visible;
  if (counter.textContent !== text) counter.textContent = text;
  sync(pane.querySelector(".replies-list"), rows(replies, all, true));
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

// closeThread closes the pane; the focus goes back to where it was opened.
export function closeThread() {
  const ts = app.thread;
  go({thread: ""});
  setTimeout(() => {
    const m = document.querySelector(`#messages [data-ts="${ts}"]`);
    (m?.querySelector(".replies") || m?.querySelector(".reply") || document.getElementById("composer-text"))?.focus();
  });
}

// find scrolls to a message, in its thread if it is a reply.
export function find(channelID, ts) {
  const c = channel(channelID), m = app.world.messages.find(m => m.channel === channelID && m.ts === ts);
  if (!c || !m) return;
  const parent = m.thread_ts && m.thread_ts !== m.ts ? m.thread_ts : "";
  go({in: c.dm ? "app" : c.name, thread: parent});
  setTimeout(() => {
    const e = document.querySelector(`${parent ? "#thread" : "#messages"} [data-ts="${ts}"]`);
    e?.scrollIntoView({block: "center"});
    e?.classList.remove("flash");
    requestAnimationFrame(() => e?.classList.add("flash"));
  }, 50);
}

$("newer").addEventListener("click", () => {
  $("scroll").scrollTop = $("scroll").scrollHeight;
  $("newer").hidden = true;
});
$("scroll").addEventListener("scroll", () => {
  const s = $("scroll");
  if (s.scrollHeight - s.scrollTop - s.clientHeight < 80) $("newer").hidden = true;
}, {passive: true});
