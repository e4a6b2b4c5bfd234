// Which stretch of one's own file is used: two handles over small pictures of the whole of it. A range is frames
// `first` to `last`, from 0, every `stride`-th; of `total`, at most `most` used.
import { button, fillSelect, make, takeKey } from "../shared/dom.js";
import { fileUrl, hub, showStage } from "../shared/hub.js";
import { clamp } from "../shared/numbers.js";
import { makeQuestion } from "../shared/dialog.js";
import { isMasked } from "./cells.js";

const STRIDES = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 30, 60];

export const countOf = ({ first, last, stride }) => Math.floor((last - first) / stride) + 1;

// As the server says what is used of a file.
export const rangeOf = ({ start, stride, count, total, most }) => ({
  first: start,
  last: Math.min(start + (count - 1) * stride, total - 1),
  stride,
  total,
  most,
});

const spanOf = ({ stride, most }) => (most - 1) * stride;

// One end moves; the other follows where too many frames would lie between them.
export const moveFirst = (range, to) => {
  const first = clamp(to, 0, range.last);
  return { ...range, first, last: Math.min(range.last, first + spanOf(range)) };
};

export const moveLast = (range, to) => {
  const last = clamp(to, range.first, range.total - 1);
  return { ...range, last, first: Math.max(range.first, last - spanOf(range)) };
};

export const slide = (range, by) => {
  const moved = clamp(by, -range.first, range.total - 1 - range.last);
  return { ...range, first: range.first + moved, last: range.last + moved };
};

export const withStride = (range, stride) => moveFirst({ ...range, stride }, range.first);

// The strides to choose from: those that leave two frames or more, and the present one.
export const stridesOf = ({ stride, total }) =>
  [...new Set([...STRIDES.filter((one) => one === 1 || one < total), stride])].sort((a, b) => a - b);

const ORDINALS = { 1: "st", 2: "nd", 3: "rd" };

export const ordinal = (number) => {
  const teens = [11, 12, 13].includes(number % 100);
  return number + (teens ? "th" : (ORDINALS[number % 10] ?? "th"));
};

// `fps` of the whole file.
export const sayRange = (range, fps) => {
  const count = countOf(range),
    seconds = (count * range.stride) / fps,
    which = `Frames ${range.first + 1}–${range.last + 1} of ${range.total}`,
    how = range.stride > 1 ? `, every ${ordinal(range.stride)}` : "";
  return `${which}${how}: ${count} ${count === 1 ? "frame" : "frames"}, ${seconds.toFixed(1)} s`;
};

// How many frames with a mask are not among those of a range; `lanes` are by label, as in cells.js;
// that of the rest of the frame is made of the others.
export const lostOf = (range, { start, stride, count }, lanes, rest = 0) =>
  Array.from({ length: count }, (_, i) => [i, start + i * stride])
    .filter(([, at]) => at < range.first || at > range.last || (at - range.first) % range.stride)
    .filter(([i]) => Object.keys(lanes).some((label) => Number(label) !== rest && isMasked(lanes[label][i])))
    .length;

const TRIM_STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const TRIM_KEYS = { ...TRIM_STEPS, Home: -Infinity, End: Infinity };

const makeTrimHandle = (name, move, trim) => {
  const about = { className: "rg-trim-handle", tabIndex: 0, role: "slider", ariaLabel: name },
    node = make("span", { ...about, title: name + ": drag, or press the arrow keys" });
  node.addEventListener("keydown", (event) => {
    const by = takeKey(event, TRIM_KEYS);
    if (by) trim.set(move(trim.range, trim.at(node) + by));
  });
  return node;
};

// The handle that was pressed, or the stretch between them, follows the pointer.
const watchTrimming = (track, trim, moves) => {
  const frameAt = (event) => {
    const box = track.getBoundingClientRect();
    return Math.floor(((event.clientX - box.left) / box.width) * trim.range.total);
  };
  let held = null;
  track.addEventListener("pointerdown", (event) => {
    const { first, last } = trim.range,
      at = frameAt(event),
      between = event.target.closest(".rg-trim-span") && at > first && at < last;
    const handle = Math.abs(at - first) <= Math.abs(at - last) ? 0 : 1;
    held = { from: at, range: trim.range, move: between ? null : moves[handle] };
    track.setPointerCapture(event.pointerId);
    trim.handles[handle].focus({ preventScroll: true });
    if (held.move) trim.set(held.move(trim.range, at));
  });
  track.addEventListener("pointermove", (event) => {
    if (!held || !track.hasPointerCapture(event.pointerId)) return;
    const at = frameAt(event);
    trim.set(held.move ? held.move(trim.range, at) : slide(held.range, at - held.from));
  });
  for (const end of ["pointerup", "pointercancel"]) track.addEventListener(end, () => (held = null));
};

