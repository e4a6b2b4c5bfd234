// Signs of a region: told apart without seeing colours.
import { inkOn, isColor } from "./color.js";
import { make } from "./dom.js";

// A number on the region's colour.
export const badge = (label, color) => {
  const node = make("span", "rg-badge", String(label));
  if (isColor(color)) {
    node.style.setProperty("--region", color);
    node.style.color = inkOn(color);
  }
  return node;
};

// Dark through a region's colour to white, as heat maps are drawn.
export const heatLegend = (color) => {
  const node = make("span", "rg-heat"),
    bar = make("i");
  bar.setAttribute("aria-hidden", "true");
  if (isColor(color)) bar.style.setProperty("--region", color);
  node.append(make("span", "", "none"), bar, make("span", "", "most attention"));
  return node;
};
