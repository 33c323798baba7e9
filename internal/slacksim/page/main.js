// The page of the stand-in: it follows what one person sees, and draws it.

import {$, h} from "./dom.js";
import {app, channelOf, onRender, render, send, unread} from "./store.js";
import {go, hash, readHash} from "./route.js";
import {drawSidebar} from "./people.js";
import {closeThread, drawMain, drawThread} from "./messages.js";
import {drawModal} from "./modal.js";
import {drawPanel} from "./panel.js";

let stream, retry, read; // read is the address as it was last read

// follow streams what the person sees, and keeps on trying.
function follow() {
  stream?.close();
  clearTimeout(retry);
  const mine = stream = new EventSource("/sim/events?as=" + encodeURIComponent(app.me));
  mine.onopen = () => { app.connected = true; render(); };
  mine.onmessage = e => {
    app.world = JSON.parse(e.data);
    const w = app.world;
    app.names = JSON.stringify([w.people, w.groups, w.channels]);
    settle();
    render();
  };
  mine.addEventListener("log", e => { app.log = JSON.parse(e.data); render(); });
  mine.onerror = () => {
    app.connected = false;
    render();
    if (mine.readyState === EventSource.CLOSED) retry = setTimeout(unknown, 1500);
  };
}

// unknown is after a refusal: either the stand-in is not up yet, or it does not know the person.
async function unknown() {
  try {
    const r = await fetch("/sim/faults");
    if (r.ok && !app.world && app.me !== "alice") {
      go({as: "alice", in: "", thread: ""});
      return;
    }
  } catch { /* not up */ }
  follow();
}

// settle opens a channel, if what is open is none of the person's.
function settle() {
  if (app.open !== "home" && !channelOf(app.open)) {
    const first = app.world.channels.find(c => c.member && !c.dm);
    app.open = first ? first.name : "app";
  }
  if (location.hash !== read) return; // It has changed, and is read in a moment.
  if (read !== hash({})) history.replaceState(null, "", hash({}));
  read = location.hash;
}

// follow the address.
function arrive() {
  read = location.hash;
  const to = readHash();
  const as = to.as || "alice", changed = as !== app.me;
  const opened = changed || (to.in || app.open) !== app.open;
  app.me = as;
  app.open = to.in || app.open || "general";
  app.thread = to.thread;
  if (changed) {
    app.world = null;
    app.busy.clear();
    app.warned.clear();
    app.chosen.clear();
    follow();
  } else if (app.world) settle();
  if (opened && app.open === "home") send("home", {});
  render();
}

function drawFrame() {
  document.body.classList.toggle("drawer", app.drawer);
  $("veil").hidden = !app.drawer;
  const narrow = matchMedia("(max-width: 759px)").matches;
  $("sidebar").inert = narrow && !app.drawer;
  $("main").inert = narrow && (app.drawer || !$("panel").hidden || !$("thread").hidden);
  const total = app.world.channels.filter(c => c.member).reduce((n, c) => n + unread(c.id), 0);
  const c = channelOf(app.open);
  const name = c && !c.dm ? "#" + c.name : app.open === "home" ? "Home" : "Direct messages";
  document.title = (total ? "(" + total + ") " : "") + name + " · " + app.me + " · Stand-in for Slack";
}

const wide = matchMedia("(min-width: 1100px)");
const fit = () => {
  if (!app.panelChosen) app.panel = wide.matches;
  render();
};

// Escape closes what is on top; menus, dialogs and suggestions close by themselves.
document.addEventListener("keydown", e => {
  if (e.key !== "Escape" || e.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (app.drawer) {
    app.drawer = false;
    render();
    setTimeout(() => document.querySelector("[data-test=drawer]")?.focus());
  } else if (app.thread) closeThread();
  else if (app.panel && !wide.matches) {
    app.panel = false;
    app.panelChosen = true;
    render();
    setTimeout(() => document.querySelector("[data-test=panel-toggle]")?.focus());
  }
});

$("veil").addEventListener("click", () => { app.drawer = false; render(); });
$("skip").addEventListener("click", e => { e.preventDefault(); document.getElementById("composer-text")?.focus(); });
document.addEventListener("visibilitychange", render);
addEventListener("hashchange", arrive);
addEventListener("resize", render);
wide.addEventListener("change", fit);
setInterval(render, 60_000);
onRender(() => {
  drawMain();
  drawSidebar();
  drawThread();
  drawPanel();
  drawModal();
  drawFrame();
});
fit();
arrive();
$("messages").append(h("p", {class: "empty"}, "Connecting …"));
