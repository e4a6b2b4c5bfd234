// @ts-check
// What hangs on how Gradio works inside, in the browser; the rest, and when each was seen last, is in
// `ui/page/gradio_insides.py`. A test for each fails once it no longer holds.

/**
 * Send a header with all that Gradio's client asks of the server, which offers no way to add one.
 * @param {string} name
 * @param {Promise<string>} value
 */
export const addHeader = (name, value) => {
  const send = window.fetch.bind(window);
  window.fetch = async (input, options = {}) => {
    const request = input instanceof Request ? input : null;
    const url = new URL(request?.url ?? String(input), document.baseURI);
    const isGradios = url.origin === location.origin && url.pathname.includes("/gradio_api/");
    if (!isGradios) return send(input, options);
    const headers = new Headers(options.headers ?? request?.headers);
    headers.set(name, await value);
    return send(input, { ...options, headers });
  };
};

/** @param {string} selector */
const pressOne = (selector) => {
  /** @type {HTMLElement | null} */
  const node = document.querySelector(selector);
  node?.click();
};

/** @param {KeyboardEvent} event */
const leaveApi = ({ key }) => key === "Escape" && pressOne(".api-docs .backdrop");

/**
 * Open Gradio's panel of what programs need, by a button in its foot, which is not seen here. Its cross closes it, and a
 * press beside it; Escape, which closes all else on the page, by itself does not.
 */
export const openApi = () => {
  pressOne("footer button");
  document.addEventListener("keydown", leaveApi); // once: the same is not added again
};

const SPINS = /performance\.now\(\).*\/1e3.*&&/;

/**
 * Stop Gradio's spinner. Gone once the page is there, it goes on counting seconds at every picture of the screen: a
 * twentieth of a processor for ever. What it asks a frame for is known by what it does with the time.
 */
export const stopSpinner = () => {
  const nextFrame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => (SPINS.test(String(callback)) ? 0 : nextFrame(callback));
};
