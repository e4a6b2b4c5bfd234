// Whether somebody is still writing one of some words; nothing here touches the document but the field.
export const isTyping = (field, words) => {
  if (!field || !words.length || field.ownerDocument.activeElement !== field) return false;
  const written = field.value.slice(0, field.selectionStart ?? 0).toLowerCase();
  return words.length === 1 && written.endsWith(words[0].word) && written.length === field.value.length;
};
