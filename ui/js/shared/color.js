// Colours as #rrggbb; nothing here touches the document.

export const isColor = (value) => /^#[0-9a-f]{6}$/i.test(value);

// Red, green and blue, 0 to 255.
export const channels = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));

// A colour for letters on another.
export const inkOn = (color) => {
  const [red, green, blue] = channels(color);
  return 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? "#111" : "#fff";
};
