// What the model knows, in groups; a click puts a word where the cursor was in the field of words last used.
import { button, make } from "./shared/dom.js";
import { follow } from "./shared/server.js";
import { insertAt } from "./vocabulary/insert.js";

const TAKES = "#cards :is(input[type=text], textarea):not(.rg-name)";

const insert = (last, text) => {
  const field = last.field?.isConnected ? last.field : document.querySelector("#cards [data-key=prompt]");
  if (!field) return;
  const at = field === last.field ? last : { start: field.value.length, stop: field.value.length };
  const { value, cursor } = insertAt(field.value, at.start, at.stop, text);
  field.value = value;
  field.focus({ preventScroll: true });
  field.setSelectionRange(cursor, cursor);
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

const makeGroup = ({ title, words }, last) => {
  const node = make("div", "rg-wordgroup"),
    list = make("div", "rg-wordlist");
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", title);
  list.append(...words.map((word) => button("rg-offer", word, () => insert(last, word))));
  node.append(make("h3", "", title), list);
  return node;
};

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
    element.replaceChildren(make("p", "rg-note", value?.note ?? ""), ...groups);
  });
}
