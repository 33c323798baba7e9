// Making and updating elements. Text never becomes markup: everything goes through text nodes and attributes.

export const $ = id => document.getElementById(id);

// h makes an element. Props that begin with "on" are listeners; true is an empty attribute; false, null and undefined
// are none. Children are nodes or text, nested in lists as it comes.
export function h(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (value === true) e.setAttribute(key, "");
    else if (value !== false && value != null) e.setAttribute(key, value);
  }
  return fill(e, children);
}

// fill replaces what is in e.
export function fill(e, ...children) {
  e.replaceChildren(...children.flat(Infinity).filter(c => c != null && c !== false));
  return e;
}

// The icons, as paths on a field of 20 by 20; most are drawn with a line, those in solid are filled.
const paths = {
  hash: "M8 3 6.5 17M13.5 3 12 17M3.5 7.5h13.5M3 12.5h13.5",
  lock: "M5.5 9h9v7.5h-9zM7 9V6.5a3 3 0 0 1 6 0V9",
  shared: "M7.5 11.5 12.5 8.5M5.5 15a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6zM14.5 9.6a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6z",
  archive: "M3.5 4.5h13v3h-13zM4.5 7.5v8h11v-8M8 10.5h4",
  down: "M5.5 8 10 12.5 14.5 8",
  right: "M8 5.5 12.5 10 8 14.5",
  check: "M4 10.5 8.2 14.7 16 6",
  cross: "M5 5l10 10M15 5 5 15",
  eye: "M1.8 10S4.8 4.8 10 4.8 18.2 10 18.2 10 15.2 15.2 10 15.2 1.8 10 1.8 10zM10 12.4a2.4 2.4 0 1 0 0-4.8 2.4 2.4 0 0 0 0 4.8z",
  warning: "M10 3 18 16.5H2zM10 8v4M10 14.2v.3",
  send: "M3.5 16.5 17 10 3.5 3.5l1.6 5L11 10l-5.9 1.5z",
  activity: "M2.5 10.5h3.3l2.4-6 3.6 11 2.2-5h3.5",
  menu: "M3 5.5h14M3 10h14M3 14.5h14",
  external: "M8 4.5H4.5v11h11V12M11 4h5v5M16 4l-6.5 6.5",
  reply: "M8 5 3.5 9.5 8 14M3.5 9.5H11a5 5 0 0 1 5 5v1",
  bolt: "M11 2.5 4.5 11.5H10l-1 6 6.5-9H10z",
  plug: "M7 3v4M13 3v4M5 7h10v3a5 5 0 0 1-10 0zM10 15v3",
  home: "M3.5 9.5 10 4l6.5 5.5V16h-4.5v-4h-4v4H3.5z",
  clock: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 6v4.2l2.8 1.8",
  bell: "M5 14V9.5a5 5 0 0 1 10 0V14l1.3 1.3H3.700zM8.3 17.2h3.4",
  info: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 9v4.600M10 6.300v.3",
  stop: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM5.500 10h9",
  hourglass: "M5.500 3h9M5.500 17h9M6.500 3v3L10 10l-3.500 4v3M13.500 3v3L10 10l3.500 4v3",
  pencil: "M4 16l1-4L13.500 3.500l3 3L8 15z",
  dots: "",
};
const solid = new Set(["send", "bolt"]);

// icon draws one of them. With a label it is an image of that name; without one it is decoration.
export function icon(name, label) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "icon icon-" + name + (solid.has(name) ? " solid" : ""));
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else {
    svg.setAttribute("aria-hidden", "true");
  }
  const add = (tag, attributes) => {
    const e = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
    svg.append(e);
  };
  if (name === "dots") for (const x of [4.5, 10, 15.5]) add("circle", {cx: x, cy: 10, r: 1.5, class: "dot"});
  else add("path", {d: paths[name]});
  return svg;
}

// sync makes the children of box those of items, {key, sign, make}, and remakes only those whose sign has changed. Who
// had the focus in a remade child has it again, at the element with the same data-focus, or at the child itself.
export function sync(box, items) {
  const old = new Map([...box.children].map(e => [e.dataset.key, e]));
  const focused = document.activeElement;
  let before = box.firstElementChild;
  for (const {key, sign, make} of items) {
    let e = old.get(key);
    old.delete(key);
    const stale = e && e.sign !== sign;
    if (!e || stale) {
      let made;
      try {
        made = make();
      } catch (e) {
        console.error(e);
        made = h("div", {class: "problem"}, "This cannot be drawn.");
      }
      made.dataset.key = key;
      made.sign = sign;
      if (stale) {
        const held = e.contains(focused) ? focused.dataset.focus || "" : null;
        if (before === e) before = made;
        e.replaceWith(made);
        if (held !== null) refocus(made, held);
      }
      e = made;
    }
    if (e === before) before = before.nextElementSibling;
    else box.insertBefore(e, before);
  }
  for (const e of old.values()) e.remove();
}

function refocus(within, name) {
  const same = name && within.querySelector(`[data-focus="${CSS.escape(name)}"]`);
  if (same) {
    same.focus({preventScroll: true});
    return;
  }
  within.tabIndex = -1;
  within.focus({preventScroll: true});
}

let menus = 0;

// menu makes a button that opens a menu of items, {label, onpick, href, note, current, avatar}. The arrow keys move in
// it, Escape closes it.
export function menu(button, items, {label, role = "menu"} = {}) {
  const list = h("div", {class: "menu", popover: "auto", role, "aria-label": label, id: "menu-" + ++menus});
  const item = role === "menu" ? "menuitem" : "option";
  const close = () => list.hidePopover();
  button.setAttribute("aria-haspopup", role);
  button.setAttribute("aria-expanded", "false");
  const rows = () => [...list.querySelectorAll("[data-item]")];
  const draw = () => fill(list, items().map(i => h(i.href ? "a" : "button", {
    type: i.href ? null : "button", href: i.href, target: i.href ? "_blank" : null, rel: i.href ? "noreferrer noopener" : null,
    role: item, tabindex: "-1", class: "item", "data-item": true, "data-test": i.test,
    "aria-selected": role === "listbox" ? String(!!i.current) : null,
    onclick: () => { close(); i.onpick?.(); },
  }, i.avatar, h("span", {class: "grow"}, i.label, i.note ? h("span", {class: "note"}, i.note) : null), i.current ? icon("check") : null)));
  const show = () => {
    draw();
    button.after(list);
    list.showPopover();
    const b = button.getBoundingClientRect(), l = list.getBoundingClientRect();
    const below = b.bottom + 4 + l.height <= innerHeight;
    list.style.top = Math.max(4, below ? b.bottom + 4 : b.top - l.height - 4) + "px";
    list.style.left = Math.max(4, Math.min(b.left, innerWidth - l.width - 4)) + "px";
    (rows().find(r => r.getAttribute("aria-selected") === "true") || rows()[0])?.focus();
  };
  list.addEventListener("toggle", e => {
    const open = e.newState === "open";
    button.setAttribute("aria-expanded", String(open));
    if (!open) list.remove();
  });
  list.addEventListener("keydown", e => {
    const all = rows(), at = all.indexOf(document.activeElement);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1}[e.key];
    if (to !== undefined) {
      e.preventDefault();
      all[(to + all.length) % all.length].focus();
    }
    if (e.key === "Tab") close();
    if (e.key === "Escape") e.stopPropagation();
  });
  button.addEventListener("click", show);
  return button;
}
