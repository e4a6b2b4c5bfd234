// A row below the film strip with marks of frames, to be dragged, moved by keys and removed.
import { fillWith, iconButton, make, takeKey } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { nearest } from "../shared/numbers.js";
import { moveMark, toggleMark } from "./mark_lists.js";

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };
const MARK_KEYS = { ...STEPS, Delete: "remove", Backspace: "remove" };
const REACH = { mouse: 12, pen: 16, touch: 24 }; // pixels of the screen around a mark

const pressMark = (row, editor, event) => {
  const mark = event.target.closest(".rg-mark"),
    frames = row.kind.read(editor)?.frames,
    from = Number(mark?.dataset.frame);
  const by = mark && frames && takeKey(event, MARK_KEYS);
  if (!by) return;
  if (by === "remove") {
    row.toggleAt(from);
    row.toggle.focus();
    return;
  }
  const at = frames.indexOf(from),
    moved = moveMark(frames, from, from + by, editor.clip.count);
  row.change(moved);
  editor.go(moved[at]);
};

// Drag the nearest mark in reach; a press elsewhere goes to that frame.
const watchMarks = (row, editor) => {
  const { track, kind } = row,
    box = () => track.getBoundingClientRect();
  const across = (x) => ((x - box().left) / box().width) * editor.clip.count;
  const frameAt = (x) => Math.floor(across(x) + 0.5 - kind.middle);
  track.addEventListener("pointerdown", (event) => {
    const said = kind.read(editor),
      loose = row.shown.filter(said.loose),
      place = across(event.clientX) - kind.middle;
    const from = loose[nearest(loose, place)];
    const off = (Math.abs(from - place) / editor.clip.count) * box().width;
    const held = off <= REACH[event.pointerType];
    row.moving = held ? { from, frames: said.frames, before: said.frames } : null;
    editor.play(false);
    track.setPointerCapture(event.pointerId);
    editor.go(row.moving ? from : Math.floor(across(event.clientX)));
  });
  track.addEventListener("pointermove", ({ clientX, pointerId }) => {
    if (!track.hasPointerCapture(pointerId)) return;
    const { moving } = row;
    if (moving) moving.frames = moveMark(moving.before, moving.from, frameAt(clientX), editor.clip.count);
    editor.go(moving ? moving.frames[moving.before.indexOf(moving.from)] : Math.floor(across(clientX)));
  });
  const end = ({ type }) => {
    const { moving } = row;
    row.moving = null;
    if (moving && type === "pointerup" && String(moving.frames) !== String(moving.before))
      row.change(moving.frames);
    row.draw();
  };
  track.addEventListener("pointerup", end);
  track.addEventListener("pointercancel", end);
};

const drawMark = (mark, { kind }, frame, count, loose, reachable) => {
  const number = frame + 1;
  Object.assign(mark, {
    className: `rg-mark ${kind.mark} ${loose ? "" : "rg-fixed"}`,
    title: loose ? kind.hintOfMark : kind.hintOfFixed,
    role: loose ? "slider" : "img",
    ariaLabel: loose ? kind.name : `${kind.name} ${number}, always one`,
    ariaValueMin: loose ? 2 : null,
    ariaValueMax: loose ? kind.last(count) : null,
    ariaValueNow: loose ? number : null,
    ariaValueText: loose ? `${kind.where}frame ${number} of ${count}` : null,
    tabIndex: reachable ? 0 : -1,
  });
  if (!loose) mark.removeAttribute("tabindex");
  mark.dataset.frame = frame;
  mark.style.setProperty("--mark", (frame + kind.middle) / count);
};

const drawMarkRow = (row, editor) => {
  const said = row.kind.read(editor);
  row.node.hidden = !said || said.hidden;
  row.shown = [];
  if (!said) return;
  const { count } = editor.clip,
    frames = row.moving?.frames ?? said.frames,
    loose = frames.filter(said.loose),
    next = loose[nearest(loose, editor.frame)];
  row.node.dataset.kind = said.kind;
  row.quiet.textContent = said.quiet;
  row.count.textContent = said.quiet ? "" : said.total(frames.length);
  if (!said.quiet) row.shown = frames;
  const draw = (mark, frame) => drawMark(mark, row, frame, count, said.loose(frame), frame === next);
  fillWith(row.marks, row.shown, () => make("span"), draw);
  row.toggle.ariaPressed = frames.includes(editor.frame);
  row.toggle.disabled = !said.loose(editor.frame);
};

// A kind of marks says what `read` finds in its `field` ({ kind, frames, quiet, total, loose, hidden }, or null),
// how to `write` it, and what marks look like and are called; `middle` is 0.5 for a frame and 0 for its beginning.
// `changed` is called when other frames are marked; `shown` holds them.
export const makeMarkRow = (editor, kind, changed) => {
  const quiet = make("span", "rg-marks-quiet"),
    marks = make("div", "rg-marks-shown"),
    count = make("span", "rg-count"),
    about = { className: "rg-marks-track", role: "group", ariaLabel: kind.title },
    track = make("div", about, quiet, marks);
  const act = () => row.toggleAt(editor.frame),
    toggle = iconButton("rg-tool rg-small", kind.icon, kind.hint, act, kind.name),
    node = make("div", "rg-time-row rg-marks " + kind.row, toggle, track, count);
  const row = { node, track, marks, quiet, count, toggle, kind, shown: [], moving: null };
  row.draw = () => {
    const before = String(row.shown);
    drawMarkRow(row, editor);
    if (String(row.shown) !== before) changed();
  };
  row.change = (frames) => {
    row.moving = null;
    hub.written[kind.field] = kind.write(editor, frames);
    hub.tell("wrote");
  };
  row.toggleAt = (frame) => {
    const said = kind.read(editor);
    if (said?.loose(frame)) row.change(toggleMark(said.frames, frame));
  };
  watchMarks(row, editor);
  track.addEventListener("keydown", (event) => pressMark(row, editor, event));
  return row;
};
