import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isLoose,
  moveKey,
  neighbourKey,
  readKeys,
  toggleKey,
  writeKeys,
} from "../../../ui/js/canvas/key_list.js";

const framesOf = (text, count) => readKeys(text, count).frames;

test("a text says which frames are keys, the ends always", () => {
  assert.deepEqual(readKeys("all", 3), { kind: "all", frames: [0, 1, 2] });
  assert.deepEqual(readKeys(" EVERY  3 ", 8), { kind: "every", frames: [0, 3, 6, 7] });
  assert.deepEqual(readKeys("8, 0,15", 16), { kind: "list", frames: [0, 8, 15] });
  assert.deepEqual(framesOf("5", 9), [0, 5, 8]);
  assert.deepEqual(readKeys("auto 5-20", 9), { kind: "auto", frames: [0, 8] });
  assert.equal(readKeys("", 3).kind, "all");
  assert.deepEqual(framesOf("0", 1), [0]);
});

test("frames beyond the clip are left out, and told", () => {
  assert.deepEqual(readKeys("4, 8", 8), { kind: "beyond", frames: [0, 4, 7] });
  assert.equal(readKeys("4, 7", 8).kind, "list");
});

test("what cannot be read is wrong", () => {
  for (const text of ["every 0", "auto 9-3", "auto 0-4", "1, two", "1,,2", "-1", "1.5", "every"])
    assert.equal(readKeys(text, 8).kind, "wrong", text);
});

test("a list is written as it is read", () => {
  assert.equal(writeKeys([0, 8, 15]), "0, 8, 15");
  assert.deepEqual(framesOf(writeKeys([0, 8, 15]), 16), [0, 8, 15]);
});

test("a key frame moves between its neighbours; the ends stay", () => {
  const frames = [0, 4, 6, 15];
  assert.deepEqual(moveKey(frames, 4, 2), [0, 2, 6, 15]);
  assert.deepEqual(moveKey(frames, 4, 9), [0, 5, 6, 15]);
  assert.deepEqual(moveKey(frames, 6, -3), [0, 4, 5, 15]);
  assert.deepEqual(moveKey(frames, 6, 99), [0, 4, 14, 15]);
  assert.deepEqual(moveKey(frames, 0, 3), frames);
  assert.deepEqual(moveKey(frames, 15, 3), frames);
  assert.deepEqual(moveKey(frames, 5, 3), frames);
});

test("a key frame is added or removed; the ends stay", () => {
  assert.deepEqual(toggleKey([0, 7], 3, 8), [0, 3, 7]);
  assert.deepEqual(toggleKey([0, 3, 7], 3, 8), [0, 7]);
  assert.deepEqual(toggleKey([0, 7], 7, 8), [0, 7]);
  assert.deepEqual(
    [0, 1, 6, 7].map((frame) => isLoose(frame, 8)),
    [false, true, true, false],
  );
});

test("the next key frame either way, or none", () => {
  assert.equal(neighbourKey([0, 4, 7], 2, 1), 4);
  assert.equal(neighbourKey([0, 4, 7], 4, -1), 0);
  assert.equal(neighbourKey([0, 4, 7], 7, 1), 7);
});
