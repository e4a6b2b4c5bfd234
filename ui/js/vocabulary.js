// @ts-check
// What the model knows, in groups; a click puts a word where the cursor was in the field of words last used.
import { button, make, writeInto } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

const TAKES = "#cards :is(input[type=text], textarea):not(.rg-name)";

// Put words in place of the selection, `start` to `stop`, with spaces around them; the cursor comes after them.
export const insertAt = (text, start, stop, words) => {
  const before = text.slice(0, start),
    after = text.slice(stop);
  const left = before && !/\s$/.test(before) ? " " : "",
    right = after && !/^[\s,.;:!?]/.test(after) ? " " : "";
  const cursor = (before + left + words + right).length;
  return { value: before + left + words + right + after, cursor };
};

const insert = (last, text) => {
  const field = last.field?.isConnected ? last.field : document.querySelector("#cards [data-key=prompt]");
  if (!field) return;
  const at = field === last.field ? last : { start: field.value.length, stop: field.value.length };
  const { value, cursor } = insertAt(field.value, at.start, at.stop, text);
  writeInto(field, value);
  field.focus({ preventScroll: true });
  field.setSelectionRange(cursor, cursor);
};

const makeGroup = ({ title, words }, last) => {
  const offers = words.map((word) => button("rg-offer", word, () => insert(last, word))),
    about = { className: "rg-wordlist", role: "group", ariaLabel: title };
  return make("div", "rg-wordgroup", make("h3", {}, title), make("div", about, ...offers));
};

/** @type {import("./types").Mount<"vocabulary">} */
export function mount(element, props, trigger, watch) {
  const last = { field: null, start: 0, stop: 0 };
  const remember = ({ target }) => {
    if (!document.contains(element)) document.removeEventListener("focusout", remember);
    else if (target.matches?.(TAKES))
      Object.assign(last, { field: target, start: target.selectionStart, stop: target.selectionEnd });
  };
  document.addEventListener("focusout", remember);
  follow(props, watch, (value) => {
    const groups = (value?.groups ?? []).map((group) => makeGroup(group, last));
    element.replaceChildren(make("p", "rg-note", value?.note), ...groups);
  });
}
