// The model that is chosen is of no use for the clip: one line, and the way to another.
import { button, make } from "./shared/dom.js";
import { follow } from "./shared/hub.js";
import { goTo } from "./shared/wrong.js";

const HOW = "Fetch one in Settings, or put a Stable Diffusion checkpoint into the folder $REGRAIN_MODELS";

export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    const use = () => goTo("hub").then((there) => there || goTo("model"));
    const said = value && [value.text + " ", value.offers && button("rg-link", "Use a real model", use, HOW)];
    element.replaceChildren(
      ...(said ? [make("p", { className: "rg-notice", role: "status" }, ...said)] : []),
    );
  });
}
