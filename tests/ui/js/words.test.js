import assert from "node:assert/strict";
import { test } from "node:test";
import { pieces } from "../../../ui/js/cards/underline.js";
import { insertAt } from "../../../ui/js/vocabulary/insert.js";
import { readRows, writeRows } from "../../../ui/js/control/rows.js";
import { isTyping } from "../../../ui/js/checks/typing.js";

test("unknown words are told from known ones, whole and ignoring case", () => {
  const found = pieces("a Robat, robatic robat", ["robat"]);
  assert.deepEqual(
    found.filter(({ known }) => !known).map(({ text }) => text),
    ["Robat", "robat"],
  );
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
  const field = { value: "a ro", selectionStart: 4 };
  field.ownerDocument = { activeElement: field };
  const words = [{ word: "ro" }];
  assert.equal(isTyping(field, words), true);
  assert.equal(isTyping({ ...field, value: "a ro " }, words), false);
  assert.equal(isTyping(field, []), false);
  assert.equal(isTyping(null, words), false);
});

test("control networks are read from their text and written back", () => {
  const text = "canny=storybook/canny@0.5, depth=owner/name";
  const rows = readRows(text);
  assert.deepEqual(rows[1], { kind: "depth", model: "owner/name", weight: 1 });
  assert.equal(writeRows(rows), text);
  assert.deepEqual(readRows("nonsense"), []);
});
