// @ts-check
// How many seeds a press of Run tries, one after the other.
import { chooser, make, pressOnly } from "./shared/dom.js";
import { hub } from "./shared/hub.js";

/** @type {[number, string][]} */
const COUNTS = [
  [1, "1"],
  [2, "2"],
  [4, "4"],
];

/** @type {import("./types").Mount<"variants">} */
export function mount(element, props) {
  const said = make("p", "rg-caption", "Each with another seed, one after the other; of quick tries, too");
  const counts = chooser("Variants", COUNTS, (count) => choose(count));
  const root = make("div", "rg-variants", make("span", "rg-caption", "Variants"), counts, said);
  /** @param {number} count */
  const choose = (count) => {
    props.value = { count };
    pressOnly(counts, count);
    said.hidden = count === 1;
  };
  element.replaceChildren(root);
  choose(1);
  /** @param {import("./types").MethodView} method */
  const fit = (method) => {
    root.hidden = !method.uses.some(({ name, used }) => name === "seed" && used);
    if (root.hidden) choose(1);
  };
  hub.on("method", fit);
  if (hub.method) fit(hub.method);
}
