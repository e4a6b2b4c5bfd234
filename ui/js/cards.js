// @ts-check
// One card per region. What is typed here is the truth; which regions there are, the server says.
import { iconButton, make } from "./shared/dom.js";
import { keepDraft } from "./shared/draft.js";
import { hub } from "./shared/hub.js";
import { coverage } from "./canvas/cells.js";
import { makeCard } from "./cards/card.js";
import { makePrompts } from "./cards/prompts.js";

const PAUSE = 180; // milliseconds without a letter until the prompt is composed anew
const FIND = "Find the objects named in “The clip shows”, without a click";
const ORDER = "Upper regions cover lower ones.";
const EMPTY = "No regions yet. Click a thing in the frame.";
const REST = "Everything that no other region covers, such as the background";
const OF_REGION = "label name color source prompt negative margin strength picture_scale".split(" ");

const makeHead = (deck) => {
  const tool = (id, picture, hint, act, text) => iconButton("rg-tool", picture, hint, act, text, { id });
  const find = tool("rg-find", "find", FIND, () => deck.find(), "Find"),
    add = tool("rg-add", "plus", "New region (N)", () => deck.act("add"), "New region"),
    rest = tool("rg-rest", "rest", REST, () => deck.act("rest"), "Rest of the frame");
  const buttons = make("div", "rg-pick-loose", find, add);
  return { head: make("div", "rg-cards-head", make("h2", {}, "Regions"), buttons), add, rest };
};

// What the page says now, and that it was said.
const addSaying = (deck, props, trigger) => {
  let timer = 0;
  const read = () => {
    const regions = hub.regions.map((region) =>
      Object.fromEntries(OF_REGION.map((key) => [key, region[key]])),
    );
    const attempt = hub.attempt ?? ""; // whether a run is only a try
    return { id: deck.id, have: deck.have, attempt, ...deck.prompts.read(), regions };
  };
  // The run reads this value, so it follows every letter; the prompt below only every pause.
  deck.keep = () => {
    deck.take(props.value); // the server's newest word, should it not have been heard yet
    props.value = { ...read(), full: Boolean(props.value?.full), rest: deck.rest };
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
    const from = hub.regions.findIndex((region) => region.label === label),
      to = from + by;
    if (to < 0 || to >= hub.regions.length) return;
    hub.regions.splice(to, 0, ...hub.regions.splice(from, 1));
    deck.arrange();
    hub.tell("regions");
    deck.changed();
  };
};

const markActive = ({ cards }) => {
  for (const [label, { card }] of cards) card.classList.toggle("rg-active", label === hub.active);
};

const addArranging = (deck, column, empty, order) => {
  deck.arrange = () => {
    hub.regions.forEach((region, i) => {
      const { card } = deck.cards.get(region.label);
      // Moving a card would take the cursor out of its field.
      if (column.children[i] !== card) column.insertBefore(card, column.children[i] ?? null);
      for (const key of ["prompt", "source"]) {
        const input = card.querySelector(`[data-key=${key}]`);
        input.id = `rg-${key}-${i}`;
        input.closest(".rg-field").querySelector("label").htmlFor = input.id;
      }
      card.querySelector("[data-move=up]").disabled = i === 0;
      card.querySelector("[data-move=down]").disabled = i === hub.regions.length - 1;
    });
    empty.hidden = hub.regions.length > 0;
    order.hidden = hub.regions.length < 2;
    markActive(deck);
  };
};

// Which regions there are; known cards keep what was typed, newer than what the server echoes.
const takeRegions = (deck, regions) => {
  const labels = regions.map((region) => region.label);
  for (const { label, picture } of regions) deck.cards.get(label)?.show(picture);
  const same = labels.join() === hub.regions.map((region) => region.label).join();
  if (!deck.fresh && same && labels.every((label) => deck.cards.has(label))) return;
  for (const label of [...deck.cards.keys()]) {
    if (labels.includes(label)) continue;
    deck.cards.get(label).card.remove();
    deck.cards.delete(label);
  }
  for (const region of regions)
    if (!deck.cards.has(region.label)) deck.cards.set(region.label, makeCard({ ...region }, deck));
  hub.regions = labels.map((label) => deck.cards.get(label).region);
  deck.arrange();
  hub.tell("regions");
  hub.tell("masks");
  deck.keep();
};

