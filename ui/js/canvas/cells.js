// What a region is on a frame; nothing here touches the document.

const UNSURE = 0.5;

export const cellKind = (entry) => {
  if (!entry) return "";
  if (!entry.runs && !entry.key) return entry.points.length ? "" : "rg-is-doubtful";
  if (entry.key) return "rg-is-key";
  return entry.score < UNSURE ? "rg-is-doubtful" : "rg-is-sure";
};
