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

const SPINS = /performance\.now\(\).*\/1e3.*&&/;

/**
 * Stop Gradio's spinner. Gone once the page is there, it goes on counting seconds at every picture of the screen: a
 * twentieth of a processor for ever. What it asks a frame for is known by what it does with the time.
 */
export const stopSpinner = () => {
  const nextFrame = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => (SPINS.test(String(callback)) ? 0 : nextFrame(callback));
};
