// Faces, and the side bar: who one is, channels, the app.

import {$, fill, h, icon, menu} from "./dom.js";
import {app, appName, channelOf, myself, person, unread} from "./store.js";
import {go, hash} from "./route.js";

const hues = 8;

// avatar is a picture of somebody: their initials on a colour of their own, or the app's sign.
export function avatar(id, size = "") {
  const p = person(id);
  if (id === "USLACKBOT") return h("span", {class: "avatar app " + size, "aria-hidden": "true"}, icon("bolt"));
  if (p?.bot) return h("span", {class: "avatar app " + size, "aria-hidden": "true"}, icon(id === app.world.app ? "check" : "plug"));
  const name = p?.real_name || "?";
  const initials = name.split(/\s+/).map(w => [...w][0]).slice(0, 2).join("").toUpperCase();
  const i = app.world.people.filter(o => !o.bot).findIndex(o => o.id === id);
  return h("span", {class: `avatar hue-${Math.max(0, i) % hues} ${size}`, "aria-hidden": "true"}, initials);
}

// lead is the sign before a channel's name.
export const lead = c => icon(c.archived ? "archive" : c.private ? "lock" : "hash", c.archived ? "archived channel" : c.private ? "private channel" : null);

let drawn = "";

// drawSidebar draws it anew when something in it has changed.
export function drawSidebar() {
  const w = app.world;
  const rows = w.channels.filter(c => c.member && !c.dm);
  const dm = channelOf("app");
  const sign = JSON.stringify([app.me, app.open, app.names, w.links, rows.map(c => unread(c.id)), dm && unread(dm.id)]);
  if (sign === drawn) return;
  drawn = sign;
  const bar = $("sidebar");
  const held = bar.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const row = (open, sign, text, count, extra) => h("a", {
    href: hash({in: open, thread: ""}), class: "row" + (count ? " unread" : ""), "aria-current": app.open === open ? "page" : null,
    "data-focus": "row-" + open, "data-test": "row-" + open, onclick: e => {
      if (e.ctrlKey || e.metaKey || e.shiftKey) return;
      e.preventDefault();
      app.drawer = false;
      go({in: open, thread: ""});
      document.getElementById("composer-text")?.focus();
    },
  }, sign, h("span", {class: "grow"}, text), extra, count ? h("span", {class: "count", "data-test": "unread"}, String(count), h("span", {class: "unseen"}, " unread")) : null);
  const me = myself();
  const who = menu(h("button", {type: "button", class: "who", "data-focus": "who", "data-test": "act-as", "aria-label": "You act as " + me.real_name + ". Act as somebody else"},
    avatar(me.id), h("span", {class: "grow"}, h("small", {}, "You act as"), h("b", {}, me.real_name), me.note ? h("small", {}, me.note) : null), icon("down")),
  () => w.people.filter(p => p.acts).flatMap(p => [{
    label: p.real_name, note: [p.note, w.groups.filter(g => g.members.includes(p.id)).map(g => "@" + g.handle).join(" ")].filter(Boolean).join(" · "),
    avatar: avatar(p.id, "small"), current: p.id === w.me, test: "person-" + p.name, onpick: () => go({as: p.name, thread: ""}),
  }]), {label: "Act as", role: "listbox"});
  fill(bar,
    h("div", {class: "workspace"}, h("h1", {}, "Stand-in"), h("p", {}, "for Slack, on this machine")),
    who,
    h("a", {class: "beside", href: hash({as: beside().name, thread: ""}), target: "stand-in-" + beside().name, "data-focus": "beside", "data-test": "second-window"},
      icon("external"), "Be " + beside().real_name.split(" ")[0] + " in a second window"),
    h("h2", {}, "Channels"),
    rows.map(c => row(c.name, lead(c), c.name, unread(c.id), c.shared ? icon("shared", "shared with another organisation") : null)),
    rows.length ? null : h("p", {class: "none"}, "No channel has this person."),
    h("h2", {}, "Direct messages"),
    row("app", avatar(w.app, "tiny"), appName(), unread(dm.id), h("span", {class: "badge"}, "APP")),
    h("h2", {}, "Apps"),
    row("home", icon("home"), appName() + " Home", 0),
    w.links.length ? h("footer", {}, w.links.map(l => /^https?:/.test(l.url)
      ? h("a", {href: l.url, target: "_blank", rel: "noreferrer noopener", "data-focus": "link-" + l.url}, l.text, icon("external"))
      : h("span", {}, l.text + " " + l.url))) : null);
  if (held) bar.querySelector(`[data-focus="${CSS.escape(held)}"]`)?.focus();
}

// beside is whom to be in a second window: somebody else of the workspace.
function beside() {
  const others = app.world.people.filter(p => p.acts && !p.note);
  return others[(others.findIndex(p => p.id === app.world.me) + 1) % others.length] || myself();
}
