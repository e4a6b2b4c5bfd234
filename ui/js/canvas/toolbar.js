// Tools, undo and tracking above the frame; the size of the brush in it.
import { group, iconButton, make, press } from "../shared/dom.js";
import { clamp } from "../shared/numbers.js";
import { isBrush, isDrawn } from "./state.js";

const TOOLS = {
  add: ["Add", "Click what belongs to the region (V)", "Add points"],
  remove: ["Remove", "Click what does not belong to the region (X, or right-click)", "Remove points"],
  box: ["Box", "Draw a box around the object (R); with Shift all of it is taken", "Box"],
  brush: ["Brush", "Brush (B)", "Brush"],
  erase: ["Erase", "Eraser (E)", "Eraser"],
};

const makeTools = (editor, canvas, sizes, heard) => {
  const buttons = Object.entries(TOOLS).map(([name, [text, hint]]) => {
    const node = iconButton("rg-tool", name, hint, () => editor.choose(name), text);
    node.dataset.tool = name;
    return node;
  });
  editor.choose = (name) => {
    editor.tool = name;
    for (const node of buttons) press(node, node.dataset.tool === name);
    sizes.hidden = !isBrush(name);
    editor.box = null;
    canvas.style.touchAction = isDrawn(name) ? "none" : "pan-x pan-y";
    canvas.style.cursor = isBrush(name) ? "none" : "crosshair";
    heard.textContent = TOOLS[name][2];
    editor.say("");
    editor.draw();
  };
  return group("Tools", ...buttons);
};

const makeSizes = (editor) => {
  const node = make("label", "rg-size"),
    slider = make("input"),
    text = make("span", "", "12");
  Object.assign(slider, { type: "range", min: 1, max: 100, value: 12 });
  slider.setAttribute("aria-label", "Brush size");
  editor.resize = (radius) => {
    editor.radius = clamp(Math.round(radius), 1, 100);
    slider.value = editor.radius;
    text.textContent = editor.radius;
    editor.draw();
  };
  slider.addEventListener("input", () => editor.resize(Number(slider.value)));
  node.append(slider, text);
  return node;
};

export const makeToolbar = (editor, surface, heard) => {
  const node = make("div", "rg-toolbar"),
    sizes = makeSizes(editor);
  surface.node.append(sizes);
  const undo = iconButton("rg-tool", "undo", "Undo (Ctrl+Z)", () => editor.ask("undo"), "Undo");
  const redo = iconButton("rg-tool", "redo", "Redo (Ctrl+Shift+Z)", () => editor.ask("redo"), "Redo");
  const hint = "Follow the regions through the clip (T)";
  const track = iconButton("rg-tool rg-track", "track", hint, () => editor.track(), "Track");
  node.append(makeTools(editor, surface.canvas, sizes, heard), group("History", undo, redo), track);
  const refresh = () => {
    const busy = Boolean(editor.tracking);
    undo.disabled = !editor.undo;
    redo.disabled = !editor.redo;
    track.lastChild.textContent = busy ? "Cancel" : "Track";
    track.classList.toggle("rg-due", !busy && editor.stale.length > 0);
    track.dataset.busy = String(busy);
  };
  return { node, refresh };
};
