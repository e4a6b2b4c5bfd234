// Key frames as their field says them, and as numbers of frames from 0; nothing here touches the document.
import { rising } from "./mark_list.js";

const MOST = 99999; // of a distance

// The first and the last frame of every shot, which are always keys; `cuts` are the first frames of shots.
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

// What a text says of a clip: { kind: "all" | "every" | "auto" | "list" | "beyond" | "wrong", frames }; a list
// with frames beyond the clip holds those within.
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
