import assert from "node:assert/strict";
import { test } from "node:test";
import { neighbourKey, readKeys, shotEnds, writeKeys } from "../../../ui/js/canvas/key_list.js";
import { moveMark, toggleMark } from "../../../ui/js/canvas/mark_list.js";

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
  assert.equal(writeKeys([0, 8, 15], 16), "0, 8, 15");
  assert.deepEqual(framesOf(writeKeys([0, 8, 15], 16), 16), [0, 8, 15]);
  assert.equal(writeKeys([0, 1, 2], 3), "all");
});

test("every shot has its first and last frame", () => {
  assert.deepEqual(shotEnds(16, [6, 9]), [0, 5, 6, 8, 9, 15]);
  assert.deepEqual(readKeys("every 4", 16, [6]).frames, [0, 4, 5, 6, 10, 14, 15]);
  assert.deepEqual(readKeys("3", 16, [6]).frames, [0, 3, 5, 6, 15]);
  assert.deepEqual(readKeys("auto", 16, [6]).frames, [0, 5, 6, 15]);
  assert.equal(writeKeys([0, 3, 5, 6, 15], 16, [6]), "0, 3, 15"); // where the cut is, it may change
});

test("a mark moves between its neighbours", () => {
  const frames = [0, 4, 6, 15];
  assert.deepEqual(moveMark(frames, 4, 2, 16), [0, 2, 6, 15]);
  assert.deepEqual(moveMark(frames, 4, 9, 16), [0, 5, 6, 15]);
  assert.deepEqual(moveMark(frames, 6, -3, 16), [0, 4, 5, 15]);
  assert.deepEqual(moveMark(frames, 6, 99, 16), [0, 4, 14, 15]);
  assert.deepEqual(moveMark(frames, 5, 3, 16), frames);
  assert.deepEqual(moveMark([6], 6, -9, 16), [1]);
  assert.deepEqual(moveMark([6], 6, 99, 16), [15]);
});

test("a mark is added or removed", () => {
  assert.deepEqual(toggleMark([0, 7], 3), [0, 3, 7]);
  assert.deepEqual(toggleMark([0, 3, 7], 3), [0, 7]);
});

test("the next key frame either way, or none", () => {
  assert.equal(neighbourKey([0, 4, 7], 2, 1), 4);
  assert.equal(neighbourKey([0, 4, 7], 4, -1), 0);
  assert.equal(neighbourKey([0, 4, 7], 7, 1), 7);
});
