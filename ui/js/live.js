// @ts-check
// Attention while the run goes on; the frames themselves stand on the stage.
import { badge, heatLegend } from "./shared/color.js";
import { fillWith, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

/**
 * Show maps of some frames in a row.
 * @param {HTMLElement} row
 * @param {string[]} pictures
 * @param {number[]} numbers of the frames
 */
const fillStrip = (row, pictures, numbers) => {
  const makeShown = () => make("img");
  fillWith(row, pictures, makeShown, (image, picture, i) => {
    image.src = picture;
    image.alt = `frame ${numbers[i]}`;
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
    const { heat, indices } = value;
    if (!heat.length) return; // of an inversion: what was seen before it stays
    if (rows.length !== heat.length) makeRows(heat.length);
    if (!root.isConnected) element.replaceChildren(root);
    root.style.setProperty("--count", String(indices.length));
    heat.forEach(({ label, color, caption, frames: pictures }, i) => {
      rows[i].name.replaceChildren(badge(label, color), make("span", {}, caption), heatLegend(color));
      fillStrip(rows[i].strip, pictures, indices);
    });
  });
}
