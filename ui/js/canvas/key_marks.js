// Key frames below the film strip: a mark each, to be dragged or moved by keys.
import { iconButton, make, press, setCount } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { nearest } from "../shared/numbers.js";
import { isLoose, moveKey, neighbourKey, readKeys, toggleKey, writeKeys } from "./key_list.js";

const REACH = { mouse: 12, pen: 16, touch: 24 }; // pixels of the screen around a mark
const QUIET = {
  all: () => "All frames are redrawn",
  auto: () => "Chosen by how much changes when the run begins",
  beyond: (count) => "Some key frames are outside the clip: choose from 0 to " + (count - 1),
  wrong: () => "The key frames under the method cannot be read",
};
const HINT = "Make this frame a key frame, or not (K)";
const MARK = "Drag, or press the arrow keys, to move this key frame; Delete removes it";

const sayKeys = (text) => {
  hub.keyframes[hub.method.name] = text;
  hub.tell("keys");
};

// What the field says of the clip; null where the method has no key frames.
const keysOfRun = (editor) =>
  editor.clip && hub.method?.keyframes
    ? readKeys(hub.keyframes[hub.method.name] ?? "all", editor.clip.count)
    : null;

const addActs = (row, editor) => {
  row.change = (frames) => {
    row.moving = null;
    sayKeys(frames.length === editor.clip.count ? "all" : writeKeys(frames));
    row.draw();
  };
  editor.toggleKey = () => {
    const keys = keysOfRun(editor);
    if (keys) row.change(toggleKey(keys.frames, editor.frame, editor.clip.count));
  };
  editor.goToKey = (side) => {
    const keys = keysOfRun(editor),
      held = row.track.contains(document.activeElement);
    if (!keys) return;
    editor.go(neighbourKey(keys.frames, editor.frame, side));
    if (held) row.track.querySelector("[tabindex='0']")?.focus();
  };
};

const pressKey = (row, editor, event) => {
  const mark = event.target.closest(".rg-key-mark"),
    frames = keysOfRun(editor)?.frames,
    from = Number(mark?.dataset.frame);
  if (!mark || !frames || event.ctrlKey || event.metaKey || event.altKey) return;
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };
  const remove = event.key === "Delete" || event.key === "Backspace";
  if (!remove && !(event.key in by)) return;
  event.preventDefault();
  event.stopPropagation(); // not to another frame
  if (remove) {
    row.change(toggleKey(frames, from, editor.clip.count));
    row.toggle.focus();
    return;
  }
  const moved = moveKey(frames, from, from + by[event.key]);
  row.change(moved);
  editor.go(moved[frames.indexOf(from)]);
};

// Drag the nearest mark in reach; a press elsewhere goes to that frame.
const watchMarks = (row, editor) => {
  const { track } = row,
    box = () => track.getBoundingClientRect();
  const frameAt = (x) => Math.floor(((x - box().left) / box().width) * editor.clip.count);
  track.addEventListener("pointerdown", (event) => {
    const { count } = editor.clip,
      { frames } = keysOfRun(editor),
      across = ((event.clientX - box().left) / box().width) * count - 0.5;
    const loose = row.shown.filter((frame) => isLoose(frame, count));
    const from = loose[nearest(loose, across)];
    const off = (Math.abs(from - across) / count) * box().width;
    row.moving = off <= REACH[event.pointerType] ? { from, frames, before: frames } : null;
    editor.play(false);
    track.setPointerCapture(event.pointerId);
    editor.go(row.moving ? from : frameAt(event.clientX));
  });
  track.addEventListener("pointermove", ({ clientX, pointerId }) => {
    if (!track.hasPointerCapture(pointerId)) return;
    const { moving } = row;
    if (moving) moving.frames = moveKey(moving.before, moving.from, frameAt(clientX));
    editor.go(moving ? moving.frames[moving.before.indexOf(moving.from)] : frameAt(clientX));
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

const makeMark = () => make("span", "rg-key-mark");

const drawMark = (mark, frame, count, reachable) => {
  const loose = isLoose(frame, count);
  mark.dataset.frame = frame;
  mark.style.setProperty("--key", (frame + 0.5) / count);
  mark.classList.toggle("rg-fixed", !loose);
  const said = {
    role: loose ? "slider" : "img",
    "aria-label": loose ? "Key frame" : "Key frame " + (frame + 1) + ", always one",
    "aria-valuemin": 2,
    "aria-valuemax": count - 1,
    "aria-valuenow": frame + 1,
    "aria-valuetext": "frame " + (frame + 1) + " of " + count,
  };
  for (const [name, value] of Object.entries(said))
    if (loose || !name.startsWith("aria-value")) mark.setAttribute(name, value);
    else mark.removeAttribute(name);
  mark.title = loose ? MARK : "The first and the last frame are always key frames";
  if (loose) mark.tabIndex = reachable ? 0 : -1;
  else mark.removeAttribute("tabindex");
};

const drawRow = (row, editor) => {
  const keys = keysOfRun(editor);
  row.node.hidden = !keys;
  row.shown = [];
  if (!keys) return;
  const { count } = editor.clip,
    frames = row.moving?.frames ?? keys.frames,
    loose = frames.filter((frame) => isLoose(frame, count)),
    next = loose[nearest(loose, editor.frame)];
  row.node.dataset.keys = keys.kind;
  row.quiet.textContent = QUIET[keys.kind]?.(count) ?? "";
  row.count.textContent = row.quiet.textContent ? "" : frames.length + " / " + count;
  if (!row.quiet.textContent) row.shown = frames;
  setCount(row.marks, row.shown.length, makeMark);
  row.shown.forEach((frame, i) => drawMark(row.marks.children[i], frame, count, frame === next));
  press(row.toggle, frames.includes(editor.frame));
  row.toggle.disabled = !isLoose(editor.frame, count);
};

// `changed` is called when other frames are marked; `shown` holds them.
export const makeKeyMarks = (editor, changed) => {
  const node = make("div", "rg-time-row rg-keys"),
    track = make("div", "rg-keys-track"),
    marks = make("div", "rg-key-marks"),
    quiet = make("span", "rg-keys-quiet"),
    count = make("span", "rg-count");
  const toggle = iconButton("rg-tool rg-small", "key", HINT, () => editor.toggleKey(), "Key frame");
  const row = { node, track, marks, quiet, count, toggle, shown: [], moving: null };
  track.setAttribute("role", "group");
  track.setAttribute("aria-label", "Key frames");
  track.append(quiet, marks);
  node.append(toggle, track, count);
  row.draw = () => {
    const before = String(row.shown);
    drawRow(row, editor);
    if (String(row.shown) !== before) changed();
  };
  addActs(row, editor);
  watchMarks(row, editor);
  track.addEventListener("keydown", (event) => pressKey(row, editor, event));
  return row;
};
