import { make } from "./shared/dom.js";
import { follow } from "./shared/server.js";
import { path, scale, ticks, top } from "./losses/scale.js";

const HEIGHT = 190,
  MARGIN = { left: 44, right: 10, top: 20, bottom: 34 },
  LEAST_WIDTH = 200;

const shape = (name, attributes, text = "") => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
};

const drawLosses = (box, high, { y }) =>
  ticks(high, 4).flatMap((loss) => [
    shape("line", { class: "rg-grid", x1: box.left, x2: box.left + box.width, y1: y(loss), y2: y(loss) }),
    shape("text", { x: box.left - 8, y: y(loss) + 4, "text-anchor": "end" }, String(loss)),
  ]);

const drawSteps = (box, total, { x }) =>
  ticks(total, box.width < 400 ? 3 : 6).map((step) =>
    shape("text", { x: x(step), y: box.top + box.height + 16, "text-anchor": "middle" }, String(step)),
  );

const drawNames = (box) => [
  shape("text", { x: box.left - 8, y: 9, "text-anchor": "end" }, "Loss"),
  shape(
    "text",
    { x: box.left + box.width, y: box.top + box.height + 31, "text-anchor": "end" },
    "Tuning step",
  ),
];

const drawPlot = (svg, { dots, line, total }) => {
  const whole = Math.max(LEAST_WIDTH, svg.clientWidth),
    box = { left: MARGIN.left, top: MARGIN.top, width: whole - MARGIN.left - MARGIN.right },
    high = top(dots, line);
  box.height = HEIGHT - MARGIN.top - MARGIN.bottom;
  const places = scale(total, high, box);
  svg.replaceChildren(
    ...drawLosses(box, high, places),
    ...drawSteps(box, total, places),
    ...drawNames(box),
    ...dots.map(([step, loss]) =>
      shape("circle", { class: "rg-dot", r: 2, cx: places.x(step), cy: places.y(loss) }),
    ),
    shape("path", { class: "rg-mean", d: path(line, places) }),
  );
};

const makeKey = () => {
  const key = make("span", "rg-key");
  key.setAttribute("aria-hidden", "true");
  key.append(make("i"), make("span", "", "each step"), make("i"), make("span", "", "mean"));
  return key;
};

const makePlot = () => {
  const root = make("figure", "rg-losses"),
    caption = make("figcaption"),
    said = make("span"),
    svg = shape("svg", { role: "img" });
  caption.append(said, makeKey());
  root.append(caption, svg);
  return { root, said, svg };
};

// How the loss of a tuning falls: single losses, their mean, and the same in words.
export function mount(element, props, trigger, watch) {
  const { root, said, svg } = makePlot();
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
