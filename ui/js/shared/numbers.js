// @ts-check
// Small sums; nothing here touches the document.

/** @param {number} value @param {number} low @param {number} high */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// To two places behind the point, as places in the clip are sent.
/** @param {number} value */
export const hundredths = (value) => Math.round(value * 100) / 100;

// Which of some frame numbers is nearest to a frame: its place in the list, the first of equals.
/** @param {number[]} numbers @param {number} frame */
export const nearest = (numbers, frame) =>
  numbers.reduce(
    (best, number, i) => (Math.abs(number - frame) < Math.abs(numbers[best] - frame) ? i : best),
    0,
  );

// How far apart two times of a loop are, either way round.
/** @param {number} a @param {number} b @param {number} length */
export const loopGap = (a, b, length) => {
  const gap = Math.abs(a - b);
  return Math.min(gap, Math.abs(length - gap));
};

// The slider of a margin, 0 to 20, is finer where the numbers are small: pixels of a place, and back.
/** @param {number} place */
export const toMargin = (place) => Math.round(place ** 2 / 2);

/** @param {number} pixels */
export const fromMargin = (pixels) => Math.round(Math.sqrt(2 * pixels));
