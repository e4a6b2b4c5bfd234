// @ts-check
// One row of cards: scrolled by buttons, walked through by the arrow keys as one stop of the Tab key.
import { childrenOf, iconButton, make, mayMove, takeKey } from "../shared/dom.js";
import { clamp } from "../shared/numbers.js";

const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

const FIRST = 6; // cards that are shown before somebody looks for more
const NEAR = 8; // pixels from an end of the row that count as there

/**
 * Make one card the stop of the Tab key.
 * @param {HTMLElement} row
 * @param {HTMLElement | null} card
 */
const rove = (row, card) => {
  for (const one of childrenOf(row)) one.tabIndex = one === card ? 0 : -1;
};

/** @param {HTMLElement} row */
const showAll = (row) => {
  for (const card of childrenOf(row)) card.hidden = false;
};

/** @param {Event} event @returns {HTMLElement | null} */
const cardOf = ({ target }) => /** @type {Element} */ (target).closest(".rg-gallery > *");

/** @param {HTMLElement} row @param {KeyboardEvent} event */
const walk = (row, event) => {
  const by = takeKey(event, KEYS);
  const card = cardOf(event);
  if (!by || !card) return;
  showAll(row);
  const cards = childrenOf(row);
  const to = cards.indexOf(card) + by;
  cards[clamp(to, 0, cards.length - 1)].focus();
};

/**
 * Make a button that scrolls. It is no stop of the Tab key: the arrow keys go there.
 * @param {HTMLElement} row
 * @param {"back" | "next"} name
 * @param {string} hint
 * @param {number} by
 */
const makeScroller = (row, name, hint, by) => {
  const scroll = () => {
    showAll(row);
    row.scrollBy({ left: by * row.clientWidth * 0.8, behavior: mayMove() ? "smooth" : "auto" });
  };
  return iconButton("rg-tool rg-scroller rg-" + name, name, hint, scroll, "", { tabIndex: -1 });
};

/** @param {string} ariaLabel */
export const makeRow = (ariaLabel) => {
  const row = make("div", { className: "rg-gallery", role: "group", ariaLabel });
  const back = makeScroller(row, "back", "Previous examples", -1);
  const next = makeScroller(row, "next", "More examples", 1);
  const node = make("div", "rg-examples", row, back, next);
  const refresh = () => {
    const before = row.scrollLeft >= NEAR;
    const after = row.scrollWidth - row.clientWidth - row.scrollLeft >= NEAR;
    const hasHidden = Boolean(childrenOf(row).at(-1)?.hidden);
    const sides = [];
    if (before) sides.push("before");
    if (after) sides.push("after");
    back.hidden = !before;
    next.hidden = !after && !hasHidden;
    node.dataset.more = sides.join(" ");
  };
  row.addEventListener("scroll", refresh, { passive: true });
  row.addEventListener("scroll", () => showAll(row), { passive: true });
  row.addEventListener("keydown", (event) => walk(row, event));
  row.addEventListener("focusin", (event) => rove(row, cardOf(event)));
  new ResizeObserver(refresh).observe(row);
  /** @param {HTMLElement[]} cards */
  const fill = (cards) => {
    cards.forEach((card, i) => {
      card.hidden = i >= FIRST;
    });
    row.replaceChildren(...cards);
    rove(row, cards.find((card) => card.ariaPressed === "true") ?? cards[0]);
    refresh();
  };
  /** @param {string | null} name */
  const choose = (name) => {
    const named = childrenOf(row).filter((card) => card.dataset.name);
    for (const card of named) card.ariaPressed = String(card.dataset.name === name);
  };
  return { node, fill, choose };
};
