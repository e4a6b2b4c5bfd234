// @ts-check
// One card per region. What is typed here is the truth; which regions there are, the server says.
import { iconButton, make } from "./shared/dom.js";
import { keepDraft } from "./shared/draft.js";
import { hub } from "./shared/hub.js";
import { coverage } from "./canvas/cells.js";
import { makeCard } from "./cards/card.js";
import { makePrompts } from "./cards/prompts.js";

/** @typedef {import("./types").Deck} Deck */
/** @typedef {import("./types").Region} Region */
/** @typedef {import("./types").CardsView} CardsView */

const PAUSE = 180; // milliseconds without a letter until the prompt is composed anew
const ORDER = "Upper regions cover lower ones.";
const EMPTY = "No regions yet. Click a thing in the picture.";
const REST = "Everything that no other region covers, such as the background";
/** @type {(keyof import("./types").RegionWords)[]} */
const OF_REGION = [
  "label",
  "name",
  "color",
  "source",
  "prompt",
  "negative",
  "margin",
  "strength",
  "picture_scale",
];

/** @param {Deck} deck */
const makeHead = (deck) => {
  const add = iconButton("rg-mini", "plus", "New region (N)", () => deck.act("add"), "", { id: "rg-add" });
  const head = make("div", "rg-cards-head", make("h2", {}, "Regions"), add);
  return { head, add };
};

/**
 * Return what a person says of a region.
 * @param {Region} region
 * @returns {import("./types").RegionWords}
 */
const wordsOf = (region) => {
  const words = OF_REGION.map((key) => [key, region[key]]);
  return Object.fromEntries(words);
};

/**
 * Give the cards ways to say what they hold.
 * @param {Deck} deck
 * @param {{ value: CardsView | null }} props
 * @param {import("./types").Trigger<"cards">} trigger
 */
const addSaying = (deck, props, trigger) => {
  let timer = 0;
  /** @returns {import("./types").CardsSaying} */
  const read = () => ({
    id: deck.id,
    have: deck.have,
    attempt: hub.attempt,
    attempt_frame: hub.attemptFrame,
    ...deck.prompts.read(),
    regions: hub.regions.map(wordsOf),
  });
  // The run reads this value, so it follows every letter; the prompt below only every pause.
  deck.keep = () => {
    deck.take(props.value); // the server's newest word, should it not have been heard yet
    /** @type {unknown} */
    const said = { ...read(), full: Boolean(props.value?.full), rest: deck.rest };
    props.value = /** @type {import("./types").CardsView} */ (said);
    deck.taken = JSON.stringify(props.value);
    keepDraft(deck.taken);
  };
  deck.changed = () => {
    deck.keep();
    clearTimeout(timer);
    timer = setTimeout(() => trigger("prompts", {}), PAUSE);
  };
  deck.act = (name, label = hub.active, more = {}) =>
    hub.tell("act", { act: name, label, cards: read(), ...more });
  // Triggered on this component: its value holds the words the search goes by.
  deck.find = () => {
    deck.keep();
    trigger("discover", {});
  };
  deck.move = (label, by) => {
    const from = hub.regions.findIndex((region) => region.label === label);
    const to = from + by;
    if (to < 0 || to >= hub.regions.length) return;
    const [moved] = hub.regions.splice(from, 1);
    hub.regions.splice(to, 0, moved);
    deck.arrange();
    hub.tell("regions");
    deck.changed();
  };
};

/** @param {Deck} deck */
const markActive = ({ cards }) => {
  for (const [label, { card }] of cards) card.classList.toggle("rg-active", label === hub.active);
};

/**
 * Number the fields of a card by its place, and bind their labels to them.
 * @param {HTMLElement} words
 * @param {number} place
 */
const numberFields = (words, place) => {
  for (const key of ["prompt", "source"]) {
    const input = words.querySelector(`[data-key=${key}]`);
    const label = input?.closest(".rg-field")?.querySelector("label");
    if (!input || !label) continue;
    input.id = `rg-${key}-${place}`;
    label.htmlFor = input.id;
  }
};

/** @param {HTMLElement} card @param {"up" | "down"} side @param {boolean} able */
const setMovable = (card, side, able) => {
  card.querySelector(`[data-move=${side}]`)?.toggleAttribute("disabled", !able);
};

/**
 * Give the cards a way to stand in the order of the regions.
 * @param {Deck} deck
 * @param {HTMLElement} column
 * @param {HTMLElement} empty shown without regions
 * @param {HTMLElement} order shown with several
 */
const addArranging = (deck, column, empty, order) => {
  deck.arrange = () => {
    const last = hub.regions.length - 1;
    hub.regions.forEach((region, i) => {
      const made = deck.cards.get(region.label);
      if (!made) return;
      const { card, words } = made;
      const there = column.children[i] ?? null;
      // Moving a card would take the cursor out of its field.
      if (there !== card) column.insertBefore(card, there);
      numberFields(words.node, i);
      setMovable(card, "up", i > 0);
      setMovable(card, "down", i < last);
    });
    empty.hidden = hub.regions.length > 0;
    order.hidden = hub.regions.length < 2;
    markActive(deck);
  };
};

/**
 * Take which regions there are; known cards keep what was typed, newer than what the server echoes.
 * @param {Deck} deck
 * @param {Region[]} regions
 */
