// Slack's markup, rich text, dates and emoji, as nodes.
// See https://docs.slack.dev/messaging/formatting-message-text.

import {h, icon} from "./dom.js";
import {app, channel, group, person} from "./store.js";

// decode undoes the escaping of Slack's texts.
export const decode = s => String(s ?? "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

// link makes a link of a web address; of anything else, text.
export function link(url, ...text) {
  return /^(https?:|mailto:)/i.test(url) ? h("a", {href: url, target: "_blank", rel: "noreferrer noopener"}, text) : h("span", {}, text);
}

const chip = (text, mine) => h("span", {class: "mention" + (mine ? " mine" : "")}, text);

function userMention(id, label) {
  return chip("@" + (person(id)?.name ?? label ?? id), id === app.world.me);
}

function groupMention(id, label) {
  const g = group(id);
  return chip("@" + (g?.handle ?? (label || id).replace(/^@/, "")), g?.members.includes(app.world.me));
}

function channelMention(id, label) {
  const c = channel(id);
  const name = c?.name ?? label;
  const text = name ? "#" + name : "private channel";
  return c?.member && !c.dm
    ? h("a", {class: "mention", href: "#as=" + encodeURIComponent(app.me) + "&in=" + encodeURIComponent(c.name)}, text)
    : chip(text);
}

// Dates. Words are English, as the page is; the clock and the zone are the viewer's.

const months = {month: "long"}, day = {day: "numeric"};
const part = (d, options) => d.toLocaleDateString("en-US", options);

function ordinal(d) {
  const n = d.getDate();
  const suffix = n % 100 >= 11 && n % 100 <= 13 ? "th" : {1: "st", 2: "nd", 3: "rd"}[n % 10] || "th";
  return n + suffix;
}

const startOfDay = d => new Date(d.getFullYear(), d.getMonth(), d.getDate());

// relativeDay is yesterday, today or tomorrow, or nothing.
export function relativeDay(d) {
  const days = Math.round((startOfDay(d) - startOfDay(new Date())) / 86400000);
  return {"-1": "yesterday", 0: "today", 1: "tomorrow"}[days];
}

export const clock = d => d.toLocaleTimeString(undefined, {timeStyle: "short"});
const twoDigits = n => String(n).padStart(2, "0");

const tokens = {
  date_num: d => [d.getFullYear(), twoDigits(d.getMonth() + 1), twoDigits(d.getDate())].join("-"),
  date_slash: d => [twoDigits(d.getDate()), twoDigits(d.getMonth() + 1), d.getFullYear()].join("/"),
  date: d => part(d, months) + " " + ordinal(d) + (d.getFullYear() === new Date().getFullYear() ? "" : ", " + d.getFullYear()),
  date_short: d => part(d, {month: "short", ...day, year: "numeric"}),
  date_long: d => part(d, {weekday: "long"}) + ", " + part(d, months) + " " + ordinal(d) + ", " + d.getFullYear(),
  date_long_full: d => part(d, {...months, ...day, year: "numeric"}),
  date_pretty: d => relativeDay(d) || tokens.date(d),
  date_short_pretty: d => relativeDay(d) || tokens.date_short(d),
  date_long_pretty: d => relativeDay(d) || tokens.date_long(d),
  day_divider_pretty: d => relativeDay(d) || part(d, {weekday: "long"}) + ", " + tokens.date(d),
  time: clock,
  time_secs: d => d.toLocaleTimeString(undefined, {timeStyle: "medium"}),
  ago,
};

export function ago(d) {
  const s = Math.round((d - Date.now()) / 1000), f = new Intl.RelativeTimeFormat("en", {numeric: "auto"});
  for (const [unit, length] of [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(s) >= length) return f.format(Math.trunc(s / length), unit);
  }
  return f.format(s, "second");
}

// dateText fills in a format; what it cannot read is the fallback. A day's name at the beginning gets a capital.
export function dateText(timestamp, format, fallback) {
  const d = new Date(timestamp * 1000);
  if (isNaN(d)) return fallback;
  let known = false;
  const text = format.replace(/\{(\w+)\}/g, (all, name) => {
    if (!Object.hasOwn(tokens, name)) return all;
    known = true;
    return tokens[name](d);
  });
  return known ? text.replace(/^[a-z]/, c => c.toUpperCase()) : fallback;
}

function date(timestamp, format, fallback, url) {
  const d = new Date(timestamp * 1000);
  const e = h("time", {datetime: isNaN(d) ? null : d.toISOString(), title: isNaN(d) ? null : tokens.date_long(d) + " at " + tokens.time_secs(d)},
    dateText(timestamp, format, fallback));
  return url ? link(url, e) : e;
}

export function dayText(d) {
  return tokens.day_divider_pretty(d).replace(/^./, c => c.toUpperCase());
}

// Emoji. Those that matter for approvals are drawn, since not every machine has a font for them.

const drawn = {
  white_check_mark: ["check", "good"], heavy_check_mark: ["check", "good"], ballot_box_with_check: ["check", "good"],
  x: ["cross", "bad"], negative_squared_cross_mark: ["cross", "bad"], warning: ["warning", "warn"], no_entry: ["stop", "bad"],
  no_entry_sign: ["stop", "bad"], hourglass: ["hourglass", ""], hourglass_flowing_sand: ["hourglass", ""], alarm_clock: ["clock", ""],
  clock1: ["clock", ""], bell: ["bell", "warn"], lock: ["lock", ""], eyes: ["eye", ""], information_source: ["info", ""],
  pencil: ["pencil", ""], pencil2: ["pencil", ""], zap: ["bolt", "warn"], link: ["external", ""], house: ["home", ""],
};
const characters = {
  "+1": "👍", thumbsup: "👍", "-1": "👎", thumbsdown: "👎", tada: "🎉", rocket: "🚀", wave: "👋", heart: "❤️", smile: "😄",
  slightly_smiling_face: "🙂", fire: "🔥", point_right: "👉", raised_hands: "🙌", pray: "🙏", memo: "📝", calendar: "📆", question: "❓",
  exclamation: "❗", large_green_circle: "🟢", red_circle: "🔴", arrow_right: "➡️", hand: "✋", robot_face: "🤖", speech_balloon: "💬",
};

const canDraw = new Map();

// drawable reports whether this machine has a font for c: without one, it looks like a character that does not exist.
function drawable(c) {
  if (!canDraw.has(c)) {
    const pixels = text => {
      const canvas = h("canvas", {width: 24, height: 24}), pen = canvas.getContext("2d");
      pen.font = "16px sans-serif";
      pen.fillText(text, 0, 18);
      return canvas.toDataURL();
    };
    canDraw.set(c, pixels([...c][0]) !== pixels("\u{10fffd}") && pixels([...c][0]) !== pixels("\u{1fbff}"));
  }
  return canDraw.get(c);
}

// fromUnicode is the character of "1f600" or "1f1e9-1f1ea"; nothing for what is none.
function fromUnicode(unicode) {
  if (!/^[0-9a-f]{1,6}(-[0-9a-f]{1,6})*$/i.test(unicode || "")) return "";
  const points = unicode.split("-").map(u => parseInt(u, 16));
  return points.every(n => n <= 0x10ffff) ? String.fromCodePoint(...points) : "";
}

function emoji(name, unicode) {
  const base = name.replace(/::skin-tone-\d$/, "");
  if (Object.hasOwn(drawn, base)) {
    const [shape, tone] = drawn[base];
    return h("span", {class: "emoji " + tone, title: ":" + name + ":"}, icon(shape, name.replaceAll("_", " ")));
  }
  const c = Object.hasOwn(characters, base) ? characters[base] : fromUnicode(unicode);
  return c && drawable(c) ? h("span", {class: "emoji", role: "img", "aria-label": name.replaceAll("_", " "), title: ":" + name + ":"}, c) : ":" + name + ":";
}

const shortcode = /^:([a-z0-9_+'-]+(?:::skin-tone-\d)?):/;

// withEmoji is plain text whose shortcodes are emoji.
export function withEmoji(text) {
  return decode(text).split(/(:[a-z0-9_+'-]+:)/).map(s => (shortcode.test(s) ? emoji(s.slice(1, -1)) : s));
}

// angle is what stands between < and >.
function angle(inner) {
  const [target, label] = inner.split(/\|(.*)/s);
  if (target[0] === "@") return userMention(target.slice(1), label && decode(label));
  if (target[0] === "#") return channelMention(target.slice(1), label && decode(label));
  if (target.startsWith("!subteam^")) return groupMention(target.slice(9), label && decode(label));
  if (target.startsWith("!date^")) {
    const [, timestamp, format, url] = target.split("^");
    return date(Number(timestamp || NaN), decode(format ?? ""), decode(label ?? ""), url && decode(url));
  }
  if (target[0] === "!") return chip("@" + target.slice(1), true);
  return link(decode(target), decode(label ?? target.replace(/^mailto:/, "")));
}

const rules = [
  [/^```\n?([\s\S]+?)\n?```\n?/, m => h("pre", {}, decode(m[1]))],
  [/^`([^`\n]+)`/, m => h("code", {}, decode(m[1]))],
  [/^<([^<>\n]+)>/, m => angle(m[1])],
  [shortcode, m => emoji(m[1])],
  [/^\*(?=\S)([^*\n]*[^*\s])\*(?!\w)/, (m, how) => h("b", {}, mrkdwn(m[1], how))],
  [/^_(?=\S)([^_\n]*[^_\s])_(?!\w)/, (m, how) => h("i", {}, mrkdwn(m[1], how))],
  [/^~(?=\S)([^~\n]*[^~\s])~(?!\w)/, (m, how) => h("s", {}, mrkdwn(m[1], how))],
];
// Without verbatim Slack also finds what was not marked.
const loose = [
  [/^https?:\/\/[^\s<>|]*[^\s<>|.,;:!?)'"]/, m => link(decode(m[0]), decode(m[0]))],
  [/^@(here|channel|everyone)\b/, m => chip(m[0], true)],
  [/^#([\p{L}\p{N}._-]*[\p{L}\p{N}_-])/u, m => {
    const c = app.world.channels.find(c => c.name === m[1] && !c.dm);
    return c ? channelMention(c.id) : m[0];
  }],
];

// mrkdwn turns Slack's markup into nodes.
export function mrkdwn(text, how = {}) {
  const out = [];
  let plain = "", before = "";
  const flush = () => { if (plain) out.push(decode(plain)); plain = ""; };
  while (text) {
    const first = before === "" || before === "\n";
    const rest = first && text.match(/^(?:&gt;|>){3}\s?([\s\S]+)/);
    const quote = rest || (first && text.match(/^(?:(?:&gt;|>) ?[^\n]*(?:\n|$))+/));
    const all = how.verbatim ? rules : [...rules, ...loose];
    const rule = !quote && !(/[\p{L}\p{N}]/u.test(before) && text[0] !== "<") && all.find(([re]) => re.test(text));
    if (!quote && !rule) {
      before = text[0];
      plain += before;
      text = text.slice(1);
      continue;
    }
    flush();
    const m = quote || text.match(rule[0]);
    if (rest) out.push(h("blockquote", {}, mrkdwn(rest[1], how)));
    else if (quote) out.push(h("blockquote", {}, mrkdwn(m[0].replace(/\n$/, "").replace(/^(?:&gt;|>) ?/gm, ""), how)));
    else out.push(rule[1](m, how));
    before = m[0].at(-1);
    text = text.slice(m[0].length);
  }
  flush();
  return out;
}

// textOf is a text object.
export function textOf(o) {
  if (!o) return [];
  if (o.type === "mrkdwn") return mrkdwn(o.text, {verbatim: o.verbatim});
  return o.emoji === false ? [decode(o.text)] : withEmoji(o.text);
}

// plain is a text object for an attribute.
export const plain = o => (o ? decode(o.text) : "");

// rich is an element of a rich_text block.
export function rich(e) {
  const styled = node => {
    for (const [key, tag] of [["code", "code"], ["bold", "b"], ["italic", "i"], ["strike", "s"], ["underline", "u"]]) {
      if (e.style?.[key]) node = h(tag, {}, node);
    }
    return node;
  };
  const parts = () => (e.elements || []).map(rich);
  switch (e.type) {
    case "text": return styled(e.text);
    case "user": return styled(userMention(e.user_id));
    case "usergroup": return styled(groupMention(e.usergroup_id));
    case "channel": return styled(channelMention(e.channel_id));
    case "broadcast": return chip("@" + e.range, true);
    case "emoji": return emoji(e.name, e.unicode);
    case "color": return h("code", {}, e.value);
    case "link": return styled(link(e.url, e.text || e.url));
    case "date": return styled(date(e.timestamp, e.format, e.fallback || "", e.url));
    case "rich_text_list":
      return h(e.style === "ordered" ? "ol" : "ul", {class: "indent-" + Math.min(e.indent || 0, 4), start: e.offset ? e.offset + 1 : null},
        e.elements.map(i => h("li", {}, rich(i))));
    case "rich_text_quote": return h("blockquote", {}, parts());
    case "rich_text_preformatted": return h("pre", {}, parts());
    case "rich_text_section": return h("div", {class: "rich"}, parts());
  }
  return h("span", {class: "quiet"}, "[" + e.type + "]");
}
