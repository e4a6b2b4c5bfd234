import assert from "node:assert/strict";
import { test } from "node:test";
import * as trim from "../../../ui/js/canvas/trim.js";

const ends = ({ first, last }) => [first, last];
const range = trim.rangeOf({ start: 10, stride: 2, count: 8, total: 60, most: 20 });

test("a stretch is read from what is used of a file", () => {
  assert.deepEqual(range, { first: 10, last: 24, stride: 2, total: 60, most: 20 });
  assert.equal(trim.countOf(range), 8);
  assert.equal(trim.sayRange(range, 24), "Frames 11–25 of 60, every 2nd: 8 frames, 0.7 s");
  assert.equal(trim.sayRange({ ...range, last: 10, stride: 1 }, 8), "Frames 11–11 of 60: 1 frame, 0.1 s");
});

test("the whole stretch or an end of it stays in the file; an end does not pass the other", () => {
  assert.deepEqual(ends(trim.slide(range, 100)), [45, 59]);
  assert.deepEqual(ends(trim.slide(range, -100)), [0, 14]);
  assert.deepEqual([trim.moveFirst(range, -3).first, trim.moveFirst(range, 40).first], [0, 24]);
  assert.deepEqual([trim.moveLast(range, Infinity).last, trim.moveLast(range, 2).last], [59, 10]);
});

test("no more frames are taken than the page allows", () => {
  assert.deepEqual(ends(trim.moveLast(range, 99)), [21, 59]);
  const all = { first: 0, last: 59, stride: 3, total: 60, most: 20 };
  assert.deepEqual([trim.countOf(all), trim.countOf(trim.withStride(all, 1))], [20, 20]);
  assert.deepEqual(ends(trim.withStride(all, 1)), [0, 19]);
});

test("masks of frames that are not used any more would be lost", () => {
  const clip = { start: 10, stride: 2, count: 8 }, // frames 10 to 24
    lanes = { 1: "k999    ", 2: "       5" };
  const lost = (first, last, stride) => trim.lostOf({ first, last, stride }, clip, lanes);
  assert.deepEqual(
    [lost(0, 59, 1), lost(10, 24, 2), lost(12, 24, 2), lost(0, 20, 1), lost(10, 24, 4)],
    [0, 0, 1, 1, 3],
  );
  assert.equal(trim.lostOf({ first: 0, last: 1, stride: 1 }, clip, { 3: "99999999" }, 3), 0);
});

test("strides to choose from include the present one", () => {
  assert.deepEqual(trim.stridesOf({ stride: 7, total: 9 }), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual(trim.stridesOf({ stride: 1, total: 1 }), [1]);
  assert.equal([1, 2, 3, 4, 11, 22, 112].map(trim.ordinal).join(" "), "1st 2nd 3rd 4th 11th 22nd 112th");
});
