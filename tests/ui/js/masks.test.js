import assert from "node:assert/strict";
import { test } from "node:test";
import { cellKind, cellsOf, coverage, overlap, strength } from "../../../ui/js/canvas/cells.js";
import * as outline from "../../../ui/js/canvas/outline.js";

const grid = (text) => Uint8Array.from(text.replaceAll(/\s/g, ""), Number);

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

// Twice the area within a closed line, by the shoelace formula; a hole has the other sign.
const area = (ring) =>
  ring.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ring.length];
    return sum + x * nextY - nextX * y;
  }, 0) / 2;

test("an outline runs through the middles between pixels, and around each hole", () => {
  const [square, ...none] = outline.outlines(grid("0000 0110 0110 0000"), 4, 4)[1];
  assert.deepEqual(none, []);
  assert.deepEqual(outline.boxAround([square]), [1, 1, 3, 3]);
  assert.equal(Math.abs(area(square)), 4 - 4 / 8); // less an eighth of a pixel at each corner
  const rings = outline.outlines(grid("11111 11111 11011 11111 11111"), 5, 5)[1];
  assert.equal(rings.length, 2);
  assert.ok(area(rings[0]) * area(rings[1]) < 0);
});

test("an outline reaches the frame's edge, and two labels that touch have each their own", () => {
  assert.deepEqual(outline.boxAround(outline.outlines(grid("11 11"), 2, 2)[1]), [0, 0, 2, 2]);
  const both = outline.outlines(grid("12 12"), 2, 2);
  assert.deepEqual(outline.boxAround(both[1]), [0, 0, 1, 2]);
  assert.deepEqual(outline.boxAround(both[2]), [1, 0, 2, 2]);
  const diagonal = outline.outlines(grid("10 01"), 2, 2)[1]; // pixels that meet at a corner
  assert.equal(
    diagonal.reduce((sum, ring) => sum + Math.abs(area(ring)), 0),
    1,
  );
});

test("a number sits over the first run of the uppermost row of its region's largest piece", () => {
  const crown = (text) => outline.crownOf(outline.outlines(grid(text), 7, 4)[1]);
  assert.deepEqual(crown("0000000 0011101 0111101 0000000"), [3.5, 1]);
  assert.deepEqual(crown("1000000 0010010 0111110 0111110"), [2.5, 1]);
});

test("masks overlap where both cover a pixel", () => {
  assert.equal(overlap(["2 3 5", "5 2 3", "0 2 8"]), false);
  assert.equal(overlap(["2 3 5", "4 2 4"]), true);
  assert.equal(overlap(["10", ""]), false);
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
  const pixels = outline.fadingPixels(feathered, 7, 4, 1, [1, 2, 3], 78, 6);
  const alpha = (i) => pixels[4 * i + 3];
  assert.ok(alpha(19) < alpha(16) && alpha(16) < 78);
  assert.equal(alpha(0), 78);
});
