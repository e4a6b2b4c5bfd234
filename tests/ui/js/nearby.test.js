import assert from "node:assert/strict";
import test from "node:test";
import { filmFrames, framesAround, framesToDrop, masksToAsk } from "../../../ui/js/canvas/nearby.js";

const [SHORT, LONG] = [{ count: 4 }, { count: 1000 }];

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
  assert.equal(dropped.length, 16);
  assert.ok(dropped.every((frame) => frame < 16));
});

test("masks are asked for before they are shown, many at once", () => {
  const wanted = new Set([...Array(1000).keys()].filter((frame) => frame > 110));
  assert.deepEqual(masksToAsk({ clip: LONG, frame: 90, wanted }), []);
  const asked = masksToAsk({ clip: LONG, frame: 104, wanted });
  assert.equal(asked[0], 111);
  assert.equal(asked.at(-1), 128);
  assert.deepEqual(masksToAsk({ clip: null, frame: 0, wanted }), []);
});

test("a film shows frames at their places", () => {
  assert.deepEqual(filmFrames(4, 4), [0, 1, 2, 3]);
  assert.deepEqual(filmFrames(2, 1000), [250, 750]);
});
