// The field for messages and slash commands, with completion.

import {fill, h, icon} from "./dom.js";
import {app, myself, send} from "./store.js";
import {avatar, lead} from "./people.js";

// composer makes one. where says where what is typed goes.
export function composer({id, where, inThread}) {
  const listID = id + "-list";
  let options = [], at = -1, completes = null, drafts = new Map(), place = "";
  const text = h("textarea", {
    id: id + "-text", rows: "1", autocomplete: "off", spellcheck: "true", role: "combobox", "aria-expanded": "false", "aria-autocomplete": "list",
    "aria-controls": listID, "data-test": id, oninput: () => { grow(); suggest(); }, onkeydown: key, onblur: () => setTimeout(hide, 150),
  });
  const list = h("ul", {id: listID, class: "suggestions", role: "listbox", "aria-label": "Suggestions", hidden: true, "data-test": "suggestions"});
  const usage = h("div", {class: "usage", hidden: true, "data-test": "usage"});
  const problem = h("p", {class: "problem", role: "alert", hidden: true, "data-test": "problem"});
  const go = h("button", {type: "submit", class: "iconic go", "aria-label": "Send", "data-test": inThread ? "send-reply" : "send", disabled: true}, icon("send"));
  const node = h("form", {id, class: "composer", onsubmit: e => { e.preventDefault(); post(); }},
    list, problem, usage, h("div", {class: "field"}, text, go),
    h("p", {class: "keys"}, h("b", {}, "Enter"), " sends, ", h("b", {}, "Shift+Enter"), " begins a new line", inThread ? null : [", ", h("b", {}, "/"), " lists commands"]));

  function grow() {
    text.style.height = "auto";
    if (text.scrollHeight) text.style.height = Math.min(text.scrollHeight, 200) + "px";
    go.disabled = !text.value.trim();
  }

  function complain(why) {
    problem.textContent = why;
    problem.hidden = !why;
  }

  // suggest lists what completes the word before the cursor.
  function suggest() {
    const before = text.value.slice(0, text.selectionStart);
    const found = before.match(/(?:^|\s)([/@#])([^\s/@#]*)$/u);
    const command = !inThread && before.match(/^\/\S*$/);
    complain("");
    options = [];
    if (command) {
      options = app.world.commands.filter(c => c.name.startsWith(before)).map(c => ({
        insert: c.name + " ", row: [h("b", {}, c.name), " ", h("span", {class: "hint"}, c.usage), h("small", {}, c.description)],
      }));
      completes = [0, text.selectionStart];
    } else if (found && found[1] !== "/") {
      const word = found[2].toLowerCase();
      completes = [text.selectionStart - found[2].length - 1, text.selectionStart];
      const people = app.world.people.filter(p => p.name.startsWith(word) || p.real_name.toLowerCase().split(" ").some(w => w.startsWith(word)));
      options = found[1] === "@"
        ? [...people.map(p => ({insert: "@" + p.name + " ", row: [avatar(p.id, "tiny"), h("b", {}, p.name), h("small", {}, [p.real_name, p.note].filter(Boolean).join(" · "))]})),
          ...app.world.groups.filter(g => g.handle.startsWith(word)).map(g => ({insert: "@" + g.handle + " ", row: [h("b", {}, "@" + g.handle), h("small", {}, "group of " + g.members.length)]}))]
        : app.world.channels.filter(c => !c.dm && c.name.startsWith(word)).map(c => ({insert: "#" + c.name + " ", row: [lead(c), h("b", {}, c.name)]}));
    }
    const running = !inThread && app.world.commands.find(c => before.startsWith(c.name + " "));
    usage.hidden = !running;
    if (running) fill(usage, h("b", {}, running.name), " ", h("span", {class: "hint"}, running.usage), h("small", {}, running.description));
    at = options.length ? 0 : -1;
    show();
  }

  function show() {
    list.hidden = !options.length;
    text.setAttribute("aria-expanded", String(!!options.length));
    list.replaceChildren(...options.map((o, i) => h("li", {
      id: listID + "-" + i, role: "option", "aria-selected": String(i === at), onmousedown: e => { e.preventDefault(); complete(i); },
    }, o.row)));
    if (at >= 0) {
      text.setAttribute("aria-activedescendant", listID + "-" + at);
      list.children[at].scrollIntoView({block: "nearest"});
    } else text.removeAttribute("aria-activedescendant");
  }

  function hide() {
    options = [];
    at = -1;
    show();
  }

  function complete(i) {
    const [from, to] = completes;
    text.setRangeText(options[i].insert, from, to, "end");
    grow();
    suggest();
  }

  function key(e) {
    if (e.isComposing) return;
    const open = options.length > 0;
    if (open && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      e.preventDefault();
      at = (at + (e.key === "ArrowDown" ? 1 : -1) + options.length) % options.length;
      show();
    } else if (open && ((e.key === "Tab" && !e.shiftKey) || (e.key === "Enter" && !e.shiftKey))) {
      e.preventDefault();
      complete(at);
    } else if (open && e.key === "Escape") {
      e.preventDefault();
      e.stopPropagation();
      hide();
    } else if (e.key === "Enter" && !e.shiftKey) {
      e.preventDefault();
      post();
    }
  }

  // refused is why Slack's client does not send a command.
  function refused(said) {
    const name = said.match(/^\/\S*/)?.[0], known = app.world.commands;
    if (!name) return "";
    if (inThread) return name + " is not supported in threads. Sorry!";
    if (known.length && !known.some(c => c.name === name)) return name + " is not a valid command. Slack takes whatever begins with a / for one.";
    if (myself().note === "another organisation") return "People of other organisations cannot run commands.";
    return "";
  }

  async function post() {
    const said = text.value.trim();
    if (!said) return;
    const why = refused(said);
    if (why) {
      complain(why);
      hide();
      return;
    }
    text.value = "";
    usage.hidden = true;
    hide();
    grow();
    complain("");
    const answer = await send("say", {...where(), text: said});
    if (!answer.failed) return;
    complain(answer.failed);
    if (!text.value) {
      text.value = said;
      grow();
    }
  }

  return {
    node,
    // label names the field, and keeps a draft for each name and person.
    label(name) {
      const now = app.me + " " + name;
      if (now === place) return;
      if (place) drafts.set(place, text.value);
      text.value = drafts.get(now) || "";
      place = now;
      text.placeholder = name;
      text.setAttribute("aria-label", name);
      complain("");
      usage.hidden = true;
      grow();
    },
  };
}
