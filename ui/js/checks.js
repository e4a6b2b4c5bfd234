// What is wrong with words and settings, said at each field while somebody types; Run goes to the first.
import { follow, hub } from "./shared/hub.js";
import { clearWrong, fieldOf, markWrong } from "./shared/wrong.js";
import { clearHint, isTyping, offerWords, setHint } from "./checks/notes.js";

const WORD = 900; // milliseconds without a letter after which a word at the cursor counts as finished
const isMask = ({ field }) => field.endsWith(".mask");

// `unknown` is heard by fields that underline words.
const tellWords = (node, words) =>
  node?.dispatchEvent(new CustomEvent("unknown", { detail: words.map(({ word }) => word) }));

export function mount(element, props, trigger, watch) {
  let remarks = [],
    timer = 0;
  element.hidden = true;
  const show = async (remark, focus) => {
    const { field, text, words, hint, offers } = remark,
      node = fieldOf(field);
    if (hint && node) setHint(node, text, offers);
    if (hint || (isMask(remark) && !focus)) return; // the card says that there is no mask
    tellWords(node, words);
    await markWrong(field, text, focus);
    if (remarks.includes(remark)) offerWords(fieldOf(field), words);
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
    clearTimeout(timer);
    const wait = remarks.filter(({ field, words }) => isTyping(fieldOf(field), words));
    for (const remark of remarks) if (!wait.includes(remark)) show(remark, remark.field === focus);
    if (wait.length) timer = setTimeout(() => wait.forEach((remark) => show(remark, false)), WORD);
  };
  follow(props, watch, (value) => {
    const next = value?.remarks ?? [],
      said = next.map((remark) => remark.field + remark.hint);
    for (const old of remarks) if (!said.includes(old.field + old.hint)) clear(old);
    remarks = next;
    // The line beside Run says it at the same moment, and marks the field without the words to choose.
    setTimeout(() => showAll(value?.focus), value?.pressed ? 60 : 0);
  });
  hub.on("look", () => trigger("look", {}));
  // Cards are made anew with a clip, and a drawn mask may be what was missing.
  hub.on("regions", () => setTimeout(showAll));
  hub.on("masks", () => {
    if (remarks.some(isMask)) trigger("look", {});
  });
}
