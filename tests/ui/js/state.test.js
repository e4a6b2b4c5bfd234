import assert from "node:assert/strict";
import { test } from "node:test";
import { Editor } from "../../../ui/js/canvas/editor.js";
import { filmFrames, framesAround, framesToDrop, masksToAsk } from "../../../ui/js/canvas/nearby.js";
import * as state from "../../../ui/js/canvas/state.js";

const CLIP = { width: 100, height: 50, count: 8 };
const newEditor = () =>
  new Editor(
    () => {},
    () => ({}),
  );
const opened = () => Object.assign(newEditor(), { id: "a", rev: 3, clip: CLIP, scale: 2 });
const VIEW = { changes: {}, acknowledged: [], rev: 4, tracking: 0, stale: [], labels: [1], finders: {} };

test("a frame stays within the clip, and a place on the screen becomes one in it", () => {
  const frames = [-3, 4, Infinity].map((frame) => state.frameOf(opened(), frame));
  assert.deepEqual(frames, [0, 4, 7]);
  assert.equal(state.frameOf(newEditor(), 5), 0);
  const box = { left: 10, top: 20, width: 200, height: 100 };
  assert.deepEqual(state.placeIn(box, CLIP, 110, 70), [50, 25]);
  assert.deepEqual(state.placeIn(box, CLIP, 0, 999), [0, 49.99]);
  assert.deepEqual(state.placeIn(box, CLIP, 999, 0), [99.99, 0]);
  const view = { zoom: 4, x: 0.5, y: 0.25 };
  const middle = state.placeIn(box, CLIP, box.left + box.width / 2, box.top + box.height / 2, view);
  assert.deepEqual(middle, [62.5, 18.75]);
});

test("a cursor begins in the middle and stops at the edge", () => {
  const editor = opened();
  assert.deepEqual((editor.cursor = state.moveCursor(editor, [1, 0])), [52, 25]);
  for (let i = 0; i < 99; i++) editor.cursor = state.moveCursor(editor, [1, 1]);
  assert.deepEqual(editor.cursor, [99, 49]);
});

test("a stroke takes no place too near the last and ends somewhere", () => {
  const path = [[0, 0]];
  state.extend(path, [0.5, 0], 90);
  state.extend(path, [1, 0], 90);
  assert.equal(path.join(" "), "0,0 1,0");
  for (let i = 0; i < 999; i++) state.extend(path, [2 * i + 5, 0], 90);
  assert.equal(path.length, 90);
});

test("points the server has yet to hear of are shown once", () => {
  const editor = opened();
  editor.masks[0] = { 2: { points: [[5, 5, 1]] } };
  editor.pending = [
    { frame: 0, label: 2, point: [5, 5, 1] },
    { frame: 0, label: 2, point: [9, 5, 0] },
    { frame: 1, label: 2, point: [1, 1, 1] },
    { frame: 0, label: 2, path: [[1, 1]] },
  ];
  assert.equal(state.pointsHere(editor).join(" "), "5,5,1,2 9,5,0,2");
});

test("a click takes back a point of its own region within reach", () => {
  const editor = opened();
  editor.masks[0] = { 2: { points: [[50, 25, 1]] } };
  assert.deepEqual(state.pointAt(editor, [53, 25], 2), [50, 25]);
  assert.equal(state.pointAt(editor, [53, 25], 1), null);
  assert.equal(state.pointAt(editor, [55, 25], 2), null);
});

test("an answer that is late changes nothing but what it answers", () => {
  const editor = opened();
  editor.pending = [{ nonce: 7 }, { nonce: 8 }];
  const late = { ...VIEW, rev: 2, acknowledged: [7], changes: { 0: { 1: { runs: "1 1" } } }, labels: [9] };
  assert.ok(!state.accept(editor, late));
  assert.deepEqual(editor.pending, [{ nonce: 8 }]);
  assert.deepEqual([editor.rev, editor.labels, editor.masks.length], [3, [], 0]);
  assert.ok(state.accept(editor, { ...late, rev: 3 }));
  assert.deepEqual([editor.labels, editor.masks[0][1].runs], [[9], "1 1"]);
});