const takeRegions = (deck, regions) => {
  const { cards } = deck;
  const labels = regions.map(({ label }) => label);
  for (const { label, picture } of regions) cards.get(label)?.show(picture);
  const shown = hub.regions.map(({ label }) => label);
  const isSame = labels.join() === shown.join() && labels.every((label) => cards.has(label));
  if (isSame && !deck.fresh) return;
  for (const [label, { card }] of [...cards]) {
    if (labels.includes(label)) continue;
    cards.get(label)?.words.home();
    card.remove();
    cards.delete(label);
  }
  hub.regions = regions.map((region) => {
    const known = cards.get(region.label);
    const made = known ?? makeCard({ ...region }, deck);
    cards.set(region.label, made);
    // The rest of the frame has no place in the picture for its words.
    if (!known && !deck.fresh && region.label === deck.rest) made.open(true);
    return made.region;
  });
  deck.arrange();
  hub.tell("regions");
  hub.tell("masks");
  deck.keep();
};

/** @param {CardsView["blind"]} blind */
const takeBlind = (blind) => {
  if (!blind || JSON.stringify(blind) === JSON.stringify(hub.blind)) return;
  hub.blind = blind;
  hub.tell("regions");
};

/**
 * Give the cards a way to take what the server says.
 * @param {Deck} deck
 * @param {HTMLElement} root
 * @param {HTMLElement} column
 * @param {HTMLButtonElement} add
 */
const addTaking = (deck, root, column, add) => {
  // The words of an earlier run, or of before a reload, replace what was typed.
  /** @param {CardsView} value */
  const beginAnew = (value) => {
    hub.tell("close");
    deck.cards.clear();
    column.replaceChildren();
    deck.prompts.fill(value);
    deck.id = value.id;
    deck.have = value.have;
  };
  deck.take = (value) => {
    const text = JSON.stringify(value ?? null);
    if (text === deck.taken) return;
    deck.taken = text;
    root.hidden = !value;
    if (!value) return;
    takeBlind(value.blind);
    deck.rest = value.rest ?? 0;
    add.ariaDisabled = String(Boolean(value.full)); // pressed all the same, it says why
    hub.rest = deck.rest;
    hub.editor?.refresh(); // a rest of the frame that is there is not offered again
    const replaced = Boolean(value.anew) && value.anew !== deck.anew;
    const anew = deck.id !== value.id || replaced;
    deck.anew = value.anew ?? deck.anew;
    deck.fresh = anew || !deck.cards.size;
    if (anew) beginAnew(value);
    takeRegions(deck, value.regions);
  };
};

/**
 * Show what the chosen method uses of the cards.
 * @param {Deck} deck
 * @param {HTMLElement} root
 * @param {HTMLElement} unused says that regions are not used
 * @param {HTMLElement[]} parts that are about regions
 */
const settle = (deck, root, unused, parts) => {
  const { method } = hub;
  const ignored = method?.regions === "ignored";
  deck.prompts.settle(method);
  root.classList.toggle("rg-unbound", method?.binds === false);
  for (const part of parts) {
    part.inert = ignored;
    part.classList.toggle("rg-off", ignored);
  }
  unused.hidden = !ignored;
  const said = "edits the whole frame. It keeps your regions and masks but does not use them.";
  unused.textContent = ignored ? method.title + " " + said : "";
};

/** @param {Deck} deck @param {{ value: CardsView | null }} props */
const showMasks = (deck, props) => {
  const { editor } = hub;
  if (!editor?.clip || editor.id !== deck.id) return;
  if (editor.rev !== deck.have) {
    deck.have = editor.rev;
    if (props.value) deck.keep();
  }
  for (const [label, { card }] of deck.cards) {
    const covered = coverage(editor.lanes[label] ?? "", editor.clip.count);
    const said = card.querySelector(".rg-covered");
    if (said) said.textContent = label === deck.rest ? REST : covered;
  }
};

/** @type {import("./types").Mount<"cards">} */
export function mount(element, props, trigger, watch) {
  const column = make("div", "rg-cards");
  const empty = make("p", "rg-note", EMPTY);
  const order = make("p", "rg-caption", ORDER);
  const unused = make("p", "rg-note");
  const prompts = makePrompts(() => deck.changed());
  const known = { id: null, have: 0, rest: 0, taken: undefined, fresh: false, cards: new Map(), prompts };
  const deck = /** @type {Deck} */ (/** @type {unknown} */ (known)); // what follows adds the rest
  const { head, add } = makeHead(deck);
  const parts = [head, column, order, empty];
  const root = make("div", "rg-cards-box", ...deck.prompts.nodes, head, unused, ...parts.slice(1));
  document.getElementById("how-body")?.prepend(deck.prompts.last); // what few write
  addSaying(deck, props, trigger);
  addArranging(deck, column, empty, order);
  addTaking(deck, root, column, add);
  element.replaceChildren(root);
  const settleHere = () => settle(deck, root, unused, parts);
  hub.on("method", settleHere);
  hub.wordsOf = (label) => deck.cards.get(label)?.words ?? null;
  hub.on("add", () => deck.act("add"));
  hub.on("rest", () => deck.act("rest"));
  hub.on("find", () => deck.find());
  hub.on("show", (label) => deck.cards.get(label)?.open(true));
  hub.on("margin", ({ label, margin }) => {
    const region = deck.cards.get(label)?.region;
    if (!region) return;
    region.margin = margin;
    hub.tell("regions");
    deck.changed();
  });
  hub.on("said", () => deck.cards.forEach(({ draw }) => draw()));
  hub.on("attempt", () => deck.keep());
  hub.on("choose", () => markActive(deck));
  hub.on("masks", () => showMasks(deck, props));
  hub.on("noted", (told) => deck.cards.forEach(({ note }) => note(told)));
  hub.on("regions", () => deck.cards.forEach(({ draw }) => draw()));
  hub.on("regions", settleHere);
  settleHere();
  deck.take(props.value);
  watch("value", () => deck.take(props.value));
}
