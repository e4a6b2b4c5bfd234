// Key frames below the film strip.
import { hub } from "../shared/hub.js";
import { cutsOf } from "./cut_marks.js";
import { neighbourKey, readKeys, shotEnds, writeKeys } from "./key_list.js";
import { makeMarkRow } from "./mark_row.js";

const SAY_KEYS = {
  all: () => "All frames are edited",
  auto: () => "Chosen by how much changes when the run begins",
  beyond: (count) => "Some key frames are outside the clip: choose from 0 to " + (count - 1),
  wrong: () => "The key frames under Long clips cannot be read",
};

const readKeyMarks = (editor) => {
  if (!editor.clip) return null;
  const { count } = editor.clip,
    cuts = cutsOf(editor),
    said = readKeys(hub.written.keyframes, count, cuts),
    fixed = new Set(shotEnds(count, cuts));
  return {
    ...said,
    quiet: SAY_KEYS[said.kind]?.(count) ?? "",
    total: (marked) => marked + " / " + count,
    loose: (frame) => !fixed.has(frame),
  };
};

const KEY_MARKS = {
  field: "keyframes",
  read: readKeyMarks,
  write: (editor, frames) => writeKeys(frames, editor.clip.count, cutsOf(editor)),
  row: "rg-keys",
  mark: "rg-key-mark",
  middle: 0.5,
  last: (count) => count - 1,
  where: "",
  name: "Key frame",
  title: "Key frames",
  icon: "key",
  hint: "Make this frame a key frame, or no longer one (K)",
  hintOfMark: "Drag, or press the arrow keys, to move this key frame; Delete removes it",
  hintOfFixed: "The first and the last frame of a shot are always key frames",
};

export const makeKeyMarks = (editor, changed) => {
  const row = makeMarkRow(editor, KEY_MARKS, changed);
  editor.toggleKey = () => row.toggleAt(editor.frame);
  editor.goToKey = (side) => {
    const keys = readKeyMarks(editor),
      held = row.track.contains(document.activeElement);
    if (!keys) return;
    editor.go(neighbourKey(keys.frames, editor.frame, side));
    if (held) row.track.querySelector("[tabindex='0']")?.focus();
  };
  return row;
};