test("a new region is selected, a deleted one is not; its own finder comes before the usual one", () => {
  assert.equal(state.selection([1], [2, 1], 1, false), 2);
  assert.equal(state.selection([1, 2], [1], 2, false), 1);
  assert.equal(state.selection([2, 1], [2, 1], 1, false), 1);
  assert.equal(state.selection([], [4, 3], 3, true), 3);
  assert.equal(state.selection([1], [], 1, false), 0);
  assert.equal(state.selection([1, 2], [1, 2], 0, false), 0); // let go
  assert.equal(state.selection([1, 2], [1, 2, 3], 0, false), 3);
  const who = { usual: "sam" };
  assert.equal(state.finderOf({ finders: { 1: "cuts" }, who }, 1), "cuts");
  assert.equal(state.finderOf({ finders: {}, who }, 1), "sam");
  assert.equal(state.finderOf(Object.assign(newEditor(), { who }), 1), "sam");
});

test("masks reach as far left as any of their runs, and to the edge where one goes over a row's end", () => {
  const frames = (...runs) => runs.map((text) => ({ 1: { runs: text } }));
  assert.equal(state.leftOf(frames("13 2", "", "26 1"), 10), 0.3);
  assert.equal(state.leftOf(frames("18 4"), 10), 0);
  assert.deepEqual(
    [state.leftOf(frames("10 1"), 10), state.leftOf([], 10), state.leftOf([undefined], 10)],
    [0, 1, 1],
  );
});

test("masks that changed elsewhere are wanted until they come", () => {
  const editor = opened();
  const view = { ...VIEW, changes: { 0: { 1: { runs: "1 1" } } }, lanes: { 1: "99" } };
  state.accept(editor, { ...view, rev: 4, wanting: { 1: 4, 7: 3 } });
  assert.deepEqual([[...editor.wanted], editor.lanes], [[1, 7], { 1: "99" }]);
  state.accept(editor, { ...view, rev: 5, changes: { 1: {} }, wanting: { 0: 5 } });
  assert.deepEqual([...editor.wanted], [7, 0]);
  state.accept(editor, { ...view, rev: 6, changes: {}, wanting: { 1: 4 } }); // said again, and here since
  assert.deepEqual([...editor.wanted], [7, 0]);
});

test("tracking says how far it is, and what is left if that is long", () => {
  assert.equal(state.progressOf(null), "Tracking");
  assert.equal(state.progressOf([12, 96, 3]), "Tracking frame 12 of 96");
  assert.equal(state.progressOf([12, 96, 21.4]), "Tracking frame 12 of 96, 21 s left");
  assert.equal(state.progressOf([12, 96, 300]), "Tracking frame 12 of 96, 5 min left");
});

const [SHORT, LONG] = [{ count: 4 }, { count: 1000, most_masks: 32 }];

test("a short clip is loaded as a whole, a long one around the frame that is shown", () => {
  assert.deepEqual(framesAround(SHORT, 2), [0, 1, 2, 3]);
  const near = framesAround(LONG, 500);
  assert.deepEqual(near.slice(0, 3), [500, 501, 502]);
  assert.deepEqual([Math.min(...near), Math.max(...near)], [492, 524]);
  assert.equal(Math.max(...framesAround(LONG, 999)), 999);
});

test("frames far away are dropped, and none of a short clip", () => {
  const loaded = [...Array(80).keys()];
  assert.deepEqual(framesToDrop(SHORT, 0, [0, 1, 2, 3]), []);
  assert.deepEqual(framesToDrop(LONG, 40, loaded.slice(0, 64)), []);
  const dropped = framesToDrop(LONG, 79, loaded);
  assert.deepEqual(dropped.sort((a, b) => a - b), loaded.slice(0, 16)); // prettier-ignore
});

test("masks are asked for before they are shown, many at once", () => {
  const wanted = new Set([...Array(1000).keys()].filter((frame) => frame > 110));
  assert.deepEqual(masksToAsk({ clip: LONG, frame: 90, wanted }), []);
  const asked = masksToAsk({ clip: LONG, frame: 104, wanted });
  assert.deepEqual([asked[0], asked.at(-1)], [111, 128]);
  assert.deepEqual(masksToAsk({ clip: null, frame: 0, wanted }), []);
});

test("a film shows frames at their places", () => {
  assert.deepEqual(filmFrames(4, 4), [0, 1, 2, 3]);
  assert.deepEqual(filmFrames(2, 1000), [250, 750]);
});
