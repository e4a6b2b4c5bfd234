// @ts-check
// Frames and attention while the run goes on.
import { badge, heatLegend } from "./shared/color.js";
import { fillWith, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const makeShown = () => make("figure", {}, make("img"), make("figcaption"));

/**
 * Show pictures of some frames in a row.
 * @param {HTMLElement} row
 * @param {string[]} pictures
 * @param {number[] | null} numbers of the frames; null for none shown
 */
const fillStrip = (row, pictures, numbers) => {
  fillWith(row, pictures, makeShown, (figure, picture, i) => {
    const [image] = figure.getElementsByTagName("img");
    const [caption] = figure.getElementsByTagName("figcaption");
    image.src = picture;
    image.alt = numbers ? `frame ${numbers[i]}` : "";
    caption.textContent = numbers ? String(numbers[i]) : "";
  });
};

const makeRow = () => ({ name: make("div", "rg-row-name"), strip: make("div", "rg-strip") });

/** @type {import("./types").Mount<"live">} */
export function mount(element, props, trigger, watch) {
  const root = make("div", "rg-live");
  /** @type {ReturnType<typeof makeRow>[]} */
  let rows = [];
  /** @param {number} count */
  const makeRows = (count) => {
    rows = Array.from({ length: count }, makeRow);
    root.replaceChildren(...rows.flatMap(({ name, strip }) => [name, strip]));
    root.dataset.rows = String(count);
  };
  follow(props, watch, (value) => {
    hub.live = value;
    hub.tell("live", value);
    if (!value) {
      element.replaceChildren();
      return;
    }
    const count = value.heat.length + 1;
    if (rows.length !== count) makeRows(count);
    if (!root.isConnected) element.replaceChildren(root);
    const [frames, ...maps] = rows;
    root.style.setProperty("--count", String(value.frames.length));
    frames.name.replaceChildren(make("span", {}, "Live preview"));
    fillStrip(frames.strip, value.frames, value.indices);
    value.heat.forEach(({ label, color, caption, frames: pictures }, i) => {
      maps[i].name.replaceChildren(badge(label, color), make("span", {}, caption), heatLegend(color));
      fillStrip(maps[i].strip, pictures, null);
    });
  });
}
