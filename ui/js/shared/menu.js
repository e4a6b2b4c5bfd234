// @ts-check
// A button and the panel it opens over the page, closed by the button, by Escape and by a press elsewhere.
import { make } from "./dom.js";

/**
 * @param {HTMLButtonElement} opener
 * @param {HTMLElement} panel
 * @param {(target: Element) => boolean} [stays] whether a press there leaves it open
 */
export const makeMenu = (opener, panel, stays = () => false) => {
  const node = make("div", "rg-menu", opener, panel);
  /** @param {boolean} on */
  const open = (on) => {
    panel.hidden = !on;
    opener.ariaExpanded = String(on);
  };
  opener.addEventListener("click", () => open(Boolean(panel.hidden)));
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden) return;
    event.stopPropagation();
    open(false);
    opener.focus();
  });
  document.addEventListener("pointerdown", ({ target }) => {
    const inside = target instanceof Element && (node.contains(target) || stays(target));
    if (!inside) open(false);
  });
  panel.classList.add("rg-panel");
  open(false);
  return { node, open };
};
