import assert from "node:assert/strict";
import { test } from "node:test";
import { cellKind, cellsOf, coverage, strength } from "../../../ui/js/canvas/cells.js";
import * as outline from "../../../ui/js/canvas/outline.js";

const grid = (text) => Uint8Array.from(text.replaceAll(/\s/g, ""), Number);
const pixel = (pixels, i) => [...pixels.slice(4 * i, 4 * i + 4)];

test("runs alternate, outside first", () => {
  assert.deepEqual(outline.decodeRuns("2 3 1", 6), grid("001110"));
  assert.deepEqual(outline.decodeRuns("0 2 4", 6), grid("110000"));
  assert.deepEqual(outline.decodeRuns("", 3), grid("000"));
});

test("the uppermost region covers those below", () => {
  const layers = [
    { label: 2, grid: grid("1100") },
    { label: 5, grid: grid("0110") },
  ];
  assert.deepEqual(outline.stackLabels(layers, 4), grid("2250"));
});

test("a rim is where another label is near, and not at the frame's edge", () => {
  const top = grid("11111 11111 11110");
  const rim = (x, y, reach) => outline.isRim(top, y * 5 + x, x, y, 5, 3, reach);
  assert.ok(rim(4, 1, 1) && rim(3, 2, 1) && rim(2, 2, 2));
  assert.ok(!rim(0, 0, 1) && !rim(2, 2, 1));
  assert.ok(!outline.isRim(grid("111 211"), 2, 2, 0, 3, 2, 1)); // what follows it is in the next row
});

test("a tint is a wash with a rim and a hair of white around it", () => {
  const top = grid("00000 01110 01110 01110 00000");
  const colors = { 1: [10, 20, 30] };
  const pixels = outline.tintPixels(top, 5, 5, colors, 0);
  assert.deepEqual(pixel(pixels, 12), [10, 20, 30, 78]);
  assert.deepEqual(pixel(pixels, 7), [10, 20, 30, 255]);
  assert.deepEqual(pixel(pixels, 2), [255, 255, 255, 150]);
  assert.deepEqual(pixel(pixels, 0), [0, 0, 0, 0]);
  assert.deepEqual(pixel(outline.tintPixels(top, 5, 5, colors, 1), 12), [10, 20, 30, 112]);
});

test("a silhouette is of one label, or of all", () => {
  const top = grid("0120");
  const shown = (pixels) => [0, 1, 2, 3].map((i) => pixels[4 * i + 3] > 0);
  assert.deepEqual(shown(outline.silhouettePixels(top, 2, [1, 2, 3])), [false, false, true, false]);
  assert.deepEqual(shown(outline.silhouettePixels(top, null, [1, 2, 3])), [false, true, true, false]);
  assert.deepEqual(pixel(outline.silhouettePixels(top, 2, [1, 2, 3]), 2), [1, 2, 3, 255]);
});

test("a number sits in the middle of the first run of its region's uppermost row", () => {
  const top = grid("000000 011100 222011");
  assert.deepEqual(outline.crowns(top, 6), { 1: [2, 1], 2: [1, 2] });
});

test("a cell says drawn, tracked, uncertain or none; on long clips, cells that are alike are joined", () => {
  const kinds = { " ": "", k: "rg-is-key", e: "rg-is-key", "-": "rg-is-doubtful", 0: "rg-is-doubtful" };
  Object.assign(kinds, { 4: "rg-is-doubtful", 5: "rg-is-sure", 9: "rg-is-sure" });
  for (const [cell, kind] of Object.entries(kinds)) assert.equal(cellKind(cell), kind, cell);
  assert.deepEqual([" ", "0", "4", "9", "k"].map(strength), [0, 0.25, 0.5, 1, 1]);
  assert.deepEqual(cellsOf("99k"), [["9", 1], ["9", 1], ["k", 1]]); // prettier-ignore
  const long = "9".repeat(100) + "kk" + "-".repeat(40);
  assert.deepEqual(cellsOf(long), [["9", 100], ["k", 1], ["k", 1], ["-", 40]]); // prettier-ignore
});

test("a card counts the frames that have a mask", () => {
  assert.equal(coverage("k9 -    ", 8), "Mask on 2 of 8 frames, 1 drawn by hand");
  assert.equal(coverage("ck9     ", 8), "Mask on 3 of 8 frames, 1 from clicks, 1 drawn by hand");
  assert.equal(coverage("", 8), "No mask yet");
});

test("a pixel is as deep as it is far from another label; a feathered region is fainter at its edge", () => {
  const top = grid("11110 11110 11110");
  assert.deepEqual([...outline.depths(top, 5, 3, 9)].slice(5, 10), [3.5, 2.5, 1.5, 0.5, 9]);
  const feathered = grid("1111111 1111111 1111111 1111110");
  const alpha = (i) => outline.tintPixels(feathered, 7, 4, { 1: [1, 2, 3] }, 0, { 1: 6 })[4 * i + 3];
  assert.ok(alpha(19) < alpha(16) && alpha(16) < 78);
  assert.equal(alpha(0), 78);
});
