// @ts-check
// Fields of a region's card; `changed` is called on every letter.
import { make, slider, textField } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { fromMargin, toMargin } from "../shared/numbers.js";
import { underlined } from "./underline.js";

const MARGIN = "How far beyond its mask the edit may reach; give room if the new object is larger";
const STRENGTH = "How strongly the region is bound to its own words; lower lets the rest of the prompt in";

// One text of a region. What is too long is said, never cut.
export const makeText = (region, key, title, placeholder, changed) => {
  const id = `rg-${key}-label-${region.label}`;
  const about = { value: region[key], id, placeholder, ariaLabel: `${region.name}: ${title}`, data: { key } };
  const oninput = ({ target }) => {
    const had = Boolean(region.prompt.trim());
    region[key] = target.value;
    if (had !== Boolean(region.prompt.trim())) hub.tell("regions"); // its margin shows or goes
    changed();
  };
  const label = make("label", { htmlFor: id }, title);
  return make("div", "rg-field", label, underlined(textField({ ...about, oninput })));
};

// What it should become; while that is empty, the field says that the thing stays.
export const makeChange = (region, source, changed) => {
  const row = makeText(region, "prompt", "Change to", "", changed),
    input = row.querySelector("input");
  const say = () => {
    const words = region.source.trim();
    input.placeholder = words ? `stays ${words}` : "leave empty to keep it";
  };
  source.addEventListener("input", say);
  say();
  return row;
};

// A slider with its value in words; `take` is called with its place, `say` says the value.
export const makeSlider = (title, hint, input, take, say) => {
  const said = make("span", {}, say()),
    label = make("label", { htmlFor: input.id }, title);
  input.addEventListener("input", () => {
    take(Number(input.value));
    said.textContent = say();
  });
  return make("div", { className: "rg-room", title: hint }, label, input, said);
};

export const makeStrength = (region, changed) => {
  const about = { id: "rg-strength-" + region.label, ariaLabel: `${region.name}: strength` };
  const take = (strength) => {
    region.strength = strength;
    changed();
  };
  const say = () => region.strength.toFixed(2).replace(/0$/, "");
  const row = makeSlider("Strength", STRENGTH, slider(0, 1, 0.05, region.strength, about), take, say);
  row.classList.add("rg-strength");
  return row;
};

export const makeMargin = (region, changed) => {
  const say = () => (region.margin ? `${region.margin} px around the mask` : "none");
  const ariaLabel = `${region.name}: margin around its mask, in pixels`,
    about = { id: "rg-margin-" + region.label, ariaLabel, ariaValueText: say() },
    input = slider(0, 20, 1, fromMargin(region.margin), about);
  const take = (place) => {
    region.margin = toMargin(place);
    input.ariaValueText = say();
    hub.tell("regions");
    changed();
  };
  return makeSlider("Margin", MARGIN, input, take, say);
};

export const makeName = (region, changed) => {
  const oninput = ({ target }) => {
    region.name = target.value;
    hub.tell("regions");
    changed();
  };
  const about = { className: "rg-name", maxLength: 40, value: region.name, oninput };
  return textField({ ...about, ariaLabel: "Name of region " + region.label });
};
