// @ts-check
// Load the frames of the clip that is open, four at a time: all of a short one; of a long one those around the
// frame that is shown, and small ones for the film. Another clip that is opened meanwhile ends it.
import { fileUrl } from "../shared/hub.js";
import { framesAround, framesToDrop, isShort } from "./nearby.js";

const AT_ONCE = 4;
const THUMB = 96; // pixels, the height of a small frame

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").ClipView} Clip */
/** @typedef {{ frame: number, small: boolean }} Wish for a frame, whole or small */

/**
 * @param {string} folder
 * @param {number} frame
 * @param {ImageBitmapOptions} options
 * @returns {Promise<ImageBitmap | null>} null if it cannot be read
 */
const loadFrame = async (folder, frame, options) => {
  const image = new Image();
  const name = String(frame).padStart(5, "0") + ".jpg";
  image.src = fileUrl(folder + "/" + name);
  try {
    await image.decode();
    return await createImageBitmap(image, options);
  } catch {
    return null;
  }
};

/** @param {Wish} wish */
const keyOf = ({ frame, small }) => (small ? "small " : "whole ") + frame;

/**
 * Return what is to be loaded next; null for nothing.
 * @param {Editor} editor
 * @param {Clip} clip
 * @param {Set<string>} busy keys of what is on its way
 * @returns {Wish | null}
 */
const nextOf = ({ frame, bitmaps, thumbs, film }, clip, busy) => {
  const whole = framesAround(clip, frame).map((one) => ({ frame: one, small: false }));
  const small = isShort(clip) ? [] : film.map((one) => ({ frame: one, small: true }));
  /** @param {{ frame: number, small: boolean }} wish */
  const lacks = (wish) => {
    const known = wish.small ? thumbs : bitmaps;
    return known[wish.frame] === undefined && !busy.has(keyOf(wish));
  };
  return [...whole, ...small].find(lacks) ?? null;
};

/** @param {Editor} editor @param {Clip} clip */
const dropFarFrames = ({ frame, bitmaps }, clip) => {
  const loaded = Object.keys(bitmaps).map(Number);
  for (const far of framesToDrop(clip, frame, loaded)) {
    bitmaps[far]?.close();
    delete bitmaps[far];
  }
};

/**
 * Return a function to be called whenever other frames are needed.
 * @param {Editor} editor
 * @param {Clip} clip that is open
 * @param {(frame: number) => void} loaded is called with each frame that has come
 */
export const makeLoader = (editor, clip, loaded) => {
  const { id } = editor;
  /** @type {Set<string>} */
  const busy = new Set();
  /** @param {Wish} wish */
  const load = async (wish) => {
    const { frame, small } = wish;
    busy.add(keyOf(wish));
    const bitmap = await loadFrame(clip.folder, frame, small ? { resizeHeight: THUMB } : {});
    busy.delete(keyOf(wish));
    if (editor.id !== id) {
      bitmap?.close();
      return;
    }
    const frames = small ? editor.thumbs : editor.bitmaps;
    frames[frame] = bitmap;
    if (!small) editor.loaded += 1;
    dropFarFrames(editor, clip);
    loaded(frame);
    pump();
  };
  const pump = () => {
    while (editor.id === id && busy.size < AT_ONCE) {
      const next = nextOf(editor, clip, busy);
      if (!next) return;
      load(next);
    }
  };
  return pump;
};
