// @ts-check
// Which method, what it does, and what of the page it uses.
import { fillSelect, icon, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

/** @type {import("./types").Mount<"method">} */
export function mount(element, props, trigger, watch) {
  const pick = make("select", { onchange: () => trigger("choose", { name: pick.value }) });
  const label = make("label", "rg-method-label", "Method", pick);
  const said = make("p", "rg-method-say");
  const uses = make("ul", "rg-uses");
  const makeUse = ({ name }) => make("li", {}, icon("yes"), make("span", {}, name));
  element.replaceChildren(make("div", "rg-method", label, said, uses));
  follow(props, watch, (value) => {
    /** @type {[string, string][]} */
    const offered = value.methods.map(({ name, title }) => [name, title]);
    fillSelect(pick, offered, value.chosen);
    const chosen = value.methods.find(({ name }) => name === value.chosen);
    if (!chosen) return;
    said.textContent = chosen.say;
    said.title = chosen.paper;
    const used = chosen.uses.filter((one) => one.used);
    uses.replaceChildren(...used.map(makeUse));
    hub.method = chosen;
    hub.tell("method", chosen);
  });
}
