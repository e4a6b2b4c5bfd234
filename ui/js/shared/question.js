// A question before something is lost. Resolves to whether it may be.
import { make } from "./dom.js";

export const makeQuestion = (ariaLabel, yes, no) => {
  const text = make("p"),
    choice = (value, words) =>
      make("button", { className: "rg-tool", value, autofocus: value === "no" }, words),
    row = make("form", { className: "rg-files", method: "dialog" }, choice("yes", yes), choice("no", no)),
    node = make("dialog", { className: "rg-help rg-ask", ariaLabel }, text, row);
  const ask = (words) => {
    text.textContent = words;
    node.returnValue = "";
    node.showModal();
    return new Promise((done) =>
      node.addEventListener("close", () => done(node.returnValue === "yes"), { once: true }),
    );
  };
  return { node, ask };
};
