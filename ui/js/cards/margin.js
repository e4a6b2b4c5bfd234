// The slider of a margin is finer where the numbers are small; nothing here touches the document.

// Pixels of a place of the slider, 0 to 20.
export const toMargin = (place) => Math.round(place ** 2 / 2);

export const fromMargin = (pixels) => Math.round(Math.sqrt(2 * pixels));
