// Key frames as their field says them, and as numbers of frames from 0; nothing here touches the document.
import { clamp } from "../shared/numbers.js";

const MOST = 99999; // of a distance

const everyNth = (step, count) => [...Array(count).keys()].filter((frame) => frame % step === 0);

// The first and the last frame of a clip are always keys.
const withEnds = (frames, count) =>
  [...new Set([0, ...frames.filter((frame) => frame < count), count - 1])].sort((a, b) => a - b);

// What a text says of a clip: { kind: "all" | "every" | "auto" | "list" | "beyond" | "wrong", frames }; a list
// with frames beyond the clip holds those within.
export const readKeys = (text, count) => {
  const said = text.toLowerCase().trim().replace(/\s+/g, " "),
    every = /^every (\d{1,5})$/.exec(said),
    auto = /^auto(?: (\d{1,5}) ?- ?(\d{1,5}))?$/.exec(said);
  if (said === "all" || said === "") return { kind: "all", frames: everyNth(1, count) };
  if (every && Number(every[1]) >= 1)
    return { kind: "every", frames: withEnds(everyNth(Number(every[1]), count), count) };
  if (auto && Number(auto[1] ?? 1) >= 1 && Number(auto[1] ?? 1) <= Number(auto[2] ?? MOST))
    return { kind: "auto", frames: withEnds([], count) };
  const parts = said.split(",");
  if (!parts.every((part) => /^ ?\d{1,6} ?$/.test(part))) return { kind: "wrong", frames: [] };
  const listed = parts.map(Number);
  return {
    kind: listed.every((frame) => frame < count) ? "list" : "beyond",
    frames: withEnds(listed, count),
  };
};

export const writeKeys = (frames) => frames.join(", ");

// Whether a person may move or remove a key frame.
export const isLoose = (frame, count) => frame > 0 && frame < count - 1;

// The list with one key frame elsewhere, at most next to its neighbours.
export const moveKey = (frames, from, to) => {
  const at = frames.indexOf(from);
  if (at <= 0 || at === frames.length - 1) return frames;
  const moved = clamp(to, frames[at - 1] + 1, frames[at + 1] - 1);
  return frames.map((frame) => (frame === from ? moved : frame));
};

// The list with a key frame more or less.
export const toggleKey = (frames, frame, count) => {
  if (!isLoose(frame, count)) return frames;
  return withEnds(frames.includes(frame) ? frames.filter((one) => one !== frame) : [...frames, frame], count);
};

// The nearest key frame before (-1) or after (1) a frame; the frame itself where there is none.
export const neighbourKey = (frames, frame, side) => {
  const beyond = frames.filter((one) => (one - frame) * side > 0);
  return (side < 0 ? beyond.at(-1) : beyond[0]) ?? frame;
};
