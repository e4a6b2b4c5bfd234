// On how many frames a region has a mask; nothing here touches the document.
import { countMasked } from "../canvas/cells.js";

// `lane` as the canvas has it; see `cells.js`.
export const coverage = (lane, total) => {
  const masked = countMasked(lane),
    made = (kinds) => [...lane].filter((cell) => kinds.includes(cell)).length,
    clicked = made("c"),
    drawn = made("ke");
  const said = masked ? `Mask on ${masked} of ${total} frames` : "No mask yet";
  return said + (clicked ? `, ${clicked} from clicks` : "") + (drawn ? `, ${drawn} drawn by hand` : "");
};
