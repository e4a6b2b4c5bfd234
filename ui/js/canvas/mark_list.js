// Lists of marked frames, rising; nothing here touches the document.
import { clamp } from "../shared/numbers.js";

export const rising = (frames) => [...new Set(frames)].sort((a, b) => a - b);

// The list with one mark elsewhere from frame 1 on, at most next to its neighbours.
export const moveMark = (frames, from, to, count) => {
  const at = frames.indexOf(from);
  if (at < 0) return frames;
  const low = (frames[at - 1] ?? 0) + 1,
    high = (frames[at + 1] ?? count) - 1;
  return frames.map((frame) => (frame === from ? clamp(to, low, high) : frame));
};

// The list with a mark more or less.
export const toggleMark = (frames, frame) =>
  frames.includes(frame) ? frames.filter((one) => one !== frame) : rising([...frames, frame]);
