// Who finds masks, for the selected region, and who follows them; what that costs before it is used.
import { button, fillSelect, group, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { finderOf } from "./state.js";

const makeTrackers = (editor) => {
  const onchange = ({ target }) => editor.ask("tracker", { by: target.value }),
    select = make("select", { className: "rg-pixels", onchange }),
    node = make("label", "rg-trackers", "Follow with", select);
  const refresh = ({ trackers, tracker }) => {
    node.hidden = trackers.length < 2;
    const offered = trackers.map(({ name, title }) => [name, title]);
    fillSelect(select, offered, tracker);
  };
  return { node, refresh };
};

export const makeFinders = (editor) => {
  const who = make("span", "rg-who"),
    pick = group("How masks of the selected region are found"),
    trackers = makeTrackers(editor),
    node = make("div", "rg-finders", who, pick, trackers.node);
  const makeChoice = ({ name, title, hint }) => {
    const ask = () => editor.ask("find", { by: name });
    return button("rg-tool rg-small", title, ask, `${hint} (C)`, { data: { finder: name } });
  };
  let shown = "";
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
      pick.replaceChildren(...choices.map(makeChoice));
    }
    for (const one of pick.children) one.ariaPressed = one.dataset.finder === finder;
    trackers.refresh(editor.who);
    who.textContent = entry?.by ? "Found by " + entry.by : entry?.key ? "Drawn by hand" : "";
    const chosen = choices.find(({ name }) => name === finder);
    cost.textContent = chosen?.cost && !entry?.by ? `${chosen.title} takes ${chosen.cost}.` : "";
  };
  return { node, cost, refresh };
};
