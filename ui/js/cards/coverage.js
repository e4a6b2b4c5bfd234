// On how many frames a region has a mask; nothing here touches the document.

// `masks` by frame and label, as the canvas has them.
export const coverage = (masks, label, total) => {
  const entries = masks.map((frame) => frame?.[label]);
  const masked = entries.filter((entry) => entry?.runs).length,
    drawn = entries.filter((entry) => entry?.key).length;
  const said = masked ? `Mask on ${masked} of ${total} frames` : "No mask yet";
  return said + (drawn ? `, ${drawn} drawn by hand` : "");
};
