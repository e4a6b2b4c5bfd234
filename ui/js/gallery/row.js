// @ts-check
// Cards that are walked through by the arrow keys, as one stop of the Tab key.
import { childrenOf, make, takeKey } from "../shared/dom.js";
import { clamp } from "../shared/numbers.js";

const KEYS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };

/**
 * Make one card the stop of the Tab key.
 * @param {HTMLElement} row
 * @param {HTMLElement | null} card
 */
const rove = (row, card) => {
  for (const one of childrenOf(row)) one.tabIndex = one === card ? 0 : -1;
};

/** @param {Event} event @returns {HTMLElement | null} */
const cardOf = ({ target }) => /** @type {Element} */ (target).closest(".rg-gallery > *");

/** @param {HTMLElement} row @param {KeyboardEvent} event */
const walk = (row, event) => {
  const by = takeKey(event, KEYS);
  const card = cardOf(event);
  if (!by || !card) return;
  const cards = childrenOf(row);
  const to = cards.indexOf(card) + by;
  cards[clamp(to, 0, cards.length - 1)].focus();
};

/** @param {string} ariaLabel */
export const makeRow = (ariaLabel) => {
  const row = make("div", { className: "rg-gallery", role: "group", ariaLabel });
  row.addEventListener("keydown", (event) => walk(row, event));
  row.addEventListener("focusin", (event) => rove(row, cardOf(event)));
  /** @param {HTMLElement[]} cards */
  const fill = (cards) => {
    row.replaceChildren(...cards);
    rove(row, cards.find((card) => card.ariaPressed === "true") ?? cards[0]);
  };
  /** @param {string | null} name */
  const choose = (name) => {
    const named = childrenOf(row).filter((card) => card.dataset.name);
    for (const card of named) card.ariaPressed = String(card.dataset.name === name);
  };
  return { node: row, fill, choose };
};
