// @ts-check
// What should change, by which method, what that does, and what of the page it uses.
import { button, fillSelect, icon, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

/** @type {import("./types").Mount<"method">} */
export function mount(element, props, trigger, watch) {
  /** @param {string} name */
  const choose = (name) => trigger("choose", { name, before: hub.method?.name ?? name });
  const pick = make("select", { onchange: () => choose(pick.value) });
  const label = make("label", "rg-method-label", "Method", pick);
  const said = make("p", "rg-method-say");
  const uses = make("ul", "rg-uses");
  /** @param {string} name */
  const makeUse = (name) => make("li", {}, icon("yes"), make("span", {}, name));
  const changes = make("section", { className: "rg-changes", role: "group", ariaLabel: "What changes?" });
  element.replaceChildren(make("div", "rg-method", changes, label, said, uses));
  /** @type {Record<string, string>} */
  let lacks = {}; // why the model cannot be used with a method
  /** @param {string} change */
  const bestFor = (change) => {
    const { methods } = props.value;
    const able = methods.filter(({ name, changes: its }) => its.includes(change) && !lacks[name]);
    return able.find(({ name }) => name === hub.method?.name) ?? able[0];
  };
  /** @param {string} change */
  const take = (change) => {
    const best = bestFor(change);
    if (!best) return;
    hub.wish = change;
    if (best.name === hub.method?.name) draw();
    else choose(best.name);
  };
  /** @param {import("./types").ChangeView} change */
  const makeChange = ({ name, title, example }) => {
    const best = bestFor(name);
    const pictures = hub.pictures[example] ?? [];
    const hint = best ? `By ${best.title}` : "Needs another model";
    const about = { title: hint, disabled: !best, data: { key: name } };
    const one = button("rg-change-by", "", () => take(name), "", about);
    one.append(
      ...pictures.map((src) => make("img", { loading: "lazy", src, alt: "" })),
      make("span", {}, title),
    );
    one.ariaPressed = String(name === hub.wish);
    return one;
  };
  const draw = () => {
    const { methods, changes: all } = props.value;
    const chosen = methods.find(({ name }) => name === hub.method?.name);
    if (!chosen?.changes.includes(hub.wish)) hub.wish = chosen?.changes[0] ?? "";
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset.key;
    const had = changes.contains(document.activeElement);
    changes.replaceChildren(...all.map(makeChange));
    if (chosen) hub.tell("method", chosen);
    if (had) /** @type {HTMLElement | null} */ (changes.querySelector(`[data-key="${focused}"]`))?.focus();
  };
  hub.on("examples", draw);
  // The method for few steps would make a pattern of it.
  hub.on("pictured", () => take("picture"));
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
    uses.replaceChildren(...chosen.uses.map(makeUse));
    hub.method = chosen;
    draw();
  });
}
