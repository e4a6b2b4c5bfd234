// @ts-check
// What follows from what the editor knows; nothing here touches the document.
import { clamp, hundredths } from "../shared/numbers.js";
import { WHOLE } from "../shared/view.js";

const APART = 0.7; // pixels of the clip between two of them
const CURSOR_STEP = 4; // pixels of the screen
const FASTEST = 12; // steps of the cursor at once, while its key is held
const REACH = 9; // pixels of the screen around a point that a click takes back, once the server knows it

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").Place} Place */

/** @param {string} tool */
export const isBrush = (tool) => tool === "brush" || tool === "erase";

/**
 * Tell whether a tool is drawn with, and so takes a finger's drag for itself.
 * @param {string} tool
 */
export const isDrawn = (tool) => isBrush(tool) || tool === "box";

/**
 * @param {Editor} editor
 * @param {number} frame
 */
export const frameOf = (editor, frame) => clamp(frame, 0, (editor.clip?.count ?? 1) - 1);

/**
 * Return where in the clip a place of the screen is.
 * @param {{ left: number, top: number, width: number, height: number }} box of the canvas on the screen
 * @param {{ width: number, height: number }} clip
 * @param {number} x
 * @param {number} y
 * @param {import("../types").View} [view] what part of the clip is seen
 * @returns {Place}
 */
export const placeIn = (box, clip, x, y, view = WHOLE) => {
  const across = view.x + (x - box.left) / box.width / view.zoom;
  const down = view.y + (y - box.top) / box.height / view.zoom;
  return [
    hundredths(clamp(across * clip.width, 0, clip.width - 0.01)),
    hundredths(clamp(down * clip.height, 0, clip.height - 0.01)),
  ];
};

/**
 * Return the cursor after a step; it begins in the middle.
 * @param {{ clip: { width: number, height: number } | null, scale: number, cursor: Place | null }} editor
 * @param {number[]} side where to, [-1, 0] being left
 * @param {number} [held] how often its key has repeated: the longer it is held, the wider the steps
 * @returns {Place}
 */
export const moveCursor = ({ clip, scale, cursor }, side, held = 0) => {
  const sizes = clip ? [clip.width, clip.height] : [1, 1];
  const step = (CURSOR_STEP * Math.min(FASTEST, 1 + held / 2)) / scale;
  const from = cursor ?? sizes.map((size) => size / 2);
  return from.map((value, i) => hundredths(clamp(value + side[i] * step, 0, sizes[i] - 1)));
};

/**
 * Return the box between two corners as [x, y, width, height], and its shorter side.
 * @param {Place} from
 * @param {Place} to
 */
export const boxOf = (from, to) => {
  const x = Math.min(from[0], to[0]);
  const y = Math.min(from[1], to[1]);
  const width = Math.abs(to[0] - from[0]);
  const height = Math.abs(to[1] - from[1]);
  return { box: [x, y, width, height], size: Math.min(width, height) };
};

/** @param {Place} a @param {Place} b */
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

/**
 * Lengthen a stroke to a place, unless that is too near or the stroke too long.
 * @param {Place[]} path
 * @param {Place} at
 * @param {number} most places
 */
export const extend = (path, at, most) => {
  const last = path[path.length - 1];
  if (distance(at, last) >= APART && path.length < most) path.push(at);
};

/**
 * Return the points on this frame, [x, y, belongs to it, label]: those the server knows, then those it has yet to
 * hear of.
 * @param {Pick<Editor, "masks" | "pending" | "frame">} editor
 * @returns {number[][]}
 */
export const pointsHere = ({ masks, pending, frame }) => {
  /** @param {number[]} point */
  const placeOf = (point) => point[0] + "," + point[1];
  const kept = Object.entries(masks[frame] ?? {}).flatMap(([label, { points }]) =>
    points.map((point) => [...point, Number(label)]),
  );
  const known = new Set(kept.map(placeOf));
  const waiting = pending.flatMap(({ point, frame: at, label }) => {
    const isNew = point && at === frame && !known.has(placeOf(point));
    return isNew ? [[...point, label]] : [];
  });
  return [...kept, ...waiting];
};

/**
 * Return the point of a region that a click takes back; null for none in reach.
 * @param {Pick<Editor, "masks" | "pending" | "frame" | "scale">} editor
 * @param {Place} at
 * @param {number} label
 */
