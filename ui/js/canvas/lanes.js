// One lane per region: where its mask is, how sure the tracker is, which frames were drawn.
import { badge, isColor } from "../shared/color.js";
import { make, setCount } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
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

const makeLane = () => {
  const parts = [make("div", "rg-lane-name"), make("div", "rg-cells"), make("span", "rg-count")];
  return make("div", "rg-time-row rg-lane", ...parts);
};

const drawLane = (row, region, lane, total) => {
  const [name, cells, covered] = row.children,
    shown = cellsOf(lane);
  row.dataset.label = region.label;
  row.classList.toggle("rg-active", region.label === hub.active);
  if (isColor(region.color)) row.style.setProperty("--region", region.color);
  name.replaceChildren(badge(region.label, region.color), make("span", {}, region.name));
  setCount(cells, shown.length, () => make("i"));
  shown.forEach(([cell, frames], i) => {
    const node = cells.children[i];
    node.className = "rg-cell " + cellKind(cell);
    node.style.setProperty("--sure", strength(cell));
    node.style.flexGrow = frames;
  });
  covered.textContent = countMasked(lane) + " / " + total;
};

const laneOf = ({ lanes, clip }, label) => lanes[label] ?? " ".repeat(clip.count);

export const drawLanes = (lanes, editor) => {
  setCount(lanes, hub.regions.length, makeLane);
  hub.regions.forEach((region, i) =>
    drawLane(lanes.children[i], region, laneOf(editor, region.label), editor.clip.count),
  );
};
