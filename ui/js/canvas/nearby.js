// Which frames and masks of a long clip are loaded; nothing here touches the document.

export const MOST_WHOLE = 64; // frames kept whole; shorter clips are loaded as a whole
const AHEAD = 24,
  BEHIND = 8, // of the frame that is shown
  SOON = 8; // frames whose masks must be there
const MOST_ASKED = 32; // frames whose masks are asked for at once

export const isShort = (clip) => clip.count <= MOST_WHOLE;

const within = (clip, frames) => frames.filter((frame) => frame >= 0 && frame < clip.count);
const span = (first, length, step) => [...Array(length).keys()].map((i) => first + step * i);
const around = (clip, frame) => within(clip, [...span(frame, AHEAD + 1, 1), ...span(frame - 1, BEHIND, -1)]);

// Numbers of the frames to be shown whole, the most urgent first.
export const framesAround = (clip, frame) => (isShort(clip) ? span(0, clip.count, 1) : around(clip, frame));

// Frames that are loaded and too far from the one that is shown to be kept.
export const framesToDrop = (clip, frame, loaded) => {
  if (isShort(clip) || loaded.length <= MOST_WHOLE) return [];
  const far = (one) => Math.abs(one - frame);
  return [...loaded].sort((a, b) => far(a) - far(b)).slice(MOST_WHOLE);
};

// Frames whose masks the server must be asked for; none while those to be shown soon are there.
export const masksToAsk = ({ clip, frame, wanted }) => {
  if (!clip || !within(clip, span(frame, SOON, 1)).some((one) => wanted.has(one))) return [];
  return around(clip, frame)
    .filter((one) => wanted.has(one))
    .slice(0, MOST_ASKED);
};

// The frame in the middle of each cell of a film of so many cells.
export const filmFrames = (cells, count) =>
  span(0, cells, 1).map((i) => Math.floor(((i + 0.5) / cells) * count));
