// @ts-check
// Steps of sliders. Nothing here touches the document.

const STEPS = [0.5, 0.05, 0.01, 0.001];

/**
 * Return a slider's step: as coarse as its range allows where two of them or more make up its value.
 * @param {number} high where the range ends
 * @param {number} value
 */
export const stepOf = (high, value) => {
  const fitting = STEPS.filter((step) => high > 1 || step <= 0.05);
  const fits = fitting.find((step) => {
    const count = Math.abs(value) / step;
    const isMultiple = Math.abs(count - Math.round(count)) < 1e-6;
    return isMultiple && (value === 0 || count >= 2);
  });
  return fits ?? STEPS[STEPS.length - 1];
};
