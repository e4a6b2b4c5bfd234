// @ts-check
// What is wrong with words and settings, said at each field while somebody types; Run goes to the first.
import { follow, hub } from "./shared/hub.js";
import { clearWrong, fieldOf, markWrong } from "./shared/wrong.js";
import { clearHint, isTyping, offerWords, setHint } from "./checks/notes.js";

const WORD = 900; // milliseconds without a letter after which a word at the cursor counts as finished
const AFTER_RUN = 60; // milliseconds

/** @typedef {import("./types").Remark} Remark */

/** @param {Remark} remark */
const isMask = ({ field }) => field.endsWith(".mask");

/** @param {Remark} remark */
const keyOf = ({ field, hint }) => field + hint;

/**
 * Tell a field that underlines words which of them are unknown.
 * @param {Element | null} node
 * @param {import("./types").UnknownWord[]} words
 */
const tellWords = (node, words) => {
  const detail = words.map(({ word }) => word);
  node?.dispatchEvent(new CustomEvent("unknown", { detail }));
};

/** @param {Remark} remark */
const clear = (remark) => {
  const node = fieldOf(remark.field);
  if (remark.hint && node) clearHint(node);
  if (remark.hint || isMask(remark)) return;
  tellWords(node, []);
  clearWrong(remark.field);
};

/** @type {import("./types").Mount<"checks">} */
export function mount(element, props, trigger, watch) {
  /** @type {Remark[]} */
  let remarks = [];
  let timer = 0;
  element.hidden = true;
  /** @param {Remark} remark @param {boolean} focus */
  const show = async (remark, focus) => {
    const { field, text, words, hint, offers } = remark;
    const node = fieldOf(field);
    if (hint) {
      if (node) setHint(node, text, offers);
      return;
    }
    if (isMask(remark) && !focus) return; // the card says that there is no mask
    tellWords(node, words);
    await markWrong(field, text, focus);
    if (remarks.includes(remark)) offerWords(fieldOf(field), words);
  };
  // A word that is only half written is left alone for a moment.
  const showAll = (focus = "") => {
    clearTimeout(timer);
    const waiting = remarks.filter(({ field, words }) => isTyping(fieldOf(field), words));
    for (const remark of remarks) if (!waiting.includes(remark)) show(remark, remark.field === focus);
    const showWaiting = () => waiting.forEach((remark) => show(remark, false));
    if (waiting.length) timer = setTimeout(showWaiting, WORD);
  };
  follow(props, watch, (value) => {
    const next = value?.remarks ?? [];
    const said = next.map(keyOf);
    for (const old of remarks) if (!said.includes(keyOf(old))) clear(old);
    remarks = next;
    // The line beside Run says it at the same moment, and marks the field without the words to choose.
    setTimeout(() => showAll(value?.focus), value?.pressed ? AFTER_RUN : 0);
  });
  // What was wrong belongs to the clip that is left.
  hub.on("clip", () => {
    clearTimeout(timer);
    remarks.forEach(clear);
    remarks = [];
  });
  hub.on("look", () => trigger("look", {}));
  // Cards are made anew with a clip, and a drawn mask may be what was missing.
  hub.on("regions", () => setTimeout(showAll));
  hub.on("masks", () => {
    if (remarks.some(isMask)) trigger("look", {});
  });
}
