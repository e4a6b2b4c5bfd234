import { icon, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const useItem = ({ name }) => make("li", {}, icon("yes"), make("span", {}, name));

// Which method, what it does, and what of the page it uses.
export function mount(element, props, trigger, watch) {
  const pick = make("select", { onchange: () => trigger("choose", { name: pick.value }) }),
    label = make("label", "rg-method-label", "Method", pick),
    said = make("p", "rg-method-say"),
    uses = make("ul", "rg-uses");
  element.replaceChildren(make("div", "rg-method", label, said, uses));
  follow(props, watch, (value) => {
    const chosen = value.methods.find((method) => method.name === value.chosen);
    pick.replaceChildren(...value.methods.map(({ name, title }) => new Option(title, name)));
    pick.value = value.chosen;
    said.textContent = chosen.say;
    said.title = chosen.paper;
    uses.replaceChildren(...chosen.uses.filter(({ used }) => used).map(useItem));
    hub.method = chosen;
    hub.tell("method", chosen);
  });
}
