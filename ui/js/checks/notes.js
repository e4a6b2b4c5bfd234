// @ts-check
// Below a field: a hint, and known words to click in place of unknown ones.
import { button, inOrder, make, writeInto } from "../shared/dom.js";

let hints = 0;
const LETTER = "[\\p{L}\\p{N}_]";

// Whether somebody is still writing one of some words.
export const isTyping = (field, words) => {
  if (!field || !words.length || field.ownerDocument.activeElement !== field) return false;
  const written = field.value.slice(0, field.selectionStart ?? 0).toLowerCase();
  return words.length === 1 && written.endsWith(words[0].word) && written.length === field.value.length;
};

const fillIn = (field, text) => {
  writeInto(field, text);
  field.focus();
};

const replaceWord = (field, word, known) => {
  const pattern = new RegExp(`(?<!${LETTER})${word}(?!${LETTER})`, "giu"); // a word has letters only
  fillIn(field, field.value.replace(pattern, known));
};

const offerFor = (field, { word, near }) =>
  near.map((known) => {
    const about = { ariaLabel: `Replace “${word}” by “${known}”` };
    return button("rg-offer", known, () => replaceWord(field, word, known), "", about);
  });

// Into the message of a field that is marked.
export const offerWords = (field, words) => {
  const note = field && document.getElementById(field.dataset.wrong),
    offers = words.flatMap((word) => offerFor(field, word)),
    choices = [...new Map(offers.map((offer) => [offer.textContent, offer])).values()];
  if (!note || !choices.length || note.querySelector(".rg-near")) return;
  note.append(make("span", "rg-near", ...choices));
};

const hintOf = (field) => field.dataset.hint && document.getElementById(field.dataset.hint);

export const clearHint = (field) => {
  hintOf(field)?.remove();
  if (field.getAttribute("aria-describedby") === field.dataset.hint)
    field.removeAttribute("aria-describedby");
  delete field.dataset.hint;
};

// `offers` are texts to put into the field with a click.
export const setHint = (field, text, offers) => {
  const said = JSON.stringify([text, offers]);
  if (hintOf(field)?.dataset.said === said) return;
  clearHint(field);
  const choices = offers.map((offer) => button("rg-offer", offer, () => fillIn(field, offer)));
  const about = { className: "rg-note rg-hint", id: "rg-hint-" + ++hints, dir: "auto", data: { said } };
  const note = make("p", about, inOrder(text), choices.length > 0 && make("span", "rg-near", ...choices));
  (field.closest(".rg-field, .rg-shows") ?? field).after(note);
  field.dataset.hint = note.id;
  if (!field.hasAttribute("aria-describedby")) field.setAttribute("aria-describedby", note.id);
};
