// Key frames and cuts as their fields say them, and as rising lists of frames from 0; cuts are the first frames of
// shots. Nothing here touches the document.
import { clamp } from "../shared/numbers.js";

const MOST = 99999; // of a distance between key frames
const NAMED = 4; // cuts that are named

const rising = (frames) => [...new Set(frames)].sort((a, b) => a - b);

// The list with one mark elsewhere from frame 1 on, at most next to its neighbours.
export const moveMark = (frames, from, to, count) => {
  const at = frames.indexOf(from);
  if (at < 0) return frames;
  const low = (frames[at - 1] ?? 0) + 1,
    high = (frames[at + 1] ?? count) - 1;
  return frames.map((frame) => (frame === from ? clamp(to, low, high) : frame));
};

export const toggleMark = (frames, frame) =>
  frames.includes(frame) ? frames.filter((one) => one !== frame) : rising([...frames, frame]);

// The first and the last frame of every shot, which are always keys.
export const shotEnds = (count, cuts) => [0, ...cuts.flatMap((cut) => [cut - 1, cut]), count - 1];

const withEnds = (frames, count, cuts) =>
  rising([...shotEnds(count, cuts), ...frames.filter((frame) => frame < count)]);

const everyNth = (step, count, cuts) => {
  const starts = [0, ...cuts, count];
  return starts.slice(0, -1).flatMap((start, shot) => {
    const length = Math.ceil((starts[shot + 1] - start) / step);
    return [...Array(length).keys()].map((i) => start + step * i);
  });
};

// What the text of key frames says of a clip: { kind, frames }, the kind being "all", "every", "auto", "list", "beyond"
// or "wrong"; a list with frames beyond the clip holds those within.
export const readKeys = (text, count, cuts = []) => {
  const said = text.toLowerCase().trim().replace(/\s+/g, " "),
    every = /^every (\d{1,5})$/.exec(said),
    auto = /^auto(?: (\d{1,5}) ?- ?(\d{1,5}))?$/.exec(said);
  if (said === "all" || said === "") return { kind: "all", frames: everyNth(1, count, []) };
  if (every && Number(every[1]) >= 1)
    return { kind: "every", frames: withEnds(everyNth(Number(every[1]), count, cuts), count, cuts) };
  if (auto && Number(auto[1] ?? 1) >= 1 && Number(auto[1] ?? 1) <= Number(auto[2] ?? MOST))
    return { kind: "auto", frames: withEnds([], count, cuts) };
  const parts = said.split(",");
  if (!parts.every((part) => /^ ?\d{1,6} ?$/.test(part))) return { kind: "wrong", frames: [] };
  const listed = parts.map(Number);
  return {
    kind: listed.every((frame) => frame < count) ? "list" : "beyond",
    frames: withEnds(listed, count, cuts),
  };
};

// Ends of shots inside the clip are left out: they follow the cuts.
export const writeKeys = (frames, count, cuts = []) => {
  if (frames.length === count) return "all";
  const inner = new Set(shotEnds(count, cuts).slice(1, -1));
  return frames.filter((frame) => !inner.has(frame)).join(", ");
};

// The nearest key frame before (-1) or after (1) a frame; the frame itself where there is none.
export const neighbourKey = (frames, frame, side) => {
  const beyond = frames.filter((one) => (one - frame) * side > 0);
  return (side < 0 ? beyond.at(-1) : beyond[0]) ?? frame;
};

// What the text of cuts says of a clip: { kind, frames }, the kind being "found", "auto", "list", "beyond" or "wrong".
// With "auto" it is not known yet where the clip is cut, as long as `found` is null.
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
