// Block Kit. See https://docs.slack.dev/reference/block-kit.
//
// A place says where blocks stand: {key, body, blocks, edits, fields, kept}. Key tells places apart; body names the
// place to the stand-in; edits changes with each update. In a modal, fields collects what reads each input, and kept
// holds what stood in them before.

import {h, icon, menu} from "./dom.js";
import {app, person, render, send} from "./store.js";
import {decode, plain, rich, textOf, withEmoji} from "./text.js";
import {avatar} from "./people.js";

let ids = 0;

// block draws one block.
export function block(b, place) {
  switch (b.type) {
    case "divider": return h("hr");
    case "header": return h("h3", {class: "block header"}, textOf(b.text));
    case "context": return h("div", {class: "block context"}, b.elements.map(e => h("span", {}, e.type === "image" ? picture(e, true) : textOf(e))));
    case "image": return h("figure", {class: "block"}, b.title ? h("figcaption", {}, textOf(b.title)) : null, picture(b, false));
    case "rich_text": return h("div", {class: "block richtext"}, b.elements.map(rich));
    case "actions": return h("div", {class: "block actions"}, b.elements.map(e => element(b, e, place)));
    case "section": return section(b, place);
    case "input": return input(b, place);
  }
  return h("div", {class: "block quiet"}, "[a block of type " + b.type + "]");
}

function section(b, place) {
  return h("div", {class: "block section"},
    h("div", {class: "grow"},
      b.text ? h("div", {class: "words"}, textOf(b.text)) : null,
      b.fields ? h("div", {class: "fields"}, b.fields.map(f => h("div", {class: "words"}, textOf(f)))) : null),
    b.accessory ? h("div", {class: "accessory"}, b.accessory.type === "image" ? picture(b.accessory, false) : element(b, b.accessory, place)) : null);
}

// picture shows an image of the page's own address; of others, which the page does not fetch, what it shows in words.
function picture(e, small) {
  const url = e.image_url || "";
  if (url.startsWith(location.origin + "/")) return h("img", {src: url, alt: decode(e.alt_text), class: small ? "small" : null});
  const words = [icon("info"), decode(e.alt_text)];
  return /^https?:/.test(url)
    ? h("a", {class: "picture", href: url, target: "_blank", rel: "noreferrer noopener", title: "An image from elsewhere, which this page does not load"}, words)
    : h("span", {class: "picture"}, words);
}

const keyOf = (b, e) => b.block_id + "/" + e.action_id;

// values are what stands in the inputs of a place, by block and action.
function values(place) {
  if (place.fields) return Object.fromEntries([...place.fields].map(([key, read]) => [key, read()]));
  const all = {};
  for (const b of place.blocks || []) {
    for (const e of b.type === "actions" ? b.elements : b.accessory ? [b.accessory] : []) {
      // What was chosen stays through updates, while there is such an element with such an option.
      const value = app.chosen.get(place.key + "|" + keyOf(b, e));
      const known = v => e.options.some(o => o.value === v);
      if (value === undefined || e.type === "static_select" && !known(value)) continue;
      all[keyOf(b, e)] = e.type === "checkboxes" ? value.filter(known) : value;
    }
  }
  return all;
}

// act tells the app what was done to an element, and shows that it is on its way, and if it was not acknowledged. It is
// false if the person has thought better of it.
async function act(b, e, place, path, body) {
  const name = keyOf(b, e), key = place.key + "|" + name;
  if (app.busy.has(key)) return;
  if (e.confirm && !(await confirmed(e.confirm))) {
    render();
    return false;
  }
  if (body.value !== undefined && !place.fields && e.type !== "overflow") app.chosen.set(key, body.value);
  app.busy.add(key);
  app.warned.delete(key);
  render();
  const filled = values(place);
  const answer = await send(path, {...place.body, action: name, ...body, values: filled});
  app.busy.delete(key);
  if (answer.failed) say(answer.failed);
  else if (answer.sent && !answer.acked) app.warned.set(key, {why: answer.error, edits: place.edits});
  render();
}

// state is what an element shows of its last click: that it is on its way, or Slack's warning.
function warning(key, place) {
  const w = app.warned.get(key);
  if (!w || w.edits !== place.edits) return null;
  const text = "This app responded with an error, or not at all: " + w.why + ". Try again.";
  return h("span", {class: "warning", role: "img", "aria-label": text, title: text, "data-test": "warning"}, icon("warning"));
}

function element(b, e, place) {
  const key = place.key + "|" + keyOf(b, e);
  const made = e.type === "button" ? button(b, e, place, key)
    : e.type === "overflow" ? overflow(b, e, place, key)
    : control(b, e, place, {label: plain(e.placeholder) || e.action_id, dispatch: true}).node;
  const sign = warning(key, place);
  return sign ? h("span", {class: "warned"}, made, sign) : made;
}

