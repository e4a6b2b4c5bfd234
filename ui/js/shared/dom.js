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

export const icon = (name) =>
  makeSvg(
    "svg",
    { viewBox: "0 0 24 24", "aria-hidden": "true", class: "rg-icon" },
    makeSvg("path", { d: ICONS[name] }),
  );

export const iconButton = (className, picture, title, onclick, text = "", more = {}) => {
  const about = { className, type: "button", title, onclick, ...(!text && { ariaLabel: title }), ...more };
  return make("button", about, icon(picture), text && make("span", {}, text));
};

const QUOTED = /“[^”]*”|(?<![\p{L}\p{N}])'[^']*'(?![\p{L}\p{N}])/gu;

// Quoted words that are read from the right do not change the order of the words around them.
export const inOrder = (text) =>
  /[\u0590-\u08ff]/.test(text) ? text.replace(QUOTED, "\u2068$&\u2069") : text;

// A field for one line of text.
export const textField = (about) =>
  make("input", { type: "text", autocomplete: "off", spellcheck: false, dir: "auto", ...about });

export const slider = (min, max, step, value, about) =>
  make("input", { type: "range", min, max, step, value, ...about });

// Buttons that belong together, joined to one bar.
export const group = (ariaLabel, ...buttons) =>
  make("div", { className: "rg-pick", role: "group", ariaLabel }, ...buttons);

// Give an element exactly so many children, made where they are missing.
export const setCount = (parent, count, create) => {
  while (parent.children.length > count) parent.lastChild.remove();
  while (parent.children.length < count) parent.append(create());
};

// As if it had been typed.
export const writeInto = (field, text) => {
  if (!field || field.value === text) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

// Whether pictures may move by themselves.
export const mayMove = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;
