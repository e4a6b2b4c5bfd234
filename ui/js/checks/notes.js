// @ts-check
// Below a field: a hint, and known words to click in place of unknown ones.
import { button, inOrder, make, writeInto } from "../shared/dom.js";

let hints = 0;
const LETTER = "[\\p{L}\\p{N}_]";

/** @typedef {HTMLInputElement | HTMLTextAreaElement} Field */
/** @typedef {import("../types").UnknownWord} UnknownWord */

/**
 * Tell whether somebody is still writing one of some words.
 * @param {Field | null} field
 * @param {UnknownWord[]} words
 */
export const isTyping = (field, words) => {
  if (!field || !words.length || field.ownerDocument.activeElement !== field) return false;
  const written = field.value.slice(0, field.selectionStart ?? 0).toLowerCase();
  return words.length === 1 && written.endsWith(words[0].word) && written.length === field.value.length;
};

/** @param {Field} field @param {string} text */
const fillIn = (field, text) => {
  writeInto(field, text);
  field.focus();
};

/** @param {Field} field @param {string} word @param {string} known */
const replaceWord = (field, word, known) => {
  const pattern = new RegExp(`(?<!${LETTER})${word}(?!${LETTER})`, "giu"); // a word has letters only
  fillIn(field, field.value.replace(pattern, known));
};

/** @param {Field} field @param {UnknownWord} unknown */
const offerFor = (field, { word, near }) =>
  near.map((known) => {
    const about = { ariaLabel: `Replace “${word}” by “${known}”` };
    return button("rg-offer", known, () => replaceWord(field, word, known), "", about);
  });

/**
 * Offer known words in the message of a field that is marked.
 * @param {Field | null} field
 * @param {UnknownWord[]} words
 */
export const offerWords = (field, words) => {
  const note = field && document.getElementById(field.dataset.wrong ?? "");
  if (!note || note.querySelector(".rg-near")) return;
  const offers = words.flatMap((word) => offerFor(field, word));
  const byText = new Map(offers.map((offer) => [offer.textContent, offer])); // each text once
  if (byText.size) note.append(make("span", "rg-near", ...byText.values()));
};

/** @param {Field} field */
const hintOf = (field) => document.getElementById(field.dataset.hint ?? "");

/** @param {Field} field */
export const clearHint = (field) => {
  hintOf(field)?.remove();
  if (field.getAttribute("aria-describedby") === field.dataset.hint)
    field.removeAttribute("aria-describedby");
  delete field.dataset.hint;
};

/**
 * Say a hint below a field.
 * @param {Field} field
 * @param {string} text
 * @param {string[]} offers texts to put into the field with a click
 */
export const setHint = (field, text, offers) => {
  const said = JSON.stringify([text, offers]);
  if (hintOf(field)?.dataset.said === said) return;
  clearHint(field);
  const choices = offers.map((offer) => button("rg-offer", offer, () => fillIn(field, offer)));
  hints += 1;
  const about = { className: "rg-note rg-hint", id: `rg-hint-${hints}`, dir: "auto", data: { said } };
  const near = choices.length > 0 && make("span", "rg-near", ...choices);
  const note = make("p", about, inOrder(text), near);
  (field.closest(".rg-field, .rg-shows") ?? field).after(note);
  field.dataset.hint = note.id;
  if (!field.hasAttribute("aria-describedby")) field.setAttribute("aria-describedby", note.id);
};
