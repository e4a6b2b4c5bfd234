// @ts-check
// What a region is on each frame of its lane, a character each: "k" drawn, "c" clicked, "e" drawn empty,
// "-" not found, 0 to 9 tracked (tenths of how sure), or a space. Nothing here touches the document.

const UNSURE = 5; // tenths
const FAINTEST = 0.25;
const MADE = ["k", "c", "e"]; // by a person
const SINGLE = 120; // frames of a clip up to which each is a cell of its own

/** @param {string} cell */
const isTracked = (cell) => cell >= "0" && cell <= "9";

/**
 * Return the class of a cell.
 * @param {string} cell
 */
export const cellKind = (cell) => {
  if (MADE.includes(cell)) return "rg-is-key";
  if (cell === "-") return "rg-is-doubtful";
  if (!isTracked(cell)) return "";
  return Number(cell) < UNSURE ? "rg-is-doubtful" : "rg-is-sure";
};

/**
 * Return how strongly a cell is coloured, 0 to 1.
 * @param {string} cell
 */
export const strength = (cell) => {
  if (MADE.includes(cell)) return 1;
  return isTracked(cell) ? Math.max(FAINTEST, (Number(cell) + 1) / 10) : 0;
};

/** @param {string} cell */
export const isMasked = (cell) => cell === "k" || cell === "c" || isTracked(cell);

/** @param {string} lane */
export const countMasked = (lane) => [...lane].filter(isMasked).length;

/**
 * Return the stretches of pixels that a mask covers, each with its end.
 * @param {string} runs
 */
const spansOf = (runs) => {
  let at = 0;
  const ends = runs.split(" ").map((run) => (at += Number(run)));
  return ends.flatMap((end, i) => (i % 2 ? [[ends[i - 1], end]] : []));
};

/**
 * Tell whether any of the masks of a frame overlap.
 * @param {string[]} masks as runs
 */
export const overlap = (masks) => {
  const spans = masks.flatMap(spansOf).filter(([start, end]) => start < end);
  spans.sort(([one], [other]) => one - other);
  return spans.some(([start], i) => i > 0 && start < spans[i - 1][1]);
};

/**
 * Return the cells of a lane; on long clips, frames in a row that are alike are one.
 * @param {string} lane
 */
export const cellsOf = (lane) => {
  const joined = lane.length > SINGLE;
  /** @type {[cell: string, frames: number][]} */
  const cells = [];
  for (const cell of lane) {
    const last = cells.at(-1);
    const isAlike = last?.[0] === cell && cellKind(cell) !== "rg-is-key";
    if (joined && last && isAlike) last[1] += 1;
    else cells.push([cell, 1]);
  }
  return cells;
};

/**
 * Say on how many frames a region has a mask.
 * @param {string} lane
 * @param {number} total frames of the clip
 */
export const coverage = (lane, total) => {
  /** @param {string} kinds */
  const countOf = (kinds) => [...lane].filter((cell) => kinds.includes(cell)).length;
  const masked = countMasked(lane);
  const clicked = countOf("c");
  const drawn = countOf("ke");
  const parts = [masked ? `Mask on ${masked} of ${total} frames` : "No mask yet"];
  if (clicked) parts.push(`${clicked} from clicks`);
  if (drawn) parts.push(`${drawn} drawn by hand`);
  return parts.join(", ");
};
