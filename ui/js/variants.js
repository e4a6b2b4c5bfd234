import { button, group, make, press } from "./shared/dom.js";
import { hub } from "./shared/hub.js";

const COUNTS = [1, 2, 4];

// How many seeds a press of Run tries, one after the other.
export function mount(element, props) {
  const root = make("div", "rg-variants"),
    said = make("p", "rg-caption", "Each with another seed, one after the other");
  const choose = (count) => {
    props.value = { count };
    COUNTS.forEach((one, i) => press(pick.children[i], one === count));
    said.hidden = count === 1;
  };
  const pick = group(
    "Variants",
    ...COUNTS.map((count) => button("rg-tool", String(count), () => choose(count))),
  );
  root.append(make("span", "rg-caption", "Variants"), pick, said);
  element.replaceChildren(root);
  choose(1);
  const fit = (method) => {
    root.hidden = !method?.uses.some(({ name, used }) => name === "seed" && used);
    if (root.hidden) choose(1);
  };
  hub.on("method", fit);
  if (hub.method) fit(hub.method);
}
