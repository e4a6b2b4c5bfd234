// @ts-check
// Frames and, below, one lane per region.
import { contextOf, dotsPerPixel, icon, iconButton, make } from "../shared/dom.js";
import { hub, titleOf } from "../shared/hub.js";
import { drawLanes, makeLegend } from "./lanes.js";
import { makeCutMarks, makeKeyMarks } from "./marks.js";
import { filmFrames, isShort } from "./nearby.js";

/** @typedef {import("../types").Editor} Editor */

const LINES = 60; // on the ruler
const NOTCH = 5; // pixels of the screen
const NARROWEST = 0.6; // of its width, the part of a frame that is shown on the film
const MANY = 1000; // frames whose numbers need more room

/**
 * Draw a notch in the lower edge for each key frame.
 * @param {CanvasRenderingContext2D} context
 * @param {number[]} places pixels from the left
 * @param {number} high
 * @param {number} dots
 */
const drawNotches = (context, places, high, dots) => {
  context.setTransform(dots, 0, 0, dots, 0, 0);
  for (const x of places) {
    const notch = new Path2D(`M${x - NOTCH} ${high}l${NOTCH} ${-NOTCH - 1}l${NOTCH} ${NOTCH + 1}z`);
    Object.assign(context, { fillStyle: "#fff", strokeStyle: "rgba(0, 0, 0, .75)", lineWidth: 1 });
    context.fill(notch);
    context.stroke(notch);
  }
};

/**
 * Draw the middle of a picture into a cell of the film.
 * @param {CanvasRenderingContext2D} context
 * @param {ImageBitmap} picture
 * @param {number} left
 * @param {number} wide
 * @param {number} high
 */
const drawCell = (context, picture, left, wide, high) => {
  const zoom = Math.max(wide / picture.width, high / picture.height);
  const across = wide / zoom;
  const down = high / zoom;
  const x = (picture.width - across) / 2;
  const y = (picture.height - down) / 2;
  context.drawImage(picture, x, y, across, down, left, 0, wide, high);
};

/**
 * Draw as many whole frames as fit, each at its place in the clip; and its key frames.
 * @param {HTMLCanvasElement} strip
 * @param {Editor} editor
 * @param {import("../types").ClipView} clip
 * @param {number[]} keys
 * @param {number} wide
 * @param {number} high
 */
const drawFilm = (strip, editor, clip, keys, wide, high) => {
  const pictures = isShort(clip) ? editor.bitmaps : editor.thumbs;
  const dots = dotsPerPixel();
  Object.assign(strip, { width: wide * dots, height: high * dots });
  const context = contextOf(strip);
  const frameWidth = wide / clip.count;
  const whole = (high * clip.width) / clip.height;
  const narrowest = Math.max(frameWidth, whole * NARROWEST);
  const fitting = Math.min(clip.count, Math.floor(wide / narrowest));
  const cells = Math.max(1, fitting);
  const each = (wide / cells) * dots;
  editor.film = filmFrames(cells, clip.count);
  editor.film.forEach((frame, i) => {
    const picture = pictures[frame];
    if (picture) drawCell(context, picture, i * each, each, high * dots);
  });
  const places = keys.map((frame) => (frame + 0.5) * frameWidth);
  drawNotches(context, places, high, dots);
  editor.load();
};

/** @param {Editor} editor @param {() => number[]} keysShown */
const makeRuler = (editor, keysShown) => {
  const strip = make("canvas", { className: "rg-film", ariaHidden: true });
  const about = { className: "rg-ruler", tabIndex: 0, role: "slider", ariaLabel: "Frame", ariaValueMin: 1 };
  const ruler = make("div", about, strip);
  let due = 0;
  const film = () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(() => {
      const { clientWidth: wide, clientHeight: high } = ruler;
      if (editor.clip && wide) drawFilm(strip, editor, editor.clip, keysShown(), wide, high);
    });
  };
  new ResizeObserver(film).observe(ruler);
  /** @param {number} frame @param {number} total */
  const tell = (frame, total) => {
    const framesPerLine = Math.ceil(total / LINES);
    ruler.ariaValueMax = String(total);
    ruler.ariaValueNow = String(frame);
    ruler.ariaValueText = `frame ${frame} of ${total}`;
    ruler.style.setProperty("--frames", String(total / framesPerLine));
  };
  return { ruler, film, tell };
};

/**
 * Go to the frame of a press or a drag anywhere below or above the ruler.
 * @param {HTMLElement} node
 * @param {HTMLElement} ruler
 * @param {Editor} editor
 */
const watchScrubbing = (node, ruler, editor) => {
  /** @param {PointerEvent} event */
  const to = ({ clientX }) => {
    const box = ruler.getBoundingClientRect();
    const share = (clientX - box.left) / box.width;
    if (editor.clip) editor.go(Math.floor(share * editor.clip.count));
  };
  node.addEventListener("pointerdown", (event) => {
    const box = ruler.getBoundingClientRect();
    const target = /** @type {Element} */ (event.target);
    if (!editor.clip || target.closest("button, .rg-legend, .rg-marks")) return;
    if (event.clientX < box.left || event.clientX > box.right) return;
    /** @type {HTMLElement | null} */
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

/** @param {Editor} editor */
const makeKnobs = (editor) => {
  const toggle = iconButton("rg-tool", "play", "Play (Space)", () => editor.play(!editor.playing));
  return {
    knobs: make("div", "rg-knobs", toggle),
    /** @param {boolean} on */
    playing: (on) => toggle.replaceChildren(icon(on ? "pause" : "play")),
  };
};

/** @param {Editor} editor */
export const makeTimeline = (editor) => {
  const field = make("div", "rg-time-field");
  const { row: keys, go: goToKey } = makeKeyMarks(editor, () => film());
  const { row: cuts, words } = makeCutMarks(editor, field);
  const { ruler, film, tell } = makeRuler(editor, () => keys.shown);
  const { knobs, playing } = makeKnobs(editor);
  const count = make("span", "rg-count");
  const top = make("div", "rg-time-row", knobs, ruler, count);
  const lanes = make("div", "rg-lanes");
  const legend = makeLegend();
  const node = make("div", "rg-time", top, lanes, cuts.node, words, keys.node, field);
  field.append(make("div", "rg-playhead"));
  watchScrubbing(node, ruler, editor);
  let shown = "";
  const draw = () => {
    if (!editor.clip) return;
    const total = editor.clip.count;
    const frame = editor.frame + 1;
    node.classList.toggle("rg-long", total >= MANY);
    node.style.setProperty("--at", String((frame - 0.5) / total));
    count.textContent = frame + " / " + total;
    tell(frame, total);
    cuts.draw();
    keys.draw();
    const looks = hub.regions.map((region) => [region.label, region.color, titleOf(region)]);
    const wanted = JSON.stringify([editor.id, total, editor.rev, hub.active, looks]);
    if (wanted === shown) return;
    shown = wanted;
    drawLanes(lanes, editor.lanes, total);
    legend.hidden = !hub.regions.length;
  };
  return { node, draw, film, playing, legend, cuts, keys, goToKey };
};
