// @ts-check
// The list of the canvas's keys.
import { makeDialog } from "../shared/dialog.js";
import { make } from "../shared/dom.js";

const KEYS = {
  Mask: [
    ["V", "add points"],
    ["X", "switch between add and remove"],
    ["Right-click | Alt+click", "the other kind of point"],
    ["Click a point", "remove it"],
    ["R", "box (Shift takes all of it, Alt cuts it out)"],
    ["B | E", "brush, eraser"],
    ["[ | ]", "brush size (or Shift+wheel)"],
    ["W | Q", "grow, shrink the mask"],
    ["F | S | I", "fill holes, remove specks, invert"],
    ["G", "feather the edge: the next step"],
    ["M", "import or export masks"],
    ["C", "find masks the other way: learned or by colour"],
    ["H", "hide masks"],
    ["Shift+arrows | Enter", "move a cursor, use the tool there; twice for a box"],
    ["Esc", "put the tool down; the next click begins a region"],
  ],
  Clip: [
    [", | .", "previous, next frame (or arrow keys)"],
    ["Page up | Page down", "ten frames back, ahead"],
    ["Home | End", "first, last frame"],
    ["K", "make the frame a key frame, or not"],
    ["D", "split the shot before the frame, or join it"],
    ["< | >", "previous, next key frame"],
    ["Space", "play or pause; held, drag the picture"],
    ["+ | - | 0", "zoom in, out, whole picture (or wheel, pinch, double click)"],
    ["L", "full screen, or back"],
    ["N", "new region"],
    ["1 to 9", "select a region"],
    ["Ctrl+Z", "undo"],
    ["Ctrl+Y | Ctrl+Shift+Z", "redo"],
    ["Ctrl+Enter", "run"],
    ["?", "show this list"],
  ],
};

/** @param {string[]} line */
const makeLine = ([text, does]) => {
  const keys = text.split(" | ").map((key) => make("kbd", {}, key));
  return [make("dt", {}, ...keys), make("dd", {}, does)];
};

/** @param {[string, string[][]]} list */
const makeList = ([name, keys]) => {
  const lines = keys.flatMap(makeLine);
  return make("section", {}, make("h3", {}, name), make("dl", {}, ...lines));
};

export const makeHelp = () => {
  const lists = Object.entries(KEYS).map(makeList);
  return makeDialog("rg-help", "Keyboard shortcuts", make("div", "rg-help-lists", ...lists));
};
