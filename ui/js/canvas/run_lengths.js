// Masks as lengths of runs, "outside inside outside ..." in pixels, row by row; nothing here touches the document.

export const decodeRuns = (text, size) => {
  const grid = new Uint8Array(size);
  let at = 0,
    inside = false;
  for (const part of text ? text.split(" ") : []) {
    const end = at + Number(part);
    if (inside) grid.fill(1, at, end);
    at = end;
    inside = !inside;
  }
  return grid;
};
