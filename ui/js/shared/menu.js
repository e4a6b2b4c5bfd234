// @ts-check
// A button and the panel it opens over the page, closed by the button, by Escape, and by a press or the focus elsewhere.
import { make } from "./dom.js";

/**
 * @param {HTMLButtonElement} opener
 * @param {HTMLElement} panel
 * @param {(target: Element) => boolean} [stays] whether a press or the focus there leaves it open
 */
export const makeMenu = (opener, panel, stays = () => false) => {
  const node = make("div", "rg-menu", opener, panel);
  /** @param {boolean} on */
  const open = (on) => {
    const hadFocus = panel.contains(document.activeElement);
    panel.hidden = !on;
    opener.ariaExpanded = String(on);
    if (hadFocus && !on) opener.focus({ preventScroll: true }); // what is hidden cannot keep it
  };
  opener.addEventListener("click", () => open(Boolean(panel.hidden)));
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden) return;
    if (document.querySelector("dialog[open]")) return; // it closes that alone
    event.stopPropagation();
    open(false);
  });
  // An entry that had the focus may be disabled now.
  document.addEventListener("keydown", ({ key }) => {
    const isNowhere = document.activeElement === document.body;
    if (key === "Escape" && isNowhere && !panel.hidden) open(false);
  });
  /** @param {EventTarget | null} target */
  const isInside = (target) =>
    target instanceof Element &&
    (node.contains(target) || Boolean(target.closest("dialog")) || stays(target));
  document.addEventListener("pointerdown", ({ target }) => isInside(target) || open(false));
  // What has the focus may not lie under the panel.
  node.addEventListener("focusout", ({ relatedTarget: next }) => !next || isInside(next) || open(false));
  panel.classList.add("rg-panel");
  open(false);
  return { node, open };
};
