// A question before something is lost. Resolves to whether it may be.
import { make } from "./dom.js";

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
