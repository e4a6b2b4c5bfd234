// Which stretch of one's own file is used: two handles over small pictures of the whole of it.
import { button, make } from "../shared/dom.js";
import { hub, showStage } from "../shared/hub.js";
import { fileUrl } from "../shared/server.js";
import {
  countOf,
  moveFirst,
  moveLast,
  ordinal,
  rangeOf,
  sayRange,
  slide,
  stridesOf,
  withStride,
} from "./trim_range.js";

const TRIM_STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const TRIM_ENDS = { Home: -Infinity, End: Infinity };

const makeTrimHandle = (name, move, trim) => {
  const node = make("span", "rg-trim-handle");
  Object.assign(node, { tabIndex: 0, title: name + ": drag, or press the arrow keys" });
  node.setAttribute("role", "slider");
  node.setAttribute("aria-label", name);
  node.addEventListener("keydown", (event) => {
    const by = TRIM_STEPS[event.key] ?? TRIM_ENDS[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // not to another frame of the clip
    trim.set(move(trim.range, trim.at(node) + by));
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
  const track = make("div", "rg-trim-track"),
    picture = make("img"),
    span = make("div", "rg-trim-span"),
    moves = [moveFirst, moveLast];
  picture.alt = "";
  picture.draggable = false;
  trim.handles = ["First frame", "Last frame"].map((name, i) => makeTrimHandle(name, moves[i], trim));
  trim.at = (node) => (node === trim.handles[0] ? trim.range.first : trim.range.last);
  track.append(picture, span, ...trim.handles);
  watchTrimming(track, trim, moves);
  return { track, picture };
};

const makeTrimStride = (trim) => {
  const label = make("label", "", "Use"),
    pick = make("select");
  label.append(pick);
  pick.addEventListener("change", () => trim.set(withStride(trim.range, Number(pick.value))));
  const fill = () => {
    const name = (stride) => (stride === 1 ? "every frame" : "every " + ordinal(stride) + " frame");
    pick.replaceChildren(...stridesOf(trim.range).map((stride) => new Option(name(stride), stride)));
    pick.value = trim.range.stride;
  };
  return { label, fill };
};

const tellTrim = ({ range, handles, fps }) => {
  const least = [0, range.first],
    most = [range.last, range.total - 1];
  [range.first, range.last].forEach((frame, i) => {
    const said = { valuemin: least[i] + 1, valuemax: most[i] + 1, valuenow: frame + 1 };
    said.valuetext = `frame ${frame + 1} of ${range.total}, ${(frame / fps).toFixed(1)} s`;
    for (const [name, value] of Object.entries(said)) handles[i].setAttribute("aria-" + name, value);
  });
};

// Shown for a file that has more frames than one.
export const makeTrim = (editor) => {
  const node = make("section", "rg-trim"),
    said = make("p", "rg-trim-said"),
    row = make("div", "rg-trim-row");
  const trim = { range: null, fps: 1 },
    { track, picture } = makeTrimTrack(trim),
    { label, fill } = makeTrimStride(trim);
  const use = button("rg-tool", "Use these frames", () => {
    const { first, stride } = trim.range;
    hub.tell("trim", { start: first, stride, frames: countOf(trim.range) });
  });
  use.title = "Masks of other frames are deleted";
  node.setAttribute("aria-label", "Frames of the file that are used");
  said.setAttribute("role", "status");
  row.append(said, label, use);
  node.append(track, row);
  node.hidden = true;
  trim.set = (range) => {
    trim.range = range;
    node.style.setProperty("--first", range.first / range.total);
    node.style.setProperty("--last", (range.last + 1) / range.total);
    said.textContent = sayRange(range, trim.fps);
    tellTrim(trim);
  };
  hub.on("clip", (clip) => {
    node.hidden = !clip.total || clip.total <= clip.count * clip.stride;
    if (!clip.total) return;
    trim.fps = clip.fps * clip.stride;
    trim.set(rangeOf(clip));
    fill();
    picture.hidden = !clip.strip;
    if (clip.strip) picture.src = fileUrl(clip.strip);
  });
  hub.on("trimming", () => {
    node.hidden = !node.hidden && document.body.dataset.stage === "masks";
    showStage("masks");
    if (!node.hidden) trim.handles[0].focus();
  });
  editor.trimming = trim;
  return node;
};
