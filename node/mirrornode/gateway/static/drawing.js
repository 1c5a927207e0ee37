// Elements: made, changed only where something is new, kept when a list changes. All text goes
// through textContent: names, agents and reasons come from strangers.

import { language, t } from "./words.js";

export const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function attr(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// Keeps the elements of a list that stay, so that focus and selection do too.
export function keyed(parent, items, keyOf, create, update) {
  const old = parent.drawn || new Map();
  const drawn = new Map();
  let place = parent.firstChild;
  items.forEach((item, index) => {
    let key = keyOf(item);
    while (drawn.has(key)) key = `${key} ${index}`;
    const element = old.get(key) || create(item);
    update(element, item);
    drawn.set(key, element);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  });
  while (place) { const next = place.nextSibling; place.remove(); place = next; }
  parent.drawn = drawn;
}

export function part(element, name) {
  return element.parts[name];
}

// An element with named parts: [tag, class, name] each.
export function build(tag, className, ...children) {
  const element = make(tag, className);
  element.parts = {};
  for (const [childTag, childClass, name, under] of children) {
    const child = make(childTag, childClass);
    element.parts[name] = child;
    (under ? element.parts[under] : element).append(child);
  }
  return element;
}

export function bar(element, share) {
  const width = `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
  if (element.style.width !== width) element.style.width = width;
}

export function chip(text, kind) {
  return make("span", `chip ${kind || ""}`, text);
}

export function replace(element, ...children) {
  // What is drawn as before stays as it is: less work, and a selection survives.
  const next = children.map((child) => (typeof child === "string" ? child : child.outerHTML)).join("\n");
  if (element.shown === next) return;
  element.shown = next;
  element.replaceChildren(...children);
}

export function button(label, describes, act, className) {
  const element = make("button", className, label);
  element.type = "button";
  element.setAttribute("aria-label", describes);
  element.addEventListener("click", act);
  return element;
}

export function empty(id, isEmpty, parts) {
  const element = byId(id);
  element.hidden = !isEmpty;
  const key = `${language} ${JSON.stringify(parts)}`;
  if (!isEmpty || element.drawnFor === key) return;
  element.drawnFor = key;
  element.replaceChildren();
  for (const [kind, text] of parts) {
    if (kind === "text") { element.append(make("p", "", text)); continue; }
    const line = make("div", "command");
    line.append(make("code", "", text), button(t("copy"), `${t("copy")}: ${text}`, () => copy(text)));
    element.append(line);
  }
}

async function copy(text) {
  try { await navigator.clipboard.writeText(text); toast(t("copied")); } catch (error) { toast(text); }
}

let toastTimer = 0;
export function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { byId("toast").textContent = ""; }, 6000);
}
