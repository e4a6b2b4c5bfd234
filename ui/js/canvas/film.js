// Small frames along the ruler: as many whole ones as fit, each at its place in the clip; and its key frames.
import { filmFrames, isShort } from "./nearby.js";

const NOTCH = 5; // pixels of the screen

// A notch in the lower edge for each key frame.
const drawNotches = (context, places, high, dots) => {
  context.setTransform(dots, 0, 0, dots, 0, 0);
  for (const x of places) {
    context.beginPath();
    context.moveTo(x - NOTCH, high);
    context.lineTo(x, high - NOTCH - 1);
    context.lineTo(x + NOTCH, high);
    context.closePath();
    Object.assign(context, { fillStyle: "#fff", strokeStyle: "rgba(0, 0, 0, .75)", lineWidth: 1 });
    context.fill();
    context.stroke();
  }
};

export const drawFilm = (strip, editor, keys, wide, high) => {
  const { clip } = editor,
    pictures = isShort(clip) ? editor.bitmaps : editor.thumbs,
    dots = Math.min(devicePixelRatio || 1, 2);
  Object.assign(strip, { width: wide * dots, height: high * dots });
  const context = strip.getContext("2d"),
    cell = wide / clip.count;
  const narrowest = Math.max(cell, ((high * clip.width) / clip.height) * 0.6);
  const cells = Math.max(1, Math.min(clip.count, Math.floor(wide / narrowest))),
    each = wide / cells;
  editor.film = filmFrames(cells, clip.count);
  for (let i = 0; i < cells; i++) {
    const bitmap = pictures[editor.film[i]];
    if (!bitmap) continue;
    const zoom = Math.max(each / bitmap.width, high / bitmap.height);
    const [across, down] = [each / zoom, high / zoom];
    const from = [(bitmap.width - across) / 2, (bitmap.height - down) / 2, across, down];
    context.drawImage(bitmap, ...from, i * each * dots, 0, each * dots, high * dots);
  }
  const places = keys.map((frame) => (frame + 0.5) * cell);
  drawNotches(context, places, high, dots);
  editor.load();
};