const addTaking = (deck, root, column, { add, rest }) => {
  deck.take = (value) => {
    const text = JSON.stringify(value ?? null);
    if (text === deck.taken) return;
    deck.taken = text;
    root.hidden = !value;
    if (!value) return;
    if (value.blind && JSON.stringify(value.blind) !== JSON.stringify(hub.blind)) {
      hub.blind = value.blind;
      hub.tell("regions");
    }
    add.disabled = Boolean(value.full);
    deck.rest = hub.rest = value.rest ?? 0;
    rest.hidden = Boolean(deck.rest);
    rest.disabled = add.disabled;
    // The words of an earlier run, or of before a reload, replace what was typed.
    const anew = deck.id !== value.id || (value.anew && value.anew !== deck.anew);
    deck.anew = value.anew ?? deck.anew;
    deck.fresh = anew || !deck.cards.size;
    if (anew) {
      deck.cards.clear();
      column.replaceChildren();
      deck.prompts.fill(value);
      Object.assign(deck, { id: value.id, have: value.have });
    }
    takeRegions(deck, value.regions);
  };
};

const settle = (deck, root, unused, parts) => {
  const method = hub.method,
    ignored = method?.regions === "ignored";
  deck.prompts.settle(method);
  root.classList.toggle("rg-unbound", Boolean(method) && !method.binds);
  for (const part of parts) {
    part.inert = ignored;
    part.classList.toggle("rg-off", ignored);
  }
  unused.hidden = !ignored;
  const said = "edits the whole frame. It keeps your regions and masks but does not use them.";
  unused.textContent = ignored ? method.title + " " + said : "";
};

const showMasks = (deck, props) => {
  const editor = hub.editor;
  if (!editor?.clip || editor.id !== deck.id) return;
  if (editor.rev !== deck.have) {
    deck.have = editor.rev;
    if (props.value) deck.keep();
  }
  for (const [label, { card }] of deck.cards)
    card.querySelector(".rg-covered").textContent =
      label === deck.rest ? REST : coverage(editor.lanes[label] ?? "", editor.clip.count);
};

/** @type {import("./types").Mount<"cards">} */
export function mount(element, props, trigger, watch) {
  const column = make("div", "rg-cards"),
    empty = make("p", "rg-note", EMPTY),
    order = make("p", "rg-caption", ORDER),
    unused = make("p", "rg-note");
  const deck = { id: null, have: 0, rest: 0, taken: undefined, fresh: false, cards: new Map() };
  deck.prompts = makePrompts(() => deck.changed());
  const { head, ...buttons } = makeHead(deck),
    parts = [head, column, order, empty, buttons.rest];
  const root = make("div", "rg-cards-box", ...deck.prompts.nodes, head, unused, ...parts.slice(1));
  root.append(deck.prompts.last);
  addSaying(deck, props, trigger);
  addArranging(deck, column, empty, order);
  addTaking(deck, root, column, buttons);
  element.replaceChildren(root);
  const settleHere = () => settle(deck, root, unused, parts);
  hub.on("method", settleHere);
  hub.on("add", () => deck.act("add"));
  hub.on("attempt", () => deck.keep());
  hub.on("choose", () => markActive(deck));
  hub.on("masks", () => showMasks(deck, props));
  hub.on("noted", (told) => deck.cards.forEach(({ note }) => note(told)));
  hub.on("regions", () => deck.cards.forEach(({ draw }) => draw()));
  settleHere();
  deck.take(props.value);
  watch("value", () => deck.take(props.value));
}
