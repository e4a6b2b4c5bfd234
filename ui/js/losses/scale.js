// Where things are in the plot of a loss; nothing here touches the document.

const SHOWN = 0.98; // share of the single losses that fit; the others lie at the upper edge

// Round numbers from 0 to `high` or just below, `count` of them or a few more.
export const ticks = (high, count) => {
  const rough = high / count,
    power = 10 ** Math.floor(Math.log10(rough)),
    step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough * 0.999);
  return Array.from({ length: Math.floor(high / step + 1e-9) + 1 }, (_, i) =>
    Number((i * step).toPrecision(12)),
  );
};

// The upper end of the losses: above the whole line and nearly all dots.
export const top = (dots, line) => {
  const sorted = dots.map(([, loss]) => loss).sort((a, b) => a - b),
    most = sorted[Math.floor(SHOWN * (sorted.length - 1))],
    highest = Math.max(...line.map(([, loss]) => loss));
  return Math.max(most, 1.1 * highest) || 1;
};

// From a step and its loss to pixels; `box` is the area of the plot.
export const scale = (total, high, box) => ({
  x: (step) => box.left + (box.width * step) / total,
  y: (loss) => box.top + box.height * (1 - Math.min(loss, high) / high),
});

export const path = (points, { x, y }) =>
  points.map(([step, loss], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(loss).toFixed(1)}`).join("");
