// @ts-check
// Who finds masks, for the selected region, and who follows them; what that costs before it is used.
import { button, childrenOf, fillSelect, group, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { finderOf } from "./state.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").MaskView} Mask */

/** @param {Editor} editor */
const makeTrackers = (editor) => {
  const onchange = () => editor.ask("tracker", { by: select.value });
  const select = make("select", { className: "rg-pixels", onchange });
  const node = make("label", "rg-trackers", "Follow", select);
  /** @param {import("../types").MaskFinders} who */
  const refresh = ({ trackers, tracker }) => {
    node.hidden = trackers.length < 2;
    /** @type {[string, string][]} */
    const offered = trackers.map(({ name, title }) => [name, title]);
    fillSelect(select, offered, tracker);
  };
  return { node, refresh };
};

/**
 * Say where a mask comes from.
 * @param {Mask | undefined} mask
 */
const originOf = (mask) => {
  if (mask?.by) return "Found: " + mask.by;
  return mask?.key ? "Drawn by hand" : "";
};

/** @param {Editor} editor */
export const makeFinders = (editor) => {
  const who = make("span", "rg-who");
  const pick = group("Finder of the selected region's masks");
  const trackers = makeTrackers(editor);
  const again = button("rg-tool rg-small", "Track again", () => editor.track(), "Follow all regions anew");
  const node = make("div", "rg-finders", make("span", {}, "Finder"), pick, trackers.node, again, who);
  /** @param {import("../types").FinderView} finder */
  const makeChoice = ({ name, title, hint }) => {
    const ask = () => editor.ask("find", { by: name });
    return button("rg-tool rg-small", title, ask, `${hint} (C)`, { data: { finder: name } });
  };
  let shown = "";
  // What the chosen one costs, until the region has a mask of its own on this frame.
  const cost = make("p", "rg-cost");
  const refresh = () => {
    if (!editor.who) return;
    const { choices } = editor.who;
    const mask = editor.masks[editor.frame]?.[hub.active];
    const finder = finderOf(editor, hub.active);
    pick.hidden = choices.length < 2;
    if (JSON.stringify(choices) !== shown) {
      shown = JSON.stringify(choices);
      pick.replaceChildren(...choices.map(makeChoice));
    }
    for (const one of childrenOf(pick)) one.ariaPressed = String(one.dataset.finder === finder);
    trackers.refresh(editor.who);
    again.hidden = editor.tracking > 0 || editor.stale.length > 0 || !editor.labels.length;
    who.textContent = originOf(mask);
    const chosen = choices.find(({ name }) => name === finder);
    cost.textContent = chosen?.cost && !mask?.by ? `${chosen.title} takes ${chosen.cost}.` : "";
  };
  return { node, cost, refresh };
};
