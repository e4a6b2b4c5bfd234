// Elements. Text that a person wrote reaches the document as text and values only.
import { ICONS } from "./icons.js";

// `about` is the class, or properties of the element; `data` among them goes to its dataset. Children that are not
// there, such as an empty text, are left out.
export const make = (tag, about = {}, ...children) => {
  const { data, ...properties } = typeof about === "string" ? { className: about } : about;
  const node = document.createElement(tag);
  node.append(...children.filter(Boolean));
  Object.assign(node, properties);
  Object.assign(node.dataset, data);
  return node;
};

export const makeSvg = (tag, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

export const button = (className, text, onclick, title = "", more = {}) => {
  const hint = title && { title, ...(!text && { ariaLabel: title }) };
  return make("button", { className, type: "button", onclick, ...hint, ...more }, text);
};

export const icon = (name) => {
  const about = { viewBox: "0 0 24 24", "aria-hidden": "true", class: "rg-icon" };
  return makeSvg("svg", about, makeSvg("path", { d: ICONS[name] }));
};

export const iconButton = (className, picture, title, onclick, text = "", more = {}) => {
  const about = { className, type: "button", title, onclick, ...(!text && { ariaLabel: title }), ...more };
  return make("button", about, icon(picture), text && make("span", {}, text));
};

const QUOTED = /“[^”]*”|(?<![\p{L}\p{N}])'[^']*'(?![\p{L}\p{N}])/gu;

// Quoted words that are read from the right do not change the order of the words around them.
export const inOrder = (text) =>
  /[\u0590-\u08ff]/.test(text) ? text.replace(QUOTED, "\u2068$&\u2069") : text;

export const textField = (about) =>
  make("input", { type: "text", autocomplete: "off", spellcheck: false, dir: "auto", ...about });

export const slider = (min, max, step, value, about) =>
  make("input", { type: "range", min, max, step, value, ...about });

// A slider for a weight, and the number beside it; `take` is called with what is chosen.
export const weightSlider = (ariaLabel, weight, take) => {
  const said = make("span", "rg-weight", String(weight));
  const oninput = ({ target }) => {
    said.textContent = target.value;
    take(Number(target.value));
  };
  return [slider(0, 2, 0.05, weight, { ariaLabel, oninput }), said];
};

// Offer [value, text] in a list; it is made anew only when these change: it may be open.
export const fillSelect = (select, entries, chosen) => {
  const list = JSON.stringify(entries);
  if (select.dataset.list !== list)
    select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  select.dataset.list = list;
  select.value = chosen;
};

// Buttons that belong together, joined to one bar.
export const group = (ariaLabel, ...buttons) =>
  make("div", { className: "rg-pick", role: "group", ariaLabel }, ...buttons);

// Such buttons of which one is pressed; `entries` are [key, text or nodes, hint].
export const chooser = (title, entries, act) => {
  const buttons = entries.map(([key, content, hint]) => {
    const about = { className: "rg-tool", type: "button", onclick: () => act(key), data: { key } };
    return make("button", { ...about, ...(hint && { title: hint, ariaLabel: hint }) }, ...[content].flat());
  });
  return group(title, ...buttons);
};

export const pressOnly = (bar, key) => {
  for (const one of bar.children) one.ariaPressed = one.dataset.key === String(key);
};

// What a key means here, by a table; such a key goes nowhere else, as to another frame of the clip.
export const takeKey = (event, meanings) => {
  if (!(event.key in meanings) || event.ctrlKey || event.metaKey || event.altKey) return undefined;
  event.preventDefault();
  event.stopPropagation();
  return meanings[event.key];
};

// Give an element a child for each thing, made where it is missing; `draw` is told child, thing and place.
export const fillWith = (parent, things, create, draw) => {
  while (parent.children.length > things.length) parent.lastChild.remove();
  while (parent.children.length < things.length) parent.append(create());
  things.forEach((thing, i) => draw(parent.children[i], thing, i));
};

// As if it had been typed.
export const writeInto = (field, text) => {
  if (!field || field.value === text) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

// Whether the columns of the page stand one below the other, as in its style sheets.
export const isStacked = () => matchMedia("(max-width: 900px)").matches;

export const mayMove = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;
