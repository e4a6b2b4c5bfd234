// @ts-check
// Names this tab to the server with every request, so that a reload or a lost connection finds its work again.
// Runs before anything else of the page.
const KEPT = "regrain-page",
  HEADER = "x-regrain-page",
  PATIENCE = { reload: 4000, back_forward: 4000 }; // milliseconds to wait for the name

// A tab that is reloaded still holds its name for a moment, a duplicated one for good.
const patience = () => PATIENCE[performance.getEntriesByType("navigation")[0]?.type] ?? 700;

const makeName = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
};

// Hold a name for as long as this page lives; whether nobody else does.
const hold = (name) =>
  new Promise((resolve) => {
    const keep = () => {
      resolve(true);
      return new Promise(() => {});
    };
    navigator.locks
      .request("regrain-" + name, { signal: AbortSignal.timeout(patience()) }, keep)
      .catch(() => resolve(false));
  });

// A duplicated tab begins with the same storage: only one of the two keeps the name.
const claim = async () => {
  const kept = sessionStorage.getItem(KEPT);
  let name = kept || makeName();
  if (navigator.locks && !(await hold(name))) {
    name = makeName();
    await hold(name);
  }
  sessionStorage.setItem(KEPT, name);
  return name;
};

const sendName = (name) => {
  const send = window.fetch.bind(window);
  window.fetch = async (input, options = {}) => {
    const url = new URL(input.url ?? input, document.baseURI);
    if (url.origin !== location.origin || !url.pathname.includes("/gradio_api/")) return send(input, options);
    const headers = new Headers(options.headers ?? input.headers);
    headers.set(HEADER, await name);
    return send(input, { ...options, headers });
  };
};

// Gradio's spinner, gone once the page is there, goes on counting seconds at every picture of the screen: a
// twentieth of a processor for ever. What it asks a frame for is known by what it does with the time.
const SPINS = /performance\.now\(\).*\/1e3.*&&/;
const nextFrame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (callback) => (SPINS.test(callback) ? 0 : nextFrame(callback));

// Where the browser allows no storage, a page is known by its connection alone.
try {
  sendName(claim());
} catch {
  console.info("This page cannot be restored after a reload: the browser allows no storage.");
}
