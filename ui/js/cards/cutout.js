// @ts-check
// The picture of a region, large: clicks cut the thing out of it, as they mask a thing in the clip.
import { makeDialog, showAbove } from "../shared/dialog.js";
import { button, chooser, make, pressOnly } from "../shared/dom.js";
import { clamp } from "../shared/numbers.js";

/** @typedef {import("../types").Cutting} Cutting */
/** @typedef {import("../types").ClickOn} ClickOn */

const HINT =
  "Click the thing, or move the cross with the arrow keys and press Enter. " +
  "Right-click, or choose Remove, for what is not of it. Click a point to take it back.";
const STEP = 0.02; // of the picture, by an arrow key
/** @type {Record<string, number[]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
/** @type {[string, string, string][]} */
const KINDS = [
  ["add", "Add", "A click adds what is there"],
  ["remove", "Remove", "A click takes away what is there"],
];

/**
 * Make the picture that is clicked, by a pointer or by a cross that the arrow keys move.
 * @param {string} name of the region
 * @param {(x: number, y: number, other: boolean) => void} click `other` for the other kind of click
 */
const makePicture = (name, click) => {
  const cursor = { x: 0.5, y: 0.5 };
  const whole = make("img", { alt: `The whole picture of ${name}`, draggable: false });
  const veil = make("img", { alt: "", className: "rg-cutout-veil", draggable: false });
  const cross = make("span", "rg-cutout-cross");
  const about = {
    className: "rg-cutout-picture",
    tabIndex: 0,
    role: "group",
    ariaLabel: `Picture of ${name}`,
  };
  const node = make("div", about, whole, veil, cross);
  /** @param {MouseEvent} event @param {boolean} other */
  const press = ({ clientX, clientY }, other) => {
    const { left, top, width, height } = whole.getBoundingClientRect();
    click(clamp((clientX - left) / width, 0, 1), clamp((clientY - top) / height, 0, 1), other);
  };
  const drawCross = () => {
    cross.style.left = `${100 * cursor.x}%`;
    cross.style.top = `${100 * cursor.y}%`;
  };
  drawCross();
  node.addEventListener("click", (event) => press(event, event.altKey));
  node.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    press(event, true);
  });
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter") click(cursor.x, cursor.y, event.altKey);
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    cursor.x = clamp(cursor.x + STEP * arrow[0], 0, 1);
    cursor.y = clamp(cursor.y + STEP * arrow[1], 0, 1);
    drawCross();
  });
  return { node, whole, veil };
};

/**
 * Make the dialog in which a picture is cut out.
 * @param {string} name of the region
 * @param {(points: ClickOn[]) => void} ask for the thing at these points
 */
export const makeCutout = (name, ask) => {
  /** @type {ClickOn[]} */
  let points = [];
  let kind = "add";
  const said = make("p", { className: "rg-note", role: "status" });
  const { node, whole, veil } = makePicture(name, (x, y, other) => {
    const inside = (kind === "add") !== other;
    said.textContent = "Finding the thing";
    ask([...points, [x, y, inside ? 1 : 0]]);
  });
  const marks = make("div", "rg-cutout-marks");
  /** @param {string} chosen */
  const choose = (chosen) => {
    kind = chosen;
    pressOnly(kinds, kind);
  };
  const kinds = chooser("What a click does", KINDS, choose);
  choose("add");
  const beginAgain = () => {
    choose("add");
    ask([]);
  };
  const undo = button("rg-tool", "Undo click", () => ask(points.slice(0, -1)));
  const all = button("rg-tool", "Whole picture", beginAgain);
  const row = make("div", "rg-files", kinds, undo, all);
  const stage = make("div", "rg-cutout-stage", node, marks);
  const dialog = makeDialog(
    "rg-help rg-cutout",
    "Cut out the thing",
    make("p", "rg-note", HINT),
    stage,
    row,
    said,
  );

  /** @param {ClickOn} point @param {number} number */
  const mark = ([x, y, inside], number) => {
    const others = points.filter((_, i) => i !== number);
    const style = `left: ${100 * x}%; top: ${100 * y}%`;
    const className = inside ? "rg-cutout-point" : "rg-cutout-point rg-minus";
    const hint = `Take back click ${number + 1}`;
    return button(className, inside ? "+" : "−", () => ask(others), hint, { style });
  };
  /** @param {Cutting} told @param {string | null} note */
  const show = (told, note) => {
    points = told.points;
    if (whole.src !== told.whole) whole.src = told.whole;
    veil.hidden = !told.veil;
    if (told.veil) veil.src = told.veil;
    marks.replaceChildren(...points.map(mark));
    undo.disabled = !points.length;
    all.disabled = !points.length;
    said.textContent = note ?? "";
    showAbove(dialog);
  };
  return { show };
};
