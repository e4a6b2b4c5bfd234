import assert from "node:assert/strict";
import { test } from "node:test";
import { channels, inkOn, isColor } from "../../../ui/js/shared/color.js";
import { clamp, hundredths, loopGap, nearest } from "../../../ui/js/shared/numbers.js";

test("a number is kept between two others", () => {
  assert.deepEqual(
    [-1, 0.5, 7].map((value) => clamp(value, 0, 3)),
    [0, 0.5, 3],
  );
});

test("places have two digits behind the point", () => {
  assert.equal(hundredths(1.23456), 1.23);
  assert.equal(hundredths(1.239), 1.24);
});

test("the nearest of the frames shown, the first of equals", () => {
  assert.equal(nearest([1, 4, 6, 9], 5), 1);
  assert.equal(nearest([1, 4, 6, 9], 100), 3);
  assert.equal(nearest([3], 1), 0);
});

test("times of a loop are near each other across its end", () => {
  assert.equal(loopGap(0.25, 3.75, 4), 0.5);
  assert.equal(loopGap(1, 2, 4), 1);
});

test("only six hexadecimal digits are a colour", () => {
  assert.ok(isColor("#0b2A8c"));
  for (const wrong of ["red", "#fff", "#0b2a8cff", "url(#a)", null, undefined]) assert.ok(!isColor(wrong));
});

test("letters are dark on a light colour and light on a dark one", () => {
  assert.deepEqual(channels("#0b2a8c"), [11, 42, 140]);
  assert.equal(inkOn("#ffe11a"), "#111");
  assert.equal(inkOn("#0b2a8c"), "#fff");
});
