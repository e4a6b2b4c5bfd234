// On how many frames a region has a mask; nothing here touches the document.
import { countMasked } from "../canvas/cells.js";

// `lane` as the canvas has it; see `cells.js`.
export const coverage = (lane, total) => {
  const masked = countMasked(lane),
    drawn = [...lane].filter((cell) => cell === "k" || cell === "e").length;
  const said = masked ? `Mask on ${masked} of ${total} frames` : "No mask yet";
  return said + (drawn ? `, ${drawn} drawn by hand` : "");
};
