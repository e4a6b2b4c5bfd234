// Frames and, below, one lane per region.
import { icon, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { drawLanes, makeLegend } from "./lanes.js";
import { makeCutMarks, makeKeyMarks } from "./marks.js";
import { filmFrames, isShort } from "./nearby.js";

const LINES = 60, // on the ruler
  NOTCH = 5; // pixels of the screen

// A notch in the lower edge for each key frame.
const drawNotches = (context, places, high, dots) => {
  context.setTransform(dots, 0, 0, dots, 0, 0);
  for (const x of places) {
    const notch = new Path2D(`M${x - NOTCH} ${high}l${NOTCH} ${-NOTCH - 1}l${NOTCH} ${NOTCH + 1}z`);
    Object.assign(context, { fillStyle: "#fff", strokeStyle: "rgba(0, 0, 0, .75)", lineWidth: 1 });
    context.fill(notch);
    context.stroke(notch);
  }
};

// As many whole frames as fit, each at its place in the clip; and its key frames.
const drawFilm = (strip, editor, keys, wide, high) => {
  const { clip } = editor,
    pictures = isShort(clip) ? editor.bitmaps : editor.thumbs,
    dots = Math.min(devicePixelRatio || 1, 2);
  Object.assign(strip, { width: wide * dots, height: high * dots });
  const context = strip.getContext("2d"),
    cell = wide / clip.count;
  const narrowest = Math.max(cell, ((high * clip.width) / clip.height) * 0.6);
  const cells = Math.max(1, Math.min(clip.count, Math.floor(wide / narrowest))),
    each = wide / cells;
  editor.film = filmFrames(cells, clip.count);
  for (let i = 0; i < cells; i++) {
    const bitmap = pictures[editor.film[i]];
    if (!bitmap) continue;
    const zoom = Math.max(each / bitmap.width, high / bitmap.height);
    const [across, down] = [each / zoom, high / zoom];
    const from = [(bitmap.width - across) / 2, (bitmap.height - down) / 2, across, down];
    context.drawImage(bitmap, ...from, i * each * dots, 0, each * dots, high * dots);
  }
  const places = keys.map((frame) => (frame + 0.5) * cell);
  drawNotches(context, places, high, dots);
  editor.load();
};

const makeRuler = (editor, keysShown) => {
  const strip = make("canvas", { className: "rg-film", ariaHidden: true }),
    about = { className: "rg-ruler", tabIndex: 0, role: "slider", ariaLabel: "Frame", ariaValueMin: 1 },
    ruler = make("div", about, strip);
  let due = 0;
  const film = () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(() => {
      const { clientWidth: wide, clientHeight: high } = ruler;
      if (editor.clip && wide) drawFilm(strip, editor, keysShown(), wide, high);
    });
  };
  new ResizeObserver(film).observe(ruler);
  const tell = (frame, total) => {
    ruler.ariaValueMax = total;
    ruler.ariaValueNow = frame;
    ruler.ariaValueText = `frame ${frame} of ${total}`;
    ruler.style.setProperty("--frames", total / Math.ceil(total / LINES));
  };
  return { ruler, film, tell };
};

// A press or a drag anywhere below or above the ruler goes to that frame.
const watchScrubbing = (node, ruler, editor) => {
  const to = (event) => {
    const box = ruler.getBoundingClientRect();
    editor.go(Math.floor(((event.clientX - box.left) / box.width) * editor.clip.count));
  };
  node.addEventListener("pointerdown", (event) => {
    const box = ruler.getBoundingClientRect(),
      { target, clientX } = event;
    if (!editor.clip || target.closest("button, .rg-legend, .rg-marks")) return;
    if (clientX < box.left || clientX > box.right) return;
    const lane = target.closest(".rg-lane");
    if (lane) hub.tell("choose", Number(lane.dataset.label));
    node.setPointerCapture(event.pointerId);
    ruler.focus({ preventScroll: true });
    to(event);
  });
  node.addEventListener("pointermove", (event) => {
    if (node.hasPointerCapture(event.pointerId)) to(event);
  });
};

const makeKnobs = (editor) => {
  const toggle = iconButton("rg-tool", "play", "Play (Space)", () => editor.play(!editor.playing));
  const step = (picture, hint, by) =>
    iconButton("rg-tool", picture, hint, () => editor.go(editor.frame + by));
  const [back, next] = [step("back", "Previous frame (,)", -1), step("next", "Next frame (.)", 1)];
  return {
    knobs: make("div", "rg-knobs", back, toggle, next),
    playing: (on) => toggle.replaceChildren(icon(on ? "pause" : "play")),
  };
};

export const makeTimeline = (editor) => {
  const field = make("div", "rg-time-field"),
    keys = makeKeyMarks(editor, () => film()),
    cuts = makeCutMarks(editor, field),
    { ruler, film, tell } = makeRuler(editor, () => keys.shown),
    { knobs, playing } = makeKnobs(editor),
    count = make("span", "rg-count"),
    top = make("div", "rg-time-row", knobs, ruler, count),
    lanes = make("div", "rg-lanes"),
    legend = makeLegend(),
    node = make("div", "rg-time", top, cuts.node, cuts.words, keys.node, lanes, field, legend);
  field.append(make("div", "rg-playhead"));
  watchScrubbing(node, ruler, editor);
  let shown = "";
  const draw = () => {
    if (!editor.clip) return;
    const total = editor.clip.count,
      frame = editor.frame + 1;
    node.classList.toggle("rg-long", total >= 1000);
    node.style.setProperty("--at", (frame - 0.5) / total);
    count.textContent = frame + " / " + total;
    tell(frame, total);
    cuts.draw();
    keys.draw();
    const looks = hub.regions.map(({ label, color, name }) => [label, color, name]);
    const wanted = JSON.stringify([editor.id, total, editor.rev, hub.active, looks]);
    if (wanted === shown) return;
    shown = wanted;
    drawLanes(lanes, editor);
    legend.hidden = !hub.regions.length;
  };
  return { node, draw, film, playing };
};
