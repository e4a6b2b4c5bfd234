// A stretch of a file: frames `first` to `last`, from 0, every `stride`-th; of `total`, at most `most` used. Nothing
// here touches the document.
import { clamp } from "../shared/numbers.js";

const STRIDES = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 30, 60];

export const countOf = ({ first, last, stride }) => Math.floor((last - first) / stride) + 1;

// As the server says what is used of a file.
export const rangeOf = ({ start, stride, count, total, most }) => ({
  first: start,
  last: Math.min(start + (count - 1) * stride, total - 1),
  stride,
  total,
  most,
});

const spanOf = ({ stride, most }) => (most - 1) * stride;

// One end moves; the other follows where too many frames would lie between them.
export const moveFirst = (range, to) => {
  const first = clamp(to, 0, range.last);
  return { ...range, first, last: Math.min(range.last, first + spanOf(range)) };
};

export const moveLast = (range, to) => {
  const last = clamp(to, range.first, range.total - 1);
  return { ...range, last, first: Math.max(range.first, last - spanOf(range)) };
};

export const slide = (range, by) => {
  const moved = clamp(by, -range.first, range.total - 1 - range.last);
  return { ...range, first: range.first + moved, last: range.last + moved };
};

export const withStride = (range, stride) => moveFirst({ ...range, stride }, range.first);

// The strides to choose from: those that leave two frames or more, and the present one.
export const stridesOf = ({ stride, total }) =>
  [...new Set([...STRIDES.filter((one) => one === 1 || one < total), stride])].sort((a, b) => a - b);

const ORDINALS = { 1: "st", 2: "nd", 3: "rd" };

export const ordinal = (number) => {
  const teens = [11, 12, 13].includes(number % 100);
  return number + (teens ? "th" : (ORDINALS[number % 10] ?? "th"));
};

// `fps` of the whole file.
export const sayRange = (range, fps) => {
  const count = countOf(range),
    seconds = (count * range.stride) / fps,
    which = `Frames ${range.first + 1}–${range.last + 1} of ${range.total}`,
    how = range.stride > 1 ? `, every ${ordinal(range.stride)}` : "";
  return `${which}${how}: ${count} ${count === 1 ? "frame" : "frames"}, ${seconds.toFixed(1)} s`;
};
