// Tools for a whole mask of the selected region: grow, shrink, fill holes, remove specks, invert, feather.
import { button, group, iconButton, make, press } from "../shared/dom.js";
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

const makePixels = () => {
  const node = make("select", "rg-pixels");
  node.append(...PIXELS.map((count) => new Option(count + " px", count)));
  node.value = 2;
  node.title = "Pixels to grow or shrink by";
  node.setAttribute("aria-label", node.title);
  return node;
};

// How softly the region's edit ends; the server keeps it with the region.
const makeFeather = (editor) => {
  const node = make("label", "rg-feather", "Feather"),
    choice = make("select", "rg-pixels");
  node.title = FEATHER_HINT;
  choice.setAttribute("aria-label", FEATHER_HINT);
  const own = () => editor.feathers?.[hub.active] ?? 0;
  const send = (pixels) => editor.ask("feather", { pixels });
  choice.addEventListener("change", () => send(Number(choice.value)));
  editor.featherNext = () => send(FEATHERS.find((pixels) => pixels > own()) ?? 0);
  node.append(choice);
  const refresh = () => {
    const all = FEATHERS.includes(own()) ? FEATHERS : [...FEATHERS, own()];
    choice.replaceChildren(...all.map((count) => new Option(count ? count + " px" : "off", count)));
    choice.value = own();
    choice.disabled = !(hub.active in (editor.feathers ?? {}));
  };
  return { node, refresh };
};

const makeScope = (refresh) => {
  const scope = { all: false };
  const buttons = [
    [false, "This frame", "Change the mask on this frame"],
    [true, "All frames", "Change the masks on all frames"],
  ].map(([all, text, hint]) => {
    const choose = () => {
      scope.all = all;
      buttons.forEach((one, i) => press(one, Boolean(i) === all));
      refresh();
    };
    return button("rg-tool rg-small", text, choose, hint);
  });
  buttons.forEach((one, i) => press(one, i === 0));
  scope.node = group("Frames the mask tools change", ...buttons);
  return scope;
};

export const makeMaskTools = (editor, files) => {
  const node = make("div", "rg-mask-tools"),
    pixels = makePixels();
  node.setAttribute("role", "group");
  node.setAttribute("aria-label", "Mask tools");
  editor.reshape = (kind) => {
    editor.ask("reshape", { kind, pixels: Number(pixels.value), all: scope.all });
  };
  const tools = Object.entries(RESHAPES).map(([kind, [text, picture, hint]]) => {
    const tool = iconButton("rg-tool rg-small", picture, hint, () => editor.reshape(kind), text);
    tool.dataset.reshape = kind;
    return tool;
  });
  const refresh = () => {
    const lane = editor.lanes[hub.active] ?? "";
    const usable = scope.all ? [...lane].some(isMasked) : isMasked(lane[editor.frame] ?? " ");
    for (const one of [...tools, pixels]) one.disabled = !usable;
    feather.refresh();
  };
  const scope = makeScope(refresh),
    feather = makeFeather(editor);
  const [shrink, grow, ...rest] = tools;
  const sizes = make("div", "rg-pick");
  sizes.append(shrink, pixels, grow);
  node.append(make("span", "rg-mask-title", "Mask"), sizes, ...rest, feather.node, files, scope.node);
  refresh();
  return { node, refresh };
};
