// @ts-check
// One field of the settings: its name, what one chooses or types in, what it does, and the way back to the usual.
import { fillSelect, iconButton, make, slider, textField } from "../shared/dom.js";
import { stepOf } from "./steps.js";

/** @typedef {import("../types").Parameter} Parameter */
/** @typedef {string | number | boolean} Value */
/** @typedef {(value: Value) => void} Take is called with what was chosen or typed */
/**
 * @typedef {object} Control
 * @property {HTMLElement[]} nodes the one that has a label first
 * @property {(value: Value) => void} show
 */

const MOST_SLIDER = 10_000; // larger ranges are typed into

/** @param {Take} take @returns {Control} */
const makeSwitch = (take) => {
  const box = make("input", { type: "checkbox", onchange: () => take(box.checked) });
  /** @param {Value} value */
  const show = (value) => {
    box.checked = Boolean(value);
  };
  return { nodes: [box], show };
};

/** @param {[value: string, text: string][]} entries @param {Take} take @returns {Control} */
export const makeChoice = (entries, take) => {
  const select = make("select", { onchange: () => take(select.value) });
  /** @param {Value} value */
  const show = (value) => fillSelect(select, entries, String(value));
  return { nodes: [select], show };
};

/** @param {string} placeholder @param {Take} take @returns {Control} */
const makeText = (placeholder, take) => {
  const input = textField({ placeholder, oninput: () => take(input.value) });
  /** @param {Value} value */
  const show = (value) => {
    if (input.value !== String(value)) input.value = String(value);
  };
  return { nodes: [input], show };
};

/** @param {Take} take @param {number | "any"} [step] of the arrow keys @returns {Control} */
export const makeNumber = (take, step = "any") => {
  const oninput = () => take(input.value === "" ? "" : input.valueAsNumber);
  const input = make("input", { type: "number", step, oninput });
  /** @param {Value} value */
  const show = (value) => {
    if (input.valueAsNumber !== value) input.value = String(value);
  };
  return { nodes: [input], show };
};

/**
 * Make a slider with a number beside it, which takes what lies beyond the slider's end, too.
 * @param {Parameter} parameter
 * @param {number} usual
 * @param {Take} take
 * @returns {Control}
 */
const makeRange = (parameter, usual, take) => {
  const { title, type, minimum = 0, maximum = 0, reach = maximum } = parameter;
  const step = type === "integer" ? 1 : stepOf(maximum, usual);
  const oninput = () => {
    show(bar.valueAsNumber);
    take(bar.valueAsNumber);
  };
  const about = { ariaLabel: `${title}, slider`, oninput, tabIndex: -1 };
  const bar = slider(minimum, Math.max(reach, usual), step, usual, about);
  const number = makeNumber((value) => {
    if (value !== "") bar.value = String(value);
    take(value);
  }, step);
  const [typed] = number.nodes;
  // Emptied, it says again where the slider stands.
  typed.addEventListener("blur", () => {
    if (/** @type {HTMLInputElement} */ (typed).value === "") oninput();
  });
  /** @param {Value} value */
  const show = (value) => {
    bar.value = String(value);
    number.show(value);
  };
  return { nodes: [typed, bar], show };
};

/**
 * Make what a parameter is chosen or typed by.
 * @param {Parameter} parameter
 * @param {Value} usual
 * @param {Take} take
 */
const makeControl = (parameter, usual, take) => {
  const { type, minimum, maximum, hint = "", enum: offered } = parameter;
  if (type === "boolean") return makeSwitch(take);
  if (offered)
    return makeChoice(
      offered.map((one) => [one, one]),
      take,
    );
  if (type === "string") return makeText(hint, take);
  const isRange = minimum !== undefined && maximum !== undefined && maximum <= MOST_SLIDER;
  return isRange ? makeRange(parameter, Number(usual), take) : makeNumber(take);
};

/**
 * Set a control below its name, with what it does.
 * @param {string} name
 * @param {string} title
 * @param {string} description
 * @param {Control} control
 * @param {...HTMLElement} more
 */
export const frame = (name, title, description, { nodes }, ...more) => {
  const [first] = nodes;
  first.id = `rg-set-${name}`;
  const caption = make("p", { className: "rg-caption", id: `rg-about-${name}` }, description);
  first.setAttribute("aria-describedby", caption.id);
  const label = make("label", { htmlFor: first.id }, title);
  const head = make("div", "rg-set-head", label, ...more);
  return make("div", `rg-set rg-param-${name}`, head, ...nodes, caption);
};

/**
 * Make the field of a parameter.
 * @param {string} name
 * @param {Parameter} parameter
 * @param {Value} usual what a run with nothing given uses
 * @param {Take} take
 */
export const makeField = (name, parameter, usual, take) => {
  const control = makeControl(parameter, usual, (value) => {
    mark(value);
    take(value);
  });
  const back = iconButton("rg-mini", "undo", `${parameter.title}: back to ${usual}`, () => {
    show(usual);
    take(usual);
    control.nodes[0].focus();
  });
  const node = frame(name, parameter.title, parameter.description, control, back);
  /** @param {Value} value */
  const mark = (value) => {
    back.hidden = value === usual;
    node.classList.toggle("rg-differs", value !== usual);
  };
  /** @param {Value} value */
  const show = (value) => {
    control.show(value);
    mark(value);
  };
  return { node, show };
};
