// @ts-check
// The caret in the words at a mask. A click in the picture puts it there; what is typed before the mask has come goes
// there, too.
import { writeInto } from "../shared/dom.js";

/** @typedef {import("../types").Editor} Editor */

/**
 * @param {Editor} editor
 * @param {HTMLElement} node which the words are in
 * @param {HTMLElement} stage
 */
export const makeCaret = (editor, node, stage) => {
  /** @type {Node | null} */
  let written = null; // the field, since the caret was put there
  const isWritten = () => node.contains(written);
  let early = ""; // what was typed before they were there
  node.addEventListener("input", ({ target }) => (written = /** @type {Node} */ (target)));
  const enter = () => {
    /** @type {HTMLInputElement | null} */
    const field = node.querySelector("[data-key=prompt]");
    field?.focus({ preventScroll: true });
    if (!isWritten()) field?.select(); // other words replace those that were there
    return field;
  };
  // The caret goes there from the picture alone: somebody may have gone to another field meanwhile.
  const begin = () => {
    const from = document.activeElement ?? document.body;
    const isHere = from === document.body || stage.contains(from) || node.contains(from);
    const [words, isDone] = [early.replace("\n", ""), early.includes("\n")];
    early = "";
    if (!isHere) return;
    written = null;
    const field = enter();
    if (words) writeInto(field, words);
    if (isDone) field?.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  };
  /**
   * Take a letter that is typed at the picture for the words there, also while their mask is on its way.
   * @param {KeyboardEvent} event
   */
  const takes = (event) => {
    const key = event.key === "Enter" ? "\n" : event.key;
    const isLetter = /^\p{L}$/u.test(key);
    if (editor.marked.size || editor.held.length) {
      const isPart = isLetter || (early !== "" && key.length === 1);
      if (isPart) {
        event.preventDefault();
        early += key;
      }
      return isPart;
    }
    if (isLetter && !node.hidden) enter(); // which the letter goes to
    return isLetter && !node.hidden;
  };
  /** Tell whether nothing has been written into a field here. @param {Element} field */
  const isUntouched = (field) => node.contains(field) && !isWritten();
  const forget = () => {
    early = "";
  };
  return { begin, takes, isUntouched, forget };
};
