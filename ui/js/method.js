// @ts-check
import { fillSelect, icon, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

// Which method, what it does, and what of the page it uses.
/** @type {import("./types").Mount<"method">} */
export function mount(element, props, trigger, watch) {
  const pick = make("select", { onchange: () => trigger("choose", { name: pick.value }) }),
    label = make("label", "rg-method-label", "Method", pick),
    said = make("p", "rg-method-say"),
    uses = make("ul", "rg-uses");
  element.replaceChildren(make("div", "rg-method", label, said, uses));
  follow(props, watch, (value) => {
    const chosen = value.methods.find(({ name }) => name === value.chosen),
      offered = value.methods.map(({ name, title }) => [name, title]);
    fillSelect(pick, offered, value.chosen);
    said.textContent = chosen.say;
    said.title = chosen.paper;
    const used = chosen.uses.filter((one) => one.used);
    uses.replaceChildren(...used.map(({ name }) => make("li", {}, icon("yes"), make("span", {}, name))));
    hub.method = chosen;
    hub.tell("method", chosen);
  });
}
