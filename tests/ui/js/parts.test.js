import assert from "node:assert/strict";
import { test } from "node:test";
import { pieces } from "../../../ui/js/cards/underline.js";
import { isTyping } from "../../../ui/js/checks/notes.js";
import { readRows, writeRows } from "../../../ui/js/control.js";
import { path, scale, ticks, top } from "../../../ui/js/losses.js";
import { inView } from "../../../ui/js/player/videos.js";
import { channels, inkOn, isColor } from "../../../ui/js/shared/color.js";
import { inOrder } from "../../../ui/js/shared/dom.js";
import { clamp, fromMargin, hundredths, loopGap, nearest, toMargin } from "../../../ui/js/shared/numbers.js";
import { insertAt } from "../../../ui/js/vocabulary.js";

test("numbers are kept between two others, with two digits behind the point", () => {
  assert.deepEqual([clamp(-1, 0, 3), clamp(0.5, 0, 3), clamp(7, 0, 3)], [0, 0.5, 3]);
  assert.deepEqual([hundredths(1.23456), hundredths(1.239)], [1.23, 1.24]);
});

test("the nearest frame is the first of equals, and times of a loop are near across its end", () => {
  assert.deepEqual([nearest([1, 4, 6, 9], 5), nearest([1, 4, 6, 9], 100), nearest([3], 1)], [1, 3, 0]);
  assert.deepEqual([loopGap(0.25, 3.75, 4), loopGap(1, 2, 4)], [0.5, 1]);
});

test("quoted words that are read from the right are set apart", () => {
  assert.equal(inOrder("not “\u05d7”, “b”."), "not \u2068“\u05d7”\u2069, \u2068“b”\u2069.");
  assert.equal(inOrder("It isn't '\u05d7', 'b'."), "It isn't \u2068'\u05d7'\u2069, \u2068'b'\u2069.");
  assert.equal(inOrder("not “b”."), "not “b”.");
});

test("only six hexadecimal digits are a colour; letters are dark on a light one, light on a dark one", () => {
  assert.ok(isColor("#0b2A8c"));
  for (const wrong of ["red", "#fff", "#0b2a8cff", "url(#a)", null, undefined]) assert.ok(!isColor(wrong));
  assert.deepEqual(channels("#0b2a8c"), [11, 42, 140]);
  assert.deepEqual([inkOn("#ffe11a"), inkOn("#0b2a8c")], ["#111", "#fff"]);
});

test("unknown words are told from known ones, whole and ignoring case", () => {
  const found = pieces("a Robat, robatic robat", ["robat"]);
  const unknown = found.filter(({ known }) => !known).map(({ text }) => text);
  assert.deepEqual(unknown, ["Robat", "robat"]);
  assert.equal(found.map(({ text }) => text).join(""), "a Robat, robatic robat");
  assert.deepEqual(pieces("a cat", []), [{ text: "a cat", known: true }]);
});

test("what is put in gets spaces where it needs them", () => {
  assert.deepEqual(insertAt("", 0, 0, "cat"), { value: "cat", cursor: 3 });
  assert.deepEqual(insertAt("a", 1, 1, "cat"), { value: "a cat", cursor: 5 });
  assert.deepEqual(insertAt("a walks", 2, 2, "cat"), { value: "a cat walks", cursor: 6 });
  assert.deepEqual(insertAt("a dog, too", 2, 5, "cat"), { value: "a cat, too", cursor: 5 });
});

test("a word at the cursor is still being written", () => {
  const field = { value: "a ro", selectionStart: 4 },
    words = [{ word: "ro" }];
  field.ownerDocument = { activeElement: field };
  assert.ok(isTyping(field, words) && !isTyping(field, []) && !isTyping(null, words));
  assert.ok(!isTyping({ ...field }, words)); // another field has the focus
  field.value = "a ro ";
  assert.ok(!isTyping(field, words));
});

test("control networks are read from their text and written back", () => {
  const text = "canny=storybook/canny@0.5, depth=owner/name";
  const rows = readRows(text);
  assert.deepEqual(rows[1], { kind: "depth", model: "owner/name", weight: 1 });
  assert.equal(writeRows(rows), text);
  assert.deepEqual(readRows("nonsense"), []);
});

test("a path of a control network may have an @; the weight follows the last", () => {
  const rows = readRows("canny=/a@b/net@0.5, depth=me@home, pose=x@2@1");
  assert.deepEqual(
    rows.map(({ model, weight }) => [model, weight]),
    [
      ["/a@b/net", 0.5],
      ["me@home", 1],
      ["x@2", 1],
    ],
  );
  assert.deepEqual(readRows(writeRows(rows)), rows);
});

const player = { mode: "side", chosen: 1, rebuilt: null, source: "source", edits: ["one", "two"] };

test("side by side shows everything, a comparison the chosen edit and the source or its rebuilt", () => {
  assert.deepEqual(inView(player), ["source", "one", "two"]);
  const rebuilt = { on: true };
  assert.deepEqual(inView({ ...player, rebuilt }), ["source", rebuilt, "one", "two"]);
  const wipe = { ...player, mode: "wipe" };
  assert.deepEqual(inView(wipe), ["source", "two"]);
  assert.deepEqual(inView({ ...wipe, rebuilt: { on: false } }), ["source", "two"]);
  assert.deepEqual(inView({ ...wipe, rebuilt: { on: true } }), [{ on: true }, "two"]);
});

test("an axis has round numbers; steps go right, losses up, and what is too high lies at the edge", () => {
  assert.deepEqual(ticks(0.31, 4), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual(ticks(200, 4), [0, 50, 100, 150, 200]);
  assert.deepEqual(ticks(0.0042, 4), [0, 0.002, 0.004]);
  assert.deepEqual(ticks(1, 3), [0, 0.5, 1]);
  const places = scale(200, 0.4, { left: 40, top: 20, width: 100, height: 60 });
  assert.deepEqual([places.x(0), places.x(200)], [40, 140]);
  assert.deepEqual([places.y(0), places.y(0.4), places.y(9)], [80, 20, 20]);
  assert.equal(path([[0, 0], [100, 0.2]], places), "M40.0 80.0L90.0 50.0"); // prettier-ignore
});

test("one outlier does not flatten the plot, the line always fits", () => {
  const dots = Array.from({ length: 100 }, (_, i) => [i + 1, i === 50 ? 40 : 0.2]);
  assert.equal(top(dots, [[1, 0.1]]), 0.2);
  assert.ok(top(dots, [[1, 0.5]]) > 0.5);
  assert.equal(top([[1, 0]], [[1, 0]]), 1);
});

test("the slider of a margin comes back to its place", () => {
  for (let place = 0; place <= 20; place++) assert.equal(fromMargin(toMargin(place)), place);
  assert.equal(toMargin(20), 200);
});
