// The model that is chosen is of no use for the clip: one line, and the way to another.
import { button, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    const use = () => hub.tell("models");
    const said = value && [value.text + " ", value.offers && button("rg-link", "Use a real model", use)];
    element.replaceChildren(
      ...(said ? [make("p", { className: "rg-notice", role: "status" }, ...said)] : []),
    );
  });
}
