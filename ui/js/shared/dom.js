// Elements. Text that a person wrote reaches the document through textContent and value only.
import { ICONS } from "./icons.js";

export const make = (tag, name = "", text = "") => {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text) node.textContent = text;
  return node;
};

export const button = (name, text, act, hint = "") => {
  const node = make("button", name, text);
  node.type = "button";
  if (hint) {
    node.title = hint;
    if (!text) node.setAttribute("aria-label", hint);
  }
  node.addEventListener("click", act);
  return node;
};

export const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "rg-icon");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
};

export const iconButton = (name, picture, hint, act, text = "") => {
  const node = button(name, "", act, hint);
  node.append(icon(picture));
  if (text) {
    node.append(make("span", "", text));
    node.removeAttribute("aria-label");
  }
  return node;
};

// Buttons that belong together, joined to one bar.
export const group = (title, ...buttons) => {
  const node = make("div", "rg-pick");
  node.setAttribute("role", "group");
  node.setAttribute("aria-label", title);
  node.append(...buttons);
  return node;
};

export const press = (node, on) => node.setAttribute("aria-pressed", String(on));

// Give an element exactly so many children, made where they are missing.
export const setCount = (parent, count, create) => {
  while (parent.children.length > count) parent.lastChild.remove();
  while (parent.children.length < count) parent.append(create());
};
