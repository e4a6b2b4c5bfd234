// Control networks as text, KIND=MODEL@WEIGHT separated by commas; nothing here touches the document.

// What is not written like that is left out.
export const readRows = (text) =>
  text
    .split(",")
    .map((part) => part.trim().match(/^(\w+)\s*=\s*([^@]+?)\s*(?:@\s*(\d*\.?\d+))?$/))
    .filter(Boolean)
    .map(([, kind, model, weight]) => ({ kind, model, weight: Number(weight ?? 1) }));

export const writeRows = (rows) =>
  rows.map(({ kind, model, weight }) => `${kind}=${model}` + (weight === 1 ? "" : `@${weight}`)).join(", ");
