// Fields of a region's card.
import { make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { fromMargin, toMargin } from "./margin.js";

const MARGIN = "How far beyond its mask the edit may reach; give room if the new object is larger";

// One text of a region; `changed` is called on every letter.
export const makeText = (region, key, title, example, changed) => {
  const row = make("div", "rg-field"),
    label = make("label", "", title),
    input = make("input");
  Object.assign(input, { type: "text", maxLength: 200, autocomplete: "off", spellcheck: false });
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
  row.append(label, input);
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
