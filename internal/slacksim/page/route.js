// Who one is and what is open stands in the address after the #, so that two windows can be two people.

import {app} from "./store.js";

export function readHash() {
  const q = new URLSearchParams(location.hash.slice(1));
  return {as: q.get("as") || "", in: q.get("in") || "", thread: q.get("thread") || ""};
}

// hash is the address of what is open, changed by change.
export function hash(change) {
  const to = {as: app.me, in: app.open, thread: app.thread, ...change};
  return "#" + Object.entries(to).filter(([, value]) => value).map(([key, value]) => key + "=" + encodeURIComponent(value)).join("&");
}

// go opens something else.
export function go(change) {
  const to = hash(change);
  if (to === location.hash) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = to;
}