const makeTrimTrack = (trim) => {
  const picture = make("img", { alt: "", draggable: false }),
    moves = [moveFirst, moveLast];
  trim.handles = ["First frame", "Last frame"].map((name, i) => makeTrimHandle(name, moves[i], trim));
  trim.at = (node) => (node === trim.handles[0] ? trim.range.first : trim.range.last);
  const track = make("div", "rg-trim-track", picture, make("div", "rg-trim-span"), ...trim.handles);
  watchTrimming(track, trim, moves);
  return { track, picture };
};

const strideName = (stride) => (stride === 1 ? "every frame" : `every ${ordinal(stride)} frame`);

const tellTrim = ({ range, handles, fps }) => {
  const least = [0, range.first],
    most = [range.last, range.total - 1];
  [range.first, range.last].forEach((frame, i) =>
    Object.assign(handles[i], {
      ariaValueMin: least[i] + 1,
      ariaValueMax: most[i] + 1,
      ariaValueNow: frame + 1,
      ariaValueText: `frame ${frame + 1} of ${range.total}, ${(frame / fps).toFixed(1)} s`,
    }),
  );
};

// Shown for a file that has more frames than one.
export const makeTrim = () => {
  const trim = { range: null, fps: 1 },
    { track, picture } = makeTrimTrack(trim),
    onchange = () => trim.set(withStride(trim.range, Number(pick.value))),
    pick = make("select", { onchange }),
    said = make("p", { className: "rg-trim-said", role: "status" });
  const question = makeQuestion("Use these frames?", "Use these frames", "Keep the frames");
  const take = async () => {
    const { first, stride } = trim.range,
      lost = lostOf(trim.range, hub.clip, hub.editor.lanes, hub.rest),
      loss = `The masks of ${lost === 1 ? "one frame" : lost + " frames"} will be lost; Save keeps them in a file.`;
    if (lost && !(await question.ask(loss))) return;
    hub.tell("trim", { start: first, stride, frames: countOf(trim.range) });
  };
  const use = button("rg-tool", "Use these frames", take, "Regions, words and masks of these frames stay"),
    others = button("rg-link", "Choose others", () => hub.tell("trimming")),
    row = make("div", "rg-trim-row", said, others, make("label", {}, "Use", pick), use),
    about = { className: "rg-trim", hidden: true, ariaLabel: "Frames of the file that are used" },
    node = make("section", about, track, row, question.node);
  trim.set = (range) => {
    trim.range = range;
    node.style.setProperty("--first", range.first / range.total);
    node.style.setProperty("--last", (range.last + 1) / range.total);
    said.textContent = sayRange(range, trim.fps);
    tellTrim(trim);
  };
  // To a line, which says what is used; to nothing, where that is all of the file.
  const fold = (folded) => {
    const { total, count, stride } = hub.clip;
    node.classList.toggle("rg-folded", folded);
    node.hidden = !total || (folded && total <= count * stride);
  };
  hub.on("clip", (clip) => {
    fold(true);
    if (!clip.total) return;
    trim.fps = clip.fps * clip.stride;
    trim.set(rangeOf(clip));
    const strides = stridesOf(trim.range).map((stride) => [stride, strideName(stride)]);
    fillSelect(pick, strides, trim.range.stride);
    picture.hidden = !clip.strip;
    if (clip.strip) picture.src = fileUrl(clip.strip);
  });
  hub.on("trimming", () => {
    const open = !node.hidden && !node.classList.contains("rg-folded");
    fold(open && document.body.dataset.stage === "masks");
    showStage("masks");
    if (!node.classList.contains("rg-folded")) trim.handles[0].focus();
  });
  return node;
};
