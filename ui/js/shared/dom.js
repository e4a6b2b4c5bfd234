// @ts-check
// Making and filling elements. Text that a person wrote reaches the document as text and values only.
import { ICONS } from "./icons.js";

/** @typedef {Record<string, unknown>} Properties of an element */
/** @typedef {Node | string | number | false | null | undefined} Child where nothing is left out, as an empty text is */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string | Properties} [about] the class, or properties; `data` among them goes to the dataset
 * @param {...Child} children
 */
export const make = (tag, about = {}, ...children) => {
  const { data, ...properties } = typeof about === "string" ? { className: about } : about;
  const node = document.createElement(tag);
  for (const child of children) if (child) node.append(child instanceof Node ? child : String(child));
  Object.assign(node, properties);
  Object.assign(node.dataset, data);
  return node;
};

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 */
export const makeSvg = (tag, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
};

/**
 * @param {string} className
 * @param {string} text
 * @param {((event: MouseEvent) => unknown) | undefined} [onclick]
 * @param {string} [title] a hint, and the name of a button without a text
 * @param {Properties} [more]
 */
export const button = (className, text, onclick, title = "", more = {}) => {
  const about = { className, type: "button", onclick, ...hintOf(title, text), ...more };
  return make("button", about, text);
};

/** @param {string} title @param {string} text @returns {Properties} */
const hintOf = (title, text) => {
  if (!title) return {};
  return text ? { title } : { title, ariaLabel: title };
};

/** @param {keyof typeof ICONS} name */
export const icon = (name) => {
  const about = { viewBox: "0 0 24 24", "aria-hidden": "true", class: "rg-icon" };
  return makeSvg("svg", about, makeSvg("path", { d: ICONS[name] }));
};

/**
 * @param {string} className
 * @param {keyof typeof ICONS} picture
 * @param {string} title a hint, and the name of a button without a text
 * @param {(event: MouseEvent) => unknown} [onclick]
 * @param {string} [text]
 * @param {Properties} [more]
 */
export const iconButton = (className, picture, title, onclick, text = "", more = {}) => {
  const about = { className, type: "button", onclick, ...hintOf(title, text), ...more };
  return make("button", about, icon(picture), text && make("span", {}, text));
};

const QUOTED = /“[^”]*”|(?<![\p{L}\p{N}])'[^']*'(?![\p{L}\p{N}])/gu;

/**
 * Keep quoted words that are read from the right from changing the order of the words around them.
 * @param {string} text
 */
export const inOrder = (text) =>
  /[\u0590-\u08ff]/.test(text) ? text.replace(QUOTED, "\u2068$&\u2069") : text;

/** @param {Properties} about */
export const textField = (about) =>
  make("input", { type: "text", autocomplete: "off", spellcheck: false, dir: "auto", ...about });

/**
 * @param {number} min
 * @param {number} max
 * @param {number} step
 * @param {number} value
 * @param {Properties} about
 */
export const slider = (min, max, step, value, about) =>
  make("input", { type: "range", min, max, step, value, ...about });

/**
 * Make a slider for a weight, and the number beside it.
 * @param {string} ariaLabel
 * @param {number} weight
 * @param {(weight: number) => void} take is called with what is chosen
 */
export const weightSlider = (ariaLabel, weight, take) => {
  const said = make("span", "rg-weight", String(weight));
  const oninput = () => {
    said.textContent = field.value;
    take(Number(field.value));
  };
  const field = slider(0, 2, 0.05, weight, { ariaLabel, oninput });
  return [field, said];
};

/**
 * Offer entries in a list, which is made anew only when they change: it may be open.
 * @param {HTMLSelectElement} select
 * @param {[value: string | number, text: string][]} entries
 * @param {string | number} chosen value
 */
export const fillSelect = (select, entries, chosen) => {
  const list = JSON.stringify(entries);
  if (select.dataset.list !== list)
    select.replaceChildren(...entries.map(([value, text]) => new Option(text, String(value))));
  select.dataset.list = list;
  select.value = String(chosen);
};

/**
 * Join buttons that belong together to one bar.
 * @param {string} ariaLabel
 * @param {...HTMLElement} buttons
 */
export const group = (ariaLabel, ...buttons) =>
  make("div", { className: "rg-pick", role: "group", ariaLabel }, ...buttons);

/**
 * Join such buttons of which one is pressed.
 * @template {string | number} Key
 * @param {string} title
 * @param {[key: Key, content: string | Node | Node[], hint?: string][]} entries
 * @param {(key: Key) => void} act
 */
export const chooser = (title, entries, act) => {
  /** @param {(typeof entries)[number]} entry */
  const makeChoice = ([key, content, hint]) => {
    const about = { className: "rg-tool", type: "button", onclick: () => act(key), data: { key } };
    const named = hint ? { title: hint, ariaLabel: hint } : {};
    return make("button", { ...about, ...named }, ...[content].flat());
  };
  return group(title, ...entries.map(makeChoice));
};

/**
 * @param {HTMLElement} bar made by `chooser`
 * @param {string | number} key
 */
export const pressOnly = (bar, key) => {
  for (const one of childrenOf(bar)) one.ariaPressed = String(one.dataset.key === String(key));
};

/**
 * Return what paints on a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export const contextOf = (canvas, settings) => {
  const context = canvas.getContext("2d", settings);
  if (!context) throw new Error("The browser paints no canvas.");
  return context;
};

// Dots of the screen in one of its pixels, of which canvases use at most two.
export const dotsPerPixel = () => Math.min(devicePixelRatio || 1, 2);

/** @param {Element} parent @returns {HTMLElement[]} */
export const childrenOf = (parent) => [...parent.children].map((child) => /** @type {HTMLElement} */ (child));

/**
 * Return what a key means by a table; such a key goes nowhere else, as to another frame of the clip.
 * @template Meaning
 * @param {KeyboardEvent} event
 * @param {Record<string, Meaning>} meanings
 */
export const takeKey = (event, meanings) => {
  if (!(event.key in meanings) || event.ctrlKey || event.metaKey || event.altKey) return undefined;
  event.preventDefault();
  event.stopPropagation();
  return meanings[event.key];
};

/**
 * Give an element a child for each thing.
 * @template Thing
 * @template {HTMLElement} Child
 * @param {HTMLElement} parent
 * @param {Thing[]} things
 * @param {() => Child} create makes a child where one is missing
 * @param {(child: Child, thing: Thing, place: number) => void} draw
 */
export const fillWith = (parent, things, create, draw) => {
  while (parent.children.length > things.length) parent.lastElementChild?.remove();
  while (parent.children.length < things.length) parent.append(create());
  things.forEach((thing, i) => draw(/** @type {Child} */ (parent.children[i]), thing, i));
};

/**
 * Put a text into a field as if it had been typed.
 * @param {HTMLInputElement | HTMLTextAreaElement | null | undefined} field
 * @param {string} text
 */
export const writeInto = (field, text) => {
  if (!field || field.value === text) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

// Tell whether the columns of the page stand one below the other, as in its style sheets.
export const isStacked = () => matchMedia("(max-width: 900px)").matches;

export const mayMove = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;
