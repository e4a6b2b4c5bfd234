// @ts-check
// Which frames and masks of a long clip are loaded; nothing here touches the document.

export const MOST_WHOLE = 64; // frames kept whole; shorter clips are loaded as a whole
const AHEAD = 24; // frames after the one that is shown
const BEHIND = 8; // and before it
const SOON = 8; // frames whose masks must be there

/** @typedef {{ count: number }} Clip */

/** @param {Clip} clip */
export const isShort = (clip) => clip.count <= MOST_WHOLE;

/** @param {Clip} clip @param {number[]} frames */
const within = (clip, frames) => frames.filter((frame) => frame >= 0 && frame < clip.count);

/** @param {number} first @param {number} length @param {number} step */
const span = (first, length, step) => Array.from({ length }, (_, i) => first + step * i);

/** @param {Clip} clip @param {number} frame */
const around = (clip, frame) => {
  const after = span(frame, AHEAD + 1, 1);
  const before = span(frame - 1, BEHIND, -1);
  return within(clip, [...after, ...before]);
};

/**
 * Return the numbers of the frames to be shown whole, the most urgent first.
 * @param {Clip} clip
 * @param {number} frame that is shown
 */
export const framesAround = (clip, frame) => (isShort(clip) ? span(0, clip.count, 1) : around(clip, frame));

/**
 * Return frames that are loaded and too far from the one that is shown to be kept.
 * @param {Clip} clip
 * @param {number} frame that is shown
 * @param {number[]} loaded
 */
export const framesToDrop = (clip, frame, loaded) => {
  if (isShort(clip) || loaded.length <= MOST_WHOLE) return [];
  /** @param {number} one */
  const far = (one) => Math.abs(one - frame);
  return [...loaded].sort((a, b) => far(a) - far(b)).slice(MOST_WHOLE);
};

/**
 * Return frames whose masks the server must be asked for; none while those to be shown soon are there.
 * @param {{ clip: (Clip & { most_masks: number }) | null, frame: number, wanted: Set<number> }} editor
 */
export const masksToAsk = ({ clip, frame, wanted }) => {
  if (!clip) return [];
  /** @param {number} one */
  const isWanted = (one) => wanted.has(one);
  const soon = within(clip, span(frame, SOON, 1));
  if (!soon.some(isWanted)) return [];
  return around(clip, frame).filter(isWanted).slice(0, clip.most_masks);
};

/**
 * Return the frame in the middle of each cell of a film.
 * @param {number} cells
 * @param {number} count frames of the clip
 */
export const filmFrames = (cells, count) =>
  span(0, cells, 1).map((i) => Math.floor(((i + 0.5) / cells) * count));
