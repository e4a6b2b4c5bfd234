// One frame's masks as a picture over the frame.
import { channels } from "../shared/color.js";
import { hub } from "../shared/hub.js";
import { crowns, decodeRuns, silhouettePixels, stackLabels, tintPixels } from "./outline.js";

const TURNS = 32;

const pictureOf = (pixels, width, height) => {
  const picture = new OffscreenCanvas(width, height);
  picture.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  return picture;
};

// How far an edit may reach beyond its mask: the silhouette moved all around, less all masks, faintly.
const marginPicture = (own, all, margin) => {
  const { width, height } = own,
    wide = new OffscreenCanvas(width, height),
    faint = new OffscreenCanvas(width, height);
  const context = wide.getContext("2d"),
    result = faint.getContext("2d");
  for (let i = 0; i < TURNS; i++) {
    const angle = (2 * Math.PI * i) / TURNS;
    for (const far of [margin, margin / 2])
      context.drawImage(own, far * Math.cos(angle), far * Math.sin(angle));
  }
  context.globalCompositeOperation = "destination-out";
  context.drawImage(all, 0, 0);
  result.globalAlpha = 0.2;
  result.drawImage(wide, 0, 0);
  return faint;
};

const addMargins = (picture, top, shown) => {
  const { width, height } = picture,
    context = picture.getContext("2d");
  const wide = shown.filter((region) => region.margin && region.prompt.trim());
  if (!wide.length) return;
  const all = pictureOf(silhouettePixels(top, null, [0, 0, 0]), width, height);
  context.globalCompositeOperation = "destination-over";
  for (const { label, color, margin } of wide) {
    const own = pictureOf(silhouettePixels(top, label, channels(color)), width, height);
    context.drawImage(marginPicture(own, all, margin), 0, 0);
  }
};

// A picture, and [region, x, y] for the number of each region: on top of its mask, out of the way of clicks.
export const paintTint = (editor, frame) => {
  const { width, height } = editor.clip,
    masks = editor.masks[frame] ?? {};
  const shown = hub.regions.filter(({ label }) => !hub.hidden.has(label) && masks[label]?.runs);
  if (!shown.length) return { picture: null, numbers: [] };
  // Not kept: a grid has a byte per pixel, and a long clip many.
  const layers = shown.map(({ label }) => ({ label, grid: decodeRuns(masks[label].runs, width * height) }));
  const top = stackLabels(layers, width * height);
  const colors = Object.fromEntries(shown.map(({ label, color }) => [label, channels(color)]));
  const pixels = tintPixels(top, width, height, colors, hub.active, editor.feathers);
  const picture = pictureOf(pixels, width, height);
  addMargins(picture, top, shown);
  const places = crowns(top, width);
  const numbers = shown
    .filter(({ label }) => places[label])
    .map((region) => [region, ...places[region.label]]);
  return { picture, numbers };
};
