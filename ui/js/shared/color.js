// @ts-check
// Colours of regions as #rrggbb, and signs in them: told apart without seeing colours.
import { make } from "./dom.js";

/** @param {unknown} value */
export const isColor = (value) => typeof value === "string" && /^#[0-9a-f]{6}$/i.test(value);

/**
 * Return red, green and blue, 0 to 255.
 * @param {string} color
 */
export const channels = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));

/**
 * Return the colour of text that can be read on a colour.
 * @param {string} color
 */
export const inkOn = (color) => {
  const [red, green, blue] = channels(color);
  return 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? "#111" : "#fff";
};

/**
 * Return the style of what takes a region's colour from there.
 * @param {string | undefined} color
 */
const styleOf = (color) => (isColor(color) ? `--region: ${color}` : "");

/**
 * @param {number} label
 * @param {string | undefined} color
 */
export const badge = (label, color) => {
  const style = color && isColor(color) ? `${styleOf(color)}; color: ${inkOn(color)}` : "";
  return make("span", { className: "rg-badge", style }, String(label));
};

/**
 * Make a ramp from dark through a region's colour to white, as heat maps are drawn.
 * @param {string} color
 */
export const heatLegend = (color) => {
  const ramp = make("i", { ariaHidden: true, style: styleOf(color) });
  return make("span", "rg-heat", make("span", {}, "none"), ramp, make("span", {}, "most attention"));
};
