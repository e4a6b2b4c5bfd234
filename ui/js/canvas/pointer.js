import { hub } from "../shared/hub.js";
import { boxOf, extend, isBrush, placeIn, pointAt } from "./state.js";

const STILL = 8; // pixels of the screen within which a press is a click
const SMALLEST = 6; // pixels of the screen: the shorter side of a box

// Use the pointing tool at a place; `other` swaps adding and removing.
export const clickAt = (editor, at, other) => {
  const known = pointAt(editor, at, hub.active);
  if (known) return editor.ask("unpoint", { at: known });
  const inside = (editor.tool === "remove") === other;
  editor.ask("point", { at, inside }, { point: [...at, Number(inside)] });
};

export const strokeFrom = (editor, at, erase) => ({
  path: [at],
  radius: editor.radius,
  erase,
  frame: editor.frame,
  label: hub.active,
});

export const sendStroke = (editor, stroke) => {
  const { path, radius, erase } = stroke;
  editor.ask("stroke", { path, radius, erase }, stroke);
};

// What a box does: find what is in it, or take or cut out all of it.
const howOf = (event) => (event.button === 2 || event.altKey ? "erase" : event.shiftKey ? "add" : "find");

export const sendBox = (editor, { from, to, how }) => {
  if (boxOf(from, to).size < SMALLEST / editor.scale) return;
  editor.ask("box", { from, to, how }, { box: { from, to } });
};

export const watchPointer = (editor, canvas) => {
  let down = null;
  const place = (event) => placeIn(canvas.getBoundingClientRect(), editor.clip, event.clientX, event.clientY);
  const begin = (event) => {
    if (!editor.clip || event.button === 1) return;
    if (editor.tracking > 0) return editor.track(); // stop here
    editor.play(false);
    editor.cursor = null;
    down = [event.clientX, event.clientY];
    if (editor.tool === "box") editor.box = { from: place(event), to: place(event), how: howOf(event) };
    else if (!isBrush(editor.tool)) return;
    canvas.setPointerCapture(event.pointerId);
    if (editor.box) return;
    const erase = (editor.tool === "erase") !== (event.button === 2 || event.altKey);
    editor.stroke = strokeFrom(editor, place(event), erase);
    editor.draw();
  };
  const move = (event) => {
    if (!editor.clip) return;
    editor.hover = event.pointerType === "touch" ? null : place(event);
    if (editor.box && down) editor.box.to = place(event);
    if (editor.stroke)
      for (const part of event.getCoalescedEvents?.() ?? [event]) extend(editor.stroke.path, place(part));
    editor.draw();
  };
  const end = (event) => {
    if (!editor.clip || !down) return;
    const still = Math.hypot(event.clientX - down[0], event.clientY - down[1]) < STILL;
    down = null;
    if (editor.box) {
      sendBox(editor, editor.box);
      editor.box = null;
      editor.draw();
    } else if (editor.stroke) {
      sendStroke(editor, editor.stroke);
      editor.stroke = null;
    } else if (still) clickAt(editor, place(event), event.button === 2 || event.altKey);
  };
  const leave = (parts) => () => {
    if (parts.includes("stroke")) down = editor.stroke = editor.box = null;
    else editor.hover = null;
    editor.draw();
  };
  const resize = (event) => {
    if (!event.shiftKey) return;
    event.preventDefault();
    editor.resize(editor.radius - Math.sign(event.deltaY || event.deltaX));
  };
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", leave("stroke"));
  canvas.addEventListener("pointerleave", leave("hover"));
  canvas.addEventListener("wheel", resize, { passive: false });
};
