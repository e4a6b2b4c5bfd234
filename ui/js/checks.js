// What is wrong with words and settings, said at each field while somebody types; Run goes to the first.
import { follow, hub } from "./shared/hub.js";
import { clearWrong, fieldOf, markWrong } from "./shared/wrong.js";
import { clearHint, isTyping, offerWords, setHint } from "./checks/notes.js";

const WORD = 900; // milliseconds without a letter after which a word at the cursor counts as finished
const isMask = ({ field }) => field.endsWith(".mask");

// `unknown` is heard by fields that underline words.
const tellWords = (node, words) =>
  node?.dispatchEvent(new CustomEvent("unknown", { detail: words.map(({ word }) => word) }));

const addMarking = (deck) => {
  const show = async (remark, focus) => {
    const node = fieldOf(remark.field);
    if (remark.hint) {
      if (node) setHint(node, remark.text, remark.offers);
      return;
    }
    if (isMask(remark) && !focus) return; // the card says that there is no mask
    tellWords(node, remark.words);
    await markWrong(remark.field, remark.text, focus);
    if (deck.remarks.includes(remark)) offerWords(fieldOf(remark.field), remark.words);
  };
  const clear = (remark) => {
    const node = fieldOf(remark.field);
    if (remark.hint && node) clearHint(node);
    if (remark.hint || isMask(remark)) return;
    tellWords(node, []);
    clearWrong(remark.field);
  };
  // A word that is only half written is left alone for a moment.
  const showAll = (focus = "") => {
    clearTimeout(deck.timer);
    const wait = deck.remarks.filter(({ field, words }) => isTyping(fieldOf(field), words));
    for (const remark of deck.remarks) if (!wait.includes(remark)) show(remark, remark.field === focus);
    if (wait.length) deck.timer = setTimeout(() => wait.forEach((remark) => show(remark, false)), WORD);
  };
  deck.take = (value) => {
    const next = value?.remarks ?? [],
      said = next.map((remark) => remark.field + remark.hint);
    for (const old of deck.remarks) if (!said.includes(old.field + old.hint)) clear(old);
    deck.remarks = next;
    // The line beside Run says it at the same moment, and marks the field without the words to choose.
    setTimeout(() => showAll(value?.focus), value?.pressed ? 60 : 0);
  };
  deck.showAll = showAll;
};

export function mount(element, props, trigger, watch) {
  const deck = { remarks: [], timer: 0 };
  element.hidden = true;
  addMarking(deck);
  follow(props, watch, deck.take);
  hub.on("look", () => trigger("look", {}));
  // Cards are made anew with a clip, and a drawn mask may be what was missing.
  hub.on("regions", () => setTimeout(deck.showAll));
  hub.on("masks", () => {
    if (deck.remarks.some(isMask)) trigger("look", {});
  });
}
