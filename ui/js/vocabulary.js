// @ts-check
// What the model knows, in groups; a click puts a word where the cursor was in the field of words last used.
import { button, make, writeInto } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const TAKES = ":is(#cards, .rg-bubble) :is(input[type=text], textarea)";

/** @typedef {HTMLInputElement | HTMLTextAreaElement} Field */
/** @typedef {{ field: Field | null, start: number, stop: number }} Selection in the field that was used last */

/**
 * Put words in place of a selection, with spaces around them; the cursor comes after them.
 * @param {string} text
 * @param {number} start
 * @param {number} stop
 * @param {string} words
 */
export const insertAt = (text, start, stop, words) => {
  const before = text.slice(0, start);
  const after = text.slice(stop);
  const left = before && !/\s$/.test(before) ? " " : "";
  const right = after && !/^[\s,.;:!?]/.test(after) ? " " : "";
  const written = before + left + words + right;
  return { value: written + after, cursor: written.length };
};

/** @param {Selection} last @param {string} text */
const insert = (last, text) => {
  /** @type {Field | null} */
  const own = hub.wordsOf(hub.active)?.node.querySelector("[data-key=prompt]") ?? null;
  const field = last.field?.isConnected ? last.field : own;
  if (!field) return;
  const end = field.value.length;
  const { start, stop } = field === last.field ? last : { start: end, stop: end };
  const { value, cursor } = insertAt(field.value, start, stop, text);
  writeInto(field, value);
  field.focus({ preventScroll: true });
  field.setSelectionRange(cursor, cursor);
};

/** @param {{ title: string, words: string[] }} group @param {Selection} last */
const makeGroup = ({ title, words }, last) => {
  const offers = words.map((word) => button("rg-offer", word, () => insert(last, word)));
  const about = { className: "rg-wordlist", role: "group", ariaLabel: title };
  return make("div", "rg-wordgroup", make("h3", {}, title), make("div", about, ...offers));
};

/** @type {import("./types").Mount<"vocabulary">} */
export function mount(element, props, trigger, watch) {
  /** @type {Selection} */
  const last = { field: null, start: 0, stop: 0 };
  /** @param {FocusEvent} event */
  const remember = (event) => {
    if (!document.contains(element)) document.removeEventListener("focusout", remember);
    const field = /** @type {Field} */ (event.target);
    if (!field.matches?.(TAKES)) return;
    last.field = field;
    last.start = field.selectionStart ?? 0;
    last.stop = field.selectionEnd ?? 0;
  };
  document.addEventListener("focusout", remember);
  follow(props, watch, (value) => {
    const groups = (value?.groups ?? []).map((group) => makeGroup(group, last));
    const title = make("summary", {}, "What the built-in model knows");
    const parts = [title, make("p", "rg-note", value?.note), ...groups];
    element.replaceChildren(make("details", "rg-more", ...parts));
  });
}
