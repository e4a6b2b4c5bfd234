// @ts-check
// The cards of all regions together. What is typed in them is the truth; which regions there are, the server says.
import { coverage, overlap } from "../canvas/cells.js";
import { iconButton, make } from "../shared/dom.js";
import { keepDraft } from "../shared/draft.js";
import { hub } from "../shared/hub.js";
import { makeCard } from "./card.js";
import { makePrompts } from "./prompts.js";

/** @typedef {import("../types").ActData} ActData */
/** @typedef {import("../types").ActName} ActName */
/** @typedef {import("../types").Card} Card */
/** @typedef {import("../types").CardsView} CardsView */
/** @typedef {import("../types").Region} Region */

const PAUSE = 180; // milliseconds without a letter until the prompt is composed anew
const ORDER = "Upper regions cover lower ones.";
const EMPTY = "No regions yet. Click a thing in the picture.";
const REST = "Everything that no other region covers, such as the background";
/** @type {(keyof import("../types").RegionWords)[]} */
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

/**
 * Return what a person says of a region.
 * @param {Region} region
 * @returns {import("../types").RegionWords}
 */
const wordsOf = (region) => {
  const words = OF_REGION.map((key) => [key, region[key]]);
  return Object.fromEntries(words);
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
 * Name the field of what a region becomes, by what the model was taught, and know what it can draw.
 * @param {CardsView} value
 */
const takeModel = ({ instructs, drawn }) => {
  hub.change = instructs ? "What to do" : "Make it";
  hub.drawn = drawn ?? [];
  for (const label of document.querySelectorAll("label[for^=rg-prompt-label]"))
    label.textContent = hub.change;
};

/** @param {CardsView["blind"]} blind */
const takeBlind = (blind) => {
  if (blind === null || blind === hub.blind) return;
  hub.blind = blind;
  hub.tell("regions");
};

export class Deck {
  /** @type {string | null} */
  id = null;
  have = 0;
  /** Label of the region of all that no other covers. */
  rest = 0;
  /** The value that was taken last, as JSON. @type {string | undefined} */
  taken = undefined;
  /** @type {number | undefined} */
  anew = undefined;
  /** Whether all cards are to be made anew. */
  fresh = false;
  /** By label. @type {Map<number, Card>} */
  cards = new Map();
  prompts = makePrompts(() => this.changed());
  #props;
  #trigger;
  #timer = 0;
  #column = make("div", "rg-cards");
  #empty = make("p", "rg-note", EMPTY); // shown without regions
  #order = make("p", "rg-caption", ORDER); // shown where masks overlap
  #overlaps = false; // masks on a frame that was shown
  #unused = make("p", "rg-note"); // says that regions are not used
  #add = iconButton("rg-mini", "plus", "New region (N)", () => this.act("add"), "", { id: "rg-add" });
  #title = make("h2", { tabIndex: -1 }, "Regions");
  /** What is about regions. */
  #parts = [make("div", "rg-cards-head", this.#title, this.#add), this.#column, this.#order, this.#empty];

  /**
   * @param {{ value: CardsView | null }} props
   * @param {import("../types").Trigger<"cards">} trigger
   */
  constructor(props, trigger) {
    this.#props = props;
    this.#trigger = trigger;
    const [head, ...below] = this.#parts;
    this.root = make("div", "rg-cards-box", ...this.prompts.nodes, head, this.#unused, ...below);
  }

  /** @returns {import("../types").CardsSaying} */
  #read() {
    return {
      id: this.id,
      have: this.have,
      attempt: hub.attempt,
      attempt_frame: hub.attemptFrame,
      ...this.prompts.read(),
      regions: hub.regions.map(wordsOf),
    };
  }

  /** Say by the value what the page says now. The run reads it, so it follows every letter. */
  keep() {
    const props = this.#props;
    this.take(props.value); // the server's newest word, should it not have been heard yet
    /** @type {unknown} */
    const said = { ...this.#read(), full: Boolean(props.value?.full), rest: this.rest };
    props.value = /** @type {CardsView} */ (said);
    this.taken = JSON.stringify(props.value);
    keepDraft(this.taken);
  }

  /** The same, and compose the prompt below once nobody types any more. */
  changed = () => {
    this.keep();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#trigger("prompts", {}), PAUSE);
  };

  /** @param {ActName} act @param {number} [label] @param {ActData} [more] */
  act = (act, label = hub.active, more = {}) => hub.tell("act", { act, label, cards: this.#read(), ...more });

  /** @param {number} label @param {number} by */
  move = (label, by) => {
    const from = hub.regions.findIndex((region) => region.label === label);
    const to = from + by;
    if (to < 0 || to >= hub.regions.length) return;
    const [moved] = hub.regions.splice(from, 1);
    hub.regions.splice(to, 0, moved);
    this.#arrange();
    hub.tell("regions");
    this.changed();
  };

  /** @param {number} label @param {number} margin */
  widen(label, margin) {
    const region = this.cards.get(label)?.region;
    if (!region) return;
    region.margin = margin;
    hub.tell("regions");
    this.changed();
  }

  markActive() {
    for (const [label, { card }] of this.cards) card.classList.toggle("rg-active", label === hub.active);
  }

  /** Show what the chosen method uses of the cards. */
  settle() {
    const { method } = hub;
    const ignored = method?.regions === "ignored";
    this.prompts.settle(method);
    this.root.classList.toggle("rg-unbound", method?.binds === false);
    for (const part of this.#parts) {
      part.inert = ignored;
      part.classList.toggle("rg-off", ignored);
    }
    this.#unused.hidden = !ignored;
    const said = "edits the whole frame. It keeps your regions and masks but does not use them.";
    this.#unused.textContent = ignored ? method.title + " " + said : "";
  }

  /** Say on how many frames each region has a mask. */
  showMasks() {
    const { editor } = hub;
    if (!editor?.clip || editor.id !== this.id) return;
    if (editor.rev !== this.have) {
      this.have = editor.rev;
      if (this.#props.value) this.keep();
    }
    this.#overlaps ||= overlap(Object.values(editor.masks[editor.frame] ?? {}).map(({ runs }) => runs));
    this.#showOrder();
    for (const [label, { card }] of this.cards) {
      const covered = coverage(editor.lanes[label] ?? "", editor.clip.count);
      const said = card.querySelector(".rg-covered");
      if (said) said.textContent = label === this.rest ? REST : covered;
    }
  }

  #showOrder() {
    const isMeant = this.#overlaps && hub.regions.length > 1;
    this.#order.hidden = !isMeant;
    this.root.classList.toggle("rg-ordered", isMeant);
  }

  /** Take what the server says. @param {CardsView | null} value */
  take(value) {
    const text = JSON.stringify(value ?? null);
    if (text === this.taken) return;
    this.taken = text;
    this.root.hidden = !value;
    if (!value) return;
    takeBlind(value.blind);
    if (value.blind !== null) takeModel(value); // else the model is not said anew
    this.rest = value.rest ?? 0;
    this.#add.ariaDisabled = String(Boolean(value.full)); // pressed all the same, it says why
    hub.rest = this.rest;
    hub.editor?.refresh(); // a rest of the frame that is there is not offered again
    const replaced = Boolean(value.anew) && value.anew !== this.anew;
    const anew = this.id !== value.id || replaced;
    this.anew = value.anew ?? this.anew;
    this.fresh = anew || !this.cards.size;
    if (anew) this.#beginAnew(value);
    this.#takeRegions(value.regions);
  }

  /** The words of an earlier run, or of before a reload, replace what was typed. @param {CardsView} value */
  #beginAnew(value) {
    hub.tell("close");
    this.cards.clear();
    this.#column.replaceChildren();
    this.#overlaps = false;
    this.prompts.fill(value);
    this.id = value.id;
    this.have = value.have;
  }

  /**
   * Take which regions there are; known cards keep what was typed, newer than what the server echoes.
   * @param {Region[]} regions
   */
  #takeRegions(regions) {
    const { cards } = this;
    const labels = regions.map(({ label }) => label);
    for (const { label, picture } of regions) cards.get(label)?.show(picture);
    const shown = hub.regions.map(({ label }) => label);
    const isSame = labels.join() === shown.join() && labels.every((label) => cards.has(label));
    if (isSame && !this.fresh) return;
    for (const [label, { card, words }] of [...cards]) {
      if (labels.includes(label)) continue;
      words.home();
      if (card.contains(document.activeElement)) this.#title.focus({ preventScroll: true });
      card.remove();
      cards.delete(label);
    }
    hub.regions = regions.map((region) => {
      const known = cards.get(region.label);
      const made = known ?? makeCard({ ...region }, this);
      cards.set(region.label, made);
      // The rest of the frame has no place in the picture for its words.
      if (!known && !this.fresh && region.label === this.rest) made.open(true);
      return made.region;
    });
    this.#arrange();
    hub.tell("regions");
    hub.tell("masks");
    this.keep();
  }

  /** Let the cards stand in the order of the regions. */
  #arrange() {
    const last = hub.regions.length - 1;
    hub.regions.forEach((region, i) => {
      const made = this.cards.get(region.label);
      if (!made) return;
      const { card, words } = made;
      const there = this.#column.children[i] ?? null;
      // Moving a card would take the cursor out of its field.
      if (there !== card) this.#column.insertBefore(card, there);
      numberFields(words.node, i);
      setMovable(card, "up", i > 0);
      setMovable(card, "down", i < last);
    });
    this.#empty.hidden = hub.regions.length > 0;
    this.#add.hidden = !hub.regions.length; // a click makes the first
    this.#showOrder();
    this.markActive();
  }
}
