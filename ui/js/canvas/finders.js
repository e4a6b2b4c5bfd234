// Who finds masks, for the selected region, and who follows them; what that costs before it is used.
import { button, group, make, press } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { finderOf } from "./state.js";

const makeTrackers = (editor) => {
  const node = make("label", "rg-trackers", "Follow with"),
    select = make("select", "rg-pixels");
  let shown = "";
  select.addEventListener("change", () => editor.ask("tracker", { by: select.value }));
  node.append(select);
  const refresh = ({ trackers, tracker }) => {
    node.hidden = trackers.length < 2;
    const names = JSON.stringify(trackers.map(({ name }) => name));
    if (names !== shown) {
      shown = names;
      const options = trackers.map(({ name, title }) =>
        Object.assign(make("option", "", title), { value: name }),
      );
      select.replaceChildren(...options);
    }
    select.value = tracker;
  };
  return { node, refresh };
};

const makeChoice = (editor, { name, title, hint }) => {
  const one = button("rg-tool rg-small", title, () => editor.ask("find", { by: name }), `${hint} (C)`);
  one.dataset.finder = name;
  return one;
};

export const makeFinders = (editor) => {
  const node = make("div", "rg-finders"),
    who = make("span", "rg-who"),
    pick = group("How masks of the selected region are found"),
    trackers = makeTrackers(editor);
  let shown = "";
  node.append(who, pick, trackers.node);
  // What the chosen one costs, until the region has a mask of its own on this frame.
  const cost = make("p", "rg-cost");
  const refresh = () => {
    if (!editor.who) return;
    const { choices } = editor.who,
      entry = editor.masks[editor.frame]?.[hub.active],
      finder = finderOf(editor, hub.active);
    pick.hidden = choices.length < 2;
    if (JSON.stringify(choices) !== shown) {
      shown = JSON.stringify(choices);
      pick.replaceChildren(...choices.map((choice) => makeChoice(editor, choice)));
    }
    for (const one of pick.children) press(one, one.dataset.finder === finder);
    trackers.refresh(editor.who);
    who.textContent = entry?.by ? "Found by " + entry.by : entry?.key ? "Drawn by hand" : "";
    const chosen = choices.find(({ name }) => name === finder);
    cost.textContent = chosen?.cost && !entry?.by ? `${chosen.title} takes ${chosen.cost}.` : "";
  };
  return { node, cost, refresh };
};