function button(b, e, place, key) {
  const busy = app.busy.has(key);
  const press = () => {
    if (e.url && /^https?:/i.test(e.url)) open(decode(e.url), "_blank", "noopener");
    return act(b, e, place, "click", {});
  };
  return h("button", {
    type: "button", class: "button " + (e.style || ""), "data-action": e.action_id, "data-focus": keyOf(b, e),
    "data-test": "button-" + e.action_id, "aria-label": plain({text: e.accessibility_label}) || null,
    "aria-busy": busy ? "true" : null, "aria-disabled": busy ? "true" : null, onclick: press,
  }, busy ? h("span", {class: "spinner"}) : null, withEmoji(e.text.text), e.url ? icon("external") : null);
}

function overflow(b, e, place, key) {
  const busy = app.busy.has(key);
  const more = h("button", {
    type: "button", class: "button more", "aria-label": "More actions", "data-action": e.action_id, "data-focus": keyOf(b, e),
    "data-test": "overflow-" + e.action_id, "aria-busy": busy ? "true" : null,
  }, busy ? h("span", {class: "spinner"}) : icon("dots"));
  return menu(more, () => e.options.map(o => ({
    label: textOf(o.text), note: o.description && plain(o.description), test: "option-" + o.value,
    onpick: () => {
      if (o.url && /^https?:/i.test(o.url)) open(decode(o.url), "_blank", "noopener");
      act(b, e, place, "select", {value: o.value});
    },
  })), {label: "More actions"});
}

// people are those whom one can choose.
const people = () => app.world.people.filter(p => p.acts);

// control draws a menu, a date picker or an input, and returns it with what reads its value.
function control(b, e, place, {id, label, describedby, dispatch, invalid}) {
  const name = keyOf(b, e), key = place.key + "|" + name;
  const start = initial => place.kept?.get(name) ?? (place.fields ? undefined : app.chosen.get(key)) ?? initial;
  const shared = {
    id, name, "data-focus": name, "data-test": "input-" + e.action_id, "aria-label": id ? null : label,
    "aria-describedby": describedby, "aria-busy": app.busy.has(key) ? "true" : null, autofocus: e.focus_on_load,
  };
  const tell = value => dispatch && act(b, e, place, "select", {value});
  const hint = plain(e.placeholder);
  let node, read;
  const choices = (options, chosen, none) => {
    let before;
    node = h("select", {...shared, onchange: async () => {
      const value = node.value;
      if (value && await tell(value) === false) node.value = before;
      else before = value;
    }},
      h("option", {value: "", disabled: !place.fields && chosen !== undefined}, none),
      options.map(([value, text]) => h("option", {value, selected: value === chosen}, text)));
    if (!chosen) node.value = "";
    before = node.value;
    read = () => node.value;
  };
  switch (e.type) {
    case "plain_text_input":
    case "number_input": {
      const long = e.type === "plain_text_input" && e.multiline;
      node = h(long ? "textarea" : "input", {
        ...shared, placeholder: hint || null, rows: long ? 4 : null, autocomplete: "off", type: long ? null : "text",
        inputmode: e.type === "number_input" ? (e.is_decimal_allowed ? "decimal" : "numeric") : null,
        onkeydown: ev => {
          if (dispatch && ev.key === "Enter" && !long) {
            ev.preventDefault();
            tell(node.value);
          }
        },
      });
      node.value = start(e.initial_value) ?? "";
      read = () => node.value;
      break;
    }
    case "datepicker": {
      // A year that is being typed is a date already, in the first century.
      const whole = () => node.value && node.valueAsDate.getUTCFullYear() >= 1000;
      node = h("input", {...shared, type: "date", onchange: () => whole() && tell(node.value)});
      node.value = start(e.initial_date) ?? "";
      read = () => node.value;
      break;
    }
    case "static_select": {
      const groups = e.option_groups?.flatMap(g => g.options) || e.options;
      choices(groups.map(o => [o.value, plain(o.text)]), start(e.initial_option?.value), hint || "Select an option");
      break;
    }
    case "users_select":
      choices(people().map(p => [p.id, p.real_name]), start(e.initial_user), hint || "Select a user");
      break;
    case "multi_users_select": {
      const many = manyPeople(shared, start(e.initial_users) || [], hint || "Add people", e.max_selected_items, tell);
      node = many.node;
      read = many.read;
      break;
    }
    case "checkboxes": {
      const chosen = start(e.initial_options?.map(o => o.value)) || [];
      const boxes = e.options.map((o, i) => h("input", {
        ...shared, id: null, "data-test": "option-" + o.value, "data-focus": name + "/" + o.value, type: "checkbox", value: o.value,
        checked: chosen.includes(o.value), "aria-label": null, autofocus: e.focus_on_load && i === 0,
        onchange: async ev => {
          const box = ev.target;
          if (await tell(read()) === false) box.checked = !box.checked;
        },
      }));
      node = h("div", {class: "boxes", id, "data-test": "input-" + e.action_id, role: label ? "group" : null, "aria-label": label},
        e.options.map((o, i) => h("label", {class: "box"}, boxes[i], h("span", {class: "grow"}, textOf(o.text),
          o.description ? h("span", {class: "note"}, textOf(o.description)) : null))));
      read = () => boxes.filter(box => box.checked).map(box => box.value);
      break;
    }
    default:
      return {node: h("span", {class: "quiet"}, "[an element of type " + e.type + "]")};
  }
  if (invalid) node.setAttribute("aria-invalid", "true");
  place.fields?.set(name, read);
  return {node, read};
}

