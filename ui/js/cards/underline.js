// @ts-check
// Words of a text field that the model does not know, underlined while they are typed.
import { make } from "../shared/dom.js";

const WORD = /[\p{L}\p{N}_]+/gu;

/**
 * Divide a text into pieces, of which those that are not known are underlined.
 * @param {string} text
 * @param {string[]} unknown words in small letters
 */
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

/**
 * Lay a copy of the text behind a field, unseen but for its underlines.
 * @param {HTMLInputElement | HTMLTextAreaElement} input
 */
export const underlined = (input) => {
  const copy = make("span", { className: "rg-copy", ariaHidden: true });
  /** @type {string[]} */
  let unknown = [];
  /** @param {{ text: string, known: boolean }} piece */
  const makePiece = ({ text, known }) => make(known ? "span" : "u", "", text);
  const draw = () => {
    const parts = pieces(input.value, unknown).map(makePiece);
    copy.style.fontSize = getComputedStyle(input).fontSize;
    copy.replaceChildren(...(unknown.length ? parts : []));
    copy.scrollLeft = input.scrollLeft;
    copy.scrollTop = input.scrollTop;
  };
  input.addEventListener("unknown", (event) => {
    unknown = /** @type {CustomEvent<string[]>} */ (event).detail;
    draw();
  });
  input.addEventListener("input", draw);
  input.addEventListener("scroll", draw);
  return make("span", "rg-underlined", input, copy);
};
