// Dialogs above the page.
import { button, make } from "./dom.js";

// A dialog named by its title, with a button that closes it.
export const makeDialog = (className, title, ...content) => {
  const id = className.split(" ").at(-1) + "-title",
    close = button("rg-tool", "Close", () => dialog.close()),
    dialog = make("dialog", className, make("h2", { id }, title), ...content, close);
  dialog.setAttribute("aria-labelledby", id);
  return dialog;
};
