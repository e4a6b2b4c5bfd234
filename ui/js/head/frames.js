// Gradio's spinner, gone once the page is there, goes on counting seconds at every picture of the screen: a
// twentieth of a processor for ever. Nothing else of the page reads the clock when it is called for a picture.
const CLOCK = /performance\.now\(\)/;

export const stopSpinners = () => {
  const next = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => (CLOCK.test(callback) ? 0 : next(callback));
};
