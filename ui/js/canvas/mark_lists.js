// @ts-check
// Key frames and cuts as their fields say them, and as rising lists of frames from 0; cuts are the first frames of
// shots. Nothing here touches the document.
import { clamp } from "../shared/numbers.js";

const MOST = 99999; // of a distance between key frames
const NAMED = 4; // cuts that are named

/** @typedef {{ kind: string, frames: number[] }} Said what the text of a field says of a clip */

/** @param {number[]} frames */
const rising = (frames) => [...new Set(frames)].sort((a, b) => a - b);

/**
 * Return the list with one mark elsewhere from frame 1 on, at most next to its neighbours.
 * @param {number[]} frames
 * @param {number} from
 * @param {number} to
 * @param {number} count frames of the clip
 */
export const moveMark = (frames, from, to, count) => {
  const at = frames.indexOf(from);
  if (at < 0) return frames;
  const low = (frames[at - 1] ?? 0) + 1;
  const high = (frames[at + 1] ?? count) - 1;
  return frames.map((frame) => (frame === from ? clamp(to, low, high) : frame));
};

/**
 * @param {number[]} frames
 * @param {number} frame
 */
export const toggleMark = (frames, frame) =>
  frames.includes(frame) ? frames.filter((one) => one !== frame) : rising([...frames, frame]);

/**
 * Return the first and the last frame of every shot, which are always keys.
 * @param {number} count frames of the clip
 * @param {number[]} cuts
 */
export const shotEnds = (count, cuts) => [0, ...cuts.flatMap((cut) => [cut - 1, cut]), count - 1];

/** @param {number[]} frames @param {number} count @param {number[]} cuts */
const withEnds = (frames, count, cuts) =>
  rising([...shotEnds(count, cuts), ...frames.filter((frame) => frame < count)]);

/** @param {number} step @param {number} count @param {number[]} cuts */
const everyNth = (step, count, cuts) => {
  const starts = [0, ...cuts];
  const ends = [...cuts, count];
  /** @type {number[]} */
  const frames = [];
  starts.forEach((start, shot) => {
    for (let frame = start; frame < ends[shot]; frame += step) frames.push(frame);
  });
  return frames;
};

/**
 * Return the step that "every N" names; 0 for any other text.
 * @param {string} said
 */
const stepOf = (said) => {
  const [, step] = /^every (\d{1,5})$/.exec(said) ?? [];
  return Number(step ?? 0);
};

/**
 * Tell whether a text is "auto", maybe with a least and a most distance.
 * @param {string} said
 */
const isAuto = (said) => {
  const found = /^auto(?: (\d{1,5}) ?- ?(\d{1,5}))?$/.exec(said);
  if (!found) return false;
  const least = Number(found[1] ?? 1);
  const most = Number(found[2] ?? MOST);
  return least >= 1 && least <= most;
};

/**
 * Read what the text of key frames says of a clip. The kind is "all", "every", "auto", "list", "beyond" or "wrong"; a
 * list with frames beyond the clip holds those within.
 * @param {string} text
 * @param {number} count frames of the clip
 * @param {number[]} cuts
 * @returns {Said}
 */
export const readKeys = (text, count, cuts = []) => {
  const said = text.toLowerCase().trim().replace(/\s+/g, " ");
  const step = stepOf(said);
  if (said === "all" || said === "") return { kind: "all", frames: everyNth(1, count, []) };
  if (step) return { kind: "every", frames: withEnds(everyNth(step, count, cuts), count, cuts) };
  if (isAuto(said)) return { kind: "auto", frames: withEnds([], count, cuts) };
  const parts = said.split(",");
  if (!parts.every((part) => /^ ?\d{1,6} ?$/.test(part))) return { kind: "wrong", frames: [] };
  const listed = parts.map(Number);
  const kind = listed.every((frame) => frame < count) ? "list" : "beyond";
  return { kind, frames: withEnds(listed, count, cuts) };
};

/**
 * Write key frames as a text, without ends of shots inside the clip, which follow the cuts.
 * @param {number[]} frames
 * @param {number} count frames of the clip
 * @param {number[]} cuts
 */
export const writeKeys = (frames, count, cuts = []) => {
  if (frames.length === count) return "all";
  const inner = new Set(shotEnds(count, cuts).slice(1, -1));
  return frames.filter((frame) => !inner.has(frame)).join(", ");
};

/**
 * Return the nearest key frame before or after a frame; the frame itself where there is none.
 * @param {number[]} frames
 * @param {number} frame
 * @param {number} side -1 for before, 1 for after
 */
export const neighbourKey = (frames, frame, side) => {
  const beyond = frames.filter((one) => (one - frame) * side > 0);
  return (side < 0 ? beyond.at(-1) : beyond[0]) ?? frame;
};

/**
 * Read what the text of cuts says of a clip. The kind is "found", "auto", "list", "beyond" or "wrong"; with "auto" it is
 * not known yet where the clip is cut.
 * @param {string} text
 * @param {number} count frames of the clip
 * @param {number[] | null} found null while nobody has looked
 * @returns {Said}
 */
export const readCuts = (text, count, found) => {
  const said = text.toLowerCase().trim();
  if (said === "auto" || said === "") return { kind: found ? "found" : "auto", frames: found ?? [] };
  if (said === "none") return { kind: "list", frames: [] };
  const parts = said.split(",").map((part) => part.trim());
  if (!parts.every((part) => /^0*[1-9]\d{0,5}$/.test(part))) return { kind: "wrong", frames: [] };
  const cuts = rising(parts.map(Number));
  const within = cuts.filter((cut) => cut < count);
  return { kind: within.length === cuts.length ? "list" : "beyond", frames: within };
};

/**
 * Write cuts as a text; what was found is "auto" again.
 * @param {number[]} cuts
 * @param {number[] | null} found
 */
export const writeCuts = (cuts, found) => {
  if (found && String(cuts) === String(found)) return "auto";
  return cuts.join(", ") || "none";
};

/** @param {string[]} words */
const joinWithAnd = (words) => {
  const last = words.at(-1);
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${last}` : last;
};

/**
 * Say the shots in words, frames counted from 1 as below the frame.
 * @param {number[]} cuts
 */
export const sayCuts = (cuts) => {
  const named = cuts.slice(0, NAMED).map((cut) => String(cut + 1));
  const more = cuts.length - named.length;
  const places = joinWithAnd(more ? [...named, `${more} more`] : named);
  const frames = cuts.length > 1 ? "frames" : "frame";
  return `${cuts.length + 1} shots; cut before ${frames} ${places}`;
};
