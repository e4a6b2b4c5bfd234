// Who finds masks: for the selected region, from its clicks and strokes.
import { button, group, make, press } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { finderOf } from "./state.js";

const FINDERS = {
  sam: ["SAM", "Find masks with SAM, a network that recognises objects"],
  grabcut: ["Colours", "Find masks by colour (GrabCut), from clicks and strokes; use it where SAM fails (C)"],
};

export const makeFinders = (editor) => {
  const node = make("div", "rg-finders"),
    who = make("span", "rg-who");
  const buttons = Object.entries(FINDERS).map(([name, [text, hint]]) => {
    const one = button("rg-tool rg-small", text, () => editor.ask("find", { by: name }), hint);
    one.dataset.finder = name;
    return one;
  });
  const both = group("How masks of the selected region are found", ...buttons);
  node.append(who, both);
  const refresh = () => {
    const entry = editor.masks[editor.frame]?.[hub.active];
    both.hidden = !editor.sam;
    for (const one of buttons) press(one, one.dataset.finder === finderOf(editor, hub.active));
    who.textContent = entry?.by ? "Found by " + entry.by : entry?.key ? "Drawn by hand" : "";
  };
  return { node, refresh };
};