// manyPeople is a list of people with a menu that adds to it, up to most.
function manyPeople(shared, chosen, hint, most, tell) {
  let all = [...chosen];
  const adder = h("select", {...shared, onchange: () => {
    if (adder.value) all.push(adder.value);
    draw();
    (adder.disabled ? list.lastElementChild.querySelector("button") : adder).focus();
    tell(all);
  }, onkeydown: ev => {
    // On a closed menu the browser would choose at once.
    if (ev.key !== "ArrowDown" && ev.key !== "ArrowUp") return;
    ev.preventDefault();
    adder.showPicker();
  }});
  const list = h("span", {class: "tokens", role: "list"});
  const node = h("div", {class: "many"}, list, adder);
  const draw = () => {
    list.replaceChildren(...all.map(id => h("span", {class: "token", role: "listitem"}, avatar(id, "tiny"), person(id)?.real_name || id,
      h("button", {type: "button", "aria-label": "Remove " + (person(id)?.real_name || id), onclick: () => {
        all = all.filter(o => o !== id);
        draw();
        adder.focus();
        tell(all);
      }}, icon("cross")))));
    adder.disabled = all.length >= (most || Infinity);
    adder.replaceChildren(h("option", {value: ""}, adder.disabled ? "No more than " + most : hint),
      ...people().filter(p => !all.includes(p.id)).map(p => h("option", {value: p.id}, p.real_name)));
  };
  draw();
  return {node, read: () => all};
}

// input draws an input block: its label, what it takes, a hint, and what is wrong with it.
function input(b, place) {
  const id = "input-" + ++ids, error = id + "-error", hint = id + "-hint";
  const {node} = control(b, b.element, place, {
    id, dispatch: b.dispatch_action, describedby: [error, b.hint ? hint : ""].join(" ").trim(),
  });
  const several = b.element.type === "checkboxes";
  return h(several ? "fieldset" : "div", {class: "block input", "data-block": b.block_id, "data-test": "block-" + b.block_id},
    h(several ? "legend" : "label", {for: several ? null : id}, textOf(b.label), b.optional ? h("span", {class: "optional"}, " (optional)") : null),
    node,
    h("div", {class: "error", id: error, "data-error": b.block_id, "data-test": "error-" + b.block_id}),
    b.hint ? h("div", {class: "hint", id: hint}, textOf(b.hint)) : null);
}

// confirmed asks with a confirmation dialog.
// See https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object.
function confirmed(c) {
  return new Promise(done => {
    let yes = false;
    const close = answer => { yes = answer; d.close(); };
    const d = h("dialog", {class: "modal confirm", "aria-labelledby": "confirm-title", "data-test": "confirm"},
      h("header", {}, h("h2", {id: "confirm-title"}, textOf(c.title))),
      h("div", {class: "body"}, textOf(c.text)),
      h("footer", {},
        h("button", {type: "button", class: "button", "data-test": "confirm-no", onclick: () => close(false)}, textOf(c.deny)),
        h("button", {type: "button", class: "button " + (c.style || "primary"), autofocus: true, "data-test": "confirm-yes", onclick: () => close(true)}, textOf(c.confirm))));
    d.addEventListener("close", () => { d.remove(); done(yes); });
    document.body.append(d);
    d.showModal();
  });
}

let fading;

// say shows a line at the foot of the page for a while.
export function say(text) {
  const e = document.getElementById("status");
  e.textContent = text;
  e.hidden = !text;
  clearTimeout(fading);
  fading = setTimeout(() => { e.hidden = true; }, 8000);
}
