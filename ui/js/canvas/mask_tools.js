// Tools for a whole mask of the selected region: grow, shrink, fill holes, remove specks, invert, feather.
import { button, fillSelect, group, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { isMasked } from "./cells.js";

const RESHAPES = {
  shrink: ["Shrink", "shrink", "Shrink the mask (-)"],
  grow: ["Grow", "grow", "Grow the mask (+)"],
  fill: ["Fill holes", "fill", "Fill every hole in the mask (F)"],
  drop: ["Remove specks", "specks", "Remove small loose pieces of the mask (S)"],
  invert: ["Invert", "invert", "Swap inside and outside of the mask (I)"],
};
const PIXELS = [1, 2, 4, 8, 16];
const FEATHERS = [0, 1, 2, 4, 8, 16, 32];
const FEATHER_HINT =
  "Feather: pixels inside the edge over which the edit fades into the source, on all frames (G)";

// How softly the region's edit ends; the server keeps it with the region.
const makeFeather = (editor) => {
  const onchange = () => send(Number(choice.value)),
    choice = make("select", { className: "rg-pixels", ariaLabel: FEATHER_HINT, onchange }),
    node = make("label", { className: "rg-feather", title: FEATHER_HINT }, "Feather", choice);
  const own = () => editor.feathers?.[hub.active] ?? 0;
  const send = (pixels) => editor.ask("feather", { pixels });
  editor.featherNext = () => send(FEATHERS.find((pixels) => pixels > own()) ?? 0);
  const refresh = () => {
    const all = [...new Set([...FEATHERS, own()])].map((count) => [count, count ? count + " px" : "off"]);
    fillSelect(choice, all, own());
    choice.disabled = !(hub.active in (editor.feathers ?? {}));
  };
  return { node, refresh };
};

const makeScope = (refresh) => {
  const scope = { all: false };
  const choose = (all) => () => {
    scope.all = all;
    one.ariaPressed = !all;
    every.ariaPressed = all;
    refresh();
  };
  const one = button("rg-tool rg-small", "This frame", choose(false), "Change the mask on this frame"),
    every = button("rg-tool rg-small", "All frames", choose(true), "Change the masks on all frames");
  one.ariaPressed = true;
  every.ariaPressed = false;
  scope.node = group("Frames the mask tools change", one, every);
  return scope;
};

export const makeMaskTools = (editor, files) => {
  const title = "Pixels to grow or shrink by",
    about = { className: "rg-pixels", value: 2, title, ariaLabel: title },
    pixels = make("select", about, ...PIXELS.map((count) => new Option(count + " px", count)));
  editor.reshape = (kind) => {
    editor.ask("reshape", { kind, pixels: Number(pixels.value), all: scope.all });
  };
  const tools = Object.entries(RESHAPES).map(([reshape, [text, picture, hint]]) => {
    const act = () => editor.reshape(reshape);
    return iconButton("rg-tool rg-small", picture, hint, act, text, { data: { reshape } });
  });
  const refresh = () => {
    const lane = editor.lanes[hub.active] ?? "";
    const usable = scope.all ? [...lane].some(isMasked) : isMasked(lane[editor.frame] ?? " ");
    for (const one of [...tools, pixels]) one.disabled = !usable;
    feather.refresh();
  };
  const scope = makeScope(refresh),
    feather = makeFeather(editor),
    [shrink, grow, ...rest] = tools;
  const node = make(
    "div",
    { className: "rg-mask-tools", role: "group", ariaLabel: "Mask tools" },
    make("span", "rg-mask-title", "Mask"),
    make("div", "rg-pick", shrink, pixels, grow),
    ...rest,
    feather.node,
    files,
    scope.node,
  );
  refresh();
  return { node, refresh };
};
