// @ts-check
// Words that are typed while the server cannot be reached, kept by the browser and sent after a reload.
const KEPT = "regrain-words";

const readDraft = () => {
  try {
    return sessionStorage.getItem(KEPT);
  } catch {
    return null; // the browser allows no storage
  }
};

// Read before any component writes anew.
export const draftBeforeReload = readDraft();

/** @param {string} text */
export const keepDraft = (text) => {
  try {
    sessionStorage.setItem(KEPT, text);
  } catch {
    return; // the browser allows no storage
  }
};
