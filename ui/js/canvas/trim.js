// @ts-check
// Which stretch of one's own file is used: two handles over small pictures of the whole of it.
import { button, fillSelect, make, takeKey } from "../shared/dom.js";
import { fileUrl, hub, mayOpen, showStage } from "../shared/hub.js";
import { clamp } from "../shared/numbers.js";
import { makeQuestion } from "../shared/dialog.js";
import { isMasked } from "./cells.js";

/**
 * @typedef {object} Range frames of a file that are used
 * @property {number} first from 0
 * @property {number} last
 * @property {number} stride every how manyth
 * @property {number} total frames of the file
 * @property {number} most frames that can be used
 */

const STRIDES = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 30, 60];

/** @param {Pick<Range, "first" | "last" | "stride">} range */
export const countOf = ({ first, last, stride }) => Math.floor((last - first) / stride) + 1;

/**
 * Return the range that the server says is used of a file.
 * @param {Pick<import("../types").ClipView, "start" | "stride" | "count" | "total" | "most">} clip
 * @returns {Range}
 */
export const rangeOf = ({ start, stride, count, total, most }) => ({
  first: start,
  last: Math.min(start + (count - 1) * stride, total - 1),
  stride,
  total,
  most,
});

/** @param {Range} range */
const spanOf = ({ stride, most }) => (most - 1) * stride;

/**
 * Move the first frame; the last follows where too many frames would lie between them.
 * @param {Range} range
 * @param {number} to
 * @returns {Range}
 */
export const moveFirst = (range, to) => {
  const first = clamp(to, 0, range.last);
  return { ...range, first, last: Math.min(range.last, first + spanOf(range)) };
};

/**
 * Move the last frame; the first follows where too many frames would lie between them.
 * @param {Range} range
 * @param {number} to
 * @returns {Range}
 */
export const moveLast = (range, to) => {
  const last = clamp(to, range.first, range.total - 1);
  return { ...range, last, first: Math.max(range.first, last - spanOf(range)) };
};

/**
 * @param {Range} range
 * @param {number} by
 * @returns {Range}
 */
export const slide = (range, by) => {
  const moved = clamp(by, -range.first, range.total - 1 - range.last);
  return { ...range, first: range.first + moved, last: range.last + moved };
};

/**
 * @param {Range} range
 * @param {number} stride
 */
export const withStride = (range, stride) => moveFirst({ ...range, stride }, range.first);

/**
 * Return the strides to choose from: those that leave two frames or more, and the present one.
 * @param {Pick<Range, "stride" | "total">} range
 */
export const stridesOf = ({ stride, total }) => {
  const usable = STRIDES.filter((one) => one === 1 || one < total);
  const all = new Set([...usable, stride]);
  return [...all].sort((a, b) => a - b);
};

/** @type {Record<number, string>} */
const ORDINALS = { 1: "st", 2: "nd", 3: "rd" };

/** @param {number} number */
export const ordinal = (number) => {
  const teens = [11, 12, 13].includes(number % 100);
  return number + (teens ? "th" : (ORDINALS[number % 10] ?? "th"));
};

/**
 * @param {Range} range
 * @param {number} fps of the whole file
 */
export const sayRange = (range, fps) => {
  const count = countOf(range);
  const seconds = (count * range.stride) / fps;
  const which = `Frames ${range.first + 1}–${range.last + 1} of ${range.total}`;
  const how = range.stride > 1 ? `, every ${ordinal(range.stride)}` : "";
  const frames = count === 1 ? "frame" : "frames";
  return `${which}${how}: ${count} ${frames}, ${seconds.toFixed(1)} s`;
};

/** @param {Pick<Range, "first" | "last" | "stride">} range @param {number} frame of the file */
const holds = ({ first, last, stride }, frame) =>
  frame >= first && frame <= last && (frame - first) % stride === 0;

/**
 * Count the frames with a mask that are not among those of a range.
 * @param {Pick<Range, "first" | "last" | "stride">} range
 * @param {Pick<import("../types").ClipView, "start" | "stride" | "count">} clip
 * @param {Record<string, string>} lanes by label, as in cells.js
 * @param {number} rest label of the rest of the frame, whose mask is made of the others
 */
export const lostOf = (range, { start, stride, count }, lanes, rest = 0) => {
  const labels = Object.keys(lanes).filter((label) => Number(label) !== rest);
  let lost = 0;
  for (let i = 0; i < count; i++) {
    const masked = labels.some((label) => isMasked(lanes[label][i]));
    if (masked && !holds(range, start + i * stride)) lost += 1;
  }
  return lost;
};

/**
 * @typedef {object} Trim what the handles share
 * @property {Range} range
 * @property {number} fps of the whole file
 * @property {HTMLElement[]} handles the first frame's and the last's
 * @property {(range: Range) => void} set
 */

const NO_RANGE = { first: 0, last: 0, stride: 1, total: 1, most: 1 };
const TRIM_STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const TRIM_KEYS = { ...TRIM_STEPS, Home: -Infinity, End: Infinity };

const MOVES = [moveFirst, moveLast];

/** @param {string} name @param {0 | 1} which @param {Trim} trim */
const makeTrimHandle = (name, which, trim) => {
  const node = make("span", {
    className: "rg-trim-handle",
    tabIndex: 0,
    role: "slider",
    ariaLabel: name,
    title: name + ": drag, or press the arrow keys",
  });
  node.addEventListener("keydown", (event) => {
    const by = takeKey(event, TRIM_KEYS);
    if (!by) return;
    const { first, last } = trim.range;
    const at = which === 0 ? first : last;
    trim.set(MOVES[which](trim.range, at + by));
  });
  return node;
};

