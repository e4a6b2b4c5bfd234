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

/**
 * Keep the state of events from the fields that they read: none shows it. Gradio would look each of 200 fields up in the
 * tree of the page, twice, at every word of the server about any event: a second between a press of Run and what it
 * shows.
 */
export const keepStateFromInputs = () => {
  for (const { inputs } of window.gradio_config?.dependencies ?? [])
    Object.defineProperty(inputs, "includes", { value: () => false });
};

/** @typedef {object[] | undefined} Events */

/**
 * Look events up in their list itself. Gradio asks it for those of each of 200 components, twice, and by itself watches
 * each one that it passes: a fifth to a quarter of what scripts take as a page opens.
 * @param {Events} events
 * @returns {Events} the same, and whatever is chosen of them
 */
export const findEventsUnwatched = (events = window.gradio_config?.dependencies) => {
  const all = [...(events ?? [])];
  /** @param {(event: object) => boolean} isWanted */
  const value = (isWanted) => findEventsUnwatched(all.filter(isWanted));
  return events && Object.defineProperty(events, "filter", { value });
};
