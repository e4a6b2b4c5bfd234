// Draft, Standard, Best: one of three, or none where the settings are somebody's own.
import { make } from "./shared/dom.js";
import { follow } from "./shared/server.js";

const makeChoice = ({ name, title, detail, hint }, chosen, choose) => {
  const label = make("label", "rg-quality"),
    radio = make("input");
  Object.assign(radio, { type: "radio", name: "rg-quality", value: name, checked: name === chosen });
  radio.addEventListener("change", () => choose(name));
  label.title = hint;
  label.append(radio, make("strong", "", title), make("span", "", detail));
  return label;
};

export function mount(element, props, trigger, watch) {
  const root = make("fieldset", "rg-qualities"),
    legend = make("legend", "", "Quality");
  element.replaceChildren(root);
  follow(props, watch, (value) => {
    const active = root.contains(document.activeElement) ? document.activeElement.value : "";
    const made = (value?.qualities ?? []).map((one) =>
      makeChoice(one, value.chosen, (name) => trigger("choose", { name })),
    );
    root.replaceChildren(legend, ...made);
    if (active) root.querySelector(`[value=${active}]`)?.focus();
  });
}
