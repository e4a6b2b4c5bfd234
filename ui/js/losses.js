// @ts-check
// How the loss of a tuning falls: single losses, their mean, and the same in words.
import { make, makeSvg } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

/** @typedef {number[]} Point a step and its loss */
/** @typedef {{ left: number, top: number, width: number, height: number }} Box the area of the plot, in pixels */
/** @typedef {ReturnType<typeof scale>} Scale */

const HEIGHT = 190;
const MARGIN = { left: 44, right: 10, top: 20, bottom: 34 };
const LEAST_WIDTH = 200;
const NARROW = 400; // pixels below which fewer steps are numbered
const SHOWN = 0.98; // share of the single losses that fit; the others lie at the upper edge

/**
 * Return round numbers from 0 to `high` or just below.
 * @param {number} high
 * @param {number} count of them, or a few more
 */
export const ticks = (high, count) => {
  const rough = high / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5].find((times) => times * power >= rough * 0.999) ?? 10;
  const step = factor * power;
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last + 1 }, (_, i) => Number((i * step).toPrecision(12)));
};

/** @param {Point} point */
const lossOf = ([, loss]) => loss;

/**
 * Return the upper end of the losses: above the whole line and nearly all dots.
 * @param {Point[]} dots
 * @param {Point[]} line
 */
export const top = (dots, line) => {
  const sorted = dots.map(lossOf).sort((a, b) => a - b);
  const most = sorted[Math.floor(SHOWN * (sorted.length - 1))];
  const highest = Math.max(...line.map(lossOf));
  return Math.max(most, 1.1 * highest) || 1;
};

/**
 * Return how to get from a step and its loss to pixels.
 * @param {number} total steps
 * @param {number} high loss
 * @param {Box} box
 */
export const scale = (total, high, box) => ({
  /** @param {number} step */
  x: (step) => box.left + (box.width * step) / total,
  /** @param {number} loss */
  y: (loss) => box.top + box.height * (1 - Math.min(loss, high) / high),
});

/**
 * Return a line through points as the path of an SVG.
 * @param {Point[]} points
 * @param {Scale} scale
 */
export const path = (points, { x, y }) => {
  const places = points.map(([step, loss]) => `${x(step).toFixed(1)} ${y(loss).toFixed(1)}`);
  return "M" + places.join("L");
};

/** @param {number} x @param {number} y @param {string | number} text */
const label = (x, y, text, anchor = "end") => makeSvg("text", { x, y, "text-anchor": anchor }, String(text));

/** @param {Box} box @param {number} high @param {Scale} scale */
const drawLosses = (box, high, { y }) =>
  ticks(high, 4).flatMap((loss) => {
    const across = { x1: box.left, x2: box.left + box.width };
    const line = makeSvg("line", { class: "rg-grid", ...across, y1: y(loss), y2: y(loss) });
    return [line, label(box.left - 8, y(loss) + 4, loss)];
  });

/** @param {SVGSVGElement} svg @param {import("./types").LossesView} value */
const drawPlot = (svg, { dots, line, total }) => {
  const whole = Math.max(LEAST_WIDTH, svg.clientWidth);
  const width = whole - MARGIN.left - MARGIN.right;
  const height = HEIGHT - MARGIN.top - MARGIN.bottom;
  const box = { left: MARGIN.left, top: MARGIN.top, width, height };
  const end = HEIGHT - MARGIN.bottom;
  const high = top(dots, line);
  const places = scale(total, high, box);
  const steps = ticks(total, width < NARROW ? 3 : 6);
  svg.replaceChildren(
    ...drawLosses(box, high, places),
    ...steps.map((step) => label(places.x(step), end + 16, step, "middle")),
    label(box.left - 8, 9, "Loss"),
    label(box.left + box.width, end + 31, "Tuning step"),
    ...dots.map(([step, loss]) =>
      makeSvg("circle", { class: "rg-dot", r: 2, cx: places.x(step), cy: places.y(loss) }),
    ),
    makeSvg("path", { class: "rg-mean", d: path(line, places) }),
  );
};

const makeKey = () => {
  const [dots, line] = ["each step", "mean"].map((text) => make("span", {}, text));
  return make("span", { className: "rg-key", ariaHidden: true }, make("i"), dots, make("i"), line);
};

/** @type {import("./types").Mount<"losses">} */
export function mount(element, props, trigger, watch) {
  const said = make("span");
  const svg = makeSvg("svg", { role: "img" });
  const root = make("figure", "rg-losses", make("figcaption", {}, said, makeKey()), svg);
  const draw = () => {
    if (props.value && svg.clientWidth) drawPlot(svg, props.value);
  };
  new ResizeObserver(draw).observe(svg);
  follow(props, watch, (value) => {
    element.replaceChildren(...(value ? [root] : []));
    if (!value) return;
    said.textContent = value.text;
    svg.setAttribute("aria-label", value.text);
    draw();
  });
}
