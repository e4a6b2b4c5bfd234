// Put words into a text, with spaces around them; nothing here touches the document.

// `start` and `stop` are the selection; the cursor comes after what was put in.
export const insertAt = (text, start, stop, words) => {
  const before = text.slice(0, start),
    after = text.slice(stop);
  const left = before && !/\s$/.test(before) ? " " : "",
    right = after && !/^[\s,.;:!?]/.test(after) ? " " : "";
  const cursor = (before + left + words + right).length;
  return { value: before + left + words + right + after, cursor };
};