/**
 * Let the handle that was pressed, or the stretch between them, follow the pointer.
 * @param {HTMLElement} track
 * @param {Trim} trim
 */
const watchTrimming = (track, trim) => {
  /** @param {PointerEvent} event */
  const frameAt = ({ clientX }) => {
    const box = track.getBoundingClientRect();
    const share = (clientX - box.left) / box.width;
    return Math.floor(share * trim.range.total);
  };
  /** @type {((range: Range, at: number) => Range) | null} */
  let follow = null;
  track.addEventListener("pointerdown", (event) => {
    const pressed = /** @type {Element} */ (event.target);
    const before = trim.range;
    const from = frameAt(event);
    const between = pressed.closest(".rg-trim-span") && from > before.first && from < before.last;
    const which = Math.abs(from - before.first) <= Math.abs(from - before.last) ? 0 : 1;
    track.setPointerCapture(event.pointerId);
    trim.handles[which].focus({ preventScroll: true });
    if (between) {
      follow = (_, at) => slide(before, at - from);
      return;
    }
    follow = MOVES[which];
    trim.set(follow(before, from));
  });
  track.addEventListener("pointermove", (event) => {
    if (!follow || !track.hasPointerCapture(event.pointerId)) return;
    trim.set(follow(trim.range, frameAt(event)));
  });
  const end = () => {
    follow = null;
  };
  track.addEventListener("pointerup", end);
  track.addEventListener("pointercancel", end);
};

/** @param {Trim} trim */
const makeTrimTrack = (trim) => {
  const picture = make("img", { alt: "", draggable: false });
  trim.handles = [makeTrimHandle("First frame", 0, trim), makeTrimHandle("Last frame", 1, trim)];
  const track = make("div", "rg-trim-track", picture, make("div", "rg-trim-span"), ...trim.handles);
  watchTrimming(track, trim);
  return { track, picture };
};

/** @param {number} stride */
const strideName = (stride) => (stride === 1 ? "every frame" : `every ${ordinal(stride)} frame`);

/** @param {Trim} trim */
const tellTrim = ({ range, handles, fps }) => {
  const { first, last, total } = range;
  /** @param {HTMLElement} handle @param {number} least @param {number} most @param {number} frame */
  const tell = (handle, least, most, frame) => {
    const seconds = (frame / fps).toFixed(1);
    handle.ariaValueMin = String(least + 1);
    handle.ariaValueMax = String(most + 1);
    handle.ariaValueNow = String(frame + 1);
    handle.ariaValueText = `frame ${frame + 1} of ${total}, ${seconds} s`;
  };
  tell(handles[0], 0, last, first);
  tell(handles[1], first, total - 1, last);
};

// Ask before masks are lost; resolves to whether the range may be used.
const makeWarning = () => {
  const question = makeQuestion("Use these frames?", "Use these frames", "Keep the frames");
  /** @param {Range} range */
  const mayUse = async (range) => {
    const { clip, editor, rest } = hub;
    const lost = clip && editor ? lostOf(range, clip, editor.lanes, rest) : 0;
    const frames = lost === 1 ? "one frame" : `${lost} frames`;
    const loss = `The masks of ${frames} will be lost; Save keeps them in a file.`;
    return !lost || question.ask(loss);
  };
  return mayUse;
};

// Shown for a file that has more frames than one.
export const makeTrim = () => {
  /** @type {Trim} */
  const trim = {
    range: NO_RANGE,
    fps: 1,
    handles: [],
    set(range) {
      trim.range = range;
      node.style.setProperty("--first", String(range.first / range.total));
      node.style.setProperty("--last", String((range.last + 1) / range.total));
      said.textContent = sayRange(range, trim.fps);
      tellTrim(trim);
    },
  };
  const { track, picture } = makeTrimTrack(trim);
  const pick = make("select", { onchange: () => trim.set(withStride(trim.range, Number(pick.value))) });
  const said = make("p", { className: "rg-trim-said", role: "status" });
  const mayUse = makeWarning();
  const take = async () => {
    const { first: start, stride } = trim.range;
    if (!(await mayUse(trim.range)) || !mayOpen("Taking these frames from the file")) return;
    hub.tell("trim", { start, stride, frames: countOf(trim.range) });
  };
  const use = button("rg-tool", "Use these frames", take, "Regions, words and masks of these frames stay");
  const row = make("div", "rg-trim-row", said, make("label", {}, "Use", pick), use);
  const about = { className: "rg-trim", hidden: true, ariaLabel: "Frames of the file that are used" };
  const node = make("section", about, track, row);
  /** @param {boolean} folded */
  const fold = (folded) => {
    node.hidden = !hub.clip?.total || folded;
  };
  hub.on("clip", (clip) => {
    fold(true);
    if (!clip.total) return;
    trim.fps = clip.fps * clip.stride;
    trim.set(rangeOf(clip));
    /** @type {[number, string][]} */
    const strides = stridesOf(trim.range).map((stride) => [stride, strideName(stride)]);
    fillSelect(pick, strides, trim.range.stride);
    picture.hidden = !clip.strip;
    if (clip.strip) picture.src = fileUrl(clip.strip);
  });
  hub.on("trimming", () => {
    fold(!node.hidden && document.body.dataset.stage === "masks");
    showStage("masks");
    if (!node.hidden) trim.handles[0].focus();
  });
  return node;
};
