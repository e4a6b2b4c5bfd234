// @ts-check
// Fields of a region's card; `changed` is called on every letter.
import { button, childrenOf, make, slider, textField, writeInto } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { fromMargin, toMargin } from "../shared/numbers.js";
import { underlined } from "./underline.js";

/** @typedef {import("../types").Region} Region */

const MARGIN = "How far beyond its mask the edit may reach; give room if the new object is larger";
const STRENGTH = "How strongly the region is bound to its own words; lower lets the rest of the prompt in";

/**
 * Make the field of one text of a region. What is too long is said, never cut.
 * @param {Region} region
 * @param {"source" | "prompt" | "negative"} key
 * @param {string} title
 * @param {string} placeholder
 * @param {() => void} changed
 */
export const makeText = (region, key, title, placeholder, changed) => {
  const id = `rg-${key}-label-${region.label}`;
  const ariaLabel = `${region.name}: ${title}`;
  const isChanged = () => Boolean(region.prompt.trim());
  const oninput = () => {
    const before = isChanged();
    region[key] = input.value;
    if (before !== isChanged())
      hub.tell("regions"); // its margin shows or goes
    else hub.tell("said");
    changed();
  };
  const input = textField({ value: region[key], id, placeholder, ariaLabel, data: { key }, oninput });
  const label = make("label", { htmlFor: id }, title);
  return { node: make("div", "rg-field", label, underlined(input)), input };
};

/**
 * Make the field of what it should become, and chips below it; while it is empty, it says that the thing stays.
 * @param {Region} region
 * @param {HTMLInputElement} source
 * @param {() => void} changed
 */
export const makeChange = (region, source, changed) => {
  const { node, input } = makeText(region, "prompt", hub.change, "", changed);
  const say = () => {
    const words = region.source.trim();
    input.placeholder = words ? `stays ${words}` : "stays as it is";
  };
  source.addEventListener("input", say);
  say();
  return [node, makeOffers(input)];
};

/**
 * Make chips of what the model can draw, which the style sheet shows while their empty field is used.
 * @param {HTMLInputElement | HTMLTextAreaElement} input
 */
const makeOffers = (input) => {
  const node = make("div", { className: "rg-best", role: "group", ariaLabel: "What the model can draw" });
  const draw = () => {
    const offered = input.value ? [] : hub.drawn;
    const chips = offered.map((words) =>
      button("rg-offer", words, () => (writeInto(input, words), input.focus())),
    );
    node.replaceChildren(...chips);
  };
  node.addEventListener("pointerdown", (event) => event.preventDefault()); // the field is still used
  input.addEventListener("focus", draw);
  input.addEventListener("input", draw);
  return node;
};

/**
 * Make a row of a slider and its value in words.
 * @param {string} title
 * @param {string} hint
 * @param {HTMLInputElement} input
 * @param {(place: number) => void} take is called with the slider's place
 * @param {() => string} say says the value
 */
export const makeSlider = (title, hint, input, take, say) => {
  const said = make("span", {}, say());
  const label = make("label", { htmlFor: input.id }, title);
  input.addEventListener("input", () => {
    take(Number(input.value));
    said.textContent = say();
  });
  return make("div", { className: "rg-room", title: hint }, label, input, said);
};

/** @param {Region} region @param {() => void} changed */
export const makeStrength = (region, changed) => {
  const about = { id: "rg-strength-" + region.label, ariaLabel: `${region.name}: strength` };
  /** @param {number} strength */
  const take = (strength) => {
    region.strength = strength;
    changed();
  };
  const say = () => region.strength.toFixed(2).replace(/0$/, "");
  const row = makeSlider("Strength", STRENGTH, slider(0, 1, 0.05, region.strength, about), take, say);
  row.classList.add("rg-strength");
  return row;
};

/** @param {Region} region @param {() => void} changed */
export const makeMargin = (region, changed) => {
  const say = () => (region.margin ? `${region.margin} px around the mask` : "none");
  const ariaLabel = `${region.name}: margin around its mask, in pixels`;
  const about = { id: "rg-margin-" + region.label, ariaLabel, ariaValueText: say() };
  const input = slider(0, 20, 1, fromMargin(region.margin), about);
  /** @param {number} place */
  const take = (place) => {
    region.margin = toMargin(place);
    input.ariaValueText = say();
    hub.tell("regions");
    changed();
  };
  const node = makeSlider("Margin", MARGIN, input, take, say);
  // It may also be pulled in the picture.
  const draw = () => {
    if (toMargin(Number(input.value)) === region.margin) return;
    input.value = String(fromMargin(region.margin));
    input.ariaValueText = say();
    const [, , said] = childrenOf(node);
    said.textContent = say();
  };
  return { node, draw };
};