export const pointAt = (editor, at, label) => {
  const reach = REACH / editor.scale;
  const hit = pointsHere({ ...editor, pending: [] }).find(
    (point) => point[3] === label && distance(point, at) < reach,
  );
  return hit ? hit.slice(0, 2) : null;
};

/**
 * Return the label of the mask at a place of the frame that is shown; 0 for none.
 * @param {Pick<Editor, "masks" | "frame" | "clip" | "labels">} editor
 * @param {Place} at
 */
export const labelAt = ({ masks, frame, clip, labels }, [x, y]) => {
  const width = clip?.width ?? 1;
  const pixel = Math.floor(y) * width + Math.floor(x);
  /** @param {number} label */
  const covers = (label) => {
    const runs = masks[frame]?.[label]?.runs.split(" ") ?? [];
    let end = 0;
    const at = runs.findIndex((run) => {
      end += Number(run);
      return pixel < end;
    });
    return at % 2 === 1; // runs alternate, outside first; -1 is past the last
  };
  return labels.find(covers) ?? 0;
};

/**
 * Return how far left masks reach on any frame, as a share of the width; 1 without masks.
 * @param {Editor["masks"]} masks
 * @param {number} width of the clip in pixels
 */
export const leftOf = (masks, width) => {
  let left = width;
  const texts = masks.flatMap((frame) => Object.values(frame ?? {}).map(({ runs }) => runs));
  for (const text of texts) {
    let at = 0;
    text.split(" ").forEach((run, i) => {
      const column = at % width;
      at += Number(run);
      const inside = i % 2 === 1;
      if (inside) left = Math.min(left, column + Number(run) > width ? 0 : column);
    });
  }
  return left / width;
};

/**
 * @param {Pick<Editor, "finders" | "who">} editor
 * @param {number} label
 */
export const finderOf = ({ finders, who }, label) => finders[label] ?? who?.usual;

/**
 * Take what the server says of the clip that is open; return false if something newer is known already.
 * @param {Editor} editor
 * @param {import("../types").CanvasView} value
 */
export const accept = (editor, value) => {
  editor.pending = editor.pending.filter(({ nonce }) => !value.acknowledged.includes(nonce));
  if (value.found) Object.assign(editor, { found: value.found, scanning: false });
  if (value.rev < editor.rev) return false;
  for (const [at, entries] of Object.entries(value.changes)) {
    const frame = Number(at);
    editor.masks[frame] = entries;
    editor.revs[frame] = value.rev;
    editor.wanted.delete(frame);
  }
  for (const [at, changed] of Object.entries(value.wanting ?? {}))
    if (changed > (editor.revs[Number(at)] ?? -1)) editor.wanted.add(Number(at));
  const { rev, tracking, followed, stale, labels, undo, redo, finders, who, lanes, feathers } = value;
  Object.assign(editor, { rev, tracking, followed, stale, labels });
  Object.assign(editor, { undo, redo, finders, who, lanes, feathers });
  return true;
};

/**
 * Return which region is selected once the labels have changed: a new one, or else the same as before, be it none, or the
 * first.
 * @param {number[]} before
 * @param {number[]} labels
 * @param {number} active
 * @param {boolean} fresh whether another clip was opened
 */
export const selection = (before, labels, active, fresh) => {
  const added = labels.find((label) => !before.includes(label));
  if (!fresh && added !== undefined) return added;
  if (!fresh && !active && before.length) return 0; // somebody let it go
  return labels.includes(active) ? active : (labels[0] ?? 0);
};

const LONG_WAIT = 5; // seconds from which time left is said
const MINUTES = 90; // seconds from which it is said in minutes

/**
 * Say how far tracking is: "Tracking frame 12 of 96, 20 s left".
 * @param {Editor["followed"]} followed
 */
export const progressOf = (followed) => {
  if (!followed) return "Tracking";
  const [done, total, left] = followed;
  const said = `Tracking frame ${done} of ${total}`;
  if (left < LONG_WAIT) return said;
  const rest = left >= MINUTES ? `${Math.round(left / 60)} min` : `${Math.round(left)} s`;
  return `${said}, ${rest} left`;
};
