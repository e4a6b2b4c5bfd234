// @ts-check
// Draft, Standard, Best: one of three, or none where the settings are somebody's own.
import { make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

/**
 * @param {import("./types").QualityView["qualities"][number]} quality
 * @param {boolean} checked
 * @param {() => void} choose
 */
const makeChoice = ({ name, title, detail, hint }, checked, choose) => {
  const about = { type: "radio", name: "rg-quality", value: name, checked, onchange: choose };
  const words = detail.replace(/(\d) (?=(s|min|h)\b)/g, "$1\u00a0"); // a number keeps its unit
  const lines = [make("strong", {}, title), make("span", {}, words)];
  return make("label", { className: "rg-quality", title: hint }, make("input", about), ...lines);
};

/** @type {import("./types").Mount<"quality">} */
export function mount(element, props, trigger, watch) {
  const root = make("fieldset", "rg-qualities");
  const legend = make("legend", {}, "Quality");
  /** @returns {HTMLInputElement[]} */
  const inputs = () => [...root.getElementsByTagName("input")];
  element.replaceChildren(root);
  follow(props, watch, (value) => {
    const { chosen, qualities } = value ?? { chosen: "", qualities: [] };
    const focused = inputs().find((input) => input === document.activeElement)?.value;
    const choices = qualities.map((quality) => {
      const { name } = quality;
      return makeChoice(quality, name === chosen, () => trigger("choose", { name }));
    });
    root.replaceChildren(legend, ...choices);
    hub.quality = qualities.find(({ name }) => name === chosen)?.title ?? "own steps";
    hub.tell("chosen");
    inputs()
      .find((input) => input.value === focused)
      ?.focus();
  });
}
