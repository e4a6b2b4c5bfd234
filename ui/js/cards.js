// @ts-check
// One card per region, and the words of the whole clip.
import { Deck } from "./cards/deck.js";
import { hub } from "./shared/hub.js";

/** @type {import("./types").Mount<"cards">} */
export function mount(element, props, trigger, watch) {
  const deck = new Deck(props, trigger);
  document.getElementById("how-body")?.prepend(deck.prompts.last); // what few write
  element.replaceChildren(deck.root);
  hub.wordsOf = (label) => deck.cards.get(label)?.words ?? null;
  hub.on("method", () => deck.settle());
  hub.on("add", () => deck.act("add"));
  hub.on("rest", () => deck.act("rest"));
  hub.on("show", (label) => deck.cards.get(label)?.open(true));
  hub.on("margin", ({ label, margin }) => deck.widen(label, margin));
  hub.on("said", () => deck.cards.forEach(({ draw }) => draw()));
  hub.on("attempt", () => deck.keep());
  hub.on("choose", () => deck.markActive());
  hub.on("masks", () => deck.showMasks());
  hub.on("noted", (told) => deck.cards.forEach(({ note }) => note(told)));
  hub.on("regions", () => {
    deck.cards.forEach(({ draw }) => draw());
    deck.settle();
  });
  deck.settle();
  deck.take(props.value);
  watch("value", () => deck.take(props.value));
}
