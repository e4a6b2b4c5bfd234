// @ts-check
// Dialogs above the page, and questions before something is lost.
import { button, make } from "./dom.js";

/**
 * Make a dialog named by its title, with a button that closes it.
 * @param {string} className
 * @param {string} title
 * @param {...Node} content
 */
export const makeDialog = (className, title, ...content) => {
  const id = className.split(" ").at(-1) + "-title";
  const close = button("rg-tool", "Close", () => dialog.close());
  // It has the focus at first: nothing is done by the key that opened the dialog, pressed twice.
  const head = make("h2", { id, tabIndex: -1, autofocus: true }, title);
  const dialog = make("dialog", className, head, ...content, close);
  dialog.setAttribute("aria-labelledby", id);
  // What opened it has the focus again; the page stays where it is.
  dialog.addEventListener("close", () => {
    const [x, y] = [scrollX, scrollY];
    requestAnimationFrame(() => scrollTo(x, y));
  });
  return dialog;
};

/**
 * Make a question before something is lost.
 * @param {string} ariaLabel
 * @param {string} yes
 * @param {string} no
 */
export const makeQuestion = (ariaLabel, yes, no) => {
  const text = make("p");
  const choose = make("button", { className: "rg-tool", value: "yes" }, yes);
  const refuse = make("button", { className: "rg-tool", value: "no", autofocus: true }, no);
  const row = make("form", { className: "rg-files", method: "dialog" }, choose, refuse);
  const node = make("dialog", { className: "rg-help rg-ask", ariaLabel }, text, row);
  /** @type {(allowed: boolean) => void} */
  let answer = () => {};
  // Not at "close": it comes late, when the next question may stand there already.
  row.onsubmit = ({ submitter }) => answer(submitter === choose);
  node.oncancel = () => answer(false);
  /**
   * Ask, and resolve to whether it may be.
   * @param {string} words
   * @returns {Promise<boolean>}
   */
  const ask = (words) => {
    answer(false);
    text.textContent = words;
    node.showModal();
    return new Promise((done) => {
      answer = done;
    });
  };
  return { node, ask };
};
