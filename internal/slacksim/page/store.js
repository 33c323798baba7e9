// What the page knows, and how it speaks to the stand-in.

export const app = {
  me: "",           // name of the person
  open: "",         // name of the channel, "app" for direct messages with the app, "home" for its Home tab
  thread: "",       // timestamp of the thread's parent
  world: null,      // what the person sees
  log: null,        // what has happened
  names: "",        // changes when anybody's or any channel's name does
  connected: false,
  panel: false,
  panelChosen: false, // the person has opened or closed the panel
  drawer: false,
  newFrom: {},      // by channel: timestamp of the last message that was read when it was opened
  busy: new Set(),  // keys of elements whose click is in flight
  warned: new Map(),// by key: why a click was not acknowledged, and how often its message was edited then
  chosen: new Map(),// by key: what is chosen in a menu of a message
};

const listeners = [];
let asked = false;

// onRender has draw called after every change.
export const onRender = draw => listeners.push(draw);

// render draws the page, soon and once.
export function render() {
  if (asked) return;
  asked = true;
  queueMicrotask(() => {
    asked = false;
    if (!app.world) return;
    for (const draw of listeners) {
      try { // What one part of the page cannot draw must not take the others with it.
        draw();
      } catch (e) {
        console.error(e);
      }
    }
  });
}

// send does something as the person. It returns the answer, with failed set to why nothing was done.
export async function send(path, body) {
  try {
    const r = await fetch("/sim/" + path, {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({as: app.me, ...body}),
      signal: AbortSignal.timeout(30_000),
    });
    const answer = await r.json();
    return r.ok ? answer : {...answer, failed: answer.error || "The stand-in refused."};
  } catch {
    return {failed: "The stand-in does not answer."};
  }
}

// fault turns a fault on or off; without a name it ends all.
export async function fault(name, on) {
  try {
    const r = name
      ? await fetch("/sim/faults", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({fault: name, on})})
      : await fetch("/sim/faults", {method: "DELETE"});
    const answer = await r.json();
    return r.ok ? "" : answer.error;
  } catch {
    return "The stand-in does not answer.";
  }
}

export const person = id => app.world.people.find(p => p.id === id);
export const group = id => app.world.groups.find(g => g.id === id);
export const channel = id => app.world.channels.find(c => c.id === id);
export const myself = () => person(app.world.me);
export const appName = () => person(app.world.app)?.real_name || "The app";

// channelOf finds what is open: a channel of the person's, their direct messages with the app, or nothing.
export function channelOf(open) {
  const mine = app.world.channels.filter(c => c.member);
  if (open === "home") return null;
  if (open === "app") return mine.find(c => c.dm) || {id: app.world.app, name: "", dm: true, member: true, app: true, members: []};
  return mine.find(c => !c.dm && (c.name === open || c.id === open));
}

export function nameOf(id) {
  return id === "USLACKBOT" ? "Slackbot" : person(id)?.real_name || id;
}

export const seconds = ts => Number(ts);

// remember and recall keep things in this browser, if it lets us.
export function remember(key, value) {
  try { localStorage.setItem("stand-in:" + key, value); } catch { /* kept for this page only */ }
}
export function recall(key) {
  try { return localStorage.getItem("stand-in:" + key); } catch { return null; }
}

let read = {};

// readUntil is the timestamp up to which the person has read a channel.
export const readUntil = id => read[app.me + id] ?? (recall("read:" + app.me + ":" + id) || "0");

export function markRead(id, ts) {
  if (seconds(ts) <= seconds(readUntil(id))) return;
  read[app.me + id] = ts;
  remember("read:" + app.me + ":" + id, ts);
}

// unread counts the messages of others in a channel since then. Replies and private messages do not count, as in Slack.
export function unread(id) {
  const until = seconds(readUntil(id));
  return app.world.messages.filter(m => m.channel === id && !m.thread_ts && !m.private && m.user !== app.world.me && seconds(m.ts) > until).length;
}

// Private messages that the person has dismissed.
export const dismissed = m => m.private && recall("dismissed:" + app.me + m.channel + m.ts) === "1";
export const dismiss = m => { remember("dismissed:" + app.me + m.channel + m.ts, "1"); render(); };
