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
  /** @param {import("./types").MethodView["uses"][number]} use */
  const makeUse = ({ name }) => make("li", {}, icon("yes"), make("span", {}, name));
  element.replaceChildren(make("div", "rg-method", label, said, uses));
  /** @type {Record<string, string>} */
  let lacks = {}; // why the model cannot be used with a method
  follow(props, watch, (value) => {
    lacks = value.lacks ?? lacks;
    /** @type {[string, string][]} */
    const offered = value.methods.map(({ name, title }) => [
      name,
      lacks[name] ? `${title} (needs another model)` : title,
    ]);
    fillSelect(pick, offered, value.chosen);
    const chosen = value.methods.find(({ name }) => name === value.chosen);
    if (!chosen) return;
    for (const option of pick.options) {
      option.disabled = Boolean(lacks[option.value]) && option.value !== value.chosen;
      option.title = lacks[option.value] ?? "";
    }
    said.textContent = lacks[value.chosen] ?? chosen.say;
    said.classList.toggle("rg-alarm", Boolean(lacks[value.chosen]));
    said.title = chosen.paper;
    const used = chosen.uses.filter((one) => one.used);
    uses.replaceChildren(...used.map(makeUse));
    hub.method = chosen;
    hub.tell("method", chosen);
  });
}
