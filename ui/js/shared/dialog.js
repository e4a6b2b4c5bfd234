// @ts-check
// Dialogs above the page, and questions before something is lost.
import { button, make } from "./dom.js";

/**
 * Show a dialog above all else. It stands in the page itself while it is open: within a part that is hidden, as the
 * masks are in other looks, it could not be seen, and yet would let nothing else be pressed.
 * @param {HTMLDialogElement} dialog
 */
export const showAbove = (dialog) => {
  if (dialog.open) return;
  const page = document.querySelector(".gradio-container .contain") ?? document.body;
  page.append(dialog);
  dialog.showModal();
};

/**
 * Take a dialog away once it is closed, and let a press beside it do what Escape does.
 * @param {HTMLDialogElement} dialog
 * @param {() => void} leave
 */
const leaveBeside = (dialog, leave) => {
  let begun = false; // beside it: what is selected within may be dragged out of it
  /** @param {MouseEvent} event */
  const isBeside = ({ target, clientX, clientY }) => {
    const { left, top, right, bottom } = dialog.getBoundingClientRect();
    const isWithin = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
    return target === dialog && !isWithin;
  };
  dialog.addEventListener("pointerdown", (event) => (begun = isBeside(event)));
  dialog.addEventListener("click", (event) => begun && isBeside(event) && leave());
  dialog.addEventListener("close", () => dialog.open || dialog.remove());
};

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
  leaveBeside(dialog, () => dialog.close());
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
  leaveBeside(node, () => {
    answer(false);
    node.close();
  });
  /**
   * Ask, and resolve to whether it may be.
   * @param {string} words
   * @returns {Promise<boolean>}
   */
  const ask = (words) => {
    answer(false);
    text.textContent = words;
    showAbove(node);
    return new Promise((done) => {
      answer = done;
    });
  };
  return { node, ask };
};
