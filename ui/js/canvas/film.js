// Small frames along the ruler: as many whole ones as fit, each at its place in the clip.

export const drawFilm = (strip, editor, wide, high) => {
  const { clip, bitmaps } = editor,
    dots = Math.min(devicePixelRatio || 1, 2);
  Object.assign(strip, { width: wide * dots, height: high * dots });
  const context = strip.getContext("2d"),
    cell = wide / clip.count;
  const narrowest = Math.max(cell, ((high * clip.width) / clip.height) * 0.6);
  const cells = Math.max(1, Math.min(clip.count, Math.floor(wide / narrowest))),
    each = wide / cells;
  for (let i = 0; i < cells; i++) {
    const bitmap = bitmaps[Math.floor(((i + 0.5) / cells) * clip.count)];
    if (!bitmap) continue;
    const zoom = Math.max(each / bitmap.width, high / bitmap.height);
    const [across, down] = [each / zoom, high / zoom];
    const from = [(bitmap.width - across) / 2, (bitmap.height - down) / 2, across, down];
    context.drawImage(bitmap, ...from, i * each * dots, 0, each * dots, high * dots);
  }
};
