// What the canvas knows. The server's masks are the truth; points and strokes show at once and wait for it.
// Nothing here touches the document.
import { clamp, hundredths } from "../shared/numbers.js";

const MAX_PATH = 4000; // places in a stroke
const APART = 0.7; // pixels of the clip between two of them

// Of a clip that has just been opened.
export const newContent = () => ({
  rev: -1,
  frame: 0, // from 0
  masks: [], // by frame and label: { runs, points, key, by, score }
  revs: [], // by frame, the revision of those masks
  wanted: new Set(), // frames whose masks have changed since, or are not here yet
  lanes: {}, // by label, what it is on each frame; see cells.js
  bitmaps: [],
  thumbs: [], // small frames of a long clip
  film: [], // frames on the film
  loaded: 0,
  looking: 0, // when masks were asked for; 0 once they have come
  pending: [], // points and strokes the server has not answered
  adding: 0, // number of the wish for a new region, until it is answered
  held: [], // what was done since
  labels: [],
  found: null, // cuts that were found: the first frames of shots, from 0
  scanning: false, // whether the server looks for them
});

export const newEditor = () => ({
  ...newContent(),
  id: null,
  clip: null,
  load: () => {}, // to be called when other frames are needed
  tool: "add",
  radius: 12, // of the brush, in pixels of the clip
  stale: [], // labels to be tracked
  who: null, // who can find masks (choices, usual) and follow them (trackers, tracker)
  tracking: 0,
  led: null, // where tracking began and to which frame it has led: { from, at }
  stroke: null, // being drawn
  box: null, // being drawn: { from, to, how }
  hover: null,
  cursor: null, // moved by keys
  playing: 0,
  hide: false,
  scale: 1, // pixels of the screen in one of the clip
});

export const isBrush = (tool) => tool === "brush" || tool === "erase";

// Whether a tool is drawn with, and so takes a finger's drag for itself.
export const isDrawn = (tool) => isBrush(tool) || tool === "box";

export const frameOf = (editor, frame) => clamp(frame, 0, (editor.clip?.count ?? 1) - 1);

// Where in the clip a place of the screen is; `box` is the canvas's on the screen.
export const placeIn = (box, clip, x, y) => [
  hundredths(clamp(((x - box.left) / box.width) * clip.width, 0, clip.width - 0.01)),
  hundredths(clamp(((y - box.top) / box.height) * clip.height, 0, clip.height - 0.01)),
];

// The cursor after a step to a side, [-1, 0] being left; it begins in the middle.
export const moveCursor = (editor, side) => {
  const sizes = [editor.clip.width, editor.clip.height],
    step = 4 / editor.scale;
  const from = editor.cursor ?? sizes.map((size) => size / 2);
  return from.map((value, i) => hundredths(clamp(value + side[i] * step, 0, sizes[i] - 1)));
};

// A box between two corners: [x, y, width, height], and its shorter side.
export const boxOf = (from, to) => {
  const [width, height] = [Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
  return {
    box: [Math.min(from[0], to[0]), Math.min(from[1], to[1]), width, height],
    size: Math.min(width, height),
  };
};

export const extend = (path, at) => {
  const last = path[path.length - 1];
  if (Math.hypot(at[0] - last[0], at[1] - last[1]) >= APART && path.length < MAX_PATH) path.push(at);
};

// Points on this frame, [x, y, belongs to it, label]: those the server knows, then those it has yet to hear of.
export const pointsHere = ({ masks, pending, frame }) => {
  const kept = Object.entries(masks[frame] ?? {}).flatMap(([label, entry]) =>
    entry.points.map((point) => [...point, Number(label)]),
  );
  const known = new Set(kept.map(([x, y]) => x + "," + y));
  const waiting = pending.filter(
    ({ point, frame: at }) => point && at === frame && !known.has(point[0] + "," + point[1]),
  );
  return [...kept, ...waiting.map(({ point, label }) => [...point, label])];
};

// The point of a region that a click takes back; null for none in reach.
export const pointAt = (editor, at, label) => {
  const reach = 9 / editor.scale;
  const hit = pointsHere(editor).find(
    ([x, y, , owner]) => owner === label && Math.hypot(x - at[0], y - at[1]) < reach,
  );
  return hit ? hit.slice(0, 2) : null;
};

export const finderOf = ({ finders, who }, label) => finders?.[label] ?? who?.usual;

// Take what the server says of the clip that is open; false if something newer is known already.
export const accept = (editor, value) => {
  const seen = new Set(value.acknowledged);
  editor.pending = editor.pending.filter((wait) => !seen.has(wait.nonce));
  if (value.found) Object.assign(editor, { found: value.found, scanning: false });
  if (value.rev < editor.rev) return false;
  for (const [frame, entries] of Object.entries(value.changes)) {
    editor.masks[frame] = entries;
    editor.revs[frame] = value.rev;
    editor.wanted.delete(Number(frame));
  }
  for (const [frame, changed] of Object.entries(value.wanting ?? {}))
    if (changed > (editor.revs[frame] ?? -1)) editor.wanted.add(Number(frame));
  const { rev, tracking, followed, stale, labels, undo, redo, finders, who, lanes, feathers } = value;
  editor.followed = followed;
  Object.assign(editor, { rev, tracking, stale, labels, undo, redo, finders, who, lanes, feathers });
  return true;
};

// Which region is selected once the labels have changed: a new one, or else the same as before, or the first.
export const selection = (before, labels, active, fresh) => {
  const added = labels.find((label) => !before.includes(label));
  if (!fresh && added !== undefined) return added;
  return labels.includes(active) ? active : (labels[0] ?? 0);
};

const LONG_WAIT = 5; // seconds from which time left is said

// How far tracking is: "Tracking frame 12 of 96, 20 s left".
export const progressOf = (followed) => {
  if (!followed) return "Tracking";
  const [done, total, left] = followed;
  const said = left >= 90 ? `${Math.round(left / 60)} min left` : `${Math.round(left)} s left`;
  return `Tracking frame ${done} of ${total}` + (left >= LONG_WAIT ? ", " + said : "");
};

export const hintFor = (tool, name, touch) => {
  const click = touch ? "Tap" : "Click";
  return {
    add: `${click} an object to add it to ${name}.${touch ? "" : " Right-click to remove."}`,
    remove: `${click} what does not belong to ${name}.`,
    brush: `Paint onto ${name}.${touch ? "" : " Hold Alt to erase."}`,
    erase: `Erase from ${name}.`,
    box: `Draw a box around an object for ${name}.${touch ? "" : " Shift takes all of it, Alt cuts it out."}`,
  }[tool];
};
