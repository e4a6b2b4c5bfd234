// @ts-check
// Words of a text field that the model does not know, underlined while they are typed.
import { make } from "../shared/dom.js";

const WORD = /[\p{L}\p{N}_]+/gu;

// The text in pieces; `known` is false for words to underline.
export const pieces = (text, unknown) => {
  const found = [];
  let at = 0;
  for (const { 0: word, index } of text.matchAll(WORD)) {
    if (!unknown.includes(word.toLowerCase())) continue;
    if (index > at) found.push({ text: text.slice(at, index), known: true });
    found.push({ text: word, known: false });
    at = index + word.length;
  }
  if (at < text.length) found.push({ text: text.slice(at), known: true });
  return found;
};

// A copy of the text lies behind the field, unseen but for its underlines.
export const underlined = (input) => {
  const copy = make("span", { className: "rg-copy", ariaHidden: true });
  let unknown = [];
  const draw = () => {
    const parts = pieces(input.value, unknown).map(({ text, known }) => make(known ? "span" : "u", "", text));
    copy.style.fontSize = getComputedStyle(input).fontSize;
    copy.replaceChildren(...(unknown.length ? parts : []));
    copy.scrollLeft = input.scrollLeft;
    copy.scrollTop = input.scrollTop;
  };
  input.addEventListener("unknown", ({ detail }) => {
    unknown = detail;
    draw();
  });
  for (const kind of ["input", "scroll"]) input.addEventListener(kind, draw);
  return make("span", "rg-underlined", input, copy);
};
