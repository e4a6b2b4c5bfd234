// @ts-check
// Dialogs above the page, and questions before something is lost.
import { button, make } from "./dom.js";

// A dialog named by its title, with a button that closes it.
export const makeDialog = (className, title, ...content) => {
  const id = className.split(" ").at(-1) + "-title",
    close = button("rg-tool", "Close", () => dialog.close()),
    dialog = make("dialog", className, make("h2", { id }, title), ...content, close);
  dialog.setAttribute("aria-labelledby", id);
  return dialog;
};

// `ask` shows its words and resolves to whether it may be.
export const makeQuestion = (ariaLabel, yes, no) => {
  const text = make("p"),
    choice = (value, words) =>
      make("button", { className: "rg-tool", value, autofocus: value === "no" }, words),
    row = make("form", { className: "rg-files", method: "dialog" }, choice("yes", yes), choice("no", no)),
    node = make("dialog", { className: "rg-help rg-ask", ariaLabel }, text, row);
  let answer = () => {};
  // Not at "close": it comes late, when the next question may stand there already.
  row.onsubmit = ({ submitter }) => answer(submitter.value === "yes");
  node.oncancel = () => answer(false);
  const ask = (words) => {
    answer(false);
    text.textContent = words;
    node.showModal();
    return new Promise((done) => (answer = done));
  };
  return { node, ask };
};
