// Below a field: a hint, and known words to click in place of unknown ones.
import { button, make } from "../shared/dom.js";

let hints = 0;
const LETTER = "[\\p{L}\\p{N}_]";

// What a click changes counts as typed.
const replaceWord = (field, word, known) => {
  const pattern = new RegExp(`(?<!${LETTER})${word}(?!${LETTER})`, "giu"); // a word has letters only
  field.value = field.value.replace(pattern, known);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
};

const offerFor = (field, { word, near }) =>
  near.map((known) => {
    const choice = button("rg-offer", known, () => replaceWord(field, word, known));
    choice.setAttribute("aria-label", `Replace “${word}” by “${known}”`);
    return choice;
  });

// Into the message of a field that is marked.
export const offerWords = (field, words) => {
  const note = field && document.getElementById(field.dataset.wrong),
    choices = words.flatMap((word) => offerFor(field, word));
  if (!note || !choices.length || note.querySelector(".rg-near")) return;
  const row = make("span", "rg-near");
  row.append(...choices);
  note.append(row);
};

const rowOf = (field) => field.closest(".rg-field, .rg-shows") ?? field;
const hintOf = (field) => field.dataset.hint && document.getElementById(field.dataset.hint);

export const clearHint = (field) => {
  hintOf(field)?.remove();
  if (field.getAttribute("aria-describedby") === field.dataset.hint)
    field.removeAttribute("aria-describedby");
  delete field.dataset.hint;
};

const fillIn = (field, text) => {
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
};

// `offers` are texts to put into the field with a click.
export const setHint = (field, text, offers) => {
  const said = JSON.stringify([text, offers]);
  if (hintOf(field)?.dataset.said === said) return;
  clearHint(field);
  const note = make("p", "rg-note rg-hint", text),
    row = make("span", "rg-near");
  note.id = "rg-hint-" + ++hints;
  note.dataset.said = said;
  row.append(...offers.map((offer) => button("rg-offer", offer, () => fillIn(field, offer))));
  if (offers.length) note.append(row);
  rowOf(field).after(note);
  field.dataset.hint = note.id;
  if (!field.hasAttribute("aria-describedby")) field.setAttribute("aria-describedby", note.id);
};
