// Colours of regions as #rrggbb, and signs in them: told apart without seeing colours.
import { make } from "./dom.js";

export const isColor = (value) => /^#[0-9a-f]{6}$/i.test(value);

// Red, green and blue, 0 to 255.
export const channels = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));

export const inkOn = (color) => {
  const [red, green, blue] = channels(color);
  return 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? "#111" : "#fff";
};

// What takes a region's colour from its style.
const styleOf = (color) => (isColor(color) ? `--region: ${color}` : "");

export const badge = (label, color) => {
  const style = isColor(color) ? `${styleOf(color)}; color: ${inkOn(color)}` : "";
  return make("span", { className: "rg-badge", style }, String(label));
};

// Dark through a region's colour to white, as heat maps are drawn.
export const heatLegend = (color) => {
  const ramp = make("i", { ariaHidden: true, style: styleOf(color) });
  return make("span", "rg-heat", make("span", {}, "none"), ramp, make("span", {}, "most attention"));
};
