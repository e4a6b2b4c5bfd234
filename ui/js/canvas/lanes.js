// @ts-check
// One lane per region: where its mask is, how sure the tracker is, which frames were drawn.
import { badge, isColor } from "../shared/color.js";
import { childrenOf, fillWith, make } from "../shared/dom.js";
import { hub, titleOf } from "../shared/hub.js";
import { cellKind, cellsOf, countMasked, strength } from "./cells.js";

const SIGNS = {
  "rg-is-key": "clicked or drawn",
  "rg-is-sure": "tracked",
  "rg-is-sure rg-is-paler": "the paler, the less sure",
  "rg-is-doubtful": "uncertain",
  "rg-is-none": "no mask",
};

export const makeLegend = () => {
  const signs = Object.entries(SIGNS).map(([name, text]) => make("span", "rg-sign", make("i", name), text));
  return make("p", "rg-legend", ...signs);
};

/**
 * @param {HTMLElement} row
 * @param {import("../types").Region} region
 * @param {string} lane what it is on each frame
 * @param {number} total frames of the clip
 */
const drawLane = (row, region, lane, total) => {
  const [name, cells, covered] = childrenOf(row);
  row.dataset.label = String(region.label);
  row.classList.toggle("rg-active", region.label === hub.active);
  if (isColor(region.color)) row.style.setProperty("--region", region.color);
  name.replaceChildren(badge(region.label, region.color), make("span", {}, titleOf(region)));
  /** @param {HTMLElement} node @param {[cell: string, frames: number]} part */
  const draw = (node, [cell, frames]) => {
    node.className = "rg-cell " + cellKind(cell);
    node.style.setProperty("--sure", String(strength(cell)));
    node.style.flexGrow = String(frames);
  };
  fillWith(cells, cellsOf(lane), () => make("i"), draw);
  covered.textContent = countMasked(lane) + " / " + total;
};

/**
 * @param {HTMLElement} rows
 * @param {Record<string, string>} lanes by label
 * @param {number} total frames of the clip
 */
export const drawLanes = (rows, lanes, total) => {
  const create = () => {
    const parts = [make("div", "rg-lane-name"), make("div", "rg-cells"), make("span", "rg-count")];
    return make("div", "rg-time-row rg-lane", ...parts);
  };
  fillWith(rows, hub.regions, create, (row, region) => {
    const lane = lanes[region.label] ?? " ".repeat(total);
    drawLane(row, region, lane, total);
  });
};
