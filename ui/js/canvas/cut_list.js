// Cuts as their field says them, and as the first frames of shots, from 0; nothing here touches the document.
import { rising } from "./mark_list.js";

const NAMED = 4; // cuts that are named

// What a text says of a clip: { kind: "found" | "auto" | "list" | "beyond" | "wrong", frames }. With "auto" it is
// not known yet where the clip is cut, as long as `found` is null.
export const readCuts = (text, count, found) => {
  const said = text.toLowerCase().trim();
  if (said === "auto" || said === "") return { kind: found ? "found" : "auto", frames: found ?? [] };
  if (said === "none") return { kind: "list", frames: [] };
  const parts = said.split(",").map((part) => part.trim());
  if (!parts.every((part) => /^0*[1-9]\d{0,5}$/.test(part))) return { kind: "wrong", frames: [] };
  const cuts = rising(parts.map(Number));
  return {
    kind: cuts.every((cut) => cut < count) ? "list" : "beyond",
    frames: cuts.filter((cut) => cut < count),
  };
};

// What was found is "auto" again.
export const writeCuts = (cuts, found) =>
  found && String(cuts) === String(found) ? "auto" : cuts.join(", ") || "none";

// The shots in words, frames counted from 1 as below the frame.
export const sayCuts = (cuts) => {
  const named = cuts.slice(0, NAMED).map((cut) => String(cut + 1)),
    more = cuts.length - named.length;
  const last = more ? more + " more" : named.length > 1 ? named.pop() : "";
  const places = named.join(", ") + (last && " and " + last);
  return cuts.length + 1 + " shots; cut before frame" + (cuts.length > 1 ? "s " : " ") + places;
};
