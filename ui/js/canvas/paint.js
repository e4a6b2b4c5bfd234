// @ts-check
// Masks of a frame on the canvas, in pixels of the clip; `unit` is one of the screen in those.
import { channels } from "../shared/color.js";
import { hub } from "../shared/hub.js";
import { WASH, WASH_OF_ACTIVE } from "./outline.js";

/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {import("./tint.js").Shape} Shape */

const HAIR = "rgba(255, 255, 255, .7)";
const FAINT = 0.16;
const KNOB = 6; // pixels of the screen

/** @param {Context} context @param {Shape} shape */
const paintWash = (context, { region, path, fading }) => {
  if (fading) {
    context.drawImage(fading, 0, 0);
    return;
  }
  const [red, green, blue] = channels(region.color);
  const opaque = (region.label === hub.active ? WASH_OF_ACTIVE : WASH) / 255;
  context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${opaque})`;
  context.fill(path, "evenodd");
};

/** @param {Context} context @param {Shape} shape @param {number} unit */
export const paintShape = (context, shape, unit) => {
  const { region, path } = shape;
  paintWash(context, shape);
  context.strokeStyle = HAIR;
  context.lineWidth = 3.5 * unit;
  context.stroke(path);
  context.strokeStyle = region.color;
  context.lineWidth = 2 * unit;
  context.stroke(path);
};

/**
 * Paint the mask that a click would make.
 * @param {Context} context
 * @param {Path2D} path
 * @param {string} color
 * @param {number} unit
 */
export const paintPreview = (context, path, color, unit) => {
  const [red, green, blue] = channels(color);
  context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${FAINT})`;
  context.fill(path, "evenodd");
  context.setLineDash([5 * unit, 4 * unit]);
  context.strokeStyle = HAIR;
  context.lineWidth = 2 * unit;
  context.stroke(path);
  context.setLineDash([]);
};

/**
 * Return how far an edit may reach beyond the mask of a region, in pixels of the clip. A run in a box has another
 * margin than the card begins with, until somebody changes it.
 * @param {import("../types").Region} region
 */
const reachOf = ({ label, margin }) => {
  const [begun, run] = hub.margins[label] ?? [];
  return margin === begun && run !== undefined ? run : margin;
};

/**
 * Return where the handle of a region's margin is, in pixels of the clip; null where it has none to show.
 * @param {Shape | undefined} shape
 */
export const handleOf = (shape) => {
  if (!shape?.region.prompt.trim() || shape.region.label === hub.rest) return null;
  const [x, y] = shape.crown;
  return [x, y - reachOf(shape.region)];
};

/**
 * Paint how far an edit may reach beyond its mask: a faint band that ends in a line, and a knob to drag it by.
 * @param {Context} context
 * @param {Shape} shape
 * @param {number} unit
 * @param {OffscreenCanvas} scratch as large as the canvas
 */
export const paintMargin = (context, shape, unit, scratch) => {
  const handle = handleOf(shape);
  const { region, path } = shape;
  const over = scratch.getContext("2d");
  if (!handle || !over) return;
  over.setTransform(1, 0, 0, 1, 0, 0);
  over.globalCompositeOperation = "source-over";
  over.clearRect(0, 0, scratch.width, scratch.height);
  over.setTransform(context.getTransform());
  over.lineJoin = "round";
  /** @param {number} wide @param {string} style */
  const ring = (wide, style) => {
    over.lineWidth = 2 * wide;
    over.strokeStyle = style;
    over.stroke(path);
  };
  const [red, green, blue] = channels(region.color);
  const reach = reachOf(region);
  ring(reach + 1.5 * unit, region.color);
  over.globalCompositeOperation = "destination-out";
  ring(reach, "#000");
  over.globalCompositeOperation = "source-over";
  ring(reach, `rgba(${red}, ${green}, ${blue}, ${FAINT})`);
  over.globalCompositeOperation = "destination-out";
  over.fill(path, "evenodd");
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(scratch, 0, 0);
  context.restore();
  context.beginPath();
  context.arc(handle[0], handle[1], KNOB * unit, 0, 2 * Math.PI);
  context.fillStyle = "#fff";
  context.fill();
  context.lineWidth = 2.5 * unit;
  context.strokeStyle = region.color;
  context.stroke();
};
