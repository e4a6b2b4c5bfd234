// @ts-check
// How the loss of a tuning falls: single losses, their mean, and the same in words.
import { make, makeSvg } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

const HEIGHT = 190,
  MARGIN = { left: 44, right: 10, top: 20, bottom: 34 },
  LEAST_WIDTH = 200;
const SHOWN = 0.98; // share of the single losses that fit; the others lie at the upper edge

// Round numbers from 0 to `high` or just below, `count` of them or a few more.
export const ticks = (high, count) => {
  const rough = high / count,
    power = 10 ** Math.floor(Math.log10(rough)),
    step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough * 0.999);
  return Array.from({ length: Math.floor(high / step + 1e-9) + 1 }, (_, i) =>
    Number((i * step).toPrecision(12)),
  );
};

// The upper end of the losses: above the whole line and nearly all dots.
export const top = (dots, line) => {
  const sorted = dots.map(([, loss]) => loss).sort((a, b) => a - b),
    most = sorted[Math.floor(SHOWN * (sorted.length - 1))],
    highest = Math.max(...line.map(([, loss]) => loss));
  return Math.max(most, 1.1 * highest) || 1;
};

// From a step and its loss to pixels; `box` is the area of the plot.
export const scale = (total, high, box) => ({
  x: (step) => box.left + (box.width * step) / total,
  y: (loss) => box.top + box.height * (1 - Math.min(loss, high) / high),
});

export const path = (points, { x, y }) =>
  points.map(([step, loss], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(loss).toFixed(1)}`).join("");

const label = (x, y, text, anchor = "end") => makeSvg("text", { x, y, "text-anchor": anchor }, text);

const drawLosses = (box, high, { y }) =>
  ticks(high, 4).flatMap((loss) => [
    makeSvg("line", { class: "rg-grid", x1: box.left, x2: box.left + box.width, y1: y(loss), y2: y(loss) }),
    label(box.left - 8, y(loss) + 4, loss),
  ]);

const drawPlot = (svg, { dots, line, total }) => {
  const whole = Math.max(LEAST_WIDTH, svg.clientWidth),
    box = {
      ...MARGIN,
      width: whole - MARGIN.left - MARGIN.right,
      height: HEIGHT - MARGIN.top - MARGIN.bottom,
    },
    end = HEIGHT - MARGIN.bottom,
    high = top(dots, line),
    places = scale(total, high, box),
    steps = ticks(total, box.width < 400 ? 3 : 6);
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
  const said = make("span"),
    svg = makeSvg("svg", { role: "img" }),
    root = make("figure", "rg-losses", make("figcaption", {}, said, makeKey()), svg);
  let shown = null;
  const draw = () => shown && svg.clientWidth && drawPlot(svg, shown);
  new ResizeObserver(draw).observe(svg);
  follow(props, watch, (value) => {
    shown = value;
    element.replaceChildren(...(value ? [root] : []));
    if (!value) return;
    said.textContent = value.text;
    svg.setAttribute("aria-label", value.text);
    draw();
  });
}
