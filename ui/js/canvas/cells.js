// What a region is on each frame of its lane, a character each: "k" drawn, "c" clicked, "e" drawn empty,
// "-" not found, 0 to 9 tracked (tenths of how sure), or a space. Nothing here touches the document.

const UNSURE = 5,
  FAINTEST = 0.25;
const MADE = ["k", "c", "e"]; // by a person
const SINGLE = 120; // frames of a clip up to which each is a cell of its own

export const cellKind = (cell) => {
  if (MADE.includes(cell)) return "rg-is-key";
  if (cell === "-" || (cell >= "0" && cell < String(UNSURE))) return "rg-is-doubtful";
  return cell >= "0" && cell <= "9" ? "rg-is-sure" : "";
};

// How strongly a cell is coloured, 0 to 1.
export const strength = (cell) => {
  if (MADE.includes(cell)) return 1;
  return cell >= "0" && cell <= "9" ? Math.max(FAINTEST, (Number(cell) + 1) / 10) : 0;
};

export const isMasked = (cell) => cell === "k" || cell === "c" || (cell >= "0" && cell <= "9");

export const countMasked = (lane) => [...lane].filter(isMasked).length;

// The cells of a lane, [cell, frames]; on long clips, frames in a row that are alike are one.
export const cellsOf = (lane) => {
  const cells = [];
  for (const cell of lane) {
    const last = cells.at(-1);
    if (lane.length > SINGLE && last?.[0] === cell && cellKind(cell) !== "rg-is-key") last[1] += 1;
    else cells.push([cell, 1]);
  }
  return cells;
};

// On how many frames a region has a mask.
export const coverage = (lane, total) => {
  const masked = countMasked(lane),
    made = (kinds) => [...lane].filter((cell) => kinds.includes(cell)).length,
    clicked = made("c"),
    drawn = made("ke");
  const said = masked ? `Mask on ${masked} of ${total} frames` : "No mask yet";
  return said + (clicked ? `, ${clicked} from clicks` : "") + (drawn ? `, ${drawn} drawn by hand` : "");
};
