// @ts-check
// One row of cards: scrolled by buttons, walked through by the arrow keys as one stop of the Tab key.
import { iconButton, make, mayMove, takeKey } from "../shared/dom.js";
import { clamp } from "../shared/numbers.js";

const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

const cardsOf = (row) => [...row.children];

const rove = (row, card) => {
  for (const one of cardsOf(row)) one.tabIndex = one === card ? 0 : -1;
};

const FIRST = 6; // cards that are shown before somebody looks for more

const showAll = (row) => {
  for (const card of cardsOf(row)) card.hidden = false;
};

const walk = (row, event) => {
  const by = takeKey(event, KEYS);
  if (!by) return;
  showAll(row);
  const cards = cardsOf(row),
    to = cards.indexOf(event.target.closest(".rg-gallery > *")) + by;
  cards[clamp(to, 0, cards.length - 1)].focus();
};

// Not a stop of the Tab key: the arrow keys go there.
const makeScroller = (row, name, hint, by) => {
  const scroll = () => {
    showAll(row);
    row.scrollBy({ left: by * row.clientWidth * 0.8, behavior: mayMove() ? "smooth" : "auto" });
  };
  return iconButton("rg-tool rg-scroller rg-" + name, name, hint, scroll, "", { tabIndex: -1 });
};

export const makeRow = (ariaLabel) => {
  const row = make("div", { className: "rg-gallery", role: "group", ariaLabel }),
    back = makeScroller(row, "back", "Previous examples", -1),
    next = makeScroller(row, "next", "More examples", 1),
    node = make("div", "rg-examples", row, back, next);
  const refresh = () => {
    const left = row.scrollWidth - row.clientWidth - row.scrollLeft;
    back.hidden = row.scrollLeft < 8;
    next.hidden = left < 8 && !row.lastChild?.hidden;
    node.dataset.more = [row.scrollLeft >= 8 && "before", left >= 8 && "after"].filter(Boolean).join(" ");
  };
  row.addEventListener("scroll", refresh, { passive: true });
  row.addEventListener("scroll", () => showAll(row), { passive: true });
  row.addEventListener("keydown", (event) => walk(row, event));
  row.addEventListener("focusin", ({ target }) => rove(row, target.closest(".rg-gallery > *")));
  new ResizeObserver(refresh).observe(row);
  const fill = (cards) => {
    cards.forEach((card, i) => (card.hidden = i >= FIRST));
    row.replaceChildren(...cards);
    rove(row, cards.find((card) => card.ariaPressed === "true") ?? cards[0]);
    refresh();
  };
  const choose = (name) => {
    for (const card of cardsOf(row)) if (card.dataset.name) card.ariaPressed = card.dataset.name === name;
  };
  return { node, fill, choose };
};
