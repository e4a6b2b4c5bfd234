// @ts-check
// What part of a picture is seen: how large it is, and where its upper left corner lies, in shares of its sides.
// Nothing here touches the document.
import { clamp } from "./numbers.js";

/** @typedef {import("../types").View} View */

export const MOST_ZOOM = 8;
export const WHOLE = Object.freeze({ zoom: 1, x: 0, y: 0 });

/**
 * Keep a view within the picture.
 * @param {View} view
 * @returns {View}
 */
export const within = ({ zoom, x, y }) => {
  const kept = clamp(zoom, 1, MOST_ZOOM);
  const most = 1 - 1 / kept;
  return { zoom: kept, x: clamp(x, 0, most), y: clamp(y, 0, most) };
};

/**
 * Return the view magnified by a factor, with the same place of the picture below the pointer.
 * @param {View} view
 * @param {number} factor
 * @param {number[]} at the pointer, in shares of the sides of what is seen
 */
export const zoomAt = (view, factor, [u, v]) => {
  const zoom = clamp(view.zoom * factor, 1, MOST_ZOOM);
  const x = view.x + u / view.zoom - u / zoom;
  const y = view.y + v / view.zoom - v / zoom;
  return within({ zoom, x, y });
};

/**
 * Return the view once the picture was dragged, by shares of the sides of what is seen.
 * @param {View} view
 * @param {number} u
 * @param {number} v
 */
export const panBy = (view, u, v) =>
  within({ ...view, x: view.x - u / view.zoom, y: view.y - v / view.zoom });
