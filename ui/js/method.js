import { icon, make } from "./shared/dom.js";
import { hub } from "./shared/hub.js";
import { follow } from "./shared/server.js";

const useItem = ({ name, used, rarely }) => {
  const item = make("li", used ? "" : "rg-unused");
  const text = used ? name + (rarely ? " (with Variation)" : "") : name + ": not used";
  item.append(icon(used ? "yes" : "no"), make("span", "", text));
  return item;
};

// Which method, what it does, and what of the page it uses.
export function mount(element, props, trigger, watch) {
  const root = make("div", "rg-method"),
    label = make("label", "rg-method-label", "Method"),
    pick = make("select");
  const said = make("p", "rg-method-say"),
    uses = make("ul", "rg-uses");
  label.append(pick);
  root.append(label, said, uses);
  element.replaceChildren(root);
  pick.addEventListener("change", () => trigger("choose", { name: pick.value }));
  follow(props, watch, (value) => {
    const chosen = value.methods.find((method) => method.name === value.chosen);
    pick.replaceChildren(...value.methods.map(({ name, title }) => new Option(title, name)));
    pick.value = value.chosen;
    said.textContent = chosen.say;
    said.title = chosen.paper;
    uses.replaceChildren(...chosen.uses.map(useItem));
    hub.method = chosen;
    hub.tell("method", chosen);
  });
}
