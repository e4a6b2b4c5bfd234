import assert from "node:assert/strict";
import { test } from "node:test";
import * as lists from "../../../ui/js/canvas/mark_lists.js";

const framesOf = (text, count) => lists.readKeys(text, count).frames;

test("a text says which frames are keys, the ends always, and is written as it is read", () => {
  const kinds = ["all", "", "every 3", "8, 0,15", "auto 5-20"].map((text) => lists.readKeys(text, 16).kind);
  assert.deepEqual(kinds, ["all", "all", "every", "list", "auto"]);
  assert.equal(lists.writeKeys([0, 8, 15], 16), "0, 8, 15");
  assert.deepEqual(framesOf(lists.writeKeys([0, 8, 15], 16), 16), [0, 8, 15]);
  assert.equal(lists.writeKeys([0, 1, 2], 3), "all");
});

test("frames beyond the clip are left out", () => {
  assert.deepEqual(framesOf("4, 8", 8), [0, 4, 7]);
});

test("every shot has its first and last frame", () => {
  assert.deepEqual(lists.shotEnds(16, [6, 9]), [0, 5, 6, 8, 9, 15]);
  assert.deepEqual(lists.readKeys("every 4", 16, [6]).frames, [0, 4, 5, 6, 10, 14, 15]);
  assert.deepEqual(lists.readKeys("3", 16, [6]).frames, [0, 3, 5, 6, 15]);
  assert.deepEqual(lists.readKeys("auto", 16, [6]).frames, [0, 5, 6, 15]);
  assert.equal(lists.writeKeys([0, 3, 5, 6, 15], 16, [6]), "0, 3, 15"); // where the cut is, it may change
});

test("a mark moves between its neighbours", () => {
  const frames = [0, 4, 6, 15];
  assert.deepEqual(lists.moveMark(frames, 4, 2, 16), [0, 2, 6, 15]);
  assert.deepEqual(lists.moveMark(frames, 4, 9, 16), [0, 5, 6, 15]);
  assert.deepEqual(lists.moveMark(frames, 6, -3, 16), [0, 4, 5, 15]);
  assert.deepEqual(lists.moveMark(frames, 6, 99, 16), [0, 4, 14, 15]);
  assert.deepEqual(lists.moveMark(frames, 5, 3, 16), frames);
  assert.deepEqual(lists.moveMark([6], 6, -9, 16), [1]);
  assert.deepEqual(lists.moveMark([6], 6, 99, 16), [15]);
});

test("a mark is added or removed, and the next key frame either way is found", () => {
  assert.deepEqual(lists.toggleMark([0, 7], 3), [0, 3, 7]);
  assert.deepEqual(lists.toggleMark([0, 3, 7], 3), [0, 7]);
  assert.equal(lists.neighbourKey([0, 4, 7], 2, 1), 4);
  assert.equal(lists.neighbourKey([0, 4, 7], 4, -1), 0);
  assert.equal(lists.neighbourKey([0, 4, 7], 7, 1), 7);
});

test("a text says where the clip is cut; what was found is auto again, and nothing is none", () => {
  assert.deepEqual(lists.readCuts("", 90, [24]), { kind: "found", frames: [24] });
  assert.deepEqual(lists.readCuts("none", 90, [24]), { kind: "list", frames: [] });
  assert.deepEqual(lists.readCuts("24, 90", 90, null), { kind: "beyond", frames: [24] });
  assert.equal(lists.writeCuts([24, 60], [24, 60]), "auto");
  assert.equal(lists.writeCuts([], []), "auto");
  assert.equal(lists.writeCuts([24], [24, 60]), "24");
  assert.equal(lists.writeCuts([], [24]), "none");
  assert.equal(lists.writeCuts([], null), "none");
});

test("shots are counted and cuts named", () => {
  assert.equal(lists.sayCuts([24]), "2 shots; cut before frame 25");
  assert.equal(lists.sayCuts([24, 60]), "3 shots; cut before frames 25 and 61");
  assert.equal(lists.sayCuts([1, 2, 3, 4]), "5 shots; cut before frames 2, 3, 4 and 5");
  assert.equal(lists.sayCuts([1, 2, 3, 4, 5, 6]), "7 shots; cut before frames 2, 3, 4, 5 and 2 more");
});
