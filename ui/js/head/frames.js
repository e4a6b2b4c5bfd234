// Gradio's spinner, gone once the page is there, goes on counting seconds at every picture of the screen: a
// twentieth of a processor for ever. What it asks a frame for is known by what it does with the time.
const COUNTS = /performance\.now\(\).*\/1e3.*&&/;

export const stopSpinners = () => {
  const next = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => (COUNTS.test(callback) ? 0 : next(callback));
};
