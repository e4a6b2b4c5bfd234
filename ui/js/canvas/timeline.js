// Frames and, below, one lane per region.
import { icon, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { makeCutMarks } from "./cut_marks.js";
import { drawFilm } from "./film.js";
import { makeKeyMarks } from "./key_marks.js";
import { drawLanes, makeLegend } from "./lanes.js";

const LINES = 60; // on the ruler

const makeRuler = (editor, keysShown) => {
  const ruler = make("div", "rg-ruler"),
    strip = make("canvas", "rg-film");
  ruler.tabIndex = 0;
  ruler.setAttribute("role", "slider");
  ruler.setAttribute("aria-label", "Frame");
  ruler.setAttribute("aria-valuemin", "1");
  strip.setAttribute("aria-hidden", "true");
  ruler.append(strip);
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
    ruler.setAttribute("aria-valuemax", String(total));
    ruler.setAttribute("aria-valuenow", String(frame));
    ruler.setAttribute("aria-valuetext", "frame " + frame + " of " + total);
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
  const knobs = make("div", "rg-knobs"),
    toggle = iconButton("rg-tool", "play", "Play (Space)", () => editor.play(!editor.playing));
  const step = (picture, hint, by) =>
    iconButton("rg-tool", picture, hint, () => editor.go(editor.frame + by));
  knobs.append(step("back", "Previous frame (,)", -1), toggle, step("next", "Next frame (.)", 1));
  return { knobs, playing: (on) => toggle.replaceChildren(icon(on ? "pause" : "play")) };
};

export const makeTimeline = (editor) => {
  const node = make("div", "rg-time"),
    top = make("div", "rg-time-row"),
    lanes = make("div", "rg-lanes"),
    field = make("div", "rg-time-field");
  const keys = makeKeyMarks(editor, () => film()),
    cuts = makeCutMarks(editor, field),
    { ruler, film, tell } = makeRuler(editor, () => keys.shown),
    { knobs, playing } = makeKnobs(editor),
    count = make("span", "rg-count"),
    legend = makeLegend();
  top.append(knobs, ruler, count);
  field.append(make("div", "rg-playhead"));
  node.append(top, cuts.node, cuts.words, keys.node, lanes, field, legend);
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
