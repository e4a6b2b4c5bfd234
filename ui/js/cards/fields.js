// Fields of a region's card.
import { make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { fromMargin, toMargin } from "./margin.js";
import { underlined } from "./underline.js";

const MARGIN = "How far beyond its mask the edit may reach; give room if the new object is larger";

const STRENGTH = "How strongly the region is bound to its own words; lower lets the rest of the prompt in";

// One text of a region; `changed` is called on every letter. What is too long is said, never cut.
export const makeText = (region, key, title, example, changed) => {
  const row = make("div", "rg-field"),
    label = make("label", "", title),
    input = make("input");
  Object.assign(input, { type: "text", autocomplete: "off", spellcheck: false });
  Object.assign(input, { placeholder: example, value: region[key], id: `rg-${key}-label-${region.label}` });
  label.htmlFor = input.id;
  input.setAttribute("aria-label", region.name + ": " + title);
  input.dataset.key = key;
  input.addEventListener("input", () => {
    const had = Boolean(region.prompt.trim());
    region[key] = input.value;
    if (had !== Boolean(region.prompt.trim())) hub.tell("regions"); // its margin shows or goes
    changed();
  });
  row.append(label, underlined(input));
  return row;
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

export const makeStrength = (region, changed) => {
  const row = make("div", "rg-room rg-strength"),
    label = make("label", "", "Strength"),
    slider = make("input"),
    said = make("span");
  Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.05, value: region.strength });
  slider.id = "rg-strength-" + region.label;
  label.htmlFor = slider.id;
  row.title = STRENGTH;
  slider.setAttribute("aria-label", region.name + ": strength");
  const tell = () => (said.textContent = region.strength.toFixed(2).replace(/0$/, ""));
  slider.addEventListener("input", () => {
    region.strength = Number(slider.value);
    tell();
    changed();
  });
  tell();
  row.append(label, slider, said);
  return row;
};

export const makeMargin = (region, changed) => {
  const row = make("div", "rg-room"),
    label = make("label", "", "Margin"),
    slider = make("input"),
    said = make("span");
  Object.assign(slider, { type: "range", min: 0, max: 20, step: 1, value: fromMargin(region.margin) });
  slider.id = "rg-margin-" + region.label;
  label.htmlFor = slider.id;
  row.title = MARGIN;
  slider.setAttribute("aria-label", region.name + ": margin around its mask, in pixels");
  const tell = () => {
    said.textContent = region.margin ? region.margin + " px around the mask" : "none";
    slider.setAttribute("aria-valuetext", said.textContent);
  };
  slider.addEventListener("input", () => {
    region.margin = toMargin(Number(slider.value));
    tell();
    hub.tell("regions");
    changed();
  });
  tell();
  row.append(label, slider, said);
  return row;
};

export const makeName = (region, changed) => {
  const name = make("input", "rg-name");
  Object.assign(name, { type: "text", maxLength: 40, value: region.name });
  Object.assign(name, { autocomplete: "off", spellcheck: false });
  name.setAttribute("aria-label", "Name of region " + region.label);
  name.addEventListener("input", () => {
    region.name = name.value;
    hub.tell("regions");
    changed();
  });
  return name;
};
